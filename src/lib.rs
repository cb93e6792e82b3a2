//! assistd: an assistant as a service. See `ARCHITECTURE.md` for the map of the house.

pub mod api;
pub mod app;
pub mod archive;
pub mod cli;
pub mod config;
pub mod mcp;
pub mod model;
pub mod run;
pub mod simulator;
pub mod store;
pub mod telemetry;
