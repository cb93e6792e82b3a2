//! Who made a call, for the tool to turn to.

use std::time::Duration;

use async_trait::async_trait;

use crate::run::action::{Question, Reply};
use crate::run::credentials::Credentials;
use crate::run::error::{Error, Reason};
use crate::run::event::Progress;
use crate::run::id::RunId;
use crate::run::sampling::{Sampled, Sampling};

/// Who made a call, as far as its tool may turn to them while it goes on.
#[async_trait]
pub trait Caller: Send + Sync {
    /// The tool is this far.
    fn progress(&self, progress: Progress);

    /// The run that made the call; none for a call outside any run.
    fn run(&self) -> Option<&RunId> {
        None
    }

    /// For whom it makes the call, as a proxy in front of the service says; empty when nobody said. One who calls much
    /// must not keep others waiting.
    fn name(&self) -> &str {
        ""
    }

    /// The call has its turn, and is at work from now on: the time that is given to it begins. Waiting for a turn is
    /// bounded by as much.
    fn begins(&self) {}

    /// How long the call may be silent; none where nobody has said so.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// The token of the request that caused the call, where it is still at hand: not behind a restart, nor in a process
    /// that has taken the run over.
    fn credentials(&self) -> Option<&Credentials> {
        None
    }

    /// Asks a person on the server's behalf, and waits for the reply as long as it takes: the time that is given to
    /// the call stands still meanwhile. Where nobody can be asked, the reply is [`Reply::Cancel`].
    async fn ask(&self, question: Question) -> Reply {
        let _ = question;
        Reply::Cancel
    }

    /// Asks a model on the server's behalf, and a person before that if it says so; the time that is given to the call
    /// stands still meanwhile. What it uses is the run's.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` where nobody can be asked or a person has said no, `RUN_LIMIT_REACHED` where the run has nothing
    /// left for it; those of
    /// [`Model::stream`](crate::run::ports::Model::stream).
    async fn sample(&self, sampling: Sampling) -> Result<Sampled, Error> {
        let text = format!("MCP server '{}' asks a model outside of any run", sampling.server);
        Err(Error::new(Reason::PermissionDenied, text).with("server", sampling.server))
    }
}

/// A caller who only hears of the progress.
impl<F: Fn(Progress) + Send + Sync> Caller for F {
    fn progress(&self, progress: Progress) {
        self(progress);
    }
}
