//! The front door: listeners, limits, layers, and the services behind them.

pub mod caller;
pub mod codec;
pub mod coding;
pub mod convert;
pub mod cors;
pub mod deadline;
pub mod docs;
pub mod front;
pub mod grpc;
pub mod grpc_web;
pub mod guard;
pub mod handlers;
pub mod legacy;
pub mod listed;
pub mod listener;
pub mod pb;
pub mod request_id;
pub mod status;
pub mod transcode;
