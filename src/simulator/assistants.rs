//! The Assistants API, second version: assistants, threads, messages, runs and their steps, in memory.
//!
//! A run is told in whole when it is asked for: [`telling`] gives the events for a stream and what is left in the
//! thread. Who does not stream sees it come about when the last token would have come.

mod exchange;
mod objects;
mod telling;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::ask::Ask;
use super::page::Query;
use super::refusal::Refusal;
use super::server::Stamp;
use super::shelf::Shelf;
use objects::Fields;
use telling::Told;

pub(super) use exchange::Exchange;

/// Everything that there is of this API's objects.
#[derive(Debug, Default)]
pub(super) struct Assistants(Mutex<Objects>);

#[derive(Debug, Default)]
struct Objects {
    assistants: Shelf<Value>,
    threads: Shelf<Thread>,
}

#[derive(Debug)]
struct Thread {
    object: Value,
    messages: Vec<Value>,
    runs: Vec<Run>,
}

#[derive(Debug)]
struct Run {
    object: Value,
    steps: Vec<Value>,
    /// How the turn that goes on will have ended, and when.
    outcome: Option<(Instant, Outcome)>,
    expires: Instant,
}

#[derive(Debug)]
struct Outcome {
    run: Value,
    messages: Vec<Value>,
    steps: Vec<Value>,
}

/// What a request leads to.
pub(super) enum Reply {
    /// This object, at once.
    Object(Value),
    /// An answer of the model.
    Answer(Box<Exchange>, Ask),
}

/// One request, as its route needs it.
pub(super) struct Call<'a> {
    pub method: &'a Method,
    /// The path behind `/v1`, cut at its slashes.
    pub segments: &'a [&'a str],
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

impl Call<'_> {
    /// Whether the path is one of this API's.
    pub fn is_for_assistants(&self) -> bool {
        matches!(self.segments.first(), Some(&("assistants" | "threads")))
    }

    fn not_found(&self) -> Refusal {
        let url = format!("/v1/{}", self.segments.join("/"));
        missing(format!("Invalid URL ({} {url})", self.method))
    }
}

impl Assistants {
    /// Answers a request, or says what the model is asked.
    pub fn handle(&self, call: &Call<'_>, stamp: &Stamp) -> Result<Reply, Refusal> {
        let version = call.headers.get("openai-beta");
        if version.is_none_or(|version| version != "assistants=v2") {
            let message = "You must provide the 'OpenAI-Beta' header to access the Assistants API: \
                'OpenAI-Beta: assistants=v2'.";
            return Err(Refusal::invalid(None, Some("invalid_beta"), message));
        }
        let given = objects::fields(call.body)?;
        let mut objects = self.lock();
        let object = match call.segments {
            ["assistants", rest @ ..] => objects.assistant(call, rest, &given, stamp),
            ["threads"] if call.method == Method::POST => objects.create_thread(&given, stamp),
            ["threads", "runs"] if call.method == Method::POST => {
                return exchange::start(&mut objects, None, given, stamp);
            }
            ["threads", thread, "runs"] if call.method == Method::POST => {
                return exchange::start(&mut objects, Some(thread), given, stamp);
            }
            ["threads", thread, "runs", run, "submit_tool_outputs"] if call.method == Method::POST => {
                return exchange::submit(objects.thread(thread)?, run, &given);
            }
            ["threads", thread] => objects.thread_itself(call, thread, &given),
            ["threads", thread, rest @ ..] => objects.thread(thread)?.part(call, rest, &given, stamp),
            _ => Err(call.not_found()),
        };
        object.map(Reply::Object)
    }

    /// Lets a turn end as it was told, after this time; gives the run as it is until then.
    pub fn begin(&self, exchange: Exchange, told: &Told, wait: Duration) -> Value {
        let outcome = Outcome {
            run: told.run.clone(),
            messages: told.messages.clone(),
            steps: told.steps.clone(),
        };
        let weight = told.events.bytes.len();
        self.lock()
            .begin(exchange, outcome, Instant::now() + wait, weight)
    }

    // A panic while it was held leaves whole objects behind.
    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Objects {
    fn assistant(
        &mut self,
        call: &Call<'_>,
        rest: &[&str],
        given: &Fields,
        stamp: &Stamp,
    ) -> Result<Value, Refusal> {
        let gone = |id: &str| missing(format!("No assistant found with id '{id}'."));
        match (call.method, rest) {
            (&Method::POST, []) => {
                let id = stamp.id("asst_", 0);
                let assistant = objects::assistant(&id, stamp.created_s, given)?;
                self.assistants.put(id, call.body.len(), assistant.clone());
                Ok(assistant)
            }
            (&Method::GET, []) => Ok(Query::read(call.query)?.page(self.assistants.iter())),
            (&Method::GET, [id]) => self.assistants.get(id).cloned().ok_or_else(|| gone(id)),
            (&Method::POST, [id]) => {
                let assistant = self.assistants.get_mut(id).ok_or_else(|| gone(id))?;
                modify(assistant, given);
                Ok(assistant.clone())
            }
            (&Method::DELETE, [id]) => {
                self.assistants.remove(id).ok_or_else(|| gone(id))?;
                Ok(json!({"id": id, "object": "assistant.deleted", "deleted": true}))
            }
            _ => Err(call.not_found()),
        }
    }

    fn create_thread(&mut self, given: &Fields, stamp: &Stamp) -> Result<Value, Refusal> {
        let id = stamp.id("thread_", 0);
        let mut thread = Thread {
            object: objects::thread(&id, stamp.created_s, given),
            messages: Vec::new(),
            runs: Vec::new(),
        };
        thread.messages = exchange::messages(given.get("messages"), &id, stamp)?;
        let object = thread.object.clone();
        self.threads.put(id, exchange::weight(&thread.messages), thread);
        Ok(object)
    }

    fn thread_itself(&mut self, call: &Call<'_>, id: &str, given: &Fields) -> Result<Value, Refusal> {
        let thread = self.thread(id)?;
        match *call.method {
            Method::GET => Ok(thread.object.clone()),
            Method::POST => {
                modify(&mut thread.object, given);
                Ok(thread.object.clone())
            }
            Method::DELETE => {
                self.threads.remove(id);
                Ok(json!({"id": id, "object": "thread.deleted", "deleted": true}))
            }
            _ => Err(call.not_found()),
        }
    }

    /// The thread, as it is now.
    fn thread(&mut self, id: &str) -> Result<&mut Thread, Refusal> {
        let thread = self
            .threads
            .get_mut(id)
            .ok_or_else(|| missing(format!("No thread found with id '{id}'.")))?;
        thread.settle(Instant::now());
        Ok(thread)
    }

    fn begin(&mut self, exchange: Exchange, outcome: Outcome, due: Instant, weight: usize) -> Value {
        let Exchange {
            thread,
            new_thread,
            messages,
            run,
            steps,
            is_new,
        } = exchange;
        if let Some(object) = new_thread {
            let new = Thread {
                object,
                messages: Vec::new(),
                runs: Vec::new(),
            };
            self.threads.put(thread.clone(), 0, new);
        }
        let shown = objects::shown(&run);
        if let Some(place) = self.threads.get_mut(&thread) {
            let added = exchange::weight(&messages) + weight;
            place.messages.extend(messages);
            if !is_new {
                place.runs.retain(|known| known.object["id"] != run["id"]);
            }
            place.runs.push(Run {
                object: run,
                steps,
                outcome: Some((due, outcome)),
                expires: Instant::now() + Duration::from_secs(objects::RUN_LIFETIME_S),
            });
            self.threads.add_weight(&thread, added);
        }
        shown
    }
}

impl Thread {
    /// Makes true what is due by now.
    fn settle(&mut self, now: Instant) {
        for run in &mut self.runs {
            if let Some((_, outcome)) = run.outcome.take_if(|(due, _)| *due <= now) {
                run.object = outcome.run;
                run.steps.extend(outcome.steps);
                self.messages.extend(outcome.messages);
            }
            if run.outcome.is_some() {
                run.object["status"] = json!("in_progress");
            } else if objects::is_active(&run.object) && run.expires <= now {
                run.object["status"] = json!("expired");
            }
        }
    }

    fn active(&self) -> Option<&Run> {
        self.runs.iter().find(|run| objects::is_active(&run.object))
    }

    fn run(&mut self, id: &str) -> Result<&mut Run, Refusal> {
        self.runs
            .iter_mut()
            .find(|run| run.object["id"] == id)
            .ok_or_else(|| missing(format!("No run found with id '{id}'.")))
    }

    /// Answers a request for something in the thread.
    fn part(
        &mut self,
        call: &Call<'_>,
        rest: &[&str],
        given: &Fields,
        stamp: &Stamp,
    ) -> Result<Value, Refusal> {
        match (call.method, rest) {
            (&Method::POST, ["messages"]) => {
                exchange::refuse_if_active(self, "add messages to")?;
                let thread = self.object["id"].as_str().unwrap_or_default();
                let id = stamp.id("msg_", 0);
                let message = objects::given_message(&id, stamp.created_s, thread, given)?;
                self.messages.push(message.clone());
                Ok(message)
            }
            (&Method::GET, ["messages"]) => {
                let query = Query::read(call.query)?;
                let of_run =
                    |message: &&Value| query.run.as_ref().is_none_or(|run| message["run_id"] == **run);
                Ok(query.page(self.messages.iter().filter(of_run)))
            }
            (_, ["messages", id]) => self.message(call, id, given),
            (&Method::GET, ["runs"]) => {
                let runs: Vec<Value> = self.runs.iter().map(|run| objects::shown(&run.object)).collect();
                Ok(Query::read(call.query)?.page(runs.iter()))
            }
            (&Method::GET, ["runs", run]) => Ok(objects::shown(&self.run(run)?.object)),
            (&Method::POST, ["runs", run]) => {
                let run = self.run(run)?;
                modify(&mut run.object, given);
                Ok(objects::shown(&run.object))
            }
            (&Method::POST, ["runs", run, "cancel"]) => self.run(run)?.cancel(stamp),
            (&Method::GET, ["runs", run, "steps"]) => {
                Ok(Query::read(call.query)?.page(self.run(run)?.steps.iter()))
            }
            (&Method::GET, ["runs", run, "steps", step]) => {
                let steps = &self.run(run)?.steps;
                let found = steps.iter().find(|known| known["id"] == **step);
                found
                    .cloned()
                    .ok_or_else(|| missing(format!("No step found with id '{step}'.")))
            }
            _ => Err(call.not_found()),
        }
    }

    fn message(&mut self, call: &Call<'_>, id: &str, given: &Fields) -> Result<Value, Refusal> {
        let place = self.messages.iter().position(|message| message["id"] == id);
        let place = place.ok_or_else(|| missing(format!("No message found with id '{id}'.")))?;
        match *call.method {
            Method::GET => Ok(self.messages[place].clone()),
            Method::POST => {
                modify(&mut self.messages[place], given);
                Ok(self.messages[place].clone())
            }
            Method::DELETE => {
                self.messages.remove(place);
                Ok(json!({"id": id, "object": "thread.message.deleted", "deleted": true}))
            }
            _ => Err(call.not_found()),
        }
    }
}

impl Run {
    fn cancel(&mut self, stamp: &Stamp) -> Result<Value, Refusal> {
        if !objects::is_active(&self.object) {
            let status = self.object["status"].as_str().unwrap_or_default();
            let message = format!("Cannot cancel run with status '{status}'.");
            return Err(Refusal::invalid(None, None, message));
        }
        self.outcome = None;
        self.object["cancelled_at"] = json!(stamp.created_s);
        self.object["required_action"] = Value::Null;
        self.object["status"] = json!("cancelled");
        let mut shown = objects::shown(&self.object);
        shown["status"] = json!("cancelling");
        Ok(shown)
    }
}

/// Takes over the fields of the request that the object has.
fn modify(object: &mut Value, given: &Fields) {
    for (name, value) in given {
        if let Some(field) = object.get_mut(name) {
            field.clone_from(value);
        }
    }
}

fn missing(message: String) -> Refusal {
    Refusal {
        status: StatusCode::NOT_FOUND,
        message,
        ..Refusal::invalid(None, None, String::new())
    }
}
