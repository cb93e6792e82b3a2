//! Tools from MCP servers; rmcp lives only here.

pub mod builtin;
