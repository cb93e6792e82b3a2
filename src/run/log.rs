//! The events of one run, for any number of watchers.
