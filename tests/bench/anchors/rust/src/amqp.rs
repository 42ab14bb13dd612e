//! As much of AMQP's types as a peer needs that only answers.

use std::ops::Range;

/// A field of a performative that is written.
pub enum Value<'a> {
    Null,
    True,
    False,
    Ubyte(u8),
    Ushort(u16),
    Uint(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    Symbols(&'a [&'a str]),
    /// Encoded already.
    Raw(&'a [u8]),
}

/// A frame that was read: which performative, where its fields are.
pub struct Frame<'a> {
    pub channel: u16,
    pub code: u8,
    fields: Vec<&'a [u8]>,
}

impl<'a> Frame<'a> {
    /// Reads a frame, or an empty one, which has the code 0.
    pub fn parse(bytes: &'a [u8]) -> Frame<'a> {
        let start = bytes[4] as usize * 4;
        let channel = u16::from_be_bytes([bytes[6], bytes[7]]);
        if bytes.len() <= start {
            return Frame { channel, code: 0, fields: vec![] };
        }
        let code = bytes[start + if bytes[start + 1] == 0x53 { 2 } else { 9 }];
        Frame { channel, code, fields: fields(&bytes[start..]) }
    }

    /// The encoded value of a field that is there.
    pub fn field(&self, index: usize) -> Option<&'a [u8]> {
        self.fields.get(index).copied().filter(|bytes| bytes[0] != 0x40)
    }

    /// A field that is a whole number.
    pub fn number(&self, index: usize) -> Option<u32> {
        self.field(index).map(number)
    }
}

/// The fields of a described list.
pub fn fields(bytes: &[u8]) -> Vec<&[u8]> {
    if bytes.first() != Some(&0) {
        return vec![];
    }
    let list = &bytes[1 + length(&bytes[1..])..];
    let (mut at, count) = match list[0] {
        0xc0 => (3, list[2] as usize),
        0xd0 => (9, u32::from_be_bytes(list[5..9].try_into().unwrap()) as usize),
        _ => (1, 0),
    };
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        let end = at + length(&list[at..]);
        found.push(&list[at..end]);
        at = end;
    }
    found
}

/// Bytes that a value takes, its constructor included.
fn length(bytes: &[u8]) -> usize {
    match bytes[0] {
        0 => {
            let descriptor = 1 + length(&bytes[1..]);
            descriptor + length(&bytes[descriptor..])
        }
        code => match code >> 4 {
            4 => 1,
            5 => 2,
            6 => 3,
            7 => 5,
            8 => 9,
            9 => 17,
            0xa | 0xc | 0xe => 2 + bytes[1] as usize,
            _ => 5 + u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize,
        },
    }
}

/// A whole number of any width.
pub fn number(bytes: &[u8]) -> u32 {
    match bytes[0] {
        0x43 | 0x44 | 0x42 => 0,
        0x41 => 1,
        _ => bytes[1..].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)),
    }
}

/// A text.
pub fn text(bytes: &[u8]) -> String {
    let start = match bytes[0] {
        0xa1 | 0xa3 => 2,
        0xb1 | 0xb3 => 5,
        _ => return String::new(),
    };
    String::from_utf8_lossy(&bytes[start..]).into_owned()
}

/// Writes a frame with a performative; what is appended to it is taken in by [`close_frame`].
pub fn performative(out: &mut Vec<u8>, kind: u8, channel: u16, code: u8, values: &[Value]) {
    let start = out.len();
    out.extend([0, 0, 0, 0, 2, kind]);
    out.extend(channel.to_be_bytes());
    out.extend([0, 0x53, code, 0xd0, 0, 0, 0, 0]);
    let list = out.len();
    out.extend((values.len() as u32).to_be_bytes());
    for value in values {
        write(out, value);
    }
    let size = (out.len() - list) as u32;
    out[list - 4..list].copy_from_slice(&size.to_be_bytes());
    close_frame(out, start);
}

/// Sets the size of the frame that begins at `start` and goes to the end.
pub fn close_frame(out: &mut [u8], start: usize) {
    let size = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(0x40),
        Value::True => out.push(0x41),
        Value::False => out.push(0x42),
        Value::Ubyte(number) => out.extend([0x50, *number]),
        Value::Ushort(number) => {
            out.push(0x60);
            out.extend(number.to_be_bytes());
        }
        Value::Uint(number) => {
            out.push(0x70);
            out.extend(number.to_be_bytes());
        }
        Value::Text(text) => {
            out.extend([0xa1, text.len() as u8]);
            out.extend(text.as_bytes());
        }
        Value::Binary(bytes) => {
            out.extend([0xa0, bytes.len() as u8]);
            out.extend(*bytes);
        }
        Value::Symbols(symbols) => {
            let size: usize = symbols.iter().map(|symbol| symbol.len() + 1).sum();
            out.extend([0xe0, size as u8 + 2, symbols.len() as u8, 0xa3]);
            for symbol in *symbols {
                out.push(symbol.len() as u8);
                out.extend(symbol.as_bytes());
            }
        }
        Value::Raw(bytes) => out.extend(*bytes),
    }
}

/// A flow of a link that receives.
pub fn flow(out: &mut Vec<u8>, channel: u16, next_in: u32, window: u32, handle: u32, count: u32, credit: u32) {
    let values = [
        Value::Uint(next_in),
        Value::Uint(window),
        Value::Uint(0),
        Value::Uint(window),
        Value::Uint(handle),
        Value::Uint(count),
        Value::Uint(credit),
    ];
    performative(out, 0, channel, 0x13, &values);
}

/// All deliveries from `first` to `last` are accepted, and settled.
pub fn disposition(out: &mut Vec<u8>, channel: u16, first: u32, last: u32) {
    let accepted = [0, 0x53, 0x24, 0x45];
    let values = [Value::True, Value::Uint(first), Value::Uint(last), Value::True, Value::Raw(&accepted)];
    performative(out, 0, channel, 0x15, &values);
}

/// The source or target (0x28, 0x29) of a link with an address.
pub fn terminus(code: u8, address: &str) -> Vec<u8> {
    let length = address.len() as u8;
    let mut bytes = vec![0, 0x53, code, 0xc0, length + 3, 1, 0xa1, length];
    bytes.extend(address.as_bytes());
    bytes
}

/// A message with one data section of so many bytes.
pub fn message(size: usize) -> Vec<u8> {
    let mut bytes = vec![0, 0x53, 0x75, 0xb0];
    bytes.extend((size as u32).to_be_bytes());
    bytes.resize(bytes.len() + size, b'a');
    bytes
}

/// Where the first frame or protocol header in the bytes is, if all of it is there.
pub fn frame_in(bytes: &[u8]) -> Option<Range<usize>> {
    let head: [u8; 4] = bytes.get(..4)?.try_into().unwrap();
    let size = if &head == b"AMQP" { 8 } else { u32::from_be_bytes(head) as usize };
    (bytes.len() >= size).then_some(0..size)
}
