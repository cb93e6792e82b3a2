//! The `assistd` binary.

fn main() {}
