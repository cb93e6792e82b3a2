-- Times are microseconds since 1970-01-01 UTC. Flags are 0 or 1. A migration that has been released never
-- changes: whatever comes later goes into a file of its own.

CREATE TABLE threads (
    -- A short stand-in for the id in the other tables.
    number      INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    create_time INTEGER NOT NULL
) STRICT;

CREATE TABLE runs (
    id             TEXT    NOT NULL UNIQUE,
    thread         INTEGER NOT NULL REFERENCES threads (number) ON DELETE CASCADE,
    -- State, detail and message together are one state; the message is a failure's text.
    state          TEXT    NOT NULL,
    detail         TEXT,
    message        TEXT,
    -- Whether the state is one that a run can leave again.
    active         INTEGER NOT NULL CHECK (active IN (0, 1)),
    -- JSON: the model, the instructions, the limits, what the caller noted.
    snapshot       TEXT    NOT NULL,
    -- JSON: tokens, turns and calls so far.
    usage          TEXT    NOT NULL,
    last_sequence  INTEGER NOT NULL,
    create_time    INTEGER NOT NULL,
    end_time       INTEGER,
    -- Its messages have positions from the first (the one that it answers) to the last.
    first_position INTEGER NOT NULL,
    last_position  INTEGER NOT NULL,
    -- The caller's name for the request, and a digest of the request without it.
    request_id     TEXT,
    request_digest BLOB
) STRICT;

-- One active run per thread, whichever process starts it.
CREATE UNIQUE INDEX runs_active ON runs (thread) WHERE active;

-- Not unique: a request id may be used again after a day.
CREATE INDEX runs_request ON runs (request_id) WHERE request_id IS NOT NULL;

-- Without a rowid, so that the messages of one thread lie side by side in their order.
CREATE TABLE messages (
    thread      INTEGER NOT NULL REFERENCES threads (number) ON DELETE CASCADE,
    -- Grows along the thread; gaps mean nothing.
    position    INTEGER NOT NULL,
    id          TEXT    NOT NULL UNIQUE,
    role        TEXT    NOT NULL,
    -- JSON: the parts.
    content     TEXT    NOT NULL,
    run         TEXT,
    incomplete  INTEGER NOT NULL CHECK (incomplete IN (0, 1)),
    create_time INTEGER NOT NULL,
    PRIMARY KEY (thread, position)
) STRICT, WITHOUT ROWID;
