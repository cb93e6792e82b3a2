//! The configuration: the only reader of the environment and of files.
