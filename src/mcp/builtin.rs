//! The MCP server that is built into the binary: `echo` and `calculate`.
