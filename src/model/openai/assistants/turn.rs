//! One turn of a run, as it arrives or is asked after.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::events::Place;
use super::history::{self, Bond};
use super::{Assistants, Order};
use crate::model::openai::decode;
use crate::model::openai::error::Failure;
use crate::model::openai::reader::Reader;
use crate::run::context;
use crate::run::message::{Continuation, Usage};
use crate::run::ports::ModelEvent;

/// The first wait before a run is asked after again; each is half as long again as the one before.
const POLL_FIRST: Duration = Duration::from_millis(100);
/// The longest such wait.
const POLL_MOST: Duration = Duration::from_secs(2);

/// One turn as it arrives. Dropping it in the middle cancels the run there.
pub(in crate::model::openai) struct Turn {
    reader: Reader,
    /// The last events: the end waits behind the continuation.
    ended: decode::Events,
    /// The bytes that the model has written, and what the provider says that it took.
    written_bytes: u64,
    counted: Option<Usage>,
    /// The run has come to its end there, as far as is known here.
    is_over: bool,
    /// Set once the run has to be asked after, because the server does not stream.
    polling: Option<Polling>,
    /// How the run failed, which is told behind what it has said.
    failed: Option<Failure>,
    order: Arc<Order>,
    assistants: Arc<Assistants>,
}

/// How a run is asked after.
struct Polling {
    /// Before the next question.
    wait: Duration,
    /// A question was answered since the last that was not.
    is_heard_of: bool,
    /// What the run has said of itself, which is told behind its messages.
    of_run: decode::Events,
}

impl Turn {
    pub(super) fn new(reader: Reader, order: Arc<Order>, assistants: Arc<Assistants>) -> Self {
        Self {
            reader,
            ended: decode::Events::new(),
            written_bytes: 0,
            counted: None,
            is_over: false,
            polling: None,
            failed: None,
            order,
            assistants,
        }
    }

    /// The HTTP status with which the answer began.
    pub(in crate::model::openai) fn status(&self) -> u16 {
        self.reader.status()
    }

    /// The first event; none where the server does not stream, and the run has begun.
    ///
    /// # Errors
    /// What went wrong before.
    pub(in crate::model::openai) async fn first(&mut self) -> Result<Option<ModelEvent>, Failure> {
        match self.read().await {
            Some(event) => event.map(Some),
            None => self.place().map(|_| None),
        }
    }

    /// The next event; none after the last one or a failure. After a failure to ask after the run it may be asked
    /// again, for as long as it is not dropped.
    pub(in crate::model::openai) async fn next(&mut self) -> Option<Result<ModelEvent, Failure>> {
        loop {
            match self.read().await {
                // It was cut here: whatever else comes is not heard, and the run is cancelled.
                None if self.reader.is_cut() => return None,
                // The server does not stream: the run has to be asked after.
                None if !self.is_over => {
                    if let Err(failure) = self.poll().await {
                        return Some(Err(failure));
                    }
                }
                None => return self.failed.take().map(Err),
                read => return read,
            }
        }
    }

    /// Whether the server has said anything of the run since this was asked last.
    pub(in crate::model::openai) fn was_heard_of(&mut self) -> bool {
        let polling = self.polling.as_mut();
        polling.is_some_and(|polling| std::mem::take(&mut polling.is_heard_of))
    }

    /// The next event of those that have come by themselves or are known already.
    async fn read(&mut self) -> Option<Result<ModelEvent, Failure>> {
        if let Some(event) = self.ended.pop_front() {
            return Some(Ok(event));
        }
        match self.reader.next().await? {
            Ok(ModelEvent::Usage(of_run)) => Some(Ok(ModelEvent::Usage(self.count(of_run)))),
            Ok(end @ ModelEvent::Finished(_)) if !self.reader.is_cut() => {
                self.is_over = true;
                self.go_on_behind();
                self.ended.push_back(end);
                self.ended.pop_front().map(Ok)
            }
            event => {
                self.is_over |= event.is_err();
                self.written_bytes += event.as_ref().map_or(0, ModelEvent::written_bytes) as u64;
                Some(event)
            }
        }
    }

    /// Where the run is.
    fn place(&self) -> Result<&Place, Failure> {
        let place = self.reader.assistants().and_then(|decoder| decoder.place());
        place.ok_or_else(|| Failure::broken("the answer is not a run"))
    }

    /// What is kept of this run from the turns before.
    fn before(&self, place: &Place) -> Option<Bond> {
        history::before(&self.order.request, &self.assistants.name(), place)
    }

    /// The tokens that the turns before have been counted with.
    fn counted_before(&self) -> Usage {
        let before = self.place().ok().and_then(|place| self.before(place));
        before.and_then(|bond| bond.counted).unwrap_or_default()
    }

    /// What of the run's tokens is this turn's: all that no turn before has been counted with.
    fn count(&mut self, of_run: Usage) -> Usage {
        let of_turn = of_run.tokens_beyond(self.counted_before());
        self.counted = Some(of_turn);
        of_turn
    }

    /// What stands in front of the end: how to go on behind this turn, unless the server said too little; and where its
    /// run goes on, what the turn took. The provider counts the run when it is over, so that until then it is an estimate,
    /// which is kept: what it left out is the last turn's.
    fn go_on_behind(&mut self) {
        let decoder = self.reader.assistants();
        let said = decoder.and_then(|decoder| {
            let written = decoder.written().map(str::to_owned);
            Some((decoder.place()?.clone(), decoder.call_ids()?, written))
        });
        let Some((place, calls, written)) = said else {
            return;
        };
        let counted = match calls.is_empty() {
            true => {
                self.assistants.leave(&place);
                None
            }
            false => Some(self.counted_before().plus(self.counted_or_estimated())),
        };
        let written = written.or_else(|| self.before(&place)?.written);
        let bond = Bond::new(
            place,
            written,
            counted,
            calls,
            &self.order.request,
            &self.order.digest,
        );
        let Ok(state) = serde_json::to_value(bond) else {
            return;
        };
        self.ended.push_back(ModelEvent::Continuation(Continuation {
            upstream: self.assistants.name(),
            state,
        }));
    }

    /// What the turn took; if nobody has said it, it is told as it is estimated.
    fn counted_or_estimated(&mut self) -> Usage {
        let Self { order, ended, .. } = self;
        *self.counted.get_or_insert_with(|| {
            let estimate = Usage::estimate(context::bytes_of(&order.request), self.written_bytes);
            ended.push_back(ModelEvent::Usage(estimate));
            estimate
        })
    }

    /// Asks after the run until it has come to an end, and for what it has said. Each answer is a sign of life: a run that
    /// goes on and on is given up by who asked for it, when its time is over.
    async fn poll(&mut self) -> Result<(), Failure> {
        let assistants = Arc::clone(&self.assistants);
        let place = self.place()?.clone();
        let heard_before = self.before(&place).and_then(|bond| bond.written);
        let polling = self.polling.get_or_insert_with(|| Polling {
            wait: POLL_FIRST,
            is_heard_of: false,
            of_run: decode::Events::new(),
        });
        let decoder = self.reader.assistants_mut();
        let decoder = decoder.ok_or_else(|| Failure::broken("the answer is not a run"))?;
        while !decoder.is_at_end() {
            tokio::time::sleep(polling.wait).await;
            polling.wait = (polling.wait * 3 / 2).min(POLL_MOST);
            let path = ["threads", &place.thread, "runs", &place.run];
            let run = assistants.get(&path, &[]).await;
            let run = run.map_err(|failure| gone(failure, &place))?;
            polling.is_heard_of = true;
            decoder.whole(&run.to_string(), &mut polling.of_run)?;
        }
        let query = [("run_id", place.run.as_str()), ("order", "asc"), ("limit", "100")];
        let path = ["threads", &place.thread, "messages"];
        let list = assistants.get(&path, &query).await;
        let list = list.map_err(|failure| gone(failure, &place))?;
        polling.is_heard_of = true;
        // Some servers do not know how to filter by the run.
        let of_run = |message: &&Value| message["run_id"] == *place.run;
        let listed = list["data"].as_array().into_iter().flatten();
        let mut said: Vec<&Value> = listed.filter(of_run).collect();
        // A run that goes on with outputs has what it said before it asked for them, too.
        if let Some(newest) = heard_before
            && let Some(known) = said.iter().position(|message| message["id"] == *newest)
        {
            said.drain(..=known);
        }
        let mut events = decode::Events::new();
        decoder.whole(&json!({"object": "list", "data": said}).to_string(), &mut events)?;
        events.append(&mut polling.of_run);
        self.failed = decoder.settle(&mut events).err();
        self.is_over |= self.failed.is_some();
        self.reader.give(events);
        Ok(())
    }
}

/// A run that is not there any more has broken off: nobody asked wrongly.
fn gone(failure: Failure, place: &Place) -> Failure {
    if failure.status != Some(404) {
        return failure;
    }
    let (thread, run) = (&place.thread, &place.run);
    tracing::warn!(
        thread,
        run,
        "the model provider has lost a run that it was at work on"
    );
    Failure::broken("the run is gone there")
}

impl Drop for Turn {
    fn drop(&mut self) {
        let place = self.reader.assistants().and_then(|decoder| decoder.place());
        if !self.is_over
            && let Some(place) = place
        {
            self.assistants.cancel(place.clone());
        }
    }
}
