//! What the pool of MCP servers costs, as ratios against bare baselines: `cargo bench --bench mcp`.
//!
//! The service, its MCP servers and a bare tonic server are processes of their own, on loopback; this process is the
//! load, and the bare rmcp client that the service is compared with. `docs/benchmarks.md` says what the figures mean.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on should say where"
)]

#[path = "speed/echo.rs"]
mod echo;
mod measure;
#[path = "mcp/proxy.rs"]
mod proxy;
#[path = "mcp/subjects.rs"]
mod subjects;
#[path = "mcp/tools.rs"]
mod tools;

use std::process::Command;
use std::time::Instant;

use futures::FutureExt;
use measure::figures::{Figures, Goal};
use measure::load::{self, Load, median};
use measure::process::{self, Process, assistd};
use serde_json::{Map, Value, json};
use subjects::{Bare, Service};

/// Calls at once where throughput is measured, and one after the other where latency is.
const IN_FLIGHT: usize = 64;
const ONE_BY_ONE: usize = 400;
/// The servers of a large list, and the tools of each.
const SERVERS: usize = 100;
const TOOLS: usize = 50;
/// The servers of a start, and how long each takes for every answer.
const SLOW_SERVERS: usize = 50;
const SLOW_MS: u64 = 100;

fn main() {
    // The servers are this program again.
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == echo::ARGUMENT) {
        return echo::serve();
    }
    assistd::model::install_tls_provider();
    if proxy::serve_if_asked(&arguments) {
        return;
    }
    if let Some(options) = tools::Options::of(&arguments) {
        return tools::serve(options);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut figures = Figures::default();
        calls(&mut figures).await;
        large_list(&mut figures).await;
        start(&mut figures);
        println!("{figures}");
    });
}

/// This program as one of its servers.
fn this(arguments: &[String]) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments);
    Process::start(command, "listening on ")
}

/// CallTool against calls of a bare rmcp client, over both transports.
async fn calls(figures: &mut Figures) {
    let files = tempfile::tempdir().unwrap();
    let simulator = process::simulator(None);
    let mut serve = assistd();
    serve.args(["mcp-server", "--listen", "127.0.0.1:0"]);
    let server = Process::start(serve, "listening on ");
    let servers = json!({
        "stdio": {"command": env!("CARGO_BIN_EXE_assistd"), "args": ["mcp-server"]},
        "http": {"url": server.url},
        "http4": {"url": server.url, "connections": 4},
    });
    let service = Process::start(process::service(&simulator, &servers, files.path()), " on ");
    let client = Service::connect(&service.url).await;
    let over_http = Bare::over_http(&server.url).await;
    let over_stdio = Bare::over_stdio().await;
    let stdio_proxy = this(&[proxy::STDIO.to_owned()]);
    let http_proxy = this(&[format!("{}{}", proxy::HTTP, server.url)]);
    for (name, tool, bare, proxy) in [
        ("stdio", "stdio__echo", &over_stdio, &stdio_proxy),
        ("HTTP", "http__echo", &over_http, &http_proxy),
        ("HTTP, 4 connections", "http4__echo", &over_http, &http_proxy),
    ] {
        let proxy = Service::connect(&proxy.url).await;
        let direct = async || drop(bare.call().await);
        let ratio = Load::new(IN_FLIGHT).ratio(|| client.call(tool), direct).await;
        let figure = format!("CallTool over {name} / bare rmcp call, 64 in flight");
        figures.add(figure, ratio, "x", Goal::AtLeast(0.8));
        let ratio = Load::new(IN_FLIGHT)
            .ratio(|| client.call(tool), || proxy.call(tool))
            .await;
        let figure = format!("CallTool over {name} / the least proxy, 64 in flight");
        figures.add(figure, ratio, "x", Goal::AtLeast(0.8));
        let [ours, least, direct] = load::latencies(
            ONE_BY_ONE,
            [
                &|| client.call(tool).boxed(),
                &|| proxy.call(tool).boxed(),
                &|| direct().boxed(),
            ],
        )
        .await;
        let figure = format!("CallTool over {name} added over a bare call, 1 in flight");
        figures.add(figure, ours - direct, "ms", Goal::AtMost(0.2));
        let figure = format!("CallTool over {name} added over the least proxy, 1 in flight");
        figures.add(figure, ours - least, "ms", Goal::AtMost(0.2));
        let (cpu, ran) = (
            service.cpu(),
            Load::new(IN_FLIGHT).run(|| client.call(tool)).await,
        );
        let each = (service.cpu() - cpu).as_secs_f64() * 1e3 / ran.count as f64;
        figures.add(
            format!("CPU of the service per CallTool over {name}"),
            each,
            "ms",
            Goal::None,
        );
    }
}

/// A page of ListTools of many servers with many tools against an echo of as many bytes.
async fn large_list(figures: &mut Figures) {
    let files = tempfile::tempdir().unwrap();
    let simulator = process::simulator(None);
    let server = this(&tools::arguments(TOOLS, 0));
    let servers = listed(SERVERS, &server);
    let service = Process::start(process::service(&simulator, &servers, files.path()), " on ");
    let bare = this(&[echo::ARGUMENT.to_owned()]);
    let channel = process::channel(&bare.url).await;
    let client = Service::connect(&service.url).await;
    client.has_tools(SERVERS * TOOLS).await;
    figures.add(
        format!("Resident memory with {SERVERS} servers of {TOOLS} tools"),
        service.resident_mib(),
        "MiB",
        Goal::None,
    );
    let bytes = bytes::Bytes::from(vec![0; client.page_bytes().await]);
    let ratio = Load::new(IN_FLIGHT)
        .ratio(
            || client.list_tools(),
            || echo::call(channel.clone(), bytes.clone()),
        )
        .await;
    figures.add(
        format!(
            "ListTools of {SERVERS} x {TOOLS} / bare echo of {} KiB, 64 in flight",
            bytes.len() / 1024
        ),
        ratio,
        "x",
        Goal::AtLeast(0.7),
    );
}

/// From the start of the process to its address, with one server and with many that take as long.
fn start(figures: &mut Figures) {
    let server = this(&tools::arguments(1, SLOW_MS));
    let simulator = process::simulator(None);
    let time = |count: usize| {
        let times = (0..5).map(|_| {
            let files = tempfile::tempdir().unwrap();
            let command = process::service(&simulator, &listed(count, &server), files.path());
            let started = Instant::now();
            drop(Process::start(command, " on "));
            started.elapsed().as_secs_f64()
        });
        median(times.collect())
    };
    let (one, many) = (time(1), time(SLOW_SERVERS));
    figures.add("Start with one slow server", one, "s", Goal::None);
    figures.add(
        format!("Start with {SLOW_SERVERS} slow servers / with one"),
        many / one,
        "x",
        Goal::AtMost(2.0),
    );
}

/// So many entries of one server.
fn listed(count: usize, server: &Process) -> Value {
    let entries = (0..count).map(|number| (format!("s{number}"), json!({"url": server.url})));
    Value::Object(entries.collect::<Map<_, _>>())
}
