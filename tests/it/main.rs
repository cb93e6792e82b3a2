//! The integration tests: one binary, so that it links once.

mod simulator;
mod store;
mod tidy;
