//! A client on fe2o3-amqp: `anchor-fe2o3 URL send|receive COUNT SIZE WINDOW ADDRESS`.
//!
//! The first fifth warms up. Prints messages a second. Each message is encoded, or decoded and accepted, as other clients do.

use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::link::delivery::Sendable;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::types::messaging::{Data, Message, Outcome};
use fe2o3_amqp::types::primitives::Binary;
use fe2o3_amqp::{Connection, Delivery, Receiver, Sender, Session};
use fe2o3_amqp_ws::WebSocketStream;
use std::collections::VecDeque;
use std::error::Error;
use std::time::Instant;
use tokio::net::TcpStream;

type Done<T = ()> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Done {
    let args: Vec<String> = std::env::args().collect();
    let [_, url, work, count, size, window, address] = &args[..] else {
        return Err("anchor-fe2o3 URL send|receive COUNT SIZE WINDOW ADDRESS".into());
    };
    let (count, size, window): (usize, usize, usize) = (count.parse()?, size.parse()?, window.parse()?);
    let mut connection = open(url).await?;
    let mut session = Session::begin(&mut connection).await?;
    let rate = if work == "send" {
        let sender = Sender::attach(&mut session, "sender", address.as_str()).await?;
        send(sender, count, size, window).await?
    } else {
        let credit = CreditMode::Auto(window as u32);
        let receiver = Receiver::builder().name("receiver").source(address.as_str()).credit_mode(credit);
        receive(receiver.attach(&mut session).await?, count, size).await?
    };
    println!("{rate:.1}");
    // The server would only have to be told of what nobody waits for.
    std::process::exit(0)
}

async fn open(url: &str) -> Done<ConnectionHandle<()>> {
    let (scheme, host) = url.split_once("://").ok_or("A URL has a scheme")?;
    let stream = TcpStream::connect(host).await?;
    // Otherwise each answer waits for the delayed ACK of the one before.
    stream.set_nodelay(true)?;
    let builder = Connection::builder().container_id("fe2o3").max_frame_size(131_072u32);
    Ok(if scheme == "ws" {
        builder.open_with_stream(WebSocketStream::connect_with_stream(url, stream).await?).await?
    } else {
        builder.open_with_stream(stream).await?
    })
}

async fn send(mut sender: Sender, count: usize, size: usize, window: usize) -> Done<f64> {
    let message: Message<Data> = Message::builder().data(Binary::from(vec![b'a'; size])).build();
    let message = Sendable::builder().message(message).build();
    let warm = count.div_ceil(5);
    let mut started = Instant::now();
    let mut waiting = VecDeque::with_capacity(window);
    for sent in 0..count + warm {
        if waiting.len() == window {
            accepted(waiting.pop_front().unwrap().await?)?;
        }
        if sent == warm {
            started = Instant::now();
        }
        waiting.push_back(sender.send_batchable_ref(&message).await?);
    }
    for outcome in waiting {
        accepted(outcome.await?)?;
    }
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

fn accepted(outcome: Outcome) -> Done {
    match outcome {
        Outcome::Accepted(_) => Ok(()),
        other => Err(format!("Not accepted: {other:?}").into()),
    }
}

async fn receive(mut receiver: Receiver, count: usize, size: usize) -> Done<f64> {
    let warm = count.div_ceil(5);
    let mut started = Instant::now();
    for received in 0..count + warm {
        if received == warm {
            started = Instant::now();
        }
        let delivery: Delivery<Data> = receiver.recv().await?;
        if delivery.body().0.len() != size {
            return Err("A message of another size".into());
        }
        receiver.accept(&delivery).await?;
    }
    Ok(count as f64 / started.elapsed().as_secs_f64())
}
