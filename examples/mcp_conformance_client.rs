//! The MCP client that the protocol's conformance suite tests: the service's own pool of servers, with nothing around it
//! but the wish to use everything that the server has.
//!
//! The suite puts the server's address last on the command line, and says more in its variables:
//! `MCP_CONFORMANCE_SCENARIO`, `MCP_CONFORMANCE_PROTOCOL_VERSION` and, as JSON, `MCP_CONFORMANCE_CONTEXT`.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use assistd::mcp::{Config, Pacing, Pool};
use assistd::run::action::{Question, Reply};
use assistd::run::catalogue::Tool;
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
    let servers = json!({"mcpServers": {"suite": {"url": url, "prefix": "", "protocol": protocol}}});
    let config = Config::parse(&servers.to_string(), |name| env::var(name).ok())?;
    let store = assistd::store::Config {
        location: assistd::store::Location::Memory,
    };
    let pins = assistd::store::open(&store).await?.pins;
    let pool = Pool::start(config, Pacing::default(), pins);
    pool.settled(SETTLE_TIME).await;
    // What a session begins with, such as its stream for notifications, must not be taken for a part of the first call.
    tokio::time::sleep(STAY).await;
    let outcome = use_everything(&pool, &scenario, &context).await;
    tokio::time::sleep(STAY).await;
    pool.shutdown().await;
    outcome
}

async fn use_everything(pool: &Pool, scenario: &str, context: &Value) -> Result<(), Box<dyn Error>> {
    for server in pool.servers() {
        if server.connection != Connection::Ready {
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
        return Ok(());
    }
    for tool in catalogue.tools() {
        let arguments = match scenario {
            "json-schema-2020-12-preservation" => schema_of_another(tool, catalogue.tools()),
            _ => arguments(tool),
        };
        say(tool.name(), pool.call(tool, arguments, Arc::new(Person)).await);
    }
    let holdings = pool.holdings();
    for resource in &holdings.resources {
        say(&resource.uri, pool.read(&resource.server, &resource.uri).await);
    }
    for prompt in holdings.prompts() {
        let arguments = prompt.arguments.iter();
        let arguments: BTreeMap<String, String> = arguments
            .map(|argument| (argument.about.name.clone(), "a text".to_owned()))
            .collect();
        say(&prompt.name, pool.fill(&prompt.name, arguments).await);
    }
    Ok(())
}

fn say(what: &str, outcome: Result<impl std::fmt::Debug, assistd::run::error::Error>) {
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
