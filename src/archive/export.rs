//! From a store to lines.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use crate::run::error::{Error, Reason};
use crate::run::id::{MessageId, RunId, ThreadId};
use crate::run::message::Message;
use crate::run::page::{Listed, Order, Page};
use crate::run::ports::{Restore, Store, WholeRun, WholeThread};
use crate::run::record::RunRecord;
use crate::run::step::Step;

use super::Counts;
use super::fault::Failure;
use super::line::{self, Line, VERSION};
use super::reader::settle;

/// How much is read at once.
const PAGE_LIMIT: u32 = 256;

/// What came of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// What was written.
    pub counts: Counts,
    /// Runs that are not over, and were left out with what they had brought to their threads.
    pub unfinished: u64,
}

/// Reads the name of a thread, as the contract has it or only its id; none when it is neither.
pub fn thread_name(text: &str) -> Option<ThreadId> {
    let id = text.strip_prefix("threads/").unwrap_or(text);
    ThreadId::parse(id).ok()
}

/// Writes these threads, or without names everything.
///
/// One thread at a time is in memory. Each is as it was at one moment, although others may write meanwhile; one that is
/// deleted meanwhile is left out.
///
/// # Errors
/// The store cannot be read, `THREAD_NOT_FOUND` for a name, before anything is written, or a line cannot be written.
pub async fn export(
    store: &dyn Store,
    threads: &[ThreadId],
    write: &mut dyn FnMut(&str) -> io::Result<()>,
    progress: &mut dyn FnMut(&Counts),
) -> Result<Exported, Failure> {
    let mut export = Export {
        write,
        progress,
        exported: Exported::default(),
    };
    for name in threads {
        store.thread(name).await.map_err(|error| missing(error, name))?;
    }
    export.line(&Line::Header(VERSION))?;
    if threads.is_empty() {
        let mut page = first_page();
        loop {
            let Listed { items, next } = store.assistants(page).await?;
            for record in items {
                export.line(&Line::Assistant(record))?;
                export.exported.counts.assistants += 1;
            }
            let Some(next) = next else { break };
            page.after = Some(next);
        }
        page = first_page();
        loop {
            let Listed { items, next } = store.threads(page).await?;
            for record in items {
                match thread(store, &record.id).await {
                    Err(error) if error.reason() == Reason::ThreadNotFound => {}
                    whole => export.thread(whole?)?,
                }
            }
            let Some(next) = next else { break };
            page.after = Some(next);
        }
    }
    for name in threads {
        let whole = thread(store, name).await.map_err(|error| missing(error, name))?;
        export.thread(whole)?;
    }
    export.line(&Line::End(export.exported.counts))?;
    Ok(export.exported)
}

/// The same error, with the name of the thread that is not there.
fn missing(error: Error, name: &ThreadId) -> Error {
    match error.reason() {
        Reason::ThreadNotFound => Error::new(error.reason(), format!("there is no thread {name}")),
        _ => error,
    }
}

struct Export<'a> {
    write: &'a mut dyn FnMut(&str) -> io::Result<()>,
    progress: &'a mut dyn FnMut(&Counts),
    exported: Exported,
}

impl Export<'_> {
    fn line(&mut self, line: &Line) -> Result<(), Failure> {
        let mut text = line.text().map_err(|fault| Error::internal(fault.to_string()))?;
        text.push('\n');
        Ok((self.write)(&text)?)
    }

    fn thread(&mut self, (whole, unfinished): (WholeThread, u64)) -> Result<(), Failure> {
        for line in line::of_thread(&whole) {
            self.line(&line)?;
        }
        self.exported.unfinished += unfinished;
        self.exported.counts.add(&Restore::Thread(whole));
        (self.progress)(&self.exported.counts);
        Ok(())
    }
}

/// A thread with everything of it but runs that are not over, of which it says how many there are. Where the
/// first message of such a run begins, the thread ends: it is as it was before that run.
pub(super) async fn thread(store: &dyn Store, id: &ThreadId) -> Result<(WholeThread, u64), Error> {
    // In this order: a run that is over now has brought all its messages, and whatever is newer than these
    // runs cuts the messages off.
    let mut record = store.thread(id).await?;
    let mut runs = Vec::new();
    let mut unfinished = 0;
    let mut page = first_page();
    loop {
        let Listed { items, next } = store.runs(id, &[], page).await?;
        for run in items {
            match run.state.outcome() {
                Some(_) => runs.push(run),
                None => unfinished += 1,
            }
        }
        let Some(next) = next else { break };
        page.after = Some(next);
    }
    let over: HashSet<&RunId> = runs.iter().map(|run| &run.id).collect();
    let mut messages = store.history(id).await?;
    let is_open = |message: &Arc<_>| is_of_other(message, &over);
    let end = messages.iter().position(is_open).unwrap_or(messages.len());
    messages.truncate(end);
    let kept: HashSet<MessageId> = messages.iter().map(|message| message.id.clone()).collect();
    let mut whole_runs = Vec::with_capacity(runs.len());
    for mut run in runs {
        // One that was called off in the queue may stand behind a message that is cut off.
        let first = store.run_messages(&run.id).await?.into_iter().next();
        let first = first.filter(|first| kept.contains(&first.id));
        let steps = all_steps(store, &run.id).await?;
        run.reserved_sequence = run.last_sequence;
        run.fence = RunRecord::FIRST_FENCE;
        run.expire_time = None;
        run.waits_since = None;
        run.pending = Vec::new();
        whole_runs.push(WholeRun {
            first_message: first.map(|message| message.id.clone()),
            record: run,
            steps,
        });
    }
    record.active_run = None;
    let mut whole = WholeThread {
        record,
        messages,
        runs: whole_runs,
    };
    settle(&mut whole);
    Ok((whole, unfinished))
}

fn is_of_other(message: &Message, runs: &HashSet<&RunId>) -> bool {
    message.run.as_ref().is_some_and(|run| !runs.contains(run))
}

async fn all_steps(store: &dyn Store, run: &RunId) -> Result<Vec<Arc<Step>>, Error> {
    let mut steps = Vec::new();
    let mut page = first_page();
    loop {
        let Listed { items, next } = store.run_steps(run, page).await?;
        steps.extend(items);
        let Some(next) = next else { break };
        page.after = Some(next);
    }
    Ok(steps)
}

fn first_page() -> Page {
    Page {
        after: None,
        limit: PAGE_LIMIT,
        order: Order::OldestFirst,
    }
}
