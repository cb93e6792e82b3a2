//! The heart: what a run is, free of transports, providers and databases.
//!
//! A *thread* is a conversation's history; a *run* is one answer to it: a loop of *turns* (one model
//! request each) and *calls* (one tool use each) that ends in exactly one terminal state. [`state::Run`]
//! decides, without a clock or I/O; [`engine::Engine`] performs what it decides through the [`ports`].

pub mod action;
pub mod answer;
pub mod assistant;
pub mod catalogue;
pub mod clock;
pub mod context;
pub mod credentials;
pub mod engine;
pub mod error;
pub mod event;
pub mod glob;
pub mod id;
pub mod library;
pub mod log;
pub mod message;
pub mod model;
pub mod money;
pub mod options;
pub mod page;
pub mod pin;
pub mod places;
pub mod ports;
pub mod record;
#[cfg(test)]
mod rules;
pub mod sampling;
pub mod spending;
pub mod state;
pub mod step;
mod summary;
pub mod truncation;
