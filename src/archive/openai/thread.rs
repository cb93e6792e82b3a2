//! Threads, put together from what is said of them in many places.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::archive::fault::{Fault, of_id};
use crate::archive::note::Notes;
use crate::archive::reader::settle;
use crate::run::id::ThreadId;
use crate::run::message::Usage;
use crate::run::ports::{WholeRun, WholeThread};
use crate::run::record::ThreadRecord;

use super::found::{Found, Rest};
use super::label::{Labels, time};
use super::shape::{Message, Run, Step, Thread};
use super::{message, run, step};

/// What is known of one thread.
#[derive(Default)]
struct Pieces {
    thread: Option<Found<Thread>>,
    messages: Vec<Found<Message>>,
    runs: Vec<(Found<Run>, Vec<Found<Step>>)>,
}

/// Threads of ours, by their names. A thread that is not in the file itself is made from what belongs to it, for
/// OpenAI's API could not list threads.
pub(super) fn threads(rest: Rest, notes: &mut Notes) -> Result<Vec<WholeThread>, Vec<Fault>> {
    let mut threads: BTreeMap<String, Pieces> = BTreeMap::new();
    for found in rest.threads {
        let id = found.value.id.clone();
        threads.entry(id).or_default().thread = Some(found);
    }
    for found in rest.messages {
        let thread = found.value.thread_id.clone();
        threads.entry(thread).or_default().messages.push(found);
    }
    let mut steps: HashMap<String, Vec<Found<Step>>> = HashMap::new();
    for found in rest.steps {
        steps.entry(found.value.run_id.clone()).or_default().push(found);
    }
    for found in rest.runs {
        let of_run = steps.remove(&found.value.id).unwrap_or_default();
        let thread = found.value.thread_id.clone();
        threads.entry(thread).or_default().runs.push((found, of_run));
    }
    for run in steps.into_keys() {
        notes.add("steps whose run is not in the file: not imported", &run);
    }
    let (mut wholes, mut faults) = (Vec::new(), Vec::new());
    for (id, pieces) in threads {
        match pieces.whole(&id, notes) {
            Ok(whole) => wholes.push(whole),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        Ok(wholes)
    } else {
        Err(faults)
    }
}

impl Pieces {
    fn whole(self, id: &str, notes: &mut Notes) -> Result<WholeThread, Fault> {
        let Pieces {
            thread,
            messages,
            runs,
        } = self;
        let is_made = thread.is_none();
        let mut record = record(id, thread, notes, messages.first().map(Found::place))?;
        let run_ids: HashSet<String> = runs.iter().map(|(run, _)| run.value.id.clone()).collect();
        let mut whole_messages = Vec::with_capacity(messages.len());
        for found in in_order(messages, |message| message.created_at) {
            let place = found.place();
            let has_run = |run: &str| run_ids.contains(run);
            let message = message::message(found.value, has_run, notes);
            whole_messages.push(Arc::new(message.map_err(|fault| place.of(fault))?));
        }
        let mut whole_runs = Vec::with_capacity(runs.len());
        let (mut bare, mut steps) = (Vec::new(), HashMap::new());
        for (run, of_run) in runs {
            steps.insert(run.value.id.clone(), of_run);
            bare.push(run);
        }
        for found in in_order(bare, |run| run.created_at) {
            let of_run = steps.remove(&found.value.id).unwrap_or_default();
            whole_runs.push(whole_run(found, of_run, &record.id, notes)?);
        }
        if is_made {
            let messages = whole_messages.iter().map(|message| message.create_time);
            let runs = whole_runs.iter().map(|run| run.record.create_time);
            record.create_time = messages.chain(runs).min().unwrap_or(UNIX_EPOCH);
            record.update_time = record.create_time;
        }
        let mut whole = WholeThread {
            record,
            messages: whole_messages,
            runs: whole_runs,
        };
        for index in 0..whole.runs.len() {
            whole.runs[index].first_message = answered(&whole, &whole.runs[index]);
        }
        settle(&mut whole);
        Ok(whole)
    }
}

/// Where something stands in the file.
pub(super) struct Place {
    line: usize,
    path: String,
}

impl Place {
    fn of(&self, fault: Fault) -> Fault {
        fault.within(&self.path).at(self.line)
    }
}

impl<T> Found<T> {
    fn place(&self) -> Place {
        Place {
            line: self.line,
            path: self.path.clone(),
        }
    }
}

fn record(
    id: &str,
    thread: Option<Found<Thread>>,
    notes: &mut Notes,
    otherwise: Option<Place>,
) -> Result<ThreadRecord, Fault> {
    let place = thread.as_ref().map(Found::place).or(otherwise);
    let name = of_id("thread_id", ThreadId::parse(id));
    let name = name.map_err(|fault| match &place {
        Some(place) => place.of(fault),
        None => fault,
    })?;
    let mut labels = Labels::of(id, None);
    let mut create_time = UNIX_EPOCH;
    match thread {
        Some(found) => {
            let place = found.place();
            create_time = time("created_at", found.value.created_at).map_err(|fault| place.of(fault))?;
            labels = Labels::of(id, found.value.metadata);
            labels.keep_resources(found.value.tool_resources.as_ref(), &[], notes);
        }
        None => notes.add(
            "thread that is not in the file itself: made from its messages and runs",
            id,
        ),
    }
    Ok(ThreadRecord {
        id: name,
        title: String::new(),
        metadata: labels.into_map(),
        version: 1,
        active_run: None,
        create_time,
        update_time: create_time,
        usage: Usage::default(),
    })
}

fn whole_run(
    found: Found<Run>,
    steps: Vec<Found<Step>>,
    thread: &ThreadId,
    notes: &mut Notes,
) -> Result<WholeRun, Fault> {
    let place = found.place();
    let mut record = run::run(found.value, thread, notes).map_err(|fault| place.of(fault))?;
    let mut whole_steps = Vec::new();
    let mut next_place = 0;
    for (found, turn) in in_order(steps, |step| step.created_at).into_iter().zip(1..) {
        let place = found.place();
        let of_step = step::steps(found.value, turn, &record.snapshot.model, &mut next_place, notes);
        let of_step = of_step.map_err(|fault| place.of(fault))?;
        record.usage.turns = turn;
        let calls = of_step
            .iter()
            .filter(|step| matches!(step.work, crate::run::step::Work::ToolCall { .. }));
        record.usage.tool_calls += u32::try_from(calls.count()).unwrap_or(u32::MAX);
        whole_steps.extend(of_step);
    }
    Ok(WholeRun {
        record,
        first_message: None,
        steps: whole_steps,
    })
}

/// The message before the first that the run wrote; of a run that wrote none, the last one of its time.
fn answered(whole: &WholeThread, run: &WholeRun) -> Option<crate::run::id::MessageId> {
    let messages = &whole.messages;
    let is_own = |message: &Arc<crate::run::message::Message>| message.run.as_ref() == Some(&run.record.id);
    let end = messages.iter().position(is_own).unwrap_or_else(|| {
        let is_later = |time: SystemTime| time > run.record.create_time;
        messages
            .iter()
            .position(|message| is_later(message.create_time))
            .unwrap_or(messages.len())
    });
    let last = end.checked_sub(1)?;
    Some(messages[last].id.clone())
}

/// The oldest first. Times are whole seconds, so among equals the order of the file counts: backwards where the
/// file is, as OpenAI's lists are unless somebody asked otherwise.
fn in_order<T>(mut found: Vec<Found<T>>, time: impl Fn(&T) -> u64) -> Vec<Found<T>> {
    let is_backwards = match (found.first(), found.last()) {
        (Some(first), Some(last)) => match time(&first.value).cmp(&time(&last.value)) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => first.is_listed,
            std::cmp::Ordering::Less => false,
        },
        _ => false,
    };
    if is_backwards {
        found.reverse();
    }
    found.sort_by_key(|found| time(&found.value));
    found
}
