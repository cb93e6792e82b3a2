//! The front door: listeners, limits, layers, and the services behind them.

pub mod pb;
pub mod transcode;
