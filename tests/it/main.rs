//! The integration tests: one binary, so that it links once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod actions;
mod archive;
mod assistants;
mod assistants_dialect;
mod chat;
mod coding;
mod conversations;
mod deadlines;
mod described;
mod description;
mod doors;
mod every_door;
mod faults;
mod hostile;
mod legacy;
mod library;
mod mcp;
mod mcp_door;
mod metrics;
mod model;
mod models;
mod ownership;
mod sampling;
mod simulator;
mod skip;
mod store;
mod terminal;
mod threads;
mod tidy;
mod transcode;
mod usage;
mod vectors;
mod web;
mod web_call;
mod world;
