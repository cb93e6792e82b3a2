//! How fast the service is, as ratios against raw baselines taken in the same run: `cargo bench --bench speed`.
//!
//! The service, the simulator that is its model, an MCP server and a bare tonic server are processes of their own,
//! on loopback; this process is the load. Two things that are compared take turns, a few seconds each, so that
//! whatever else the machine does hits both. `docs/benchmarks.md` says what the figures mean.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on should say where"
)]

#[path = "speed/echo.rs"]
mod echo;
mod measure;
#[path = "speed/stack.rs"]
mod stack;
#[path = "speed/subjects.rs"]
mod subjects;

use std::time::{Duration, Instant};

use futures::FutureExt;
use measure::figures::{Figures, Goal};
use measure::load::{self, Load, median};
use stack::Stack;
use subjects::Subjects;

/// Requests at once where throughput is measured.
const IN_FLIGHT: usize = 64;
/// Requests one after the other where latency is measured.
const ONE_BY_ONE: usize = 400;
/// Streams that are open at once where memory is measured.
const OPEN_STREAMS: usize = 5_000;

fn main() {
    // The bare server is this program again.
    if std::env::args().any(|argument| argument == echo::ARGUMENT) {
        return echo::serve();
    }
    assistd::model::install_tls_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let mut figures = Figures::default();
    let stack = Stack::start();
    let subjects = Subjects::connect(&stack).await;
    figures.add(
        "resident memory, idle",
        stack.service.resident_mib(),
        "MiB",
        Goal::AtMost(25.0),
    );
    small_calls(&mut figures, &subjects).await;
    chats(&mut figures, &stack, &subjects).await;
    chats_with_a_call(&mut figures, &stack, &subjects).await;
    first_text(&mut figures, &subjects).await;
    doors(&mut figures, &subjects).await;
    drop(subjects);
    drop(stack);
    open_streams(&mut figures).await;
    start(&mut figures).await;
    println!("{figures}");
}

/// Health and ListTools against an echo of as many bytes by a bare tonic server.
async fn small_calls(figures: &mut Figures, subjects: &Subjects) {
    let health = subjects.health_bytes().await;
    let ratio = Load::new(IN_FLIGHT)
        .ratio(|| subjects.health(), || subjects.bare(health))
        .await;
    figures.add("Health / bare echo, 64 in flight", ratio, "x", Goal::AtLeast(0.7));
    let tools = subjects.tools_bytes().await;
    let ratio = Load::new(IN_FLIGHT)
        .ratio(|| subjects.list_tools(), || subjects.bare(tools))
        .await;
    figures.add(
        "ListTools / bare echo, 64 in flight",
        ratio,
        "x",
        Goal::AtLeast(0.7),
    );
}

/// Chat over gRPC against asking the simulator directly.
async fn chats(figures: &mut Figures, stack: &Stack, subjects: &Subjects) {
    let load = Load::new(IN_FLIGHT);
    let ratio = load
        .ratio(|| subjects.chat("hello"), || subjects.direct("hello"))
        .await;
    figures.add("Chat / direct, 64 in flight", ratio, "x", Goal::AtLeast(0.4));
    let (cpu, chats) = (stack.service.cpu(), load.run(|| subjects.chat("hello")).await);
    let each = (stack.service.cpu() - cpu).as_secs_f64() * 1e3 / chats.count as f64;
    figures.add(
        "Chats per second, 64 in flight",
        chats.per_second(),
        "/s",
        Goal::None,
    );
    figures.add("CPU of the service per chat", each, "ms", Goal::AtMost(0.4));
    let [chat, direct] = load::latencies(
        ONE_BY_ONE,
        [&|| subjects.chat("hello").boxed(), &|| {
            subjects.direct("hello").boxed()
        }],
    )
    .await;
    figures.add(
        "Chat added over direct, 1 in flight",
        chat - direct,
        "ms",
        Goal::AtMost(0.8),
    );
}

/// A Chat with one MCP call over streamable HTTP against two direct requests and a bare call.
async fn chats_with_a_call(figures: &mut Figures, stack: &Stack, subjects: &Subjects) {
    let load = Load::new(IN_FLIGHT);
    let (cpu, chats) = (
        stack.service.cpu(),
        load.run(|| subjects.chat("echo hello")).await,
    );
    let each = (stack.service.cpu() - cpu).as_secs_f64() * 1e3 / chats.count as f64;
    figures.add("CPU per chat with one MCP call", each, "ms", Goal::AtMost(1.0));
    let [chat, direct, call] = load::latencies(
        ONE_BY_ONE,
        [
            &|| subjects.chat("echo hello").boxed(),
            &|| subjects.direct("hello").boxed(),
            &|| subjects.bare_tool_call().boxed(),
        ],
    )
    .await;
    let added = chat - 2.0 * direct - call;
    figures.add(
        "Chat with one MCP call added over its parts",
        added,
        "ms",
        Goal::AtMost(1.2),
    );
}

async fn first_text(figures: &mut Figures, subjects: &Subjects) {
    let mut added = Vec::new();
    for _ in 0..ONE_BY_ONE {
        let ours = subjects.first_text("hello there").await;
        let direct = subjects.direct_first_text("hello there").await;
        added.push((ours.as_secs_f64() - direct.as_secs_f64()) * 1e3);
    }
    figures.add(
        "Time to first text added over direct",
        median(added),
        "ms",
        Goal::AtMost(0.7),
    );
}

async fn doors(figures: &mut Figures, subjects: &Subjects) {
    let ratio = Load::new(IN_FLIGHT)
        .ratio(|| subjects.json_chat("hello"), || subjects.chat("hello"))
        .await;
    figures.add(
        "Chat over HTTP/JSON / over gRPC, 64 in flight",
        ratio,
        "x",
        Goal::AtLeast(0.8),
    );
}

/// Memory for each StreamChat that is open, with a model that has begun to answer and goes no further.
async fn open_streams(figures: &mut Figures) {
    let stack = Stack::start_hanging();
    let before = stack.service.resident_mib();
    let streams = subjects::open_streams(&stack, OPEN_STREAMS).await;
    let each = (stack.service.resident_mib() - before) * 1024.0 / streams.len() as f64;
    figures.add(
        "Memory per open StreamChat, 5,000 open",
        each,
        "KiB",
        Goal::AtMost(40.0),
    );
}

/// From the start of the process to the first answer of a Chat.
async fn start(figures: &mut Figures) {
    let mut times = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        let (service, _files) = stack::service_alone();
        subjects::first_answer(&service).await;
        times.push(started.elapsed().as_secs_f64());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    figures.add("Start to first answer", median(times), "s", Goal::AtMost(0.2));
}
