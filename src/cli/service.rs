//! `assistd serve`, `assistd mcp-server` and `assistd simulate`: what runs until it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::app::{App, StartError};
use crate::config::{Config, Settings};
use crate::mcp::{self, builtin};
use crate::simulator::{Description, Player, Recorder, Script, Simulator, Timing};

use super::error::Error;

/// What `mcp-server` takes.
#[derive(Debug, Args)]
pub struct McpServerArguments {
    /// Serve streamable HTTP there; without it, standard input and output
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

/// What `simulate` takes.
#[derive(Debug, Args)]
pub struct SimulateArguments {
    /// Where to listen; port 0 takes any free port
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,

    /// What to answer, instead of the built-in behaviour
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "replay"])]
    script: Option<PathBuf>,

    /// Judge requests and answers by this description of OpenAI's API (OpenAPI, as JSON): a request that does not fit is
    /// refused, and either is told on standard error
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "replay"])]
    validate: Option<PathBuf>,

    /// Let requests have fields, parameters and parts of messages of this name too, such as a provider's own; may be
    /// given several times
    #[arg(long, value_name = "NAME", requires = "validate")]
    allow: Vec<String>,

    /// Pass requests on to --upstream and append to this file what it says; keys are passed on, not written
    #[arg(long, value_name = "FILE", requires = "upstream", conflicts_with = "replay")]
    record: Option<PathBuf>,

    /// The provider to record, as a base URL
    #[arg(long, value_name = "URL", requires = "record")]
    upstream: Option<String>,

    /// Answer what was recorded in this file, and nothing else
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,

    /// Answer as slowly as when it was recorded
    #[arg(long, requires = "replay")]
    recorded_timing: bool,
}

/// Runs the service until a signal stops it; a second one ends it at once. A hangup has the list of MCP servers read
/// again.
pub async fn serve(settings: &Settings) -> Result<(), Error> {
    let config = Config::from_settings(settings)?;
    let mut signals = Signals::listen()?;
    let app = App::bind(config).await.map_err(start_error)?;
    eprint!("{}", app.banner());
    let mut hangups = signal(SignalKind::hangup())?;
    let reload = app.reload();
    let (stop, stopped) = oneshot::channel();
    let serving = app.run(async {
        let _ = stopped.await;
    });
    tokio::pin!(serving);
    loop {
        tokio::select! {
            () = &mut serving => return Ok(()),
            () = signals.next() => break,
            _ = hangups.recv() => reload.notify_one(),
        }
    }
    // The receiver lives in the future that is polled below.
    let _ = stop.send(());
    eprintln!("assistd: stopping; a second signal stops at once");
    tokio::select! {
        () = &mut serving => Ok(()),
        () = signals.next() => Err(Error::Interrupted),
    }
}

fn start_error(error: StartError) -> Error {
    match error {
        StartError::Configuration(text) => Error::Usage(text),
        StartError::Listen { address, source } => cannot_listen(address, &source),
        error => Error::service(error),
    }
}

/// Runs the built-in MCP server until its input ends, or over HTTP until a signal stops it.
pub async fn mcp_server(arguments: McpServerArguments) -> Result<(), Error> {
    match arguments.listen {
        None => builtin::serve_stdio().await.map_err(Error::service),
        Some(address) => {
            let listener = TcpListener::bind(address)
                .await
                .map_err(|error| cannot_listen(address, &error))?;
            let stop = stop_signal()?;
            tracing::info!("mcp server listening on http://{}/mcp", listener.local_addr()?);
            builtin::serve_http(listener, stop).await.map_err(Error::service)
        }
    }
}

/// Waits for the end of standard input, then ends the process groups that it named last.
pub fn mcp_watchdog() {
    mcp::watch(io::stdin().lock());
}

/// Runs the simulator until a signal stops it.
pub async fn simulate(arguments: SimulateArguments) -> Result<(), Error> {
    let stop = stop_signal()?;
    let address = arguments.listen;
    let simulator = start(arguments)
        .await?
        .map_err(|error| cannot_listen(address, &error))?;
    tracing::info!("simulator listening, base url {}", simulator.base_url());
    simulator.serve_until(stop).await;
    Ok(())
}

async fn start(arguments: SimulateArguments) -> Result<io::Result<Simulator>, Error> {
    let address = arguments.listen;
    if let (Some(path), Some(upstream)) = (&arguments.record, &arguments.upstream) {
        let recorder = Recorder::new(upstream, path).map_err(|error| Error::Usage(error.to_string()))?;
        return Ok(Simulator::record(address, recorder).await);
    }
    if let Some(path) = &arguments.replay {
        let timing = match arguments.recorded_timing {
            true => Timing::AsRecorded,
            false => Timing::AtOnce,
        };
        let player = Player::read(&read(path)?, timing)
            .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
        return Ok(Simulator::replay(address, player).await);
    }
    let script = match &arguments.script {
        Some(path) => read_script(path)?,
        None => Script::stand_in(),
    };
    let script = match &arguments.validate {
        Some(path) => {
            let description = Description::read(&read(path)?)
                .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
            let allowed = arguments.allow.iter();
            let description = allowed.fold(description, |described, name| described.allowing(name));
            script.described_by(&Arc::new(description))
        }
        None => script,
    };
    Ok(Simulator::bind(address, script).await)
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::Usage(format!("cannot read {}: {error}", path.display())))
}

fn read_script(path: &Path) -> Result<Script, Error> {
    Script::from_json(&read(path)?).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Error {
    let mut text = format!("cannot listen on {address}: {error}");
    if error.kind() == io::ErrorKind::AddrInUse {
        let any = SocketAddr::new(address.ip(), 0);
        text.push_str(&format!(
            "; choose another port, or any that is free with `--listen {any}`"
        ));
    }
    Error::service(text)
}

/// Resolves at the first SIGTERM or Ctrl-C. From here on neither ends the process by itself.
fn stop_signal() -> Result<impl Future<Output = ()>, Error> {
    let mut signals = Signals::listen()?;
    Ok(async move { signals.next().await })
}

/// SIGTERM and Ctrl-C.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_cannot_be_used_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("script.json");
        let said = |path: &Path| read_script(path).err().map(|error| error.to_string()).unwrap();
        assert!(said(&path).starts_with("cannot read "), "{}", said(&path));
        std::fs::write(&path, r#"{"trns": []}"#).unwrap();
        assert!(
            said(&path).contains("script.json: unknown field `trns`"),
            "{}",
            said(&path)
        );
        std::fs::write(&path, r#"{"turns": []}"#).unwrap();
        assert!(read_script(&path).is_ok());
        let impossible = [
            (
                r#"{"pace": {"token_ms": -1}}"#,
                "pace.token_ms: a number below zero",
            ),
            (
                r#"{"pace": {"first_ms": {"uniform": {"least": 2, "most": 1}}}}"#,
                "pace.first_ms: `least` is more than `most`",
            ),
            (
                r#"{"turns": [{"pace": {"token_ms": {"lognormal": {"median": 1, "sigma": -1}}}, "answer": "hang"}]}"#,
                "turns[0].pace.token_ms: a number below zero",
            ),
            (
                r#"{"turns": [{"answer": "hang"}, {"times": 0, "answer": "hang"}]}"#,
                "turns[1].times: a turn answers at least one request",
            ),
            (
                r#"{"storms": [{"for": {"requests": 1}, "status": 200}]}"#,
                "storms[0].status: 200 is no refusal",
            ),
            (
                r#"{"storms": [{"for": {"ms": 0}}]}"#,
                "storms[0].for: nothing is refused",
            ),
            (
                r#"{"turns": [{"answer": {"raw": {"status": 99}}}]}"#,
                "turns[0].answer.raw.status: 99 is not from 200 to 599",
            ),
            (
                r#"{"turns": [{"answer": {"raw": {"status": 204, "body": "x"}}}]}"#,
                "turns[0].answer.raw.body: status 204 has none",
            ),
            (
                r#"{"turns": [{"answer": {"raw": {"status": 400, "headers": [["a b", "c"]]}}}]}"#,
                "turns[0].answer.raw.headers[0]: \"a b\" cannot be sent",
            ),
            (
                r#"{"turns": [{"answer": {"say": {"faults": [{"cut": {"deltas": 1}}, {"hang": {"bytes": 9}}]}}}]}"#,
                "turns[0].answer.say.faults[1]: the answer ends twice",
            ),
            (
                r#"{"turns": [{"answer": {"say": {"faults": [{"stop": {"within": 0}}]}}}]}"#,
                "turns[0].answer.say.faults[0]: `within` counts from 1",
            ),
            (
                r#"{"turns": [{"answer": {"say": {"faults": [{"without": ["id"]}]}}}]}"#,
                "turns[0].answer.say.faults[0]: a path begins with `/`",
            ),
        ];
        for (script, what) in impossible {
            std::fs::write(&path, script).unwrap();
            assert!(said(&path).contains(what), "{script}: {}", said(&path));
        }
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let arguments = SimulateArguments {
            listen: address,
            script: None,
            validate: None,
            allow: Vec::new(),
            record: None,
            upstream: None,
            replay: None,
            recorded_timing: false,
        };
        let said = simulate(arguments).await.unwrap_err().to_string();
        assert!(
            said.starts_with(&format!("cannot listen on {address}: ")),
            "{said}"
        );
        assert!(said.ends_with("`--listen 127.0.0.1:0`"), "{said}");
    }
}
