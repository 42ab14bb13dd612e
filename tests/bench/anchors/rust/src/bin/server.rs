//! An AMQP 1.0 peer that costs next to nothing, so that the client in front of it is what is measured.
//!
//! `anchor-server` listens on a port of 127.0.0.1, prints it, and takes AMQP and WebSocket alike, a thread for each
//! connection. A link to the target "sink" gets its outcomes, one disposition for all that came with one read. A link from
//! the source "SIZE" is sent messages of that size while it has credit, one from "SIZE:each" a write for each of them.

use anchors::amqp::{close_frame, disposition, fields, flow, message, performative, text, Frame, Value};
use anchors::stream::Stream;
use std::net::{TcpListener, TcpStream};

/// Credit that a sender is given, again and again, before it runs out.
const CREDIT: u32 = 20_000;
/// Transfers that a session takes.
const WINDOW: u32 = 1 << 30;

/// A link to a peer that receives.
struct Source {
    channel: u16,
    handle: u32,
    message: Vec<u8>,
    each: bool,
    count: u32,
    credit: u32,
}

/// A link from a peer that sends, and what it has sent since its last answer.
struct Sink {
    channel: u16,
    handle: u32,
    count: u32,
    granted: u32,
    first: Option<u32>,
    last: u32,
}

/// What the peer lets a session send.
struct Session {
    channel: u16,
    next_out: u32,
    window: u32,
    next_in: u32,
}

fn main() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("Cannot listen");
    println!("{}", listener.local_addr().unwrap().port());
    for socket in listener.incoming().flatten() {
        std::thread::spawn(move || Peer::new(socket).map(Peer::run));
    }
}

struct Peer {
    stream: Stream,
    max_frame: usize,
    sessions: Vec<Session>,
    sources: Vec<Source>,
    sinks: Vec<Sink>,
}

impl Peer {
    fn new(socket: TcpStream) -> std::io::Result<Peer> {
        let stream = Stream::accept(socket)?;
        Ok(Peer { stream, max_frame: 512, sessions: vec![], sources: vec![], sinks: vec![] })
    }

    fn run(mut self) {
        while self.stream.read() {
            while let Some(range) = self.stream.frame() {
                // Taken out for as long as it is read, as the answers are written beside it.
                let bytes = std::mem::take(&mut self.stream.input);
                let goes_on = self.take(&bytes[range]);
                self.stream.input = bytes;
                if !goes_on {
                    self.stream.flush();
                    return;
                }
            }
            self.settle();
            for index in 0..self.sources.len() {
                self.supply(index);
            }
            if !self.stream.flush() {
                return;
            }
        }
    }

    /// Takes a protocol header or a frame; false after a close.
    fn take(&mut self, bytes: &[u8]) -> bool {
        if &bytes[..4] == b"AMQP" {
            self.stream.output.extend(bytes);
            if bytes[4] == 3 {
                let anonymous = Value::Symbols(&["ANONYMOUS"]);
                performative(&mut self.stream.output, 1, 0, 0x40, &[anonymous]);
            }
            return true;
        }
        let frame = Frame::parse(bytes);
        match frame.code {
            0x41 => performative(&mut self.stream.output, 1, 0, 0x44, &[Value::Ubyte(0)]),
            0x10 => {
                self.max_frame = frame.number(2).map_or(1 << 20, |size| size as usize).min(1 << 20);
                let open = [Value::Text("anchor"), Value::Null, Value::Uint(1 << 20), Value::Ushort(0xffff)];
                performative(&mut self.stream.output, 0, 0, 0x10, &open);
            }
            0x11 => self.begin(&frame),
            0x12 => self.attach(&frame),
            0x13 => self.flow(&frame),
            0x14 => self.transfer(&frame),
            0x16 => {
                let handle = frame.number(0).unwrap();
                self.sources.retain(|link| link.channel != frame.channel || link.handle != handle);
                self.sinks.retain(|link| link.channel != frame.channel || link.handle != handle);
                performative(&mut self.stream.output, 0, frame.channel, 0x16, &[Value::Uint(handle), Value::True]);
            }
            0x17 => {
                self.sources.retain(|link| link.channel != frame.channel);
                self.sinks.retain(|link| link.channel != frame.channel);
                self.sessions.retain(|session| session.channel != frame.channel);
                performative(&mut self.stream.output, 0, frame.channel, 0x17, &[]);
            }
            0x18 => {
                self.settle();
                performative(&mut self.stream.output, 0, 0, 0x18, &[]);
                return false;
            }
            _ => {}
        }
        true
    }

    fn begin(&mut self, frame: &Frame) {
        let (next_in, window) = (frame.number(1).unwrap(), frame.number(2).unwrap());
        self.sessions.push(Session { channel: frame.channel, next_out: 0, window, next_in });
        let begin = [Value::Ushort(frame.channel), Value::Uint(0), Value::Uint(WINDOW), Value::Uint(WINDOW)];
        performative(&mut self.stream.output, 0, frame.channel, 0x11, &begin);
    }

    fn attach(&mut self, frame: &Frame) {
        let name = frame.field(0).unwrap();
        let (handle, receives) = (frame.number(1).unwrap(), frame.field(2) == Some(&[0x41]));
        let (source, target) = (frame.field(5).unwrap_or(&[0x40]), frame.field(6).unwrap_or(&[0x40]));
        let role = if receives { Value::False } else { Value::True };
        let count = if receives { Value::Uint(0) } else { Value::Null };
        let attach = [
            Value::Raw(name),
            Value::Uint(handle),
            role,
            Value::Null,
            Value::Null,
            Value::Raw(source),
            Value::Raw(target),
            Value::Null,
            Value::Null,
            count,
        ];
        performative(&mut self.stream.output, 0, frame.channel, 0x12, &attach);
        if receives {
            let address = fields(source).first().map(|bytes| text(bytes)).unwrap_or_default();
            let mut parts = address.split(':');
            let size = parts.next().and_then(|size| size.parse().ok()).unwrap_or(0);
            let each = parts.next() == Some("each");
            let message = message(size);
            self.sources.push(Source { channel: frame.channel, handle, message, each, count: 0, credit: 0 });
        } else {
            let sink = Sink { channel: frame.channel, handle, count: 0, granted: CREDIT, first: None, last: 0 };
            let next_in = self.sessions.iter().find(|session| session.channel == frame.channel).unwrap().next_in;
            flow(&mut self.stream.output, frame.channel, next_in, WINDOW, handle, 0, CREDIT);
            self.sinks.push(sink);
        }
    }

    fn flow(&mut self, frame: &Frame) {
        if let Some(session) = self.sessions.iter_mut().find(|session| session.channel == frame.channel) {
            let next_in = frame.number(0).unwrap_or(0);
            session.window = next_in.wrapping_add(frame.number(1).unwrap()).wrapping_sub(session.next_out);
        }
        let Some(handle) = frame.number(4) else { return };
        let credit = frame.number(6).unwrap_or(0);
        let is = |link: &&mut Source| link.channel == frame.channel && link.handle == handle;
        if let Some(link) = self.sources.iter_mut().find(is) {
            link.credit = frame.number(5).unwrap_or(0).wrapping_add(credit).wrapping_sub(link.count);
        }
    }

    fn transfer(&mut self, frame: &Frame) {
        let handle = frame.number(0).unwrap();
        let session = self.sessions.iter_mut().find(|session| session.channel == frame.channel).unwrap();
        session.next_in = session.next_in.wrapping_add(1);
        let is = |link: &&mut Sink| link.channel == frame.channel && link.handle == handle;
        let link = self.sinks.iter_mut().find(is).unwrap();
        if let Some(id) = frame.number(1) {
            if frame.field(4) != Some(&[0x41]) && link.first.is_none() {
                link.first = Some(id);
            }
            link.last = id;
        }
        if frame.field(5) != Some(&[0x41]) {
            link.count = link.count.wrapping_add(1);
            link.granted -= 1;
        }
    }

    /// Accepts what has come, and gives credit where it runs out.
    fn settle(&mut self) {
        for link in &mut self.sinks {
            if let Some(first) = link.first.take() {
                disposition(&mut self.stream.output, link.channel, first, link.last);
            }
            if link.granted < CREDIT / 2 {
                let session = self.sessions.iter().find(|session| session.channel == link.channel).unwrap();
                flow(&mut self.stream.output, link.channel, session.next_in, WINDOW, link.handle, link.count, CREDIT);
                link.granted = CREDIT;
            }
        }
    }

    /// Sends what credit and window allow.
    fn supply(&mut self, index: usize) {
        let Peer { stream, max_frame, sessions, sources, .. } = self;
        let link = &mut sources[index];
        let session = sessions.iter_mut().find(|session| session.channel == link.channel).unwrap();
        // Room for the head of a transfer.
        let most = *max_frame - 64;
        let frames = link.message.len().div_ceil(most) as u32;
        while link.credit > 0 && session.window >= frames {
            let id = session.next_out;
            for part in 0..frames as usize {
                let bytes = &link.message[part * most..link.message.len().min((part + 1) * most)];
                let more = if part + 1 < frames as usize { Value::True } else { Value::False };
                let tag = link.count.to_be_bytes();
                let transfer = [
                    Value::Uint(link.handle),
                    Value::Uint(id),
                    Value::Binary(&tag),
                    Value::Uint(0),
                    Value::False,
                    more,
                ];
                let start = stream.output.len();
                performative(&mut stream.output, 0, link.channel, 0x14, &transfer);
                stream.output.extend(bytes);
                close_frame(&mut stream.output, start);
                session.next_out = session.next_out.wrapping_add(1);
                session.window -= 1;
            }
            link.count = link.count.wrapping_add(1);
            link.credit -= 1;
            if (link.each || stream.output.len() > 256 * 1024) && !stream.flush() {
                return;
            }
        }
    }
}
