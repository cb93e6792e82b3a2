//! The composition root: the only file that names concrete adapters.
//!
//! [`App::bind`] builds the house and opens its door, [`App::run`] lives in it until it is told to stop, and
//! then leaves it in order: no new work, a grace period for what goes on, and nothing left behind.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue, Request};
use prost_reflect::DescriptorPool;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::{HealthReporter, health_reporter};

use crate::api::caller::Caller;
use crate::api::cors::{Cors, Origins};
use crate::api::docs::Docs;
use crate::api::front::{Contract, Front, Mcp};
use crate::api::grpc::{Assistant, Models, Prompts, Resources, Runs, Threads, Usage};
use crate::api::guard::{Guard, Witness};
use crate::api::handlers::Handlers;
use crate::api::legacy::Legacy;
use crate::api::listener::{self, Bounds};
use crate::api::pb::assistant_service_server::{AssistantServiceServer, SERVICE_NAME};
use crate::api::pb::model_service_server::{self, ModelServiceServer};
use crate::api::pb::prompt_service_server::{self, PromptServiceServer};
use crate::api::pb::resource_service_server::{self, ResourceServiceServer};
use crate::api::pb::run_service_server::{self, RunServiceServer};
use crate::api::pb::thread_service_server::{self, ThreadServiceServer};
use crate::api::pb::usage_service_server::{self, UsageServiceServer};
use crate::api::transcode::{self, Transcoder, openapi};
use crate::api::{pb, status};
use crate::config::{self, Config};
use crate::run::engine::{Engine, Ports, Settings};
use crate::run::money::{NoCurrency, Prices};
use crate::run::options::ModelOptions;
use crate::run::ports::{Connection, Model, Store};
use crate::run::record::Limits;
use crate::run::truncation::{Strategy, Truncation};
use crate::simulator::{Script, Simulator};
use crate::telemetry::metrics::{Metrics, Readings};
use crate::{mcp, model, run, store};

/// How long start-up waits for the first attempt at each MCP server. One that takes longer joins later.
const SETTLE_TIME: Duration = Duration::from_secs(3);

/// How often the list of MCP servers is looked at for changes.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long connections may take to end once every run has.
const CLOSING_TIME: Duration = Duration::from_secs(5);

/// Connections at once, and requests at once on each HTTP/2 connection.
const MAX_CONNECTIONS: usize = 16_384;
const MAX_STREAMS: u32 = 1_024;

/// The services of the contract that are served, as their health is asked for: the empty name is the whole.
const SERVICES: [&str; 8] = [
    "",
    SERVICE_NAME,
    thread_service_server::SERVICE_NAME,
    run_service_server::SERVICE_NAME,
    resource_service_server::SERVICE_NAME,
    prompt_service_server::SERVICE_NAME,
    model_service_server::SERVICE_NAME,
    usage_service_server::SERVICE_NAME,
];

/// The file of the store in the data directory.
const STORE_FILE: &str = "assistd.db";

/// The service, ready to be run.
pub struct App {
    listener: TcpListener,
    address: SocketAddr,
    door: Cors<Front>,
    core: Core,
    /// The assistants as MCP tools, while they are served.
    assistants: Option<mcp::assistants::Assistants>,
    health: HealthReporter,
    drain: Drain,
    event_retention: Duration,
    mcp: config::McpSection,
    reload: Arc<Notify>,
}

/// What lives behind the door.
struct Core {
    engine: Engine,
    pool: Arc<mcp::Pool>,
    simulator: Option<Simulator>,
    metrics: Option<Arc<Metrics>>,
}

/// How the service ends.
struct Drain {
    grace: Duration,
    /// The service says that it is not ready, and takes no new connections.
    begun: CancellationToken,
    /// Every run is over, or left: streams that have no end of their own end.
    closing: CancellationToken,
    /// Connections that are still there are cut off.
    abandon: CancellationToken,
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration does not fit.
    #[error("{0}")]
    Configuration(String),
    /// The store cannot be opened, or what a dead process left cannot be put in order.
    #[error("the store cannot be used: {0}")]
    Store(crate::run::error::Error),
    /// The simulator cannot be started.
    #[error("the simulator cannot be started: {0}")]
    Simulator(std::io::Error),
    /// The contract cannot be served: a defect of the build.
    #[error("the contract cannot be served: {0}")]
    Contract(String),
}

impl App {
    /// Builds the service and listens; requests are answered from [`run`](App::run) on.
    ///
    /// # Errors
    /// Whatever keeps the service from starting, in words for its operator.
    pub async fn bind(config: Config) -> Result<App, StartError> {
        let started = SystemTime::now();
        let address = config.api.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| StartError::Listen { address, source })?;
        let address = listener
            .local_addr()
            .map_err(|source| StartError::Listen { address, source })?;

        let core = Core::build(&config).await?;
        let handlers = Arc::new(Handlers::new(
            core.engine.clone(),
            Arc::<mcp::Pool>::clone(&core.pool),
            started,
            config.api.slow_watcher_limit,
        ));
        let (health, health_server) = health_reporter();
        let drain = Drain::new(config.api.drain_grace);
        let assistants = config.mcp.serve.then(|| {
            let max_talks = config.api.max_concurrent_requests;
            mcp::assistants::Assistants::new(core.engine.clone(), max_talks, Caller::of)
        });
        let mcp = assistants
            .as_ref()
            .map(|assistants| mcp_door(assistants, &config.api, address, drain.closing.clone()));
        let outside = Outside {
            mcp,
            metrics: core.metrics.clone(),
            draining: drain.begun.clone(),
        };
        let door = door(&config.api, &handlers, health_server, &core.engine, outside)?;
        for service in SERVICES {
            health
                .set_service_status(service, tonic_health::ServingStatus::Serving)
                .await;
        }
        log_start(&core, address);
        Ok(App {
            listener,
            address,
            door,
            core,
            assistants,
            health,
            drain,
            event_retention: config.run.event_retention,
            mcp: config.mcp,
            reload: Arc::default(),
        })
    }

    /// Notified, it has the list of MCP servers read again at once; otherwise that happens soon after it has changed.
    pub fn reload(&self) -> Arc<Notify> {
        Arc::clone(&self.reload)
    }

    /// Where it listens: with the real port when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to tell whoever started it: where it is, and what it works with.
    pub fn banner(&self) -> String {
        let ports = self.core.engine.ports();
        let model = ports.model.status();
        let mut banner = format!(
            "assistd {} on http://{}\n",
            env!("CARGO_PKG_VERSION"),
            self.address
        );
        banner.push_str(&match (model.dialect, model.simulated) {
            ("", _) => "  model    none: set OPENAI_API_KEY or OPENAI_BASE_URL\n".to_owned(),
            (_, true) => "  model    SIMULATED: answers come from the built-in simulator, not from a model;\n           \
                          set OPENAI_API_KEY or OPENAI_BASE_URL for a real one\n"
                .to_owned(),
            (dialect, false) => format!("  model    {} at {} ({dialect})\n", model.model, model.endpoint),
        });
        if self.assistants.is_some() {
            banner.push_str(&format!("  mcp      http://{}/mcp\n", self.address));
        }
        for server in ports.toolbox.servers() {
            let state = match server.connection {
                Connection::Ready => format!("{} tools", server.tool_count),
                Connection::Degraded(reason) | Connection::Quarantined(reason) => {
                    format!("{} tools, but {reason}", server.tool_count)
                }
                Connection::Connecting => "connecting".to_owned(),
                Connection::Disabled => "switched off".to_owned(),
                Connection::Unauthorized(want) => want,
                Connection::Down(reason) => format!("down: {reason}"),
            };
            banner.push_str(&format!("  tools    {}: {state}\n", server.name));
        }
        banner
    }

    /// Answers requests until `shutdown`, then drains: no new work, a grace period for running runs, every
    /// stream to its terminal event.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let App {
            listener,
            door,
            core,
            assistants,
            health,
            drain,
            event_retention,
            mcp,
            reload,
            ..
        } = self;
        let model = Arc::clone(&core.engine.ports().model);
        let reloading = tokio::spawn(follow_mcp(mcp, Arc::clone(&core.pool), model, reload));
        let (engine, ending) = (core.engine.clone(), drain.begun.clone());
        let sweeping = tokio::spawn(async move { engine.sweep(event_retention, ending).await });
        let (engine, leaving) = (core.engine.clone(), CancellationToken::new());
        let owning = tokio::spawn({
            let leaving = leaving.clone();
            async move { engine.own(leaving).await }
        });
        let bounds = Bounds {
            max_connections: MAX_CONNECTIONS,
            max_streams: MAX_STREAMS,
        };
        let serving = listener::serve(listener, door, bounds, drain.begun.clone(), drain.abandon.clone());
        let draining = async {
            shutdown.await;
            tracing::info!(grace = ?drain.grace, "draining");
            for service in SERVICES {
                health
                    .set_service_status(service, tonic_health::ServingStatus::NotServing)
                    .await;
            }
            drain.begun.cancel();
            core.engine.drain(drain.grace).await;
        };
        tokio::pin!(serving, draining);
        tokio::select! {
            // Nobody is connected any more: runs that outlive their callers have their grace all the same.
            () = &mut serving => draining.await,
            () = &mut draining => {
                drain.closing.cancel();
                let closing = async {
                    tokio::time::sleep(CLOSING_TIME).await;
                    drain.abandon.cancel();
                };
                tokio::select! {
                    () = &mut serving => {}
                    () = closing => serving.await,
                }
            }
        }
        drop(assistants);
        sweeping.abort();
        reloading.abort();
        leaving.cancel();
        if let Err(error) = owning.await {
            tracing::error!(%error, "the task that owns the runs has panicked");
        }
        core.pool.shutdown().await;
        if let Some(simulator) = core.simulator {
            simulator.serve_until(std::future::ready(())).await;
        }
        tracing::info!("stopped");
    }
}

impl Core {
    async fn build(config: &Config) -> Result<Core, StartError> {
        // Before anything is touched: what is wrong here is for the operator to mend.
        let (model, simulator) = build_model(&config.model).await?;
        let servers = mcp_config(&config.mcp)?;
        check_names(config, &servers, model.as_ref())?;
        let opened = store::open(&store_config(&config.store))
            .await
            .map_err(StartError::Store)?;
        let settings = engine_settings(config)?;
        let pacing = mcp::Pacing::default();
        let vault = Arc::new(mcp_vault(&config.mcp));
        // Without it a child may be left behind if the service is killed; it is no reason not to serve.
        let watchdog = std::env::current_exe().ok().map(mcp::Watchdog::new);
        let pool = mcp::Pool::with_watchdog(servers, pacing, opened.pins, vault, watchdog);
        let pool = Arc::new(pool);
        let metrics = config
            .api
            .metrics
            .then(|| metrics(model.as_ref(), config.api.metrics_callers))
            .transpose()?;
        let ports = Ports {
            observer: match &metrics {
                Some(metrics) => Arc::<Metrics>::clone(metrics),
                None => Arc::new(()),
            },
            model,
            tokenizer: Arc::new(model::tokens::O200k),
            toolbox: Arc::<mcp::Pool>::clone(&pool),
            store: opened.store,
            ownership: opened.ownership,
            news: opened.news,
        };
        let engine = Engine::new(ports, settings);
        pool.settled(SETTLE_TIME).await;
        engine.recover().await.map_err(StartError::Store)?;
        Ok(Core {
            engine,
            pool,
            simulator,
            metrics,
        })
    }
}

impl Drain {
    fn new(grace: Duration) -> Self {
        Self {
            grace,
            begun: CancellationToken::new(),
            closing: CancellationToken::new(),
            abandon: CancellationToken::new(),
        }
    }
}

fn log_start(core: &Core, address: SocketAddr) {
    let model = core.engine.ports().model.status();
    tracing::info!(%address, model = model.model, endpoint = model.endpoint, dialect = model.dialect, "listening");
    if model.simulated {
        tracing::warn!("the model is simulated: set OPENAI_API_KEY or OPENAI_BASE_URL for a real one");
    }
}

/// The figures, with all that can be counted apart.
fn metrics(model: &dyn Model, max_callers: u32) -> Result<Arc<Metrics>, StartError> {
    let max_callers = usize::try_from(max_callers).unwrap_or(usize::MAX);
    let decode =
        |bytes: &[u8]| DescriptorPool::decode(bytes).map_err(|error| StartError::Contract(error.to_string()));
    let pools = [
        decode(pb::DESCRIPTOR_SET)?,
        decode(tonic_health::pb::FILE_DESCRIPTOR_SET)?,
    ];
    let services = pools.iter().flat_map(DescriptorPool::services);
    let methods = services.flat_map(|service| {
        let names = service.methods().map(|method| method.name().to_owned());
        let names: Vec<String> = names.collect();
        names
            .into_iter()
            .map(move |name| format!("{}/{name}", service.full_name()))
    });
    Ok(Arc::new(Metrics::new(methods, &model.models(), max_callers)))
}

/// Tells the figures of the calls of the contract.
struct Counting(Arc<Metrics>);

impl Witness for Counting {
    fn saw(&self, path: &str, code: Code, took: Duration) {
        let method = path.strip_prefix('/').unwrap_or(path);
        self.0.called(method, status::name(code), took);
    }
}

/// What there is to be read at the moment.
fn readings(engine: &Engine) -> Readings {
    let ports = engine.ports();
    let models = ports.model.models();
    let models = models.iter().map(|card| {
        let condition = ports.model.condition(&card.name);
        (card.name.clone(), condition)
    });
    Readings {
        runs: engine.activity(),
        models: models.collect(),
        servers: ports.toolbox.servers(),
    }
}

/// What the doors lead to beside the handlers.
struct Outside {
    mcp: Option<Mcp>,
    metrics: Option<Arc<Metrics>>,
    draining: CancellationToken,
}

/// Every door to these handlers.
fn door(
    config: &config::ApiSection,
    handlers: &Arc<Handlers>,
    health: HealthServer<impl Health>,
    engine: &Engine,
    outside: Outside,
) -> Result<Cors<Front>, StartError> {
    let contract_error = |error: &dyn std::fmt::Display| StartError::Contract(error.to_string());
    let routes = routes(config, handlers, health).map_err(|error| contract_error(&error))?;
    let witness = outside.metrics.as_ref().map(|metrics| {
        let witness: Arc<dyn Witness> = Arc::new(Counting(Arc::clone(metrics)));
        witness
    });
    let contract: Contract =
        Guard::new(routes, config.max_concurrent_requests, config.request_timeout).seen_by(witness);
    let (descriptors, http) = transcoder(contract.clone(), config.body_limit_bytes)?;
    let docs = Docs::new(&http.openapi(&descriptors, &openapi_info()));
    let legacy = Legacy::new(
        Arc::clone(handlers),
        config.body_limit_bytes,
        config.request_timeout,
    );
    let time = config.request_timeout;
    let caller_header = config.caller_header.as_deref().map(HeaderName::try_from);
    let caller_header = caller_header
        .transpose()
        .map_err(|error| StartError::Configuration(format!("api.caller_header: {error}")))?;
    let draining = outside.draining;
    let front = Front::new(contract, http, legacy, docs, Arc::clone(handlers), time, draining)
        .with_caller_header(caller_header);
    let front = match outside.metrics {
        Some(metrics) => {
            let engine = engine.clone();
            front.with_metrics(Arc::new(move || metrics.text(&readings(&engine))))
        }
        None => front,
    };
    let front = match outside.mcp {
        Some(mcp) => front.with_mcp(mcp),
        None => front,
    };
    Ok(Cors::new(front, &origins(&config.cors_origins)?))
}

/// The assistants as an MCP server. Of the pages of other origins only those may call that are listed by name.
fn mcp_door(
    assistants: &mcp::assistants::Assistants,
    config: &config::ApiSection,
    address: SocketAddr,
    stop: CancellationToken,
) -> Mcp {
    let mut options = mcp::door::Options {
        max_body_bytes: config.body_limit_bytes,
        max_in_flight: config.max_concurrent_requests,
        stop,
        ..mcp::door::Options::at(address)
    };
    if let config::Origins::These(listed) = &config.cors_origins {
        for origin in listed {
            options.allow_origin(origin);
        }
    }
    let door = assistants.door(options);
    Mcp::new(tower::service_fn(move |request: Request<Body>| {
        let door = door.clone();
        async move { Ok(door.answer(request).await.map(Body::new)) }
    }))
}

/// HTTP/JSON in front of a service, and the descriptors that it goes by.
fn transcoder<S>(service: S, body_limit_bytes: usize) -> Result<(DescriptorPool, Transcoder<S>), StartError> {
    let contract_error = |error: &dyn std::fmt::Display| StartError::Contract(error.to_string());
    let descriptors = DescriptorPool::decode(pb::DESCRIPTOR_SET).map_err(|error| contract_error(&error))?;
    let options = transcode::Options {
        body_limit_bytes,
        error_domain: status::DOMAIN.to_owned(),
        ..transcode::Options::default()
    };
    let transcoder =
        Transcoder::new(&descriptors, service, options).map_err(|error| contract_error(&error))?;
    Ok((descriptors, transcoder))
}

fn openapi_info() -> openapi::Info {
    openapi::Info {
        title: "assistd".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        description: "An assistant as a service: threads, runs and tool calls. The same contract is served over gRPC \
                      and gRPC-Web on the same port; fields that are not set keep their defaults, unknown ones are \
                      refused."
            .to_owned(),
    }
}

/// The OpenAPI document of the HTTP/JSON door.
///
/// # Errors
/// [`StartError::Contract`]: a defect of the build.
pub fn openapi() -> Result<serde_json::Value, StartError> {
    let (descriptors, http) = transcoder((), usize::MAX)?;
    Ok(http.openapi(&descriptors, &openapi_info()))
}

/// The gRPC services: the contract's, health and reflection in both versions.
fn routes(
    config: &config::ApiSection,
    handlers: &Arc<Handlers>,
    health: HealthServer<impl Health>,
) -> Result<Routes, tonic_reflection::server::Error> {
    // Each is a type of its own, and none has a trait for what they have in common.
    macro_rules! served {
        ($server:ident, $service:ident) => {
            $server::new($service::new(Arc::clone(handlers)))
                .max_decoding_message_size(config.body_limit_bytes)
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd)
                .send_compressed(CompressionEncoding::Gzip)
                .send_compressed(CompressionEncoding::Zstd)
        };
    }
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut routes = Routes::builder();
    routes
        .add_service(served!(AssistantServiceServer, Assistant))
        .add_service(served!(ThreadServiceServer, Threads))
        .add_service(served!(RunServiceServer, Runs))
        .add_service(served!(ResourceServiceServer, Resources))
        .add_service(served!(PromptServiceServer, Prompts))
        .add_service(served!(ModelServiceServer, Models))
        .add_service(served!(UsageServiceServer, Usage))
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok(routes.routes().prepare())
}

/// The model that is configured, or else the simulator, or else the plain fact that there is none.
async fn build_model(
    config: &config::ModelSection,
) -> Result<(Arc<dyn Model>, Option<Simulator>), StartError> {
    let simulator = match is_simulated(config) {
        true => {
            let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
            let simulator = Simulator::bind(anywhere, Script::stand_in()).await;
            Some(simulator.map_err(StartError::Simulator)?)
        }
        false => None,
    };
    let model = router(config, simulator.as_ref().map(Simulator::base_url))?;
    Ok((model, simulator))
}

/// Whether the simulator stands in for a model that nobody has configured.
fn is_simulated(config: &config::ModelSection) -> bool {
    !config.endpoint.is_given() && config.listed.is_empty() && !config.no_simulator
}

/// The models, with the simulator at this address if there is one.
fn router(config: &config::ModelSection, simulator: Option<String>) -> Result<Arc<dyn Model>, StartError> {
    let has_upstream = config.endpoint.is_given() || simulator.is_some();
    if !has_upstream && config.listed.is_empty() {
        return Ok(Arc::new(model::NotConfigured));
    }
    let simulated = simulator.is_some();
    let own_prices = prices(config.prices.as_ref())?;
    let upstream = || model::Config {
        model: config.name.clone(),
        prices: own_prices,
        fallbacks: config.fallbacks.clone(),
        reasoning_back: reasoning_back(config.reasoning_back),
        resilience: resilience(&config.resilience),
        context_tokens: config.context_tokens,
        max_output_tokens: config.max_output_tokens,
        idempotency_keys: config.idempotency_keys,
        ..model_config(
            &config.endpoint,
            config.dialect,
            config.state,
            config.timeouts,
            simulator,
        )
    };
    let listing = model::Listing {
        listed: config
            .listed
            .iter()
            .map(named_model_config)
            .collect::<Result<_, _>>()?,
        unlisted: has_upstream.then(upstream),
        default: config.name.clone(),
        only_listed: config.only_listed,
        simulated,
    };
    let model = model::Router::new(listing);
    Ok(Arc::new(model.map_err(|error| {
        StartError::Configuration(error.message().to_owned())
    })?))
}

fn named_model_config(config: &config::NamedModel) -> Result<model::Config, StartError> {
    Ok(model::Config {
        name: Some(config.name.clone()),
        model: config.provider_model.clone(),
        aliases: config.aliases.clone(),
        fallbacks: config.fallbacks.clone(),
        reasoning_back: reasoning_back(config.reasoning_back),
        resilience: resilience(&config.resilience),
        context_tokens: config.context_tokens,
        max_output_tokens: config.max_output_tokens,
        prices: prices(config.prices.as_ref())?,
        idempotency_keys: config.idempotency_keys,
        ..model_config(
            &config.endpoint,
            config.dialect,
            config.state,
            config.timeouts,
            None,
        )
    })
}

fn reasoning_back(config: config::ReasoningBack) -> model::ReasoningBack {
    match config {
        config::ReasoningBack::AsGiven => model::ReasoningBack::AsGiven,
        config::ReasoningBack::Never => model::ReasoningBack::Never,
        config::ReasoningBack::ReasoningContent => model::ReasoningBack::ReasoningContent,
        config::ReasoningBack::Reasoning => model::ReasoningBack::Reasoning,
    }
}

fn resilience(config: &config::ModelResilience) -> model::Resilience {
    model::Resilience {
        max_retries: config.max_retries,
        retry_percent: config.retry_percent,
        breaker: model::BreakerSettings {
            failures: config.breaker_failures,
            failure_percent: config.breaker_failure_percent,
            window: config.breaker_window,
            cooldown: config.breaker_cooldown,
        },
        max_concurrency: config.max_concurrency,
        hedge_after: config.hedge_after,
        max_waiting: config.max_waiting,
    }
}

fn model_config(
    endpoint: &config::ModelEndpoint,
    dialect: Option<config::Dialect>,
    state: config::ModelState,
    timeouts: config::ModelTimeouts,
    simulator: Option<String>,
) -> model::Config {
    let secret = |secret: &config::Secret| model::Secret::new(secret.reveal());
    model::Config {
        base_url: simulator.or_else(|| endpoint.base_url.clone()),
        api_key: endpoint.api_key.as_ref().map(secret),
        api_key_file: endpoint.api_key_file.clone(),
        api_key_header: endpoint.api_key_header.clone(),
        organization: endpoint.organization.clone(),
        project: endpoint.project.clone(),
        headers: endpoint
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
            .collect(),
        dialect: dialect.map(|dialect| match dialect {
            config::Dialect::Responses => model::Dialect::Responses,
            config::Dialect::ChatCompletions => model::Dialect::ChatCompletions,
            config::Dialect::Assistants => model::Dialect::Assistants,
        }),
        state: match state {
            config::ModelState::Stateless => model::State::Stateless,
            config::ModelState::PreviousResponse => model::State::PreviousResponse,
            config::ModelState::Conversation => model::State::Conversation,
        },
        timeouts: model::Timeouts {
            connect: timeouts.connect,
            first_byte: timeouts.first_byte,
            idle: timeouts.idle,
            event: timeouts.event,
        },
        ..model::Config::default()
    }
}

fn store_config(config: &config::StoreSection) -> store::Config {
    let location = match config {
        config::StoreSection::Directory(directory) => store::Location::File(directory.join(STORE_FILE)),
        config::StoreSection::File(path) => store::Location::File(path.clone()),
        config::StoreSection::Postgres(url) => store::Location::Postgres(store::Url::new(url.reveal())),
        config::StoreSection::Memory => store::Location::Memory,
    };
    store::Config { location }
}

/// Whether there is a file to open, where the store is one.
pub fn store_exists(config: &config::StoreSection) -> bool {
    match store_config(config).location {
        store::Location::File(path) => path.exists(),
        store::Location::Postgres(_) | store::Location::Memory => true,
    }
}

/// Opens the store without the service, also beside one that runs on it; one that is not there is created, or
/// else missed.
///
/// # Errors
/// [`StartError::Store`].
pub async fn open_store(config: &config::StoreSection, creates: bool) -> Result<Arc<dyn Store>, StartError> {
    let config = store_config(config);
    if let (store::Location::File(path), false) = (&config.location, creates)
        && !path.exists()
    {
        let missing = format!("there is none at {}", path.display());
        return Err(StartError::Store(run::error::Error::new(
            run::error::Reason::StoreUnavailable,
            missing,
        )));
    }
    let opened = store::open(&config).await.map_err(StartError::Store)?;
    Ok(opened.store)
}

/// Where the tokens of logins at MCP servers are.
pub fn mcp_vault(config: &config::McpSection) -> mcp::auth::Vault {
    use mcp::auth::{KeySource, Vault};
    let key = match &config.token_key {
        config::TokenKey::Beside => KeySource::Beside,
        config::TokenKey::Text(text) => KeySource::Text(text.reveal().to_owned()),
        config::TokenKey::File(path) => KeySource::File(path.clone()),
    };
    match &config.token_file {
        Some(path) => Vault::in_file(path.clone(), key),
        None => Vault::in_memory(),
    }
}

/// Whether the service would start with this, as far as that is known before anything is opened, connected or asked.
///
/// # Errors
/// [`StartError::Configuration`].
pub fn check(config: &Config) -> Result<(), StartError> {
    engine_settings(config)?;
    let nowhere = || "http://127.0.0.1/v1".to_owned();
    let model = match is_simulated(&config.model) {
        true => router(&config.model, Some(nowhere()))?,
        false => router(&config.model, None)?,
    };
    check_names(config, &mcp_config(&config.mcp)?, model.as_ref())
}

/// Refuses models that are named elsewhere and that no request could name.
fn check_names(config: &Config, servers: &mcp::Config, model: &dyn Model) -> Result<(), StartError> {
    let summary_model = config.run.summary_model.as_ref();
    if let Some(refusal) = summary_model.and_then(|name| model.refusal(name)) {
        return Err(StartError::Configuration(format!("run.summary_model: {refusal}")));
    }
    servers
        .check_models(|name| model.refusal(name))
        .map_err(|error| of_mcp_list(&config.mcp, &error))
}

/// The error of the list of MCP servers, with the file.
fn of_mcp_list(config: &config::McpSection, error: &mcp::ConfigError) -> StartError {
    StartError::Configuration(match &config.source {
        config::McpSource::Builtin => error.to_string(),
        config::McpSource::File { path, .. } => format!("{}: {error}", path.display()),
    })
}

/// The MCP servers that the service connects to.
///
/// # Errors
/// The list of them is wrong.
pub fn mcp_config(config: &config::McpSection) -> Result<mcp::Config, StartError> {
    match &config.source {
        config::McpSource::Builtin => {
            let exe: PathBuf = std::env::current_exe().map_err(|error| {
                StartError::Configuration(format!("the program's own path is not known: {error}"))
            })?;
            Ok(mcp::Config::builtin(exe))
        }
        config::McpSource::File { text, .. } => {
            mcp_list(config, text).map_err(|error| of_mcp_list(config, &error))
        }
    }
}

fn mcp_list(config: &config::McpSection, text: &str) -> Result<mcp::Config, mcp::ConfigError> {
    let mut servers = mcp::Config::parse(text, |name| config.environment.lookup(name).map(str::to_owned))?;
    let file = match &config.source {
        config::McpSource::Builtin => None,
        config::McpSource::File { path, .. } => Some(path.clone()),
    };
    for server in &mut servers.servers {
        server.file.clone_from(&file);
        server.policies.asks_before_destruction = config.ask_before_destruction;
        server.pin_tools.get_or_insert(match config.pin_tools {
            config::PinnedTools::None => false,
            config::PinnedTools::Remote => server.endpoint.is_remote(),
            config::PinnedTools::All => true,
        });
    }
    Ok(servers)
}

fn truncation(config: &config::TruncationSection) -> Truncation {
    Truncation {
        strategy: match config.strategy {
            config::TruncationStrategy::Disabled => Strategy::Disabled,
            config::TruncationStrategy::Auto => Strategy::Auto,
            config::TruncationStrategy::Summarize => Strategy::Summarize,
        },
        last_turns: config.last_turns,
        max_tokens: config.max_tokens,
    }
}

fn prices(config: Option<&config::ModelPrices>) -> Result<Option<Prices>, StartError> {
    let prices = |prices: &config::ModelPrices| -> Result<Prices, NoCurrency> {
        Ok(Prices {
            currency: prices.currency.parse()?,
            input: prices.input,
            cached_input: prices.cached_input,
            output: prices.output,
            reasoning: prices.reasoning,
        })
    };
    let read = config.map(prices).transpose();
    read.map_err(|error| StartError::Configuration(error.to_string()))
}

/// Keeps the pool true to the list of MCP servers, for as long as it is polled. A list that cannot be used leaves
/// everything as it was.
async fn follow_mcp(
    config: config::McpSection,
    pool: Arc<mcp::Pool>,
    model: Arc<dyn Model>,
    reload: Arc<Notify>,
) {
    let config::McpSource::File { path, text } = &config.source else {
        loop {
            reload.notified().await;
            pool.hurry();
        }
    };
    let mut file = config::WatchedFile::new(path.clone(), text.clone());
    loop {
        let now = tokio::select! {
            () = reload.notified() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        if now {
            pool.hurry();
        }
        let Some(text) = file.look(now).await else {
            continue;
        };
        let servers = text.and_then(|text| {
            let servers = mcp_list(&config, &text).map_err(|error| error.to_string())?;
            let checked = servers.check_models(|name| model.refusal(name));
            checked.map(|()| servers).map_err(|error| error.to_string())
        });
        match servers {
            Ok(servers) => pool.reconfigure(servers),
            Err(reason) => pool.keep_configuration(format!("{}: {reason}", file.path().display())),
        }
    }
}

fn engine_settings(config: &Config) -> Result<Settings, StartError> {
    let options = match &config.run.options {
        Some((text, source)) => ModelOptions::parse(text).map_err(|error| {
            StartError::Configuration(format!("`assistant.options` ({source}): {}", error.message()))
        })?,
        None => ModelOptions::default(),
    };
    let limits = config.run.limits;
    Ok(Settings {
        model: config.model.name.clone(),
        instructions: config.run.instructions.clone(),
        options,
        limits: Limits {
            max_turns: limits.max_turns,
            max_tool_calls: limits.max_tool_calls,
            max_output_tokens: limits.max_output_tokens,
            max_total_tokens: limits.max_total_tokens,
            max_duration: limits.max_duration,
            max_cost: limits.max_cost,
        },
        truncation: truncation(&config.run.truncation),
        summary_model: config.run.summary_model.clone(),
        execution_limit: config.run.execution_limit,
        waiting_limit: config.run.waiting_limit,
        lease: config.run.lease,
        call_timeout: config.run.call_timeout,
        parallel_calls: usize::try_from(config.run.parallel_calls).unwrap_or(usize::MAX),
        tool_output_limit: config.run.tool_output_limit_bytes,
    })
}

fn origins(origins: &config::Origins) -> Result<Origins, StartError> {
    match origins {
        config::Origins::Any => Ok(Origins::Any),
        config::Origins::These(listed) => {
            let parse = |origin: &String| {
                HeaderValue::from_str(origin)
                    .map_err(|_| StartError::Configuration(format!("{origin:?} is not an origin")))
            };
            listed
                .iter()
                .map(parse)
                .collect::<Result<_, _>>()
                .map(Origins::Listed)
        }
    }
}
