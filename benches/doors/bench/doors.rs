//! How fast the transcoder is beside gRPC, a handler written by hand, and rest_over_grpc, and what JSON costs it:
//! `cargo bench -p assistd-doors`.
//!
//! Each door is a process of its own, on loopback, in front of the same service. This process is the load: one HTTP/2
//! connection to each, the same bare client for all, bytes that were made before. Two doors that are compared take turns.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on should say where"
)]

#[path = "doors/client.rs"]
mod client;
#[path = "doors/codec.rs"]
mod codec;
#[path = "../../measure/figures.rs"]
#[expect(dead_code, reason = "shared with the other benchmark")]
mod figures;
#[path = "../../measure/load.rs"]
#[expect(dead_code, reason = "shared with the other benchmark")]
mod load;

use assistd_doors::door;
use assistd_doors::echo::{self, pb};
use client::Client;
use figures::{Figures, Goal};
use load::Load;

/// Requests at once.
const IN_FLIGHT: usize = 64;
/// Streams at once, and the events of each.
const STREAMS: usize = 8;
const EVENTS: i32 = 1_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut arguments = std::env::args();
    if arguments.any(|argument| argument == client::ARGUMENT) {
        // A door is this program again.
        runtime.block_on(door::serve(&arguments.next().unwrap()));
    } else {
        runtime.block_on(measure());
    }
}

async fn measure() {
    let mut figures = Figures::default();
    codec::measure(&mut figures);
    let [grpc, ours, by_hand, theirs] = [
        Client::start("grpc").await,
        Client::start("transcoder").await,
        Client::start("axum").await,
        Client::start("rest_over_grpc").await,
    ];
    let small = Message::new(&echo::small());
    let large = Message::new(&echo::large());
    println!("{} and {} bytes of JSON", small.json.len(), large.json.len());

    let rows = [
        ("Transcoded / gRPC, small, 64 in flight", &small, &grpc, 0.8),
        (
            "Transcoded / gRPC, 64 KiB of JSON, 64 in flight",
            &large,
            &grpc,
            0.6,
        ),
        ("Transcoded / axum by hand, small", &small, &by_hand, 0.7),
        ("Transcoded / axum by hand, 64 KiB of JSON", &large, &by_hand, 0.7),
        ("Transcoded / rest_over_grpc, small", &small, &theirs, 1.0),
        (
            "Transcoded / rest_over_grpc, 64 KiB of JSON",
            &large,
            &theirs,
            1.0,
        ),
    ];
    for (name, message, other, goal) in rows {
        let ratio = Load::new(IN_FLIGHT)
            .ratio(|| message.say(&ours), || message.say(other))
            .await;
        figures.add(name, ratio, "x", Goal::AtLeast(goal));
    }
    let watch = grpc::frame(&pb::WatchRequest { count: EVENTS });
    let least = EVENTS as usize * 20;
    let load = Load::new(STREAMS);
    let ratio = load
        .ratio(
            || ours.events(EVENTS, least),
            || grpc.grpc("/echo.v1.Echo/Watch", &watch, least),
        )
        .await;
    figures.add(
        "SSE / gRPC stream, events per second",
        ratio,
        "x",
        Goal::AtLeast(0.7),
    );
    let ratio = load
        .ratio(|| ours.events(EVENTS, least), || theirs.events(EVENTS, least))
        .await;
    figures.add("SSE / rest_over_grpc's", ratio, "x", Goal::AtLeast(1.0));
    processor_time(&mut figures, [&ours, &grpc, &by_hand, &theirs], &small).await;
    println!("{figures}");
}

/// What a small request costs each door, whatever it costs the load.
async fn processor_time(figures: &mut Figures, doors: [&Client; 4], message: &Message) {
    let names = [
        "CPU of the transcoder per small request",
        "CPU of gRPC per small request",
        "CPU of axum per small request",
        "CPU of rest_over_grpc per small request",
    ];
    for (name, door) in names.into_iter().zip(doors) {
        let (before, ran) = (door.cpu(), Load::new(IN_FLIGHT).run(|| message.say(door)).await);
        let each = (door.cpu() - before).as_secs_f64() * 1e6 / ran.count as f64;
        figures.add(name, each, "us", Goal::None);
    }
}

/// A message as it is sent to each door.
struct Message {
    json: bytes::Bytes,
    frame: bytes::Bytes,
}

impl Message {
    fn new(message: &pb::Message) -> Self {
        Self {
            json: serde_json::to_vec(message).unwrap().into(),
            frame: grpc::frame(message),
        }
    }

    async fn say(&self, door: &Client) {
        if door.is_grpc {
            door.grpc("/echo.v1.Echo/Say", &self.frame, self.frame.len())
                .await;
        } else {
            // What is said is said again in as many bytes, but for fields at their defaults.
            door.json("/v1/say", &self.json, self.json.len() - 16).await;
        }
    }
}

mod grpc {
    use bytes::{BufMut as _, Bytes, BytesMut};
    use prost::Message;

    /// A message with gRPC's prefix.
    pub fn frame(message: &impl Message) -> Bytes {
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.encoded_len()).unwrap());
        message.encode(&mut frame).unwrap();
        frame.freeze()
    }
}
