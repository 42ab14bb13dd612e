//! A container with a queue a connection, which knows one user by SCRAM-SHA-256.

use fe2o3_amqp::acceptor::scram::SingleScramCredential;
use fe2o3_amqp::acceptor::{ConnectionAcceptor, LinkAcceptor, LinkEndpoint, SessionAcceptor};
use fe2o3_amqp::auth::scram::{ScramAuthenticator, ScramVersion};
use fe2o3_amqp::types::messaging::{Body, Message};
use fe2o3_amqp::types::primitives::Value;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, Mutex};

type Queue = Arc<(mpsc::Sender<Message<Body<Value>>>, Mutex<mpsc::Receiver<Message<Body<Value>>>>)>;

/// Prints its port, and accepts until it is killed.
pub async fn run() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream));
    }
}

async fn serve(stream: TcpStream) {
    let credential = Arc::new(SingleScramCredential::new("user", "secret", ScramVersion::Sha256).unwrap());
    let acceptor = ConnectionAcceptor::builder()
        .container_id("fe2o3")
        .sasl_acceptor(ScramAuthenticator::new(credential))
        .build();
    let Ok(mut connection) = acceptor.accept(stream).await else { return };
    let (sender, receiver) = mpsc::channel(10_000);
    let queue: Queue = Arc::new((sender, Mutex::new(receiver)));
    let sessions = SessionAcceptor::new();
    while let Ok(mut session) = sessions.accept(&mut connection).await {
        let queue = queue.clone();
        tokio::spawn(async move {
            let links = LinkAcceptor::new();
            while let Ok(link) = links.accept(&mut session).await {
                tokio::spawn(carry(link, queue.clone()));
            }
        });
    }
}

async fn carry(link: LinkEndpoint, queue: Queue) {
    match link {
        LinkEndpoint::Receiver(mut receiver) => {
            while let Ok(delivery) = receiver.recv::<Body<Value>>().await {
                receiver.accept(&delivery).await.unwrap();
                queue.0.send(delivery.into_message()).await.unwrap();
            }
            let _ = receiver.close().await;
        }
        LinkEndpoint::Sender(mut sender) => {
            let mut messages = queue.1.lock().await;
            loop {
                tokio::select! {
                    Some(message) = messages.recv() => if sender.send(message).await.is_err() { break },
                    _ = sender.on_detach() => break,
                }
            }
            let _ = sender.close().await;
        }
    }
}
