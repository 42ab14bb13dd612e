//! The bytes of a connection: those of its socket, or those that its WebSocket messages carry.

use crate::amqp::frame_in;
use base64::{engine::general_purpose::STANDARD, Engine};
use sha1::{Digest, Sha1};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::ops::Range;

/// As RFC 6455 has it; it need not be another one each time.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

pub struct Stream {
    socket: TcpStream,
    web: bool,
    /// Whether what leaves is to be masked.
    client: bool,
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
    /// Dials `amqp://HOST:PORT` or `ws://HOST:PORT`.
    pub fn connect(url: &str) -> Result<Stream> {
        let (scheme, place) = url.split_once("://").unwrap_or(("", url));
        let host = place.trim_end_matches('/');
        let mut socket = TcpStream::connect(host)?;
        let web = scheme == "ws";
        if web {
            write!(
                socket,
                "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: amqp\r\n\r\n"
            )?;
            let head = head(&mut socket)?;
            if !head.starts_with("HTTP/1.1 101") {
                return Err(Error::other(format!("Cannot upgrade: {head}")));
            }
        }
        Stream::new(socket, web, true)
    }

    /// Sees by its first bytes what a connection speaks, and takes an upgrade.
    pub fn accept(mut socket: TcpStream) -> Result<Stream> {
        let mut first = [0; 4];
        while socket.peek(&mut first)? < 4 {
            std::thread::yield_now();
        }
        let web = &first == b"GET ";
        if web {
            upgrade(&mut socket)?;
        }
        Stream::new(socket, web, false)
    }

    fn new(socket: TcpStream, web: bool, client: bool) -> Result<Stream> {
        socket.set_nodelay(true)?;
        let buffer = vec![0; 256 * 1024];
        Ok(Stream { socket, web, client, frames: vec![], input: vec![], at: 0, output: vec![], buffer })
    }

    /// From now on a read does not wait.
    pub fn do_not_wait(&self) -> Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Reads what has come, and waits for it if nothing has; false at the end.
    pub fn read(&mut self) -> bool {
        self.input.drain(..self.at);
        self.at = 0;
        let count = match self.socket.read(&mut self.buffer) {
            Ok(count @ 1..) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            _ => return false,
        };
        if !self.web {
            self.input.extend(&self.buffer[..count]);
            return true;
        }
        self.frames.extend(&self.buffer[..count]);
        self.unwrap_messages()
    }

    /// Takes the content out of all whole WebSocket frames; false at a close.
    fn unwrap_messages(&mut self) -> bool {
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
            let masked = rest[1] & 0x80 != 0;
            let content = start + if masked { 4 } else { 0 };
            if rest.len() < content + size {
                break;
            }
            match rest[0] & 0x0f {
                8 => return false,
                0 | 2 => {
                    let from = self.input.len();
                    self.input.extend(&rest[content..content + size]);
                    if masked {
                        unmask(&mut self.input[from..], rest[start..content].try_into().unwrap());
                    }
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
            let masked = if self.client { 0x80 } else { 0 };
            match self.output.len() {
                size @ 0..=125 => head.push(masked | size as u8),
                size @ 126..=0xffff => {
                    head.push(masked | 126);
                    head.extend((size as u16).to_be_bytes());
                }
                size => {
                    head.push(masked | 127);
                    head.extend((size as u64).to_be_bytes());
                }
            }
            if self.client {
                // A mask that changes nothing.
                head.extend([0; 4]);
            }
        }
        // In one write, since each is a packet of its own.
        let sent = if head.is_empty() {
            self.socket.write_all(&self.output)
        } else {
            head.extend(&self.output);
            self.socket.write_all(&head)
        };
        self.output.clear();
        sent.is_ok()
    }
}

// Eight at a time, as the bytes of large messages would otherwise take longer than all the rest.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask, mask].concat().try_into().unwrap());
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        let plain = u64::from_ne_bytes((&*word).try_into().unwrap()) ^ wide;
        word.copy_from_slice(&plain.to_ne_bytes());
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip([mask, mask].concat()) {
        *byte ^= mask;
    }
}

fn head(socket: &mut TcpStream) -> Result<String> {
    let mut head = vec![];
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn upgrade(socket: &mut TcpStream) -> Result<()> {
    let head = head(socket)?;
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
