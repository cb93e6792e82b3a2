//! Which process carries out which run.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::run::error::{Error, Reason};
use crate::run::id::RunId;
use crate::run::ports::{Letter, News, Ownership, Topic};
use crate::run::record::RunRecord;
use crate::store::decode::{self, Columns};
use crate::store::query::{Queries, Value, named};
use crate::store::row;

use super::fault;
use super::presence::Presence;
use super::readers::Readers;
use super::statement::Statements;

/// How often a process looks for letters: those who share a file do not hear of one another.
const LETTERS_INTERVAL: Duration = Duration::from_secs(1);

const OTHER_OWNERS: &str = "SELECT DISTINCT coalesce(owner, '') AS owner FROM runs \
                            WHERE (active OR queued IS NOT NULL) AND owner IS NOT $1";

const CLAIM: &str = "UPDATE runs SET owner = $1, fence = fence + 1 WHERE number IN \
                     (SELECT number FROM runs WHERE (active OR queued IS NOT NULL) \
                     AND coalesce(owner, '') IN (SELECT value FROM json_each($2)) \
                     ORDER BY create_time, number LIMIT $3) RETURNING id";

const POST: &str =
    "INSERT INTO letters (run, letter) SELECT number, $2 FROM runs WHERE id = $1 RETURNING number";

/// From the few letters to their runs, which SQLite would do the other way round: CROSS JOIN keeps the order.
const HAS_LETTERS: &str =
    "SELECT l.number FROM letters l CROSS JOIN runs r ON r.number = l.run WHERE r.owner = $1 LIMIT 1";

const TAKE_LETTERS: &str = "DELETE FROM letters WHERE (SELECT owner FROM runs WHERE number = run) = $1 \
                            RETURNING number, (SELECT id FROM runs WHERE number = run) AS id, letter";

/// What is asked again and again, however many runs there are.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 4] = [OTHER_OWNERS, CLAIM, HAS_LETTERS, TAKE_LETTERS];

/// See the [module](self).
pub(super) struct Owners {
    statements: Statements,
    queries: Queries<Arc<Readers>>,
    presence: Presence,
    /// The name of this process.
    owner: Arc<str>,
    silence: watch::Sender<()>,
    letters: watch::Sender<()>,
    _reminding: AbortOnDropHandle<()>,
}

impl Owners {
    /// By these statements and these readers, for the process of this name.
    pub(super) fn new(
        statements: Statements,
        readers: Arc<Readers>,
        presence: Presence,
        owner: Arc<str>,
    ) -> Self {
        let letters = watch::Sender::new(());
        Self {
            statements,
            queries: Queries { readers },
            presence,
            owner,
            silence: watch::Sender::new(()),
            _reminding: AbortOnDropHandle::new(tokio::spawn(remind(letters.clone()))),
            letters,
        }
    }
}

#[async_trait]
impl Ownership for Owners {
    async fn renew(&self, _: Duration) -> Result<(), Error> {
        let shown = self.presence.show();
        shown.map_err(|cause| {
            fault::unavailable("the file of this process cannot be written").caused_by(cause)
        })
    }

    async fn claim(&self, limit: u32) -> Result<Vec<RunRecord>, Error> {
        let rows = self.statements.read(OTHER_OWNERS, named([&*self.owner])).await?;
        let mut gone = Vec::new();
        for row in &rows {
            let owner = decode::column(row, "owner", Columns::text)?;
            if owner.is_empty() || self.presence.is_gone(owner) {
                gone.push(owner);
            }
        }
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let mut values = named([&*self.owner, &*row::json(&gone)?]);
        values.push(Value::Number(limit.into()));
        let claimed = self.statements.write(CLAIM, values).await?;
        self.queries.claimed(&claimed).await
    }

    async fn leave(&self, _: &RunId) -> Result<(), Error> {
        Ok(())
    }

    async fn release(&self) -> Result<(), Error> {
        self.presence.hide();
        Ok(())
    }

    async fn post(&self, run: &RunId, letter: &Letter) -> Result<(), Error> {
        let values = named([run.as_str(), &*row::json(letter)?]);
        match self.statements.write(POST, values).await?.is_empty() {
            true => Err(Error::new(Reason::RunNotFound, "no such run")),
            false => Ok(()),
        }
    }

    async fn letters(&self) -> Result<Vec<(RunId, Letter)>, Error> {
        // Nobody is to wait for a writer because somebody looks into an empty box.
        let owner = named([&*self.owner]);
        if self.statements.read(HAS_LETTERS, owner.clone()).await?.is_empty() {
            return Ok(Vec::new());
        }
        decode::letters(&self.statements.write(TAKE_LETTERS, owner).await?)
    }
}

/// Has whoever waits for letters look for them.
async fn remind(letters: watch::Sender<()>) {
    loop {
        tokio::time::sleep(LETTERS_INTERVAL).await;
        letters.send_replace(());
    }
}

impl News for Owners {
    /// Processes that share a file look for themselves.
    fn listen(&self, topic: &Topic) -> watch::Receiver<()> {
        match topic {
            Topic::Letters => self.letters.subscribe(),
            Topic::Run(_) | Topic::Left => self.silence.subscribe(),
        }
    }
}
