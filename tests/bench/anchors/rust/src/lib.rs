//! As much of AMQP 1.0, over TCP and WebSocket, as it takes to serve a client, or to load a broker, at next to no cost.

pub mod amqp;
pub mod stream;
