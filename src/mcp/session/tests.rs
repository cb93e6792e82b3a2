//! How long a call is waited for, in a time that passes only when everybody waits.

use std::collections::BTreeMap;

use rmcp::model::{
    CallToolResponse, CallToolResult, ContentBlock, ProgressNotificationParam, ServerCapabilities,
    ServerConfig as Told, Tool,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RequestContext, RoleServer};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{ServerHandler, ServiceExt};

use super::super::config::{Endpoint, Process};
use super::super::tap::{Changes, Tap};
use super::*;

/// A server whose calls report something so often, and then are over.
#[derive(Clone, Copy)]
struct Reporter {
    every: Duration,
    reports: u32,
    /// What each report adds: nothing, from one that is only alive.
    step: f64,
}

impl ServerHandler for Reporter {
    fn get_info(&self) -> Told {
        Told::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        _request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let token = context.meta.get_progress_token().expect("a token");
        for number in 0..self.reports {
            sleep(self.every).await;
            let report = ProgressNotificationParam::new(token.clone(), f64::from(number) * self.step);
            let _ = context.peer.notify_progress(report).await;
        }
        sleep(self.every).await;
        Ok(CallToolResult::success(vec![ContentBlock::text("done")]).into())
    }
}

fn config(silence: Duration, total: Duration) -> ServerConfig {
    let process = Process {
        command: "none".into(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: None,
    };
    let mut config = ServerConfig::new("a", Endpoint::Stdio(process));
    config.timeouts = Timeouts {
        all: Some(silence),
        tools: BTreeMap::new(),
        total,
    };
    config
}

/// What a call of such a server comes to, and how long it took.
async fn called(reporter: Reporter, config: &ServerConfig) -> (Result<ToolOutput, Error>, Duration) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let serving = tokio::spawn(async move {
        let running = reporter.serve(far).await.expect("a client");
        let _ = running.waiting().await;
    });
    let desk = Arc::new(Desk::new(config));
    let (input, output) = tokio::io::split(near);
    let transport = AsyncRwTransport::new_client(input, output);
    let tap = Tap::new(transport, config.name.clone(), Changes::default(), desk.clone());
    let opening =
        Client::new(desk.clone(), config).serve_with_lifecycle(tap, ClientLifecycleMode::Initialize);
    let running = opening.await.expect("a session");
    let (session, _signals) = Session::new(&running, config, desk).await;
    let tool = convert::description(config, Tool::new("work", "", Arc::default())).expect("a tool");
    let began = Instant::now();
    let outcome = session
        .call(&tool, Map::new(), Arc::new(|_: Progress| {}), None)
        .await;
    let took = began.elapsed();
    drop(running);
    serving.abort();
    (outcome, took)
}

#[tokio::test(start_paused = true)]
async fn a_report_of_progress_is_a_sign_of_life_and_no_more_time_in_all() {
    let seconds = Duration::from_secs_f64;
    // How often it reports, how many times, by how much, and what comes of it after how many seconds: a second of silence is
    // too long, and so are twenty in all.
    let cases = [
        (0.9, 0, 1.0, Ok("done"), 0.9),
        (0.9, 9, 1.0, Ok("done"), 9.0),
        (0.9, 9, 0.0, Ok("done"), 9.0),
        (1.1, 9, 1.0, Err("was silent for 1000 ms"), 1.0),
        (0.9, 99, 1.0, Err("did not come to an end within 20000 ms"), 20.0),
    ];
    for (every, reports, step, expected, took_seconds) in cases {
        let reporter = Reporter {
            every: seconds(every),
            reports,
            step,
        };
        let (outcome, took) = called(reporter, &config(seconds(1.0), seconds(20.0))).await;
        let what = format!("{reports} reports, every {every} s, by {step}");
        match expected {
            Ok(text) => assert_eq!(outcome.expect(&what).text(), text, "{what}"),
            Err(text) => {
                let error = outcome.expect_err(&what);
                assert_eq!(error.reason(), Reason::DeadlineExceeded, "{what}");
                assert!(error.message().contains(text), "{what}: {error}");
            }
        }
        let off = took.as_secs_f64() - took_seconds;
        assert!((0.0..0.1).contains(&off), "{what}: {took:?}");
    }
}
