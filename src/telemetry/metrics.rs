//! Figures for Prometheus; prometheus-client lives only here. What they mean is in `docs/metrics.md`.
//!
//! Names are those of OpenTelemetry's semantic conventions for generative AI and for RPCs where they have any, as
//! Prometheus writes them. The values of labels are bounded: names of methods and models are known from the start, those
//! of tools are cut off at a number, and whatever else there is counts as [`OTHER`].

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::run::engine::Activity;
use crate::run::message::Usage;
use crate::run::model::{AttemptResult, Condition, ModelCard};
use crate::run::money::Cost;
use crate::run::ports::{Call, CallOutcome, Connection, Happening, Observer, Purpose, ServerStatus, Turn};
use crate::run::record::RunRecord;

/// What stands for names that are not counted apart.
pub const OTHER: &str = "_OTHER";

/// So many tools are counted apart, over all servers.
const MAX_TOOLS: usize = 500;

/// Seconds, as the conventions for `gen_ai.client.operation.duration` have them.
const DURATIONS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];

/// Seconds, as those for `gen_ai.server.time_to_first_token` have them.
const FIRST_CHUNKS: [f64; 16] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Tokens, as those for `gen_ai.client.token.usage` have them.
const TOKENS: [f64; 14] = [
    1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0,
    16777216.0, 67108864.0,
];

/// What has happened since the service started.
pub struct Metrics {
    registry: Registry,
    /// The names of methods, and of models with their aliases, that are counted apart.
    methods: HashMap<String, Name>,
    models: HashMap<String, Name>,
    other: Name,
    calls: Family<OfRpc, Histogram, fn() -> Histogram>,
    runs: Family<OfRun, Histogram, fn() -> Histogram>,
    turns: Family<OfTurn, Histogram, fn() -> Histogram>,
    first_chunks: Family<OfModel, Histogram, fn() -> Histogram>,
    tokens: Family<OfTokens, Histogram, fn() -> Histogram>,
    cost: Family<OfCost, Counter>,
    attempts: Family<OfAttempt, Counter>,
    retries: Family<OfModel, Counter>,
    fallbacks: Family<OfModel, Counter>,
    unknown_events: Family<OfModel, Counter>,
    tools: Family<OfTool, Histogram, fn() -> Histogram>,
    known_tools: Known<(Name, Name)>,
    /// No figures of callers where none may be counted apart.
    known_callers: Known<Name>,
    caller_runs: Family<OfCaller, Counter>,
    caller_tokens: Family<OfCallerTokens, Counter>,
    caller_cost: Family<OfCallerCost, Counter>,
    now: Mutex<Now>,
}

/// What is read when somebody asks for the figures.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// The runs of this process.
    pub runs: Activity,
    /// The models by their names, and how they are.
    pub models: Vec<(String, Condition)>,
    /// The MCP servers.
    pub servers: Vec<ServerStatus>,
}

/// Figures that are set anew each time somebody asks. Locked for that time.
#[derive(Default)]
struct Now {
    runs: Family<OfState, Gauge>,
    breakers: Family<OfModel, Gauge>,
    at_work: Family<OfModel, Gauge>,
    waiting: Family<OfModel, Gauge>,
    servers: Family<OfServerState, Gauge>,
    server_tools: Family<OfServer, Gauge>,
    server_calls: Family<OfServer, Gauge>,
}

/// So many different things, the first that come.
struct Known<T> {
    things: RwLock<HashSet<T>>,
    limit: usize,
}

/// A name in a label.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Name(Arc<str>);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfRpc {
    rpc_method: Name,
    rpc_response_status_code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfRun {
    state: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfState {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfModel {
    gen_ai_request_model: Name,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfTurn {
    gen_ai_operation_name: &'static str,
    gen_ai_request_model: Name,
    error_type: Name,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfTokens {
    gen_ai_token_type: &'static str,
    gen_ai_request_model: Name,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfCost {
    currency: Name,
    gen_ai_request_model: Name,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfAttempt {
    gen_ai_request_model: Name,
    outcome: &'static str,
    error_type: Name,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfTool {
    mcp_server: Name,
    gen_ai_tool_name: Name,
    error_type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfCaller {
    caller: Name,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfCallerTokens {
    caller: Name,
    gen_ai_token_type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfCallerCost {
    caller: Name,
    currency: Name,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfServer {
    mcp_server: Name,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfServerState {
    mcp_server: Name,
    state: &'static str,
}

impl<T: Eq + Hash> Known<T> {
    fn new(limit: usize) -> Self {
        Self {
            things: RwLock::default(),
            limit,
        }
    }

    /// Whether it is one of them.
    fn admits(&self, thing: T) -> bool {
        let things = self.things.read().unwrap_or_else(PoisonError::into_inner);
        if things.contains(&thing) {
            return true;
        }
        if things.len() >= self.limit {
            return false;
        }
        drop(things);
        let mut things = self.things.write().unwrap_or_else(PoisonError::into_inner);
        if things.len() < self.limit {
            things.insert(thing);
            return true;
        }
        things.contains(&thing)
    }
}

impl Name {
    fn new(name: &str) -> Self {
        Self(name.into())
    }
}

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        (&*self.0).encode(encoder)
    }
}

impl Metrics {
    /// Counts calls of these methods, each as `package.Service/Method`, what is done with these models, and so many
    /// callers apart. Everything starts at nothing.
    pub fn new(
        methods: impl IntoIterator<Item = String>,
        models: &[Arc<ModelCard>],
        max_callers: usize,
    ) -> Self {
        let methods = methods.into_iter().map(|method| {
            let name = Name::new(&method);
            (method, name)
        });
        let names = models.iter().flat_map(|card| {
            let name = Name::new(&card.name);
            let names = card.aliases.iter().chain([&card.name]);
            names.map(move |alias| (alias.clone(), name.clone()))
        });
        let mut registry = Registry::default();
        let shelf = &mut registry;
        shelf.register(
            "assistd_build",
            "The version that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let seconds = || Some(Unit::Seconds);
        let now = Now::on(shelf);
        Self {
            methods: methods.collect(),
            models: names.collect(),
            other: Name::new(OTHER),
            calls: put(
                shelf,
                "rpc_server_call_duration",
                seconds(),
                "Calls of the contract, by method and code",
                of_durations(),
            ),
            runs: put(
                shelf,
                "assistd_run_duration",
                seconds(),
                "Runs that are over, by how they ended",
                of_durations(),
            ),
            turns: put(
                shelf,
                "gen_ai_client_operation_duration",
                seconds(),
                "Turns of models, retries and fallbacks included",
                of_durations(),
            ),
            first_chunks: put(
                shelf,
                "gen_ai_client_operation_time_to_first_chunk",
                seconds(),
                "From sending a request to a model to the first piece of its answer",
                Family::new_with_constructor(|| Histogram::new(FIRST_CHUNKS)),
            ),
            tokens: put(
                shelf,
                "gen_ai_client_token_usage",
                None,
                "Tokens of each turn; cached_input is a part of input, and reasoning one of output",
                Family::new_with_constructor(|| Histogram::new(TOKENS)),
            ),
            cost: put(
                shelf,
                "assistd_cost_micros",
                None,
                "What turns cost, in millionths of the currency's unit",
                Family::default(),
            ),
            attempts: put(
                shelf,
                "assistd_model_attempts",
                None,
                "Requests to models, and those that were not sent",
                Family::default(),
            ),
            retries: put(
                shelf,
                "assistd_model_retries",
                None,
                "Requests that were sent again to the same model, or beside one that was slow",
                Family::default(),
            ),
            unknown_events: put(
                shelf,
                "assistd_model_unknown_events",
                None,
                "Events of models' streams that were passed over, because nobody here understands them",
                Family::default(),
            ),
            fallbacks: put(
                shelf,
                "assistd_model_fallbacks",
                None,
                "Times that another model was asked in place of this one",
                Family::default(),
            ),
            tools: put(
                shelf,
                "gen_ai_execute_tool_duration",
                seconds(),
                "Calls of tools, by server, tool and outcome",
                of_durations(),
            ),
            known_tools: Known::new(MAX_TOOLS),
            known_callers: Known::new(max_callers),
            caller_runs: put(
                shelf,
                "assistd_caller_runs",
                None,
                "Runs that are over, by who asked for them",
                Family::default(),
            ),
            caller_tokens: put(
                shelf,
                "assistd_caller_tokens",
                None,
                "Tokens of runs that are over, by who asked for them",
                Family::default(),
            ),
            caller_cost: put(
                shelf,
                "assistd_caller_cost_micros",
                None,
                "What runs cost that are over, by who asked for them, in millionths of the currency's unit",
                Family::default(),
            ),
            now: Mutex::new(now),
            registry,
        }
    }

    /// A call of the contract is over. `method` is `package.Service/Method`, or whatever the caller wrote.
    pub fn called(&self, method: &str, code: &'static str, took: Duration) {
        let labels = OfRpc {
            rpc_method: self.methods.get(method).unwrap_or(&self.other).clone(),
            rpc_response_status_code: code,
        };
        self.calls.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// All figures, in the text format of OpenMetrics.
    pub fn text(&self, readings: &Readings) -> String {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.set(readings, |model| self.model(model));
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn model(&self, name: &str) -> OfModel {
        OfModel {
            gen_ai_request_model: self.models.get(name).unwrap_or(&self.other).clone(),
        }
    }

    /// Counts what a model has used.
    fn spent(&self, model: &OfModel, usage: &Usage) {
        for (kind, tokens) in kinds(usage) {
            if tokens > 0 {
                let labels = OfTokens {
                    gen_ai_token_type: kind,
                    gen_ai_request_model: model.gen_ai_request_model.clone(),
                };
                self.tokens.get_or_create(&labels).observe(tokens as f64);
            }
        }
        if let Some(cost) = usage.cost {
            let labels = OfCost {
                currency: Name::new(cost.currency.code()),
                gen_ai_request_model: model.gen_ai_request_model.clone(),
            };
            self.cost.get_or_create(&labels).inc_by(cost.micros);
        }
    }

    fn turn(&self, turn: &Turn<'_>) {
        let asked = self.model(turn.model);
        for attempt in turn.attempts {
            let (outcome, reason) = match &attempt.result {
                AttemptResult::Answered => ("answered", ""),
                AttemptResult::Failed(reason) => ("failed", reason.as_str()),
                AttemptResult::NotSent(reason) => ("not_sent", reason.as_str()),
                AttemptResult::Overtaken => ("overtaken", ""),
                AttemptResult::Abandoned => ("abandoned", ""),
            };
            let labels = OfAttempt {
                gen_ai_request_model: self.model(&attempt.model).gen_ai_request_model,
                outcome,
                error_type: Name::new(reason),
            };
            self.attempts.get_or_create(&labels).inc();
        }
        for pair in turn.attempts.windows(2) {
            match pair[0].model == pair[1].model {
                true => self.retries.get_or_create(&self.model(&pair[0].model)).inc(),
                false => self.fallbacks.get_or_create(&asked).inc(),
            };
        }
        let answered = turn.answered();
        let answerer = answered.map_or_else(|| asked.clone(), |attempt| self.model(&attempt.model));
        if let Some(attempt) = answered {
            let latency = attempt.latency.as_secs_f64();
            self.first_chunks.get_or_create(&answerer).observe(latency);
        }
        if turn.unknown_events > 0 {
            let unknown = self.unknown_events.get_or_create(&answerer);
            unknown.inc_by(turn.unknown_events.into());
        }
        // What failed is its own model's, and what is left the answerer's.
        let mut left = *turn.usage;
        for attempt in turn.attempts {
            if let Some(lost) = &attempt.usage {
                self.spent(&self.model(&attempt.model), lost);
                left = without(&left, lost);
            }
        }
        self.spent(&answerer, &left);
        let labels = OfTurn {
            gen_ai_operation_name: match turn.purpose {
                Purpose::Answer => "chat",
                Purpose::Summary => "summarize",
                Purpose::Sampling => "sample",
            },
            gen_ai_request_model: asked.gen_ai_request_model,
            error_type: Name::new(turn.failure.unwrap_or_default()),
        };
        self.turns
            .get_or_create(&labels)
            .observe(turn.duration.as_secs_f64());
    }

    fn call(&self, call: &Call<'_>) {
        let error_type = match call.outcome {
            CallOutcome::Answered => "",
            CallOutcome::Failed => "tool_error",
            CallOutcome::Cancelled => "cancelled",
        };
        let mut labels = OfTool {
            mcp_server: Name::new(call.server),
            gen_ai_tool_name: Name::new(call.tool),
            error_type,
        };
        // A tool without a server has its name from a client or a model.
        let is_unknown = call.server.is_empty();
        let tool = (labels.mcp_server.clone(), labels.gen_ai_tool_name.clone());
        if is_unknown || !self.known_tools.admits(tool) {
            labels.mcp_server = self.other.clone();
            labels.gen_ai_tool_name = self.other.clone();
        }
        self.tools
            .get_or_create(&labels)
            .observe(call.duration.as_secs_f64());
    }

    fn run(&self, record: &RunRecord) {
        let labels = OfRun {
            state: record.state.name(),
            reason: record.state.detail().unwrap_or_default(),
        };
        let started = record.start_time.unwrap_or(record.create_time);
        let took = record.end_time.and_then(|end| end.duration_since(started).ok());
        self.runs
            .get_or_create(&labels)
            .observe(took.unwrap_or_default().as_secs_f64());
        if self.known_callers.limit > 0 {
            self.caller(record);
        }
    }

    fn caller(&self, record: &RunRecord) {
        let mut labels = OfCaller {
            caller: Name::new(&record.snapshot.caller),
        };
        if !self.known_callers.admits(labels.caller.clone()) {
            labels.caller = self.other.clone();
        }
        self.caller_runs.get_or_create(&labels).inc();
        let usage = &record.usage;
        for (gen_ai_token_type, tokens) in kinds(usage) {
            if tokens > 0 {
                let labels = OfCallerTokens {
                    caller: labels.caller.clone(),
                    gen_ai_token_type,
                };
                self.caller_tokens.get_or_create(&labels).inc_by(tokens);
            }
        }
        if let Some(cost) = usage.cost {
            let labels = OfCallerCost {
                caller: labels.caller,
                currency: Name::new(cost.currency.code()),
            };
            self.caller_cost.get_or_create(&labels).inc_by(cost.micros);
        }
    }
}

impl Observer for Metrics {
    fn observe(&self, happening: &Happening<'_>) {
        match happening {
            Happening::Turn(turn) => self.turn(turn),
            Happening::Call(call) => self.call(call),
            Happening::Run(record) => self.run(record),
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Now {
    fn on(shelf: &mut Registry) -> Self {
        let family = Family::default;
        Self {
            runs: put(
                shelf,
                "assistd_runs",
                None,
                "Runs of this process that are not over",
                Family::default(),
            ),
            breakers: put(
                shelf,
                "assistd_model_breaker_open",
                None,
                "1 while nothing is sent to the model",
                family(),
            ),
            at_work: put(
                shelf,
                "assistd_model_requests_at_work",
                None,
                "Requests that have one of a model's places",
                family(),
            ),
            waiting: put(
                shelf,
                "assistd_model_requests_waiting",
                None,
                "Requests that wait for one of a model's places",
                family(),
            ),
            servers: put(
                shelf,
                "assistd_mcp_server_state",
                None,
                "1 for the state that an MCP server is in",
                Family::default(),
            ),
            server_tools: put(
                shelf,
                "assistd_mcp_server_tools",
                None,
                "Tools that an MCP server offers",
                Family::default(),
            ),
            server_calls: put(
                shelf,
                "assistd_mcp_server_calls_waiting",
                None,
                "Calls that wait for an MCP server",
                Family::default(),
            ),
        }
    }

    fn set(&self, readings: &Readings, model: impl Fn(&str) -> OfModel) {
        let size = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let Activity {
            queued,
            working,
            waiting,
        } = readings.runs;
        for (state, count) in [
            ("queued", queued),
            ("running", working),
            ("requires_action", waiting),
        ] {
            self.runs.get_or_create(&OfState { state }).set(size(count));
        }
        for (name, condition) in &readings.models {
            let labels = model(name);
            let is_open = condition.closed_until.is_some();
            self.breakers.get_or_create(&labels).set(i64::from(is_open));
            self.at_work.get_or_create(&labels).set(size(condition.at_work));
            self.waiting.get_or_create(&labels).set(size(condition.waiting));
        }
        // One that is not in the configuration any more has no figures.
        self.servers.clear();
        self.server_tools.clear();
        self.server_calls.clear();
        for server in &readings.servers {
            let name = Name::new(&server.name);
            for state in STATES {
                let labels = OfServerState {
                    mcp_server: name.clone(),
                    state,
                };
                let is_in_it = state == state_of(&server.connection);
                self.servers.get_or_create(&labels).set(i64::from(is_in_it));
            }
            let labels = OfServer { mcp_server: name };
            self.server_tools
                .get_or_create(&labels)
                .set(size(server.tool_count));
            self.server_calls
                .get_or_create(&labels)
                .set(size(server.waiting_calls));
        }
    }
}

/// What is left of this without that, which is a part of it; money only where it is of one currency.
fn without(usage: &Usage, part: &Usage) -> Usage {
    let cost = usage.cost.map(|cost| match part.cost {
        Some(part) if part.currency == cost.currency => Cost {
            micros: cost.micros.saturating_sub(part.micros),
            ..cost
        },
        _ => cost,
    });
    Usage {
        cost,
        ..usage.tokens_beyond(*part)
    }
}

/// Tokens by what they were.
fn kinds(usage: &Usage) -> [(&'static str, u64); 4] {
    [
        ("input", usage.input_tokens),
        ("cached_input", usage.cached_tokens),
        ("output", usage.output_tokens),
        ("reasoning", usage.reasoning_tokens),
    ]
}

/// Where an MCP server can be.
const STATES: [&str; 7] = [
    "connecting",
    "ready",
    "degraded",
    "quarantined",
    "unauthorized",
    "down",
    "disabled",
];

fn state_of(connection: &Connection) -> &'static str {
    match connection {
        Connection::Connecting => "connecting",
        Connection::Ready => "ready",
        Connection::Degraded(_) => "degraded",
        Connection::Quarantined(_) => "quarantined",
        Connection::Unauthorized(_) => "unauthorized",
        Connection::Down(_) => "down",
        Connection::Disabled => "disabled",
    }
}

fn of_durations<L: Clone + Hash + Eq>() -> Family<L, Histogram, fn() -> Histogram> {
    Family::new_with_constructor(|| Histogram::new(DURATIONS))
}

/// Registers a metric and gives it back.
fn put<M: Metric + Clone>(shelf: &mut Registry, name: &str, unit: Option<Unit>, help: &str, metric: M) -> M {
    match unit {
        Some(unit) => shelf.register_with_unit(name, help, unit, metric.clone()),
        None => shelf.register(name, help, metric.clone()),
    }
    metric
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::model::Attempt;

    fn attempt(model: &str, result: AttemptResult) -> Attempt {
        Attempt {
            model: model.to_owned(),
            provider_model: format!("{model}-1"),
            endpoint: "http://one".to_owned(),
            result,
            status: None,
            wait: Duration::ZERO,
            latency: Duration::from_millis(30),
            usage: None,
        }
    }

    fn metrics() -> Metrics {
        let card = |name: &str, alias: &str| {
            Arc::new(ModelCard {
                name: name.to_owned(),
                aliases: vec![alias.to_owned()],
                ..ModelCard::default()
            })
        };
        let models = [card("first", "one"), card("second", "two")];
        Metrics::new(["a.B/C".to_owned()], &models, 2)
    }

    /// Each line is there, as it is.
    fn has(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|there| there == *line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_turn_is_counted_for_the_model_that_answered_and_its_failures_for_those_that_did_not() {
        let metrics = metrics();
        let failed = || AttemptResult::Failed("RATE_LIMITED".to_owned());
        let cost = |micros| {
            Some(Cost {
                currency: "USD".parse().unwrap(),
                micros,
            })
        };
        let lost = Usage {
            input_tokens: 7,
            cost: cost(70),
            ..Usage::default()
        };
        let attempts = [
            attempt("first", failed()),
            Attempt {
                usage: Some(lost),
                ..attempt("first", failed())
            },
            attempt("second", AttemptResult::Answered),
        ];
        let usage = Usage {
            input_tokens: 12,
            cost: cost(75),
            output_tokens: 3,
            reasoning_tokens: 2,
            ..Usage::default()
        };
        metrics.observe(&Happening::Turn(Turn {
            purpose: Purpose::Answer,
            model: "one",
            attempts: &attempts,
            usage: &usage,
            unknown_events: 4,
            failure: None,
            duration: Duration::from_millis(50),
        }));
        let text = metrics.text(&Readings::default());
        has(
            &text,
            &[
                r#"assistd_model_attempts_total{gen_ai_request_model="first",outcome="failed",error_type="RATE_LIMITED"} 2"#,
                r#"assistd_model_attempts_total{gen_ai_request_model="second",outcome="answered",error_type=""} 1"#,
                r#"assistd_model_retries_total{gen_ai_request_model="first"} 1"#,
                r#"assistd_model_fallbacks_total{gen_ai_request_model="first"} 1"#,
                r#"assistd_model_unknown_events_total{gen_ai_request_model="second"} 4"#,
                r#"gen_ai_client_operation_time_to_first_chunk_seconds_count{gen_ai_request_model="second"} 1"#,
                r#"gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name="chat",gen_ai_request_model="first",error_type=""} 1"#,
                r#"gen_ai_client_token_usage_sum{gen_ai_token_type="input",gen_ai_request_model="first"} 7.0"#,
                r#"gen_ai_client_token_usage_sum{gen_ai_token_type="input",gen_ai_request_model="second"} 5.0"#,
                r#"assistd_cost_micros_total{currency="USD",gen_ai_request_model="first"} 70"#,
                r#"assistd_cost_micros_total{currency="USD",gen_ai_request_model="second"} 5"#,
                r#"gen_ai_client_token_usage_sum{gen_ai_token_type="output",gen_ai_request_model="second"} 3.0"#,
                r#"gen_ai_client_token_usage_sum{gen_ai_token_type="reasoning",gen_ai_request_model="second"} 2.0"#,
            ],
        );
        assert!(!text.contains("cached_input\""), "{text}");
    }

    #[test]
    fn names_that_callers_and_models_make_up_are_not_labels() {
        let metrics = metrics();
        metrics.called("a.B/C", "OK", Duration::ZERO);
        metrics.called("made.Up/Name", "UNIMPLEMENTED", Duration::ZERO);
        let usage = Usage::default();
        metrics.observe(&Happening::Turn(Turn {
            purpose: Purpose::Answer,
            model: "made-up",
            attempts: &[attempt("made-up", AttemptResult::Answered)],
            usage: &usage,
            unknown_events: 0,
            failure: None,
            duration: Duration::ZERO,
        }));
        let call = |server: &str, tool: &str| {
            metrics.observe(&Happening::Call(Call {
                server,
                tool,
                outcome: CallOutcome::Answered,
                duration: Duration::ZERO,
            }));
        };
        call("", "made_up");
        (0..MAX_TOOLS + 2).for_each(|index| call("server", &format!("tool{index}")));
        let text = metrics.text(&Readings::default());
        assert!(!text.contains("made") && !text.contains("Made"), "{text}");
        let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(count("gen_ai_execute_tool_duration_seconds_count"), MAX_TOOLS + 1);
        assert_eq!(count("rpc_server_call_duration_seconds_count"), 2);
    }

    #[test]
    fn a_server_that_is_gone_has_no_figures() {
        let metrics = metrics();
        let server = ServerStatus {
            name: "files".to_owned(),
            transport: "stdio",
            connection: Connection::Down("it is gone".to_owned()),
            tool_count: 0,
            waiting_calls: 2,
            last_error_time: None,
        };
        let readings = Readings {
            servers: vec![server],
            ..Readings::default()
        };
        has(
            &metrics.text(&readings),
            &[
                r#"assistd_mcp_server_state{mcp_server="files",state="down"} 1"#,
                r#"assistd_mcp_server_state{mcp_server="files",state="ready"} 0"#,
                r#"assistd_mcp_server_calls_waiting{mcp_server="files"} 2"#,
            ],
        );
        assert!(!metrics.text(&Readings::default()).contains("files"));
    }
}
