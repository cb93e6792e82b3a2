//! The front door: listeners, limits, layers, and the services behind them.

pub mod convert;
pub mod handlers;
pub mod pb;
pub mod status;
pub mod transcode;
