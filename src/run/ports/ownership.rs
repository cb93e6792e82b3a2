//! Several processes on one store: who carries out which run, and how they hear of one another.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::run::action::Submission;
use crate::run::error::Error;
use crate::run::id::RunId;
use crate::run::record::RunRecord;

/// Which process owns which run: the one that opened it, until it is gone and another one takes the run over.
///
/// That a process seems to be gone proves nothing: it may be slow. What it writes then is refused by its
/// [fencing token](RunRecord::fence), so that taking a run over is always safe.
///
/// Every method may fail with `STORE_UNAVAILABLE`; only the other errors are named.
#[async_trait]
pub trait Ownership: Send + Sync {
    /// Says that this process is there, and will be for `lease` from now. To be repeated well before it is over.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn renew(&self, lease: Duration) -> Result<(), Error>;

    /// Takes over runs that are not over and whose owner is gone, the oldest first: their records, with the fencing
    /// token of their new owner. MUST give each run to one process only. No runs mean that there are none left.
    ///
    /// A store that knows the death of a process at once need not wait for the end of its lease.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn claim(&self, limit: u32) -> Result<Vec<RunRecord>, Error>;

    /// Says that this process does not carry a run on, though it is still there: others may take it over at once, and
    /// hear of it. Nothing changes for a run of another process.
    ///
    /// Nothing needs to be done where no other process can go on before this one is gone.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn leave(&self, run: &RunId) -> Result<(), Error>;

    /// Says that this process is gone: others may take over what it has left, and hear of it.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn release(&self) -> Result<(), Error>;

    /// Leaves a letter for whoever owns the run.
    ///
    /// # Errors
    /// `RUN_NOT_FOUND`.
    async fn post(&self, run: &RunId, letter: &Letter) -> Result<(), Error>;

    /// Takes the letters for the runs that this process owns, the oldest first. They are gone then: who wrote one
    /// sees from the run whether it was followed.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn letters(&self) -> Result<Vec<(RunId, Letter)>, Error>;
}

/// What a process asks of the one that owns a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Letter {
    /// Call the run off.
    Cancel,
    /// Take these answers.
    Answers(Vec<Submission>),
}

/// Tells a process that another one has written something. Only a hint: whoever listens MUST look at the store now
/// and then without any news, since they may be late or lost.
pub trait News: Send + Sync {
    /// Hears, from now on, that there may be something new about this. The sender MUST NOT be dropped while there
    /// are receivers.
    fn listen(&self, topic: &Topic) -> watch::Receiver<()>;
}

/// What there can be news of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Events of a run.
    Run(RunId),
    /// Letters for runs of this process.
    Letters,
    /// Runs that their process has left.
    Left,
}
