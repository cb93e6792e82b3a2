//! Runs that another process carries out: asking something of it, and waiting for what comes of it.

use std::sync::Arc;
use std::time::Duration;

use super::{Finished, Shared, has_answer};
use crate::run::action::{Action, Submission};
use crate::run::error::{Error, Reason};
use crate::run::id::RunId;
use crate::run::message::Role;
use crate::run::ports::{Letter, Topic};
use crate::run::record::{RunRecord, State};
use crate::run::state;

/// How often to look at a run of which no news came.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// How long the other process may take to follow a letter, after the lease in which somebody may have to take the run
/// over.
const LETTER_PATIENCE: Duration = Duration::from_secs(30);

impl Shared {
    /// Has a run called off, and waits until it is over.
    pub(super) async fn call_off_elsewhere(&self, record: &RunRecord) -> Result<RunRecord, Error> {
        let ownership = &self.ports.ownership;
        ownership.post(&record.id, &Letter::Cancel).await?;
        let is_over = self.awaited(&record.id, |record| record.state.outcome().is_some());
        match tokio::time::timeout(self.letter_patience(), is_over).await {
            Ok(record) => record,
            Err(_) => Err(elsewhere(record)),
        }
    }

    /// Has answers taken, and waits until they are durable.
    pub(super) async fn answer_elsewhere(
        &self,
        record: &RunRecord,
        submissions: Vec<Submission>,
    ) -> Result<(), Error> {
        let terms = self.terms(&record.snapshot);
        for (index, submission) in submissions.iter().enumerate() {
            // Of a tool that only the other process has, that one knows whether the answer fits.
            let is_unknown = |action: &Arc<Action>| {
                action.id == submission.action && terms.catalogue.get(&action.call.tool).is_none()
            };
            if !record.pending.iter().any(is_unknown) {
                state::check_answer(&record.pending, index, submission, &terms)?;
            }
        }
        let letter = Letter::Answers(submissions.clone());
        self.ports.ownership.post(&record.id, &letter).await?;
        let asks = |record: &RunRecord| {
            let is_pending = |one: &Submission| record.pending.iter().any(|action| action.id == one.action);
            submissions.iter().any(is_pending)
        };
        let answered = self.awaited(&record.id, |record| !asks(record));
        let Ok(answered) = tokio::time::timeout(self.letter_patience(), answered).await else {
            return Err(elsewhere(record));
        };
        answered?;
        let steps = self.all_steps(&record.id).await?;
        let refused = submissions
            .iter()
            .find(|submission| !steps.iter().any(|step| has_answer(step, submission)));
        match refused {
            None => Ok(()),
            // Somebody else was quicker, or the run is over.
            Some(submission) => Err(state::not_pending(&submission.action)),
        }
    }

    fn letter_patience(&self) -> Duration {
        self.settings.lease.saturating_add(LETTER_PATIENCE)
    }

    /// Waits until the run is over or waits for answers from outside.
    pub(super) async fn answered_elsewhere(&self, run: &RunId) -> Result<Finished, Error> {
        let is_answered =
            |record: &RunRecord| record.state.outcome().is_some() || record.state == State::RequiresAction;
        let record = self.awaited(run, is_answered).await?;
        self.told(record).await
    }

    /// What a run has come to, from its records.
    pub(super) async fn told(&self, record: RunRecord) -> Result<Finished, Error> {
        let messages = self.ports.store.run_messages(&record.id).await?;
        let answer = messages
            .iter()
            .rev()
            .find(|message| message.role == Role::Assistant);
        Ok(Finished {
            answer: answer.cloned(),
            record: Arc::new(record),
        })
    }

    /// Waits until the run is as it is to be. Whoever carries it out ends it in time.
    async fn awaited(&self, run: &RunId, is_met: impl Fn(&RunRecord) -> bool) -> Result<RunRecord, Error> {
        let mut news = self.ports.news.listen(&Topic::Run(run.clone()));
        loop {
            news.mark_unchanged();
            let record = self.ports.store.run(run).await?;
            if is_met(&record) {
                return Ok(record);
            }
            // News are but a hint.
            let _ = tokio::time::timeout(POLL_INTERVAL, news.changed()).await;
        }
    }
}

/// A run that goes on, but not in this process.
pub(super) fn elsewhere(record: &RunRecord) -> Error {
    let error = Error::new(Reason::RunInterrupted, "the run goes on in another process");
    error
        .with("run", record.id.as_str())
        .retry_after(Duration::from_secs(1))
}
