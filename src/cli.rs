//! The command line: the service itself, and thin clients of its contract.

mod actions;
mod call;
mod chat;
mod client;
mod completions;
mod config;
mod decision;
mod error;
mod export;
mod flags;
mod health;
mod import;
mod mcp;
mod models;
mod openapi;
mod printer;
mod prompts;
mod proto_json;
mod resources;
mod runs;
mod service;
mod terminal;
mod tools;
mod usage;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::Settings;

pub use actions::ActionsArguments;
pub use call::CallArguments;
pub use chat::ChatArguments;
pub use completions::CompletionsArguments;
pub use config::ConfigArguments;
pub use error::Error;
pub use export::ExportArguments;
pub use health::HealthArguments;
pub use import::ImportArguments;
pub use mcp::{McpArguments, McpCommand};
pub use models::ModelsArguments;
pub use prompts::PromptsArguments;
pub use resources::ResourcesArguments;
pub use runs::RunsArguments;
pub use service::{McpServerArguments, SimulateArguments};
pub use tools::ToolsArguments;
pub use usage::UsageArguments;

const EXAMPLES: &str = "\
Examples:
  assistd                                  run the service on 127.0.0.1:8000
  assistd --listen 0.0.0.0:9000            … on another address
  assistd chat                             talk to it
  assistd chat 'What is 12 * 34?'          … one message, one answer
  assistd actions                          what runs wait for: approvals, results, answers
  assistd tools                            the tools that it has
  assistd call calculate '{\"expression\":\"12*34\"}'
  assistd mcp login wiki                   log in at the MCP server `wiki`
  assistd export --output threads.jsonl    everything in the store, as a file
  assistd import threads.jsonl             … and back, or from OpenAI's Assistants API
  assistd config                           every setting, and where it comes from

Exit codes:
  0    done
  1    failed: no service, an error from it, a tool's error, an unhealthy service
  2    wrong usage or configuration
  130  interrupted

Every setting has a flag here, a variable or a key in assistd.toml: docs/configuration.md has the list.";

#[derive(Debug, Parser)]
#[command(name = "assistd", version, about, after_help = EXAMPLES)]
struct Cli {
    /// Read this file instead of assistd.toml
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service; the default
    Serve,
    /// Talk to a running service
    Chat(ChatArguments),
    /// List what runs wait for, or answer it
    Actions(ActionsArguments),
    /// Call off a run
    Runs(RunsArguments),
    /// List the tools of a running service
    Tools(ToolsArguments),
    /// Call one tool of a running service; exit 1 when the tool reports an error
    Call(CallArguments),
    /// List the resources of a running service's MCP servers, or read one
    Resources(ResourcesArguments),
    /// List the prompts of a running service's MCP servers, or get one
    Prompts(PromptsArguments),
    /// List the models that requests can name
    Models(ModelsArguments),
    /// Show what callers have used of a running service, day by day
    Usage(UsageArguments),
    /// Ask a running service how it is; exit 0 when it can work
    Health(HealthArguments),
    /// Write threads and assistants from the store as JSON lines
    Export(ExportArguments),
    /// Read threads and assistants into the store: what `export` wrote, or what OpenAI's Assistants API returned
    Import(ImportArguments),
    /// Log in at an MCP server that asks for authorization, or out
    Mcp(McpArguments),
    /// Run the built-in MCP server, with `echo` and `calculate`
    McpServer(McpServerArguments),
    /// End the MCP servers that the service leaves behind when it is killed; it starts this itself
    #[command(hide = true)]
    McpWatchdog,
    /// Run the built-in stand-in for an OpenAI-compatible API
    Simulate(SimulateArguments),
    /// Print every setting with its value and where it comes from; secrets are masked
    Config(ConfigArguments),
    /// Print the OpenAPI document of the HTTP/JSON door
    Openapi,
    /// Print a completion script for a shell
    Completions(CompletionsArguments),
}

/// A command line, understood.
#[derive(Debug)]
pub struct Invocation {
    /// What is to be done.
    pub command: Command,
    /// The keys of the configuration that were given as flags, with their values.
    pub flags: Vec<(&'static str, String)>,
    /// The file to read instead of `assistd.toml`.
    pub config: Option<PathBuf>,
}

impl Invocation {
    /// Whether it is for a command that needs no settings, and nothing asynchronous: does it then.
    pub fn done_at_once(&self) -> bool {
        let is_watchdog = matches!(self.command, Command::McpWatchdog);
        if is_watchdog {
            service::mcp_watchdog();
        }
        is_watchdog
    }

    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// It cannot be understood, or asks for help or the version, which clap reports the same way.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut grammar = grammar();
        let matches = grammar.try_get_matches_from_mut(arguments)?;
        let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut grammar))?;
        Ok(Self {
            command: cli.command.unwrap_or(Command::Serve),
            flags: flags::given(&matches, &mut grammar)?,
            config: cli.config,
        })
    }
}

/// The commands, with the flags that the table of keys gives them.
fn grammar() -> clap::Command {
    flags::add(Cli::command())
}

/// Does what is to be done.
///
/// # Errors
/// It failed; the error knows its exit code.
pub async fn run(command: Command, settings: &Settings) -> Result<(), Error> {
    match command {
        Command::Serve => service::serve(settings).await,
        Command::Mcp(arguments) => mcp::run(settings, arguments).await,
        Command::McpServer(arguments) => service::mcp_server(arguments).await,
        Command::McpWatchdog => Ok(()),
        Command::Simulate(arguments) => service::simulate(arguments).await,
        Command::Chat(arguments) => chat::run(settings, arguments).await,
        Command::Actions(arguments) => actions::run(settings, arguments).await,
        Command::Runs(arguments) => runs::run(settings, arguments).await,
        Command::Tools(arguments) => tools::run(settings, &arguments).await,
        Command::Call(arguments) => call::run(settings, arguments).await,
        Command::Resources(arguments) => resources::run(settings, arguments).await,
        Command::Prompts(arguments) => prompts::run(settings, arguments).await,
        Command::Models(arguments) => models::run(settings, &arguments).await,
        Command::Usage(arguments) => usage::run(settings, arguments).await,
        Command::Health(arguments) => health::run(settings, &arguments).await,
        Command::Export(arguments) => export::run(settings, &arguments).await,
        Command::Import(arguments) => import::run(settings, &arguments).await,
        Command::Config(arguments) => config::run(settings, &arguments),
        Command::Openapi => openapi::run(),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}

#[cfg(test)]
mod tests;
