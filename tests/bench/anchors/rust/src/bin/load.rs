//! Load for a broker at next to no cost, so that the broker is what is measured.
//!
//! `anchor-load through URL QUEUE COUNT SIZE WINDOW PAIRS [shared]` prints messages a second: so many producers and
//! consumers, a thread and a connection each, each pair on a queue of its own unless it is shared; every message is accepted.
//! `anchor-load fill URL QUEUE COUNT SIZE WINDOW 1` only sends.
//! `anchor-load paced URL QUEUE COUNT SIZE WINDOW RATE` sends at that rate and prints the median and the 99th percentile of
//! the microseconds from the moment when a message was due until it was received.
//! `anchor-load take URL QUEUE COUNT SIZE WINDOW 1` only receives, and prints messages a second, the first fifth not counted.

use anchors::amqp::{close_frame, disposition, flow, message, performative, terminus, Frame, Value};
use anchors::stream::Stream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Barrier};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// Transfers that our sessions take.
const WINDOW: u32 = 1 << 30;
/// Bytes that leave at once; Artemis takes no WebSocket message of more than 64 KiB.
const FLUSH: usize = 60_000;

/// Connections so far, which gives each a name of its own.
static OPENED: AtomicUsize = AtomicUsize::new(0);

/// A connection with one session and one link.
struct Client {
    stream: Stream,
    /// What the peer has attached, begun and so on, by its code.
    answered: u8,
    window: u32,
    credit: u32,
    sent: u32,
    unsettled: u32,
    received: u32,
    /// Deliveries that were not accepted yet.
    taken: Option<(u32, u32)>,
    /// Since when it waits for what was due, as each message has it in its first bytes.
    arrivals: Vec<u64>,
    size: usize,
}

impl Client {
    /// Dials `amqp://[USER:PASSWORD@]HOST:PORT`, or `ws://`, and attaches to a queue: to send, or to receive with a credit.
    fn open(url: &str, queue: &str, credit: Option<u32>, size: usize) -> Client {
        let name = format!("load-{}-{}", std::process::id(), OPENED.fetch_add(1, Ordering::Relaxed));
        let (scheme, rest) = url.split_once("://").expect("A URL has a scheme");
        let (login, place) = rest.split_once('@').unwrap_or(("", rest));
        let stream = Stream::connect(&format!("{scheme}://{place}")).expect("Cannot connect");
        let mut client = Client {
            stream,
            answered: 0,
            window: 0,
            credit: 0,
            sent: 0,
            unsettled: 0,
            received: 0,
            taken: None,
            arrivals: vec![],
            size,
        };
        client.log_in(login);
        let open = [Value::Text(&name), Value::Text("default"), Value::Uint(1 << 17), Value::Ushort(1)];
        client.ask(0x10, &open);
        client.ask(0x11, &[Value::Null, Value::Uint(0), Value::Uint(WINDOW), Value::Uint(WINDOW)]);
        client.attach(&name, queue, credit.is_some());
        if let Some(credit) = credit {
            client.grant(credit);
            client.flush();
        }
        client
    }

    fn log_in(&mut self, login: &str) {
        self.stream.output.extend(b"AMQP\x03\x01\x00\x00");
        self.wait_for(0x40);
        let response = format!("\0{}", login.replace(':', "\0"));
        let values: &[Value] = match login {
            "" => &[Value::Raw(b"\xa3\x09ANONYMOUS")],
            _ => &[Value::Raw(b"\xa3\x05PLAIN"), Value::Binary(response.as_bytes())],
        };
        performative(&mut self.stream.output, 1, 0, 0x41, values);
        self.wait_for(0x44);
        self.stream.output.extend(b"AMQP\x00\x01\x00\x00");
    }

    fn attach(&mut self, name: &str, queue: &str, receives: bool) {
        let (source, target) = (terminus(0x28, queue), terminus(0x29, queue));
        self.ask(
            0x12,
            &[
                Value::Text(name),
                Value::Uint(0),
                if receives { Value::True } else { Value::False },
                Value::Null,
                Value::Null,
                Value::Raw(&source),
                Value::Raw(&target),
                Value::Null,
                Value::Null,
                if receives { Value::Null } else { Value::Uint(0) },
            ],
        );
    }

    fn ask(&mut self, code: u8, values: &[Value]) {
        performative(&mut self.stream.output, 0, 0, code, values);
        self.wait_for(code);
    }

    fn wait_for(&mut self, code: u8) {
        self.flush();
        while self.answered != code {
            self.read();
        }
    }

    fn flush(&mut self) {
        assert!(self.stream.flush(), "The broker has gone");
    }

    fn read(&mut self) {
        assert!(self.stream.read(), "The broker has gone");
        while let Some(range) = self.stream.frame() {
            // Taken out for as long as it is read, as the answers are written beside it.
            let bytes = std::mem::take(&mut self.stream.input);
            self.take(&bytes[range]);
            self.stream.input = bytes;
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if &bytes[..4] == b"AMQP" {
            return;
        }
        let frame = Frame::parse(bytes);
        match frame.code {
            0x11 => self.window = frame.number(2).unwrap(),
            0x13 => {
                let next = frame.number(0).unwrap_or(0);
                self.window = next.wrapping_add(frame.number(1).unwrap()).wrapping_sub(self.sent);
                if let Some(credit) = frame.number(6) {
                    self.credit = frame.number(5).unwrap_or(0).wrapping_add(credit).wrapping_sub(self.sent);
                }
            }
            0x14 => self.transfer(&frame, bytes),
            0x15 => {
                let accepted = frame.field(4).is_some_and(|state| state[..3] == [0, 0x53, 0x24]);
                assert!(accepted, "The broker has not accepted a message");
                let first = frame.number(1).unwrap();
                self.unsettled -= frame.number(2).unwrap_or(first).wrapping_sub(first) + 1;
            }
            0x16..=0x18 => panic!("The broker ends it: {}", String::from_utf8_lossy(bytes)),
            0x44 => assert_eq!(frame.number(0), Some(0), "The broker does not let us in"),
            _ => {}
        }
        if matches!(frame.code, 0x10..=0x12 | 0x40 | 0x44) {
            self.answered = frame.code;
        }
    }

    fn transfer(&mut self, frame: &Frame, bytes: &[u8]) {
        let id = frame.number(1).unwrap();
        self.taken = Some((self.taken.map_or(id, |(first, _)| first), id));
        self.received += 1;
        self.credit -= 1;
        // The body is the last thing in a message.
        let body = &bytes[bytes.len() - self.size..];
        self.arrivals.push(u64::from_be_bytes(body[..8].try_into().unwrap()));
    }

    fn grant(&mut self, credit: u32) {
        self.credit = credit;
        flow(&mut self.stream.output, 0, self.received, WINDOW, 0, self.received, credit);
    }

    /// Accepts what has come, and gives credit where half of it is gone.
    fn accept(&mut self, credit: u32) {
        if let Some((first, last)) = self.taken.take() {
            disposition(&mut self.stream.output, 0, first, last);
        }
        if self.credit < credit / 2 {
            self.grant(credit);
        }
        self.flush();
    }

    fn can_send(&self, window: u32) -> bool {
        self.credit as i32 > 0 && self.window as i32 > 0 && self.unsettled < window
    }

    fn send(&mut self, message: &[u8]) {
        let id = Value::Uint(self.sent);
        let tag = self.sent.to_be_bytes();
        let start = self.stream.output.len();
        let transfer = [Value::Uint(0), id, Value::Binary(&tag), Value::Uint(0), Value::False];
        performative(&mut self.stream.output, 0, 0, 0x14, &transfer);
        self.stream.output.extend(message);
        close_frame(&mut self.stream.output, start);
        self.sent += 1;
        self.unsettled += 1;
        self.credit -= 1;
        self.window -= 1;
        if self.stream.output.len() > FLUSH {
            self.flush();
        }
    }

    /// Sends so many messages, and waits for the outcome of each.
    fn send_all(&mut self, count: usize, window: u32) {
        let message = message(self.size);
        while (self.sent as usize) < count || self.unsettled > 0 {
            while (self.sent as usize) < count && self.can_send(window) {
                self.send(&message);
            }
            self.flush();
            self.read();
        }
    }
}

struct Load {
    url: String,
    queue: String,
    count: usize,
    size: usize,
    window: u32,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, work, url, queue, count, size, window, many, rest @ ..] = &args[..] else {
        panic!("anchor-load through|fill|take|paced URL QUEUE COUNT SIZE WINDOW PAIRS|RATE [shared]");
    };
    let number = |text: &str| text.parse::<usize>().expect("A number is expected");
    let (url, queue) = (url.clone(), queue.clone());
    let load = Load { url, queue, count: number(count), size: number(size), window: number(window) as u32 };
    match work.as_str() {
        "through" => println!("{:.1}", through(&load, number(many), !rest.is_empty())),
        "fill" => {
            Client::open(&load.url, &load.queue, None, load.size).send_all(load.count, load.window);
            println!("0");
        }
        "take" => println!("{:.1}", take(&load)),
        _ => {
            let mut times = paced(&load, number(many));
            times.sort_unstable();
            let quantile = |share: f64| times[(share * (times.len() - 1) as f64) as usize] as f64 / 1e3;
            println!("{:.1} {:.1}", quantile(0.5), quantile(0.99));
        }
    }
    // Consumers wait for more.
    std::process::exit(0);
}

fn through(load: &Load, pairs: usize, shared: bool) -> f64 {
    let each = load.count / pairs;
    let ready = Arc::new(Barrier::new(2 * pairs + 1));
    let left = Arc::new(AtomicUsize::new(each * pairs));
    let (done, all_done): (Sender<()>, Receiver<()>) = channel();
    let mut producers = vec![];
    for pair in 0..pairs {
        let queue = if shared { load.queue.clone() } else { format!("{}-{pair}", load.queue) };
        let Load { ref url, size, window, .. } = *load;
        let mut consumer = Client::open(url, &queue, Some(window), size);
        let mut producer = Client::open(url, &queue, None, size);
        let (starts, left, done) = (ready.clone(), left.clone(), done.clone());
        spawn(move || {
            starts.wait();
            loop {
                consumer.read();
                let count = consumer.arrivals.drain(..).count();
                consumer.accept(window);
                if count > 0 && left.fetch_sub(count, Ordering::Relaxed) == count {
                    done.send(()).unwrap();
                }
            }
        });
        let starts = ready.clone();
        producers.push(spawn(move || {
            starts.wait();
            producer.send_all(each, window);
        }));
    }
    ready.wait();
    let started = Instant::now();
    for producer in producers {
        producer.join().unwrap();
    }
    all_done.recv().unwrap();
    (each * pairs) as f64 / started.elapsed().as_secs_f64()
}

fn take(load: &Load) -> f64 {
    let mut consumer = Client::open(&load.url, &load.queue, Some(load.window), load.size);
    let mut take = |count: usize| {
        let mut left = count;
        while left > 0 {
            consumer.read();
            left = left.saturating_sub(consumer.arrivals.drain(..).count());
            consumer.accept(load.window);
        }
    };
    take(load.count / 5);
    let started = Instant::now();
    take(load.count);
    load.count as f64 / started.elapsed().as_secs_f64()
}

fn paced(load: &Load, rate: usize) -> Vec<u64> {
    let Load { ref url, ref queue, count, size, window } = *load;
    let mut consumer = Client::open(url, queue, Some(window), size);
    let mut producer = Client::open(url, queue, None, size);
    producer.stream.do_not_wait().expect("Cannot read without waiting");
    let started = Instant::now();
    let since = move || started.elapsed().as_nanos() as u64;
    let receiving = spawn(move || {
        let mut times = Vec::with_capacity(count);
        while times.len() < count {
            consumer.read();
            let now = since();
            times.extend(consumer.arrivals.drain(..).map(|due| now - due));
            consumer.accept(window);
        }
        times
    });
    let mut message = message(size);
    let body = message.len() - size;
    let due = |sent: u32| sent as u64 * 1_000_000_000 / rate as u64;
    while (producer.sent as usize) < count || producer.unsettled > 0 {
        while (producer.sent as usize) < count && due(producer.sent) <= since() && producer.can_send(u32::MAX) {
            message[body..body + 8].copy_from_slice(&due(producer.sent).to_be_bytes());
            producer.send(&message);
        }
        producer.flush();
        producer.read();
        sleep(Duration::from_micros(50));
    }
    receiving.join().unwrap()
}
