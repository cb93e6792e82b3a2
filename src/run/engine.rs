//! Performs what the state machine decides: the only asynchronous file of the heart.
