//! `assistd mcp`.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::app;
use crate::config::{Config, Settings};
use crate::mcp::auth::{Login, Redirect, Vault, logout};
use crate::mcp::{Endpoint, ServerConfig};

use super::error::Error;

/// What `mcp` takes.
#[derive(Debug, Args)]
pub struct McpArguments {
    #[command(subcommand)]
    command: McpCommand,
}

/// What is to be done at a server.
#[derive(Debug, Subcommand)]
pub enum McpCommand {
    /// Log in at a server: prints the address to open in a browser, and waits; a running service picks the login up
    Login {
        /// The server, as the configuration names it
        #[arg(value_name = "SERVER")]
        server: String,
    },
    /// Log out at a server: forgets its tokens, and gives them back where it takes them
    Logout {
        /// The server, as the configuration names it
        #[arg(value_name = "SERVER")]
        server: String,
    },
}

/// How long a login is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// Logs in or out.
pub async fn run(settings: &Settings, arguments: McpArguments) -> Result<(), Error> {
    let config = Config::from_settings(settings)?;
    let (McpCommand::Login { server: name } | McpCommand::Logout { server: name }) = &arguments.command;
    let server = named(&config, name)?;
    let vault = Arc::new(app::mcp_vault(&config.mcp));
    match arguments.command {
        McpCommand::Login { .. } => login(&server, vault).await,
        McpCommand::Logout { .. } => {
            let text = match logout(&server, &vault).await.map_err(Error::service)? {
                true => "logged out at",
                false => "nobody is logged in at",
            };
            writeln!(io::stdout(), "{text} {}", server.name)?;
            Ok(())
        }
    }
}

fn named(config: &Config, name: &str) -> Result<ServerConfig, Error> {
    let servers = app::mcp_config(&config.mcp).map_err(|error| Error::Usage(error.to_string()))?;
    let names: Vec<String> = servers.servers.iter().map(|server| server.name.clone()).collect();
    let found = servers.servers.into_iter().find(|server| server.name == name);
    found.ok_or_else(|| {
        Error::Usage(format!(
            "there is no MCP server '{name}' in the configuration; there are: {}",
            names.join(", ")
        ))
    })
}

async fn login(server: &ServerConfig, vault: Arc<Vault>) -> Result<(), Error> {
    let Some(path) = vault.path().map(|path| path.display().to_string()) else {
        return Err(Error::Usage(
            "tokens have no place: `data_dir` is in memory; set `mcp.token_file`".to_owned(),
        ));
    };
    let port = match &server.endpoint {
        Endpoint::Http(remote) => remote.oauth.redirect_port.unwrap_or(0),
        Endpoint::Stdio(_) => 0,
    };
    let redirect = Redirect::bind(port).await.map_err(|error| {
        Error::service(format!(
            "cannot listen on 127.0.0.1:{port} for the answer: {error}; see `oauth.redirect_port`"
        ))
    })?;
    let login = Login::begin(server, vault, redirect.uri().to_owned())
        .await
        .map_err(Error::service)?;
    let mut out = io::stdout();
    writeln!(
        out,
        "Open this address in a browser, and let assistd in at {}:\n\n  {}\n\n\
         If the browser is on another machine, it ends at an address on {} that cannot be opened: paste it here.",
        login.issuer(),
        login.url(),
        redirect.uri()
    )?;
    out.flush()?;
    let answer = timeout(PATIENCE, answer(&redirect)).await;
    let answer = answer.map_err(|_| Error::service("nobody has logged in within ten minutes"))??;
    login.finish(&answer).await.map_err(Error::service)?;
    writeln!(out, "logged in at {}; the tokens are in {path}", server.name)?;
    Ok(())
}

/// The answer, as the browser brings it or a person pastes it.
async fn answer(redirect: &Redirect) -> io::Result<String> {
    let (sender, pasted) = oneshot::channel();
    // A line cannot be waited for otherwise than by a thread, which ends with the process.
    std::thread::spawn(move || {
        let lines = io::stdin().lock().lines().map_while(Result::ok);
        if let Some(line) = lines.into_iter().find(|line| line.contains("state=")) {
            let _ = sender.send(line);
        }
    });
    tokio::select! {
        answer = redirect.answer() => answer,
        Ok(line) = pasted => Ok(line.trim().to_owned()),
    }
}
