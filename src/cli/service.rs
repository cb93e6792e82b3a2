//! `assistd serve`, `assistd mcp-server` and `assistd simulate`: what runs until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, Settings};

use super::error::Error;

/// What `mcp-server` takes.
#[derive(Debug, Args)]
pub struct McpServerArguments {
    /// Serve streamable HTTP there; without it, standard input and output
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

/// What `simulate` takes.
#[derive(Debug, Args)]
pub struct SimulateArguments {
    /// Where to listen; port 0 takes any free port
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,

    /// What to answer, instead of the built-in behaviour
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
}
