//! The MCP client that the protocol's conformance suite tests: the service's own pool of servers, with nothing around it
//! but the wish to use everything that the server has.
//!
//! The suite puts the server's address last on the command line, and says more in its variables:
//! `MCP_CONFORMANCE_SCENARIO`, `MCP_CONFORMANCE_PROTOCOL_VERSION` and, as JSON, `MCP_CONFORMANCE_CONTEXT`.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use assistd::mcp::auth::{Login, Vault};
use assistd::mcp::{Config, Pacing, Pool, ServerConfig};
use assistd::run::action::{Question, Reply};
use assistd::run::catalogue::Tool;
use assistd::run::error as run;
use assistd::run::event::Progress;
use assistd::run::ports::{Caller, Connection, Library, Toolbox};
use async_trait::async_trait;
use serde_json::{Map, Value, json};

/// How long the server may take until everything that it has is listed.
const SETTLE_TIME: Duration = Duration::from_secs(15);
/// How long to stay before the first call and after the last one: what a server asks or tells then is part of some scenarios.
const STAY: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The only failure is that a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = env::args()
        .next_back()
        .ok_or("usage: mcp_conformance_client URL")?;
    let scenario = env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    let context: Value = match env::var("MCP_CONFORMANCE_CONTEXT") {
        Ok(text) if !text.is_empty() => serde_json::from_str(&text)?,
        _ => Value::Null,
    };
    let protocol = env::var("MCP_CONFORMANCE_PROTOCOL_VERSION").unwrap_or_else(|_| "auto".to_owned());
    // What a client can declare is declared, so that the suite looks at it.
    let mut server = json!({
        "url": url,
        "prefix": "",
        "protocol": protocol,
        "roots": ["file:///srv"],
        "sampling": {"allow": "ask"},
    });
    let secrets = tempfile::tempdir()?;
    if scenario.starts_with("auth/") {
        server["oauth"] = oauth(&scenario, &context, secrets.path())?;
    }
    let servers = json!({"mcpServers": {"suite": server}});
    let config = Config::parse(&servers.to_string(), |name| env::var(name).ok())?;
    let store = assistd::store::Config {
        location: assistd::store::Location::Memory,
    };
    let pins = assistd::store::open(&store).await?.pins;
    let person = Visitor {
        server: config.servers[0].clone(),
        vault: Arc::new(Vault::in_memory()),
    };
    let pool = Pool::with_logins(config, Pacing::default(), pins, person.vault.clone());
    pool.settled(SETTLE_TIME).await;
    // What a session begins with, such as its stream for notifications, must not be taken for a part of the first call.
    tokio::time::sleep(STAY).await;
    let mut outcome = use_everything(&pool, &scenario, &context).await;
    for _ in 0..LOGINS {
        if !wants_login(&pool, &outcome) {
            break;
        }
        person.log_in().await?;
        until_ready(&pool).await;
        outcome = use_everything(&pool, &scenario, &context).await;
    }
    tokio::time::sleep(STAY).await;
    pool.shutdown().await;
    outcome.map(drop)
}

/// How often a server is logged in to, before it is given up.
const LOGINS: usize = 3;
/// The address that names us, where the authorization server takes such names.
const CLIENT_METADATA: &str = "https://conformance-test.local/client-metadata.json";

/// What the configuration of a server says of its authorization. The suite's servers are all on this machine.
fn oauth(scenario: &str, context: &Value, directory: &Path) -> Result<Value, Box<dyn Error>> {
    let mut oauth = json!({"allowed_hosts": ["localhost"], "client_metadata_url": CLIENT_METADATA});
    for key in ["client_id", "client_secret"] {
        if context[key].is_string() {
            oauth[key] = context[key].clone();
        }
    }
    if scenario.starts_with("auth/client-credentials") {
        oauth["grant"] = json!("client_credentials");
    }
    let files = [
        ("private_key_pem", "private_key_file"),
        ("valid_jwt", "assertion_file"),
    ];
    for (given, key) in files {
        if let Some(text) = context[given].as_str() {
            let path = directory.join(key);
            std::fs::write(&path, text)?;
            oauth[key] = json!(path);
        }
    }
    if oauth["assertion_file"].is_string() {
        oauth["grant"] = json!("jwt_bearer");
    }
    if let Some(issuer) = context["issuer"].as_str() {
        oauth["authorization_servers"] = json!([issuer]);
    }
    Ok(oauth)
}

/// Somebody at a browser, who lets us in wherever it leads.
struct Visitor {
    server: ServerConfig,
    vault: Arc<Vault>,
}

impl Visitor {
    async fn log_in(&self) -> Result<(), Box<dyn Error>> {
        let redirect_uri = "http://127.0.0.1:3000/callback".to_owned();
        let login = Login::begin(&self.server, self.vault.clone(), redirect_uri).await?;
        let browser = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let page = browser.get(login.url()).send().await?;
        let place = page.headers().get("location").ok_or("nobody is sent back")?;
        login.finish(place.to_str()?).await?;
        Ok(())
    }
}

/// Whether a person is to log in before anything goes on.
fn wants_login(pool: &Pool, outcome: &Result<bool, Box<dyn Error>>) -> bool {
    let is_out = |connection: &Connection| matches!(connection, Connection::Unauthorized(want) if want.contains("mcp login"));
    let servers = pool.servers();
    *outcome.as_ref().unwrap_or(&false) || servers.iter().any(|server| is_out(&server.connection))
}

/// Waits until a login has been noticed.
async fn until_ready(pool: &Pool) {
    let ready = async {
        while !pool.servers().iter().all(|server| server.connection.is_open()) {
            tokio::time::sleep(STAY / 10).await;
        }
    };
    let _ = tokio::time::timeout(SETTLE_TIME, ready).await;
}

/// Does what there is to do; says whether something failed for want of a login.
async fn use_everything(pool: &Pool, scenario: &str, context: &Value) -> Result<bool, Box<dyn Error>> {
    for server in pool.servers() {
        if !server.connection.is_open() {
            return Err(format!("the server is not ready: {:?}", server.connection).into());
        }
    }
    let catalogue = pool.catalogue();
    if let Some(calls) = context.get("toolCalls").and_then(Value::as_array) {
        for call in calls {
            let name = call["name"].as_str().unwrap_or_default();
            let tool = catalogue.get(name).ok_or(format!("there is no tool {name}"))?;
            say(
                name,
                pool.call(tool, object(&call["arguments"]), Arc::new(Person))
                    .await,
            );
        }
        return Ok(false);
    }
    let mut wants_login = false;
    for tool in catalogue.tools() {
        let arguments = match scenario {
            "json-schema-2020-12-preservation" => schema_of_another(tool, catalogue.tools()),
            _ => arguments(tool),
        };
        let outcome = pool.call(tool, arguments, Arc::new(Person)).await;
        let wants = |error: &run::Error| {
            error.reason() == run::Reason::McpAuthorizationRequired && error.message().contains("mcp login")
        };
        wants_login |= outcome.as_ref().err().is_some_and(wants);
        say(tool.name(), outcome);
    }
    let holdings = pool.holdings();
    for resource in &holdings.resources {
        say(
            &resource.uri,
            pool.read(&resource.server, &resource.uri, "").await,
        );
    }
    for prompt in holdings.prompts() {
        let arguments = prompt.arguments.iter();
        let arguments: BTreeMap<String, String> = arguments
            .map(|argument| (argument.about.name.clone(), "a text".to_owned()))
            .collect();
        say(&prompt.name, pool.fill(&prompt.name, arguments, "").await);
    }
    Ok(wants_login)
}

fn say(what: &str, outcome: Result<impl std::fmt::Debug, run::Error>) {
    match outcome {
        Ok(answer) => println!("{what}: {answer:?}"),
        Err(error) => println!("{what}: {error}"),
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// Arguments that fit the schema of a simple tool.
fn arguments(tool: &Tool) -> Map<String, Value> {
    filled_in(&tool.description().input_schema)
}

/// Somebody who leaves every form as it is, and fills in what has no default.
struct Person;

#[async_trait]
impl Caller for Person {
    fn progress(&self, progress: Progress) {
        println!("{progress:?}");
    }

    async fn ask(&self, question: Question) -> Reply {
        let schema = question.requested_schema.as_deref();
        Reply::Accept(schema.map(filled_in).unwrap_or_default())
    }
}

/// Fields that fit the schema of a simple object.
fn filled_in(schema: &Value) -> Map<String, Value> {
    let properties = object(&schema["properties"]);
    properties
        .into_iter()
        .map(|(name, schema)| {
            let value = match schema["type"].as_str() {
                _ if !schema["default"].is_null() => schema["default"].clone(),
                Some("number" | "integer") => json!(1),
                Some("boolean") => json!(true),
                Some("object") => json!({}),
                Some("array") => json!([]),
                _ => json!("a text"),
            };
            (name, value)
        })
        .collect()
}

/// The schema of the other tool, as it was received.
fn schema_of_another(tool: &Tool, tools: &[Arc<Tool>]) -> Map<String, Value> {
    let other = tools.iter().find(|other| other.name() != tool.name());
    let schema = other.map(|other| other.description().input_schema.as_ref().clone());
    Map::from_iter([("schema".to_owned(), schema.unwrap_or_default())])
}
