//! Reads an export line by line, and puts together what belongs together: one thread at a time.

use std::collections::HashSet;
use std::io::{BufRead, Read};
use std::sync::Arc;

use crate::run::id::ThreadId;
use crate::run::message::Message;
use crate::run::ports::{Restore, WholeThread};

use super::Counts;
use super::fault::Fault;
use super::line::{Line, VERSION};

/// The longest line that is read, in bytes.
const LINE_LIMIT_BYTES: u64 = 256 << 20;

/// See the [module](self). After a fault it goes on with the next line, so that all faults can be told at once.
pub struct Reader<R> {
    input: R,
    /// The line that was read last.
    number: usize,
    stage: Stage,
    /// The thread whose lines are being read, and the line where it began.
    thread: Option<(usize, WholeThread)>,
    counts: Counts,
    /// There was a fault: what does not fit together may only follow from it.
    is_faulty: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before the header.
    Start,
    /// Between the header and the end line.
    Body,
    /// Behind the end line.
    End,
    /// The file has ended.
    Done,
}

impl<R: BufRead> Reader<R> {
    /// Reads from there.
    pub fn new(input: R) -> Self {
        Self {
            input,
            number: 0,
            stage: Stage::Start,
            thread: None,
            counts: Counts::default(),
            is_faulty: false,
        }
    }

    /// The next line that is not empty; none at the end of the file.
    fn line(&mut self) -> Result<Option<String>, Fault> {
        loop {
            let mut line = Vec::new();
            self.number += 1;
            let fault = |description: String| Fault::of("", description).at(self.number);
            let read = (&mut self.input)
                .take(LINE_LIMIT_BYTES)
                .read_until(b'\n', &mut line)
                .map_err(|error| fault(format!("cannot be read: {error}")));
            if read.inspect_err(|_| self.stage = Stage::Done)? == 0 {
                return Ok(None);
            }
            if line.len() as u64 == LINE_LIMIT_BYTES {
                self.stage = Stage::Done;
                return Err(fault(format!("is longer than {LINE_LIMIT_BYTES} bytes")));
            }
            let line = String::from_utf8(line).map_err(|_| fault("is not UTF-8".to_owned()))?;
            if !line.trim().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    /// Takes a line in; gives what it has completed.
    fn take(&mut self, text: &str) -> Result<Option<Restore>, Fault> {
        let thread: Option<ThreadId> = self.thread.as_ref().map(|(_, whole)| whole.record.id.clone());
        let line = Line::parse(text, thread.as_ref());
        match (self.stage, &line) {
            (Stage::Start, Ok(Line::Header(VERSION))) => {
                self.stage = Stage::Body;
                return Ok(None);
            }
            (Stage::Start, Ok(Line::Header(version))) => {
                self.stage = Stage::Done;
                let known = format!("{version} is not known to this version, which reads {VERSION}");
                return Err(Fault::of("version", known));
            }
            (Stage::Start, _) => {
                self.stage = Stage::Done;
                return Err(Fault::of("", "is not the header of an export"));
            }
            (Stage::End | Stage::Done, _) => return Err(Fault::of("", "comes after the end line")),
            (Stage::Body, _) => {}
        }
        match line? {
            Line::Header(_) => Err(Fault::of("kind", "a header stands only at the beginning")),
            Line::Assistant(_) if self.thread.is_some() => {
                Err(Fault::of("kind", "an assistant comes before the threads"))
            }
            Line::Assistant(record) => {
                self.counts.assistants += 1;
                Ok(Some(Restore::Assistant(record)))
            }
            Line::Thread(record) => {
                let before = self.complete();
                let whole = WholeThread {
                    record,
                    messages: Vec::new(),
                    runs: Vec::new(),
                };
                self.thread = Some((self.number, whole));
                before
            }
            Line::Message(message) => {
                let whole = self.open("a message comes after its thread")?;
                if !whole.runs.is_empty() {
                    return Err(Fault::of("kind", "a message comes before the runs of its thread"));
                }
                whole.messages.push(message);
                Ok(None)
            }
            Line::Run(run) => {
                self.open("a run comes after its thread")?.runs.push(*run);
                Ok(None)
            }
            Line::Step(step) => {
                let last = self.open("a step comes after its run")?.runs.last_mut();
                let run = last.ok_or_else(|| Fault::of("kind", "a step comes after its run"))?;
                run.steps.push(step);
                Ok(None)
            }
            Line::End(counts) => {
                self.stage = Stage::End;
                let last = self.complete()?;
                if counts != self.counts && !self.is_faulty {
                    let text = format!("says {counts:?}, but there is {:?}", self.counts);
                    return Err(Fault::of("", text));
                }
                Ok(last)
            }
        }
    }

    fn open(&mut self, otherwise: &str) -> Result<&mut WholeThread, Fault> {
        match &mut self.thread {
            Some((_, whole)) => Ok(whole),
            None => Err(Fault::of("kind", otherwise)),
        }
    }

    /// The thread whose last line has been read.
    fn complete(&mut self) -> Result<Option<Restore>, Fault> {
        let Some((line, mut whole)) = self.thread.take() else {
            return Ok(None);
        };
        settle(&mut whole);
        let item = Restore::Thread(whole);
        self.counts.add(&item);
        if let (Restore::Thread(whole), false) = (&item, self.is_faulty) {
            check(whole).map_err(|fault| fault.at(line))?;
        }
        Ok(Some(item))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Restore, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.stage != Stage::Done {
            let outcome = match self.line() {
                Ok(Some(line)) => self.take(&line),
                Ok(None) if self.stage == Stage::End => return None,
                Ok(None) => {
                    self.stage = Stage::Done;
                    Err(Fault::of("", "the file is cut off: it has no end line"))
                }
                Err(fault) => Err(fault),
            };
            match outcome {
                Ok(None) => {}
                Ok(Some(item)) => return Some(Ok(item)),
                Err(fault) => {
                    self.is_faulty = true;
                    let line = if fault.line == 0 { self.number } else { fault.line };
                    return Some(Err(fault.at(line)));
                }
            }
        }
        None
    }
}

/// Makes a thread what a store will say of it: it was last changed when its newest thing was added, if not
/// later, it has used what its runs have, and a run that answers no message begins with the first that it wrote.
pub(super) fn settle(whole: &mut WholeThread) {
    for run in &mut whole.runs {
        if run.first_message.is_none() {
            let is_own = |message: &&Arc<Message>| message.run.as_ref() == Some(&run.record.id);
            let own = whole.messages.iter().find(is_own);
            run.first_message = own.map(|message| message.id.clone());
        }
    }
    whole.record.usage = whole.used();
    let messages = whole.messages.iter().map(|message| message.create_time);
    let runs = whole.runs.iter().map(|run| run.record.create_time);
    let newest = messages.chain(runs).max();
    whole.record.update_time = newest.map_or(whole.record.update_time, |newest| {
        newest.max(whole.record.update_time)
    });
}

/// Whether everything that a thread's things name is of the thread, and nothing is there twice.
fn check(whole: &WholeThread) -> Result<(), Fault> {
    let mut runs = HashSet::new();
    for (run, index) in whole.runs.iter().zip(0..) {
        if !runs.insert(&run.record.id) {
            return Err(Fault::of(
                format!("runs[{index}].id"),
                format!("{} is there twice", run.record.id),
            ));
        }
        if !run.steps.is_sorted_by(|one, next| one.place < next.place) {
            let text = format!("the places of the steps of {} do not grow", run.record.id);
            return Err(Fault::of(format!("runs[{index}].steps"), text));
        }
    }
    let mut messages = HashSet::new();
    for (message, index) in whole.messages.iter().zip(0..) {
        if !messages.insert(&message.id) {
            let field = format!("messages[{index}].id");
            return Err(Fault::of(field, format!("{} is there twice", message.id)));
        }
        if let Some(run) = message.run.as_ref().filter(|run| !runs.contains(run)) {
            let text = format!("{run} is not a run of the thread");
            return Err(Fault::of(format!("messages[{index}].run"), text));
        }
    }
    for (run, index) in whole.runs.iter().zip(0..) {
        if let Some(first) = run
            .first_message
            .as_ref()
            .filter(|first| !messages.contains(first))
        {
            let field = format!("runs[{index}].first_message");
            return Err(Fault::of(
                field,
                format!("{first} is not a message of the thread"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
