//! The bytes of a connection: those of its socket, or those that its WebSocket messages carry.

use crate::amqp::frame_in;
use base64::{engine::general_purpose::STANDARD, Engine};
use sha1::{Digest, Sha1};
use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::ops::Range;

pub struct Stream {
    socket: TcpStream,
    web: bool,
    /// WebSocket frames that are not whole yet.
    frames: Vec<u8>,
    /// What is to be read, and from where.
    pub input: Vec<u8>,
    at: usize,
    /// What leaves with the next flush, as one WebSocket message.
    pub output: Vec<u8>,
    buffer: Vec<u8>,
}

impl Stream {
    /// Sees by its first bytes what a connection speaks, and takes an upgrade.
    pub fn accept(mut socket: TcpStream) -> Result<Stream> {
        socket.set_nodelay(true)?;
        let mut first = [0; 4];
        while socket.peek(&mut first)? < 4 {
            std::thread::yield_now();
        }
        let web = &first == b"GET ";
        if web {
            upgrade(&mut socket)?;
        }
        let buffer = vec![0; 256 * 1024];
        Ok(Stream { socket, web, frames: vec![], input: vec![], at: 0, output: vec![], buffer })
    }

    /// Waits for bytes; false at the end.
    pub fn read(&mut self) -> bool {
        self.input.drain(..self.at);
        self.at = 0;
        let Ok(count @ 1..) = self.socket.read(&mut self.buffer) else { return false };
        if !self.web {
            self.input.extend(&self.buffer[..count]);
            return true;
        }
        self.frames.extend(&self.buffer[..count]);
        self.unmask()
    }

    /// Takes the content out of all whole WebSocket frames; false at a close.
    fn unmask(&mut self) -> bool {
        let mut at = 0;
        loop {
            let rest = &self.frames[at..];
            if rest.len() < 2 {
                break;
            }
            let (start, size) = match rest[1] & 0x7f {
                126 if rest.len() < 4 => break,
                126 => (4, u16::from_be_bytes([rest[2], rest[3]]) as usize),
                127 if rest.len() < 10 => break,
                127 => (10, u64::from_be_bytes(rest[2..10].try_into().unwrap()) as usize),
                size => (2, size as usize),
            };
            let content = start + 4;
            if rest.len() < content + size {
                break;
            }
            match rest[0] & 0x0f {
                8 => return false,
                0 | 2 => {
                    let mask: [u8; 4] = rest[start..content].try_into().unwrap();
                    let from = self.input.len();
                    self.input.extend(&rest[content..content + size]);
                    let masks = mask.iter().cycle();
                    self.input[from..].iter_mut().zip(masks).for_each(|(byte, mask)| *byte ^= mask);
                }
                _ => {}
            }
            at += content + size;
        }
        self.frames.drain(..at);
        true
    }

    /// Where the next frame is in the input.
    pub fn frame(&mut self) -> Option<Range<usize>> {
        let found = frame_in(&self.input[self.at..])?;
        let range = self.at..self.at + found.end;
        self.at = range.end;
        Some(range)
    }

    /// Sends what was written; false when there is nobody.
    pub fn flush(&mut self) -> bool {
        if self.output.is_empty() {
            return true;
        }
        let mut head = vec![];
        if self.web {
            head.push(0x82);
            match self.output.len() {
                size @ 0..=125 => head.push(size as u8),
                size @ 126..=0xffff => {
                    head.push(126);
                    head.extend((size as u16).to_be_bytes());
                }
                size => {
                    head.push(127);
                    head.extend((size as u64).to_be_bytes());
                }
            }
        }
        // In one write, since each is a packet of its own.
        let sent = if head.is_empty() { self.socket.write_all(&self.output) } else {
            head.extend(&self.output);
            self.socket.write_all(&head)
        };
        self.output.clear();
        sent.is_ok()
    }
}

fn upgrade(socket: &mut TcpStream) -> Result<()> {
    let mut head = vec![];
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let named = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
    };
    let key = head.lines().find_map(named).unwrap_or_default();
    let accept = STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
    write!(
        socket,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: amqp\r\n\r\n"
    )
}
