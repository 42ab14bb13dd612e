//! fe2o3-amqp against webamqp: `client HOST:PORT tcp|ws` prints a line a check; `serve` prints its port and accepts.

mod client;
mod serve;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["client", place, transport] => client::run(place, transport == "ws").await,
        ["serve"] => serve::run().await,
        _ => panic!("client HOST:PORT tcp|ws, or serve"),
    }
}
