//! A process that outlives this one if it is killed, and then ends the child processes that are left.
//!
//! A child is asked to end by the end of its input, and one that does not heed that would go on for ever. The watchdog
//! only holds a pipe: over it, it is told which process groups there are, and its end is the end of the service. The
//! servers' own streams do not pass through it.

use std::collections::BTreeSet;
use std::io::{self, BufRead};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::child::{END_OF_INPUT_GRACE, TERMINATE_GRACE};

/// The command of this program that is the watchdog.
const COMMAND: &str = "mcp-watchdog";
/// How long it is waited before another one is started.
const RESTART_PAUSE: Duration = Duration::from_secs(5);

/// Tells a watchdog which process groups are to end with this process.
#[derive(Debug)]
pub struct Watchdog {
    exe: PathBuf,
    groups: watch::Sender<BTreeSet<u32>>,
}

/// A process group is to end with this process, until this is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    watchdog: Arc<Watchdog>,
    group: u32,
}

impl Watchdog {
    /// A watchdog that is started with the first child; `exe` is this program, whose command `mcp-watchdog` is
    /// [`watch`].
    pub fn new(exe: PathBuf) -> Self {
        Self {
            exe,
            groups: watch::Sender::default(),
        }
    }

    /// This group is to end with this process.
    pub(super) fn guard(self: &Arc<Self>, group: u32) -> Guard {
        self.groups.send_modify(|groups| {
            groups.insert(group);
        });
        Guard {
            watchdog: self.clone(),
            group,
        }
    }

    /// Keeps a watchdog running while there are groups, until `stop` and the end of the last.
    pub(super) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut groups = self.groups.subscribe();
        loop {
            let first = groups.wait_for(|groups| !groups.is_empty());
            if !matches!(stop.run_until_cancelled(first).await, Some(Ok(_))) {
                return;
            }
            let reason = match self.start() {
                Ok(process) => match feed(process, &mut groups, &stop).await {
                    Ok(()) => return,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            tracing::warn!(
                error = %reason,
                "the watchdog is gone: should the service be killed now, its mcp servers may be left behind"
            );
            let pause = tokio::time::sleep(RESTART_PAUSE);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.exe);
        command
            .arg(COMMAND)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // What ends the group of this process is not to end it.
        #[cfg(unix)]
        command.process_group(0);
        command.spawn()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.watchdog.groups.send_modify(|groups| {
            groups.remove(&self.group);
        });
    }
}

/// Tells the watchdog of every change, until `stop` and the end of the last group.
async fn feed(
    mut process: Child,
    groups: &mut watch::Receiver<BTreeSet<u32>>,
    stop: &CancellationToken,
) -> io::Result<()> {
    let mut input = process.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    loop {
        let (line, is_last) = {
            let groups = groups.borrow_and_update();
            let numbers: Vec<String> = groups.iter().map(u32::to_string).collect();
            (format!("{}\n", numbers.join(" ")), groups.is_empty())
        };
        input.write_all(line.as_bytes()).await?;
        tracing::debug!(groups = line.trim_end(), "the watchdog is told");
        if is_last && stop.is_cancelled() {
            drop(input);
            process.wait().await?;
            return Ok(());
        }
        tokio::select! {
            changed = groups.changed() => changed.map_err(io::Error::other)?,
            status = process.wait() => return Err(io::Error::other(status?.to_string())),
            () = stop.cancelled(), if is_last => {}
        }
    }
}

/// Is the watchdog: each line of `input` says which process groups there are; when it ends, those of the last line are
/// ended, as a service does that stops by itself.
#[cfg(unix)]
pub fn watch(input: impl BufRead) {
    use nix::sys::signal::{SigSet, Signal, killpg};
    use nix::unistd::Pid;

    // It goes when the service has gone, also where both are asked to end.
    let mut asked = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        asked.add(signal);
    }
    let _ = asked.thread_block();
    let mut groups: Vec<Pid> = Vec::new();
    for line in input.lines().map_while(Result::ok) {
        let numbers = line.split(' ').filter_map(|number| number.parse().ok());
        groups = numbers.map(Pid::from_raw).collect();
    }
    for (grace, signal) in [
        (END_OF_INPUT_GRACE, Signal::SIGTERM),
        (TERMINATE_GRACE, Signal::SIGKILL),
    ] {
        if groups.is_empty() {
            return;
        }
        std::thread::sleep(grace);
        // An error means that there is nobody left.
        groups.retain(|group| killpg(*group, signal).is_ok());
    }
}

/// Is the watchdog, where there are no process groups: it does nothing.
#[cfg(not(unix))]
pub fn watch(input: impl BufRead) {
    input.lines().for_each(drop);
}
