//! A client of our broker.

use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::sasl_profile::{SaslProfile, SaslScramSha256, SaslScramSha512};
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::transaction::{Controller, Transaction, TransactionDischarge, TransactionPosting, TransactionRetirement};
use fe2o3_amqp::types::messaging::{Body, Message, Modified, Source};
use fe2o3_amqp::types::primitives::{Binary, OrderedMap, Value};
use fe2o3_amqp::{Connection, Receiver, Sender, Session};
use fe2o3_amqp_ws::WebSocketStream;
use std::error::Error;
use std::future::Future;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

type Outcome = Result<(), Box<dyn Error>>;

struct Place {
    address: String,
    websocket: bool,
}

impl Place {
    async fn open(&self, profile: Option<SaslProfile>) -> Result<ConnectionHandle<()>, Box<dyn Error>> {
        let mut builder = Connection::builder().container_id("rust").max_frame_size(65_536u32);
        if let Some(profile) = profile {
            builder = builder.sasl_profile(profile);
        }
        if self.websocket {
            let stream = WebSocketStream::connect(format!("ws://{}", self.address)).await?;
            Ok(builder.open_with_stream(stream).await?)
        } else {
            Ok(builder.open_with_stream(TcpStream::connect(&self.address).await?).await?)
        }
    }
}

async fn pair(session: &mut SessionHandle<()>, queue: &str) -> Result<(Sender, Receiver), Box<dyn Error>> {
    let sender = Sender::attach(session, format!("to-{queue}"), queue).await?;
    let receiver = Receiver::attach(session, format!("from-{queue}"), queue).await?;
    Ok((sender, receiver))
}

// A connection that is closed at once overtakes the dispositions of its sessions.
async fn end(mut session: SessionHandle<()>, mut connection: ConnectionHandle<()>) -> Outcome {
    session.end().await?;
    connection.close().await?;
    Ok(())
}

/// Runs all checks.
pub async fn run(address: &str, websocket: bool) {
    let place = Place { address: address.to_string(), websocket };
    tell("round trip", round_trip(&place)).await;
    tell("bodies", bodies(&place)).await;
    tell("5 MB", large(&place)).await;
    tell("release, modify, reject", outcomes(&place)).await;
    tell("2000 messages", many(&place)).await;
    tell("dynamic node", dynamic(&place)).await;
    tell("transactions", transactions(&place)).await;
    tell("SCRAM-SHA-256", login(&place, SaslScramSha256::new("user", "secret").into())).await;
    tell("SCRAM-SHA-512", login(&place, SaslScramSha512::new("user", "secret").into())).await;
    tell("wrong password", refused(&place)).await;
}

async fn tell(name: &str, check: impl Future<Output = Outcome>) {
    match timeout(Duration::from_secs(20), check).await {
        Ok(Ok(())) => println!("ok {name}"),
        Ok(Err(error)) => println!("FAILED {name}: {}", format!("{error:?}").replace('\n', " ")),
        Err(_) => println!("FAILED {name}: no end in time"),
    }
}

async fn round_trip(place: &Place) -> Outcome {
    let mut connection = place.open(None).await?;
    let mut session = Session::begin(&mut connection).await?;
    let (mut sender, mut receiver) = pair(&mut session, "rust-one").await?;
    sender.send("one coffee").await?.accepted_or("not accepted")?;
    let delivery = receiver.recv::<String>().await?;
    assert_eq!(delivery.body(), "one coffee");
    receiver.accept(&delivery).await?;
    sender.close().await?;
    receiver.close().await?;
    end(session, connection).await
}

async fn bodies(place: &Place) -> Outcome {
    let mut connection = place.open(None).await?;
    let mut session = Session::begin(&mut connection).await?;
    let (mut sender, mut receiver) = pair(&mut session, "rust-bodies").await?;
    let mut map = OrderedMap::new();
    map.insert(Value::from("key"), Value::Ulong(u64::MAX));
    for value in [Value::from("é"), Value::Bool(true), Value::Double(0.5.into()), Value::Long(i64::MIN), Value::Map(map)] {
        sender.send(value.clone()).await?.accepted_or("not accepted")?;
        let delivery = receiver.recv::<Value>().await?;
        receiver.accept(&delivery).await?;
        assert_eq!(delivery.body(), &value);
    }
    end(session, connection).await
}

async fn large(place: &Place) -> Outcome {
    let mut connection = place.open(None).await?;
    let mut session = Session::begin(&mut connection).await?;
    let (mut sender, mut receiver) = pair(&mut session, "rust-large").await?;
    let bytes: Vec<u8> = (0..5_000_000u32).map(|n| n as u8).collect();
    let message = Message::builder().data(Binary::from(bytes.clone())).build();
    sender.send(message).await?.accepted_or("not accepted")?;
    let delivery = receiver.recv::<Body<Value>>().await?;
    receiver.accept(&delivery).await?;
    let Body::Data(data) = delivery.body() else { return Err("no data".into()) };
    assert!(data.iter().flat_map(|one| one.0.iter()).eq(bytes.iter()));
    end(session, connection).await
}

async fn outcomes(place: &Place) -> Outcome {
    let mut connection = place.open(None).await?;
    let mut session = Session::begin(&mut connection).await?;
    let (mut sender, mut receiver) = pair(&mut session, "rust-outcomes").await?;
    sender.send("a").await?.accepted_or("not accepted")?;
    let first = receiver.recv::<String>().await?;
    receiver.release(&first).await?;
    let second = receiver.recv::<String>().await?;
    let failed = Modified { delivery_failed: Some(true), undeliverable_here: None, message_annotations: None };
    receiver.modify(&second, failed).await?;
    let third = receiver.recv::<String>().await?;
    let count = third.message().header.as_ref().map(|header| header.delivery_count);
    assert_eq!(count, Some(1));
    receiver.reject(&third, None).await?;
    sender.send("b").await?.accepted_or("not accepted")?;
    let next = receiver.recv::<String>().await?;
    assert_eq!(next.body(), "b");
    receiver.accept(&next).await?;
    end(session, connection).await
}

async fn many(place: &Place) -> Outcome {
    let mut connection = place.open(None).await?;
    let mut session = Session::begin(&mut connection).await?;
    let (mut sender, mut receiver) = pair(&mut session, "rust-many").await?;
    let sending = tokio::spawn(async move {
        let mut outcomes = Vec::new();
        for n in 0..2_000u32 {
            outcomes.push(sender.send_batchable(n).await.unwrap());
        }
        for outcome in outcomes {
            outcome.await.unwrap().accepted_or("not accepted").unwrap();
        }
    });
    for n in 0..2_000u32 {
        let delivery = receiver.recv::<u32>().await?;
        assert_eq!(delivery.body(), &n);
        receiver.accept(&delivery).await?;
    }
    sending.await?;
    end(session, connection).await
}

async fn dynamic(place: &Place) -> Outcome {
    let mut connection = place.open(None).await?;
    let mut session = Session::begin(&mut connection).await?;
    let source = Source::builder().dynamic(true).build();
    let mut receiver = Receiver::builder().name("dynamic").source(source).attach(&mut session).await?;
    let address = receiver.source().as_ref().and_then(|source| source.address.clone()).ok_or("no address")?;
    let mut sender = Sender::attach(&mut session, "to-dynamic", address).await?;
    sender.send("there").await?.accepted_or("not accepted")?;
    let delivery = receiver.recv::<String>().await?;
    assert_eq!(delivery.body(), "there");
    receiver.accept(&delivery).await?;
    end(session, connection).await
}

async fn transactions(place: &Place) -> Outcome {
    let mut connection = place.open(None).await?;
    let mut session = Session::begin(&mut connection).await?;
    let controller = Controller::attach(&mut session, "controller").await?;
    let (mut sender, mut receiver) = pair(&mut session, "rust-tx").await?;
    let lost = Transaction::declare(&controller, None).await?;
    lost.post(&mut sender, "never").await?.accepted_or("not accepted")?;
    lost.rollback().await?;
    let kept = Transaction::declare(&controller, None).await?;
    kept.post(&mut sender, "one").await?.accepted_or("not accepted")?;
    kept.post(&mut sender, "two").await?.accepted_or("not accepted")?;
    kept.commit().await?;
    let one = receiver.recv::<String>().await?;
    assert_eq!(one.body(), "one");
    let taken = Transaction::declare(&controller, None).await?;
    taken.accept(&mut receiver, &one).await?;
    taken.commit().await?;
    let two = receiver.recv::<String>().await?;
    assert_eq!(two.body(), "two");
    receiver.accept(&two).await?;
    controller.close().await?;
    end(session, connection).await
}

async fn login(place: &Place, profile: SaslProfile) -> Outcome {
    let mut connection = place.open(Some(profile)).await?;
    let mut session = Session::begin(&mut connection).await?;
    let (mut sender, mut receiver) = pair(&mut session, "rust-login").await?;
    sender.send("known").await?.accepted_or("not accepted")?;
    let delivery = receiver.recv::<String>().await?;
    receiver.accept(&delivery).await?;
    end(session, connection).await
}

async fn refused(place: &Place) -> Outcome {
    match place.open(Some(SaslScramSha256::new("user", "wrong").into())).await {
        Ok(_) => Err("it was let in".into()),
        Err(error) if format!("{error:?}").contains("Sasl") => Ok(()),
        Err(error) => Err(error),
    }
}
