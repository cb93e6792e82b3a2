-- What threads and messages say of themselves, request ids for whatever they bring, what runs did (their steps
-- and their events) and wait for, and assistants.

ALTER TABLE threads ADD COLUMN title TEXT NOT NULL DEFAULT '';
-- JSON: the caller's notes.
ALTER TABLE threads ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
-- Grows with every change of the title or the notes.
ALTER TABLE threads ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
-- When the title or the notes last changed; what is added to the thread has times of its own.
ALTER TABLE threads ADD COLUMN update_time INTEGER NOT NULL DEFAULT 0;
UPDATE threads SET update_time = create_time;

CREATE INDEX threads_in_time ON threads (create_time, number);

-- JSON: the caller's notes.
ALTER TABLE messages ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';

CREATE TABLE requests (
    -- The caller's name for the request.
    id      TEXT    NOT NULL PRIMARY KEY,
    -- A digest of the request without its id.
    digest  BLOB    NOT NULL,
    -- The id of what it brought.
    subject TEXT    NOT NULL,
    time    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What the sweep looks for.
CREATE INDEX requests_in_time ON requests (time);

INSERT OR REPLACE INTO requests (id, digest, subject, time)
SELECT request_id, request_digest, id, create_time FROM runs
WHERE request_id IS NOT NULL AND request_digest IS NOT NULL ORDER BY create_time;

CREATE TABLE runs_with_numbers (
    -- A short stand-in for the id in the other tables.
    number            INTEGER PRIMARY KEY,
    id                TEXT    NOT NULL UNIQUE,
    thread            INTEGER NOT NULL REFERENCES threads (number) ON DELETE CASCADE,
    -- State, detail and message together are one state; the message is a failure's text.
    state             TEXT    NOT NULL,
    detail            TEXT,
    message           TEXT,
    -- Whether it holds its thread: it is neither over nor queued.
    active            INTEGER NOT NULL CHECK (active IN (0, 1)),
    -- JSON: the model, the instructions, the limits, what the caller noted.
    snapshot          TEXT    NOT NULL,
    -- JSON: tokens, turns and calls so far.
    usage             TEXT    NOT NULL,
    last_sequence     INTEGER NOT NULL,
    -- No event beyond it has been shown to anybody.
    reserved_sequence INTEGER NOT NULL,
    create_time       INTEGER NOT NULL,
    start_time        INTEGER,
    expire_time       INTEGER,
    end_time          INTEGER,
    -- JSON: what it waits for, if it waits for anything.
    pending           TEXT,
    -- How long it has waited for people, in microseconds, and since when it does now.
    waited            INTEGER NOT NULL,
    waits_since       INTEGER,
    -- Its messages have positions from the first (the one that it answers) to the last.
    first_position    INTEGER NOT NULL,
    last_position     INTEGER NOT NULL,
    -- JSON, while it is queued: the message that it was opened with, or null.
    queued            TEXT,
    -- Whether its events are kept.
    has_events        INTEGER NOT NULL CHECK (has_events IN (0, 1))
) STRICT;

INSERT INTO runs_with_numbers
SELECT rowid, id, thread, state, detail, message, active, snapshot, usage, last_sequence, last_sequence,
       create_time, create_time, NULL, end_time, NULL, 0, NULL, first_position, last_position, NULL, 0
FROM runs;

DROP TABLE runs;
ALTER TABLE runs_with_numbers RENAME TO runs;

-- One active run per thread, whichever process starts it.
CREATE UNIQUE INDEX runs_active ON runs (thread) WHERE active;
CREATE INDEX runs_in_time ON runs (thread, create_time, number);
CREATE INDEX runs_queued ON runs (thread, number) WHERE queued IS NOT NULL;
CREATE INDEX runs_pending ON runs (number) WHERE pending IS NOT NULL;
-- What the sweep looks for.
CREATE INDEX runs_with_events ON runs (end_time) WHERE has_events AND NOT active;

CREATE TABLE steps (
    run   INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    -- JSON: the step.
    step  TEXT    NOT NULL,
    PRIMARY KEY (run, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    run           INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    last_sequence INTEGER NOT NULL,
    -- JSON: events that follow one another, up to the last sequence. Two chunks may overlap: what both have is
    -- the same.
    chunk         TEXT    NOT NULL,
    PRIMARY KEY (run, last_sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE assistants (
    number      INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    -- JSON: what it is, and what runs get from it.
    profile     TEXT    NOT NULL,
    -- Grows with every change.
    version     INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL
) STRICT;

CREATE INDEX assistants_in_time ON assistants (create_time, number);
