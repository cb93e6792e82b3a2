//! The state machine of a run: pure, without a clock or I/O.
