//! Finds the objects in a file, however somebody has saved them.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Deserializer, Map, Value};

use crate::archive::fault::{Fault, typed};
use crate::archive::note::Notes;

use super::shape::{Assistant, Message, Run, Step, Thread};

/// An object, and where it stands.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    /// The line where the JSON value begins that holds it.
    pub(super) line: usize,
    /// Its path in that value; empty for the value itself.
    pub(super) path: String,
    /// Whether it stands in a list as the API gave it.
    pub(super) is_listed: bool,
}

/// What there is, in the order of the file, without what is there twice.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) assistants: Vec<Found<Assistant>>,
    pub(super) rest: Rest,
}

/// Threads and what belongs to them.
#[derive(Debug, Default)]
pub(super) struct Rest {
    pub(super) threads: Vec<Found<Thread>>,
    pub(super) messages: Vec<Found<Message>>,
    pub(super) runs: Vec<Found<Run>>,
    pub(super) steps: Vec<Found<Step>>,
}

struct Search<'a> {
    objects: Objects,
    faults: Vec<Fault>,
    notes: &'a mut Notes,
    line: usize,
    /// The objects that were taken, by kind and id.
    seen: HashMap<(&'static str, String), u64>,
    /// Whether the last page of each list says that there is more, by what is listed.
    pages: BTreeMap<String, bool>,
    /// Whether the search is inside of a list as the API gave it.
    is_listed: bool,
}

/// The kinds of objects that are carried over, in OpenAI's words.
const KINDS: [&str; 5] = [
    "assistant",
    "thread",
    "thread.message",
    "thread.run",
    "thread.run.step",
];

/// How deep objects may hold one another.
const DEPTH_LIMIT: usize = 8;

/// All objects of a file, and what is wrong with others.
pub(super) fn find(text: &str, notes: &mut Notes) -> (Objects, Vec<Fault>) {
    let mut search = Search {
        objects: Objects::default(),
        faults: Vec::new(),
        notes,
        line: 1,
        seen: HashMap::new(),
        pages: BTreeMap::new(),
        is_listed: false,
    };
    let text = text.trim_start_matches('\u{feff}');
    let mut values = Deserializer::from_str(text).into_iter::<Value>();
    let mut counted = 0;
    loop {
        let ahead = &text[values.byte_offset()..];
        let blank = ahead.len() - ahead.trim_start().len();
        let start = values.byte_offset() + blank;
        search.line += text[counted..start].matches('\n').count();
        counted = start;
        match values.next() {
            None => break,
            Some(Ok(value)) => search.value(value, "", 0),
            Some(Err(error)) => {
                let fault = Fault::of("", format!("is not JSON: {error}"));
                search.faults.push(fault.at(error.line()));
                break;
            }
        }
    }
    for (list, has_more) in &search.pages {
        if *has_more {
            search.notes.add(
                "list whose last page says that there is more (has_more), so something is missing",
                list,
            );
        }
    }
    (search.objects, search.faults)
}

impl Search<'_> {
    fn value(&mut self, value: Value, path: &str, depth: usize) {
        if depth > DEPTH_LIMIT {
            return self.fault(path, "is too deep inside of other objects");
        }
        match value {
            Value::Array(values) => self.values(values, path, depth),
            Value::Object(mut fields) => {
                let object = fields.get("object").and_then(Value::as_str);
                match object.map(|object| KINDS.into_iter().find(|kind| *kind == object).ok_or(object)) {
                    Some(Ok(kind)) => self.object(kind, fields, path, depth),
                    Some(Err("list")) | None if matches!(fields.get("data"), Some(Value::Array(_))) => {
                        self.page(&mut fields, path, depth);
                    }
                    Some(Err(other)) => {
                        let id = fields
                            .get("id")
                            .and_then(Value::as_str)
                            .unwrap_or("without an id");
                        let place = format!("{other} {id}");
                        self.notes
                            .add("object of a kind that is not carried over", &place);
                    }
                    None => self.holder(fields, path, depth),
                }
            }
            _ => self.fault(path, "is not an object, a list or an array"),
        }
    }

    fn values(&mut self, values: Vec<Value>, path: &str, depth: usize) {
        for (value, index) in values.into_iter().zip(0..) {
            self.value(value, &format!("{path}[{index}]"), depth + 1);
        }
    }

    /// A list as the API gives it, a page at a time.
    fn page(&mut self, fields: &mut Map<String, Value>, path: &str, depth: usize) {
        let Some(Value::Array(data)) = fields.remove("data") else {
            return;
        };
        let text = |of: &Value, field: &str| of.get(field).and_then(Value::as_str).map(str::to_owned);
        if let Some(first) = data.first() {
            let kind = text(first, "object").unwrap_or_default();
            let parent = text(first, "run_id").filter(|_| kind == "thread.run.step");
            let parent = parent.or_else(|| text(first, "thread_id"));
            let list = parent.map_or_else(|| kind.clone(), |parent| format!("{kind} of {parent}"));
            let has_more = fields.get("has_more").and_then(Value::as_bool);
            self.pages.insert(list, has_more.unwrap_or_default());
        }
        let outer = std::mem::replace(&mut self.is_listed, true);
        self.values(data, &inside(path, "data"), depth);
        self.is_listed = outer;
    }

    /// An object of somebody's own that holds others.
    fn holder(&mut self, fields: Map<String, Value>, path: &str, depth: usize) {
        let mut is_empty = true;
        for (name, value) in fields {
            if value.is_array() || value.is_object() {
                is_empty = false;
                self.value(value, &inside(path, &name), depth + 1);
            }
        }
        if is_empty {
            self.fault(path, "has no `object` that says what it is");
        }
    }

    fn object(&mut self, kind: &'static str, mut fields: Map<String, Value>, path: &str, depth: usize) {
        // Some save a thread with its messages inside of it.
        for name in ["messages", "runs", "steps"] {
            if let Some(inner) = fields.remove(name) {
                self.value(inner, &inside(path, name), depth + 1);
            }
        }
        let value = Value::Object(fields);
        let id = value.get("id").and_then(Value::as_str).unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        value.to_string().hash(&mut hasher);
        let content = hasher.finish();
        match self.seen.insert((kind, id.to_owned()), content) {
            Some(other) if other == content => return,
            Some(_) => return self.fault(path, &format!("{kind} {id} is in the file twice, not the same")),
            None => {}
        }
        let place = (self.line, path, self.is_listed);
        let rest = &mut self.objects.rest;
        let taken = match kind {
            "assistant" => take(value, place, &mut self.objects.assistants),
            "thread" => take(value, place, &mut rest.threads),
            "thread.message" => take(value, place, &mut rest.messages),
            "thread.run" => take(value, place, &mut rest.runs),
            _ => take(value, place, &mut rest.steps),
        };
        self.faults.extend(taken.err());
    }

    fn fault(&mut self, path: &str, description: &str) {
        self.faults.push(Fault::of(path, description).at(self.line));
    }
}

fn take<T: serde::de::DeserializeOwned>(
    value: Value,
    (line, path, is_listed): (usize, &str, bool),
    found: &mut Vec<Found<T>>,
) -> Result<(), Fault> {
    let value = typed(value).map_err(|fault| fault.within(path).at(line))?;
    found.push(Found {
        value,
        line,
        path: path.to_owned(),
        is_listed,
    });
    Ok(())
}

fn inside(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
