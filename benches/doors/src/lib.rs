//! One small service behind several doors.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on should say where"
)]

/// What is measured, by itself.
pub mod api {
    pub mod listener;
    pub mod transcode;
}
pub mod door;
pub mod echo;
