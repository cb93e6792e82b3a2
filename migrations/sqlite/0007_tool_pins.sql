-- How the tools of MCP servers were when they were approved.

CREATE TABLE tool_pins (
    -- The server's name in the configuration, and the tool's on the server.
    server      TEXT NOT NULL,
    tool        TEXT NOT NULL,
    -- JSON: a digest of every part of the tool.
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (server, tool)
) STRICT, WITHOUT ROWID;
