//! The child process of a stdio server: in a process group of its own, ended with everything that it has started.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop, ProcessGroup};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::config::Process;
use super::watchdog::{Guard, Watchdog};

/// How long a child may take to end after its standard input was closed, which is how MCP asks it to.
pub(super) const END_OF_INPUT_GRACE: Duration = Duration::from_millis(1500);
/// How long it may take after SIGTERM.
pub(super) const TERMINATE_GRACE: Duration = Duration::from_millis(1000);
/// How long the system may take to end it after SIGKILL.
const KILL_GRACE: Duration = Duration::from_millis(1000);
/// A longer line of its standard error is logged in pieces.
const LINE_LIMIT_BYTES: u64 = 4096;
/// SIGTERM, which POSIX numbers 15 on every system.
#[cfg(unix)]
const SIGTERM: i32 = 15;

/// A running child process, the leader of its group.
#[derive(Debug)]
pub(super) struct Child {
    process: Box<dyn ChildWrapper>,
    /// Ends the group should this process be killed.
    _guard: Option<Guard>,
}

/// The ends of a child's standard streams.
pub(super) struct Streams {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl Child {
    /// Starts a process; with a watchdog, it ends even if this process is killed.
    ///
    /// # Errors
    /// Why it cannot be started, in words for operators.
    pub(super) fn start(
        process: &Process,
        watchdog: Option<&Arc<Watchdog>>,
    ) -> Result<(Self, Streams), String> {
        let mut command = Command::new(&process.command);
        command
            .args(&process.args)
            .env_clear()
            .envs(process.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(cwd) = &process.cwd {
            command.current_dir(cwd);
        }
        let mut command = CommandWrap::from(command);
        command.wrap(ProcessGroup::leader()).wrap(KillOnDrop);
        let mut child = command.spawn().map_err(|error| refusal(process, &error))?;
        let guard = watchdog.zip(child.id()).map(|(watchdog, id)| watchdog.guard(id));
        let streams = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        match streams {
            (Some(stdin), Some(stdout), Some(stderr)) => {
                let streams = Streams {
                    stdin,
                    stdout,
                    stderr,
                };
                let child = Self {
                    process: child,
                    _guard: guard,
                };
                Ok((child, streams))
            }
            _ => Err("the process has no standard streams".to_owned()),
        }
    }

    /// Waits for its end and says how it ended.
    pub(super) async fn exited(&mut self) -> String {
        match self.process.inner_mut().wait().await {
            Ok(status) => describe(status),
            Err(error) => format!("the process is lost: {error}"),
        }
    }

    /// Ends it and every process of its group. Its standard input must be closed already.
    ///
    /// First it may end by itself, then it is asked to by SIGTERM, then the group is killed; what a child that is
    /// gone has left behind in its group is killed in any case.
    pub(super) async fn end(mut self) {
        if timeout(END_OF_INPUT_GRACE, self.exited()).await.is_err() {
            #[cfg(unix)]
            let asked = self.process.signal(SIGTERM);
            #[cfg(not(unix))]
            let asked: io::Result<()> = Err(io::ErrorKind::Unsupported.into());
            if asked.is_ok() {
                let _ = timeout(TERMINATE_GRACE, self.exited()).await;
            }
        }
        // An error means that there is nobody left to kill.
        let _ = self.process.start_kill();
        let _ = timeout(KILL_GRACE, self.exited()).await;
    }
}

/// Logs what a server writes to its standard error, line by line, until it closes it.
pub(super) async fn log_stderr(server: String, stderr: ChildStderr) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader)
            .take(LINE_LIMIT_BYTES)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end();
                if !text.is_empty() {
                    tracing::info!(server, "{text}");
                }
            }
        }
    }
}

fn refusal(process: &Process, error: &io::Error) -> String {
    let command = process.command.display();
    match (&process.cwd, error.kind()) {
        (Some(cwd), io::ErrorKind::NotFound) if !cwd.is_dir() => {
            format!(
                "cannot start {command}: the working directory {} does not exist",
                cwd.display()
            )
        }
        (_, io::ErrorKind::NotFound) => format!("cannot start {command}: no such command"),
        (_, io::ErrorKind::PermissionDenied) => format!("cannot start {command}: not allowed"),
        _ => format!("cannot start {command}: {error}"),
    }
}

fn describe(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("the process was ended by signal {signal}");
    }
    match status.code() {
        Some(code) => format!("the process exited with code {code}"),
        None => "the process exited".to_owned(),
    }
}
