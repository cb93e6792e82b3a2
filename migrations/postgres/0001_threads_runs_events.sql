-- Times are microseconds since 1970-01-01 UTC. JSON is kept as text, for jsonb cannot hold every text that JSON
-- can. A migration that has been released never changes: whatever comes later goes into a file of its own.

CREATE SEQUENCE thread_numbers;

CREATE TABLE threads (
    -- A short stand-in for the id in the other tables.
    number      BIGINT PRIMARY KEY,
    id          TEXT   NOT NULL UNIQUE,
    title       TEXT   NOT NULL,
    -- JSON: the caller's notes.
    metadata    TEXT   NOT NULL,
    -- Grows with every change of the title or the notes.
    version     BIGINT NOT NULL DEFAULT 1,
    create_time BIGINT NOT NULL,
    -- When the title or the notes last changed; what is added to the thread has times of its own.
    update_time BIGINT NOT NULL
);

ALTER SEQUENCE thread_numbers OWNED BY threads.number;

CREATE INDEX threads_in_time ON threads (create_time, number);

CREATE TABLE runs (
    -- A short stand-in for the id in the other tables.
    number            BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id                TEXT    NOT NULL UNIQUE,
    thread            BIGINT  NOT NULL REFERENCES threads (number) ON DELETE CASCADE,
    -- State, detail and message together are one state; the message is a failure's text.
    state             TEXT    NOT NULL,
    detail            TEXT,
    message           TEXT,
    -- Whether it holds its thread: it is neither over nor queued.
    active            BOOLEAN NOT NULL,
    -- JSON: the model, the instructions, the limits, what the caller noted.
    snapshot          TEXT    NOT NULL,
    -- JSON: tokens, turns and calls so far.
    usage             TEXT    NOT NULL,
    last_sequence     BIGINT  NOT NULL,
    -- No event beyond it has been shown to anybody.
    reserved_sequence BIGINT  NOT NULL,
    create_time       BIGINT  NOT NULL,
    start_time        BIGINT,
    expire_time       BIGINT,
    end_time          BIGINT,
    -- JSON: what it waits for, if it waits for anything.
    pending           TEXT,
    -- How long it has waited for people, in microseconds, and since when it does now.
    waited            BIGINT  NOT NULL,
    waits_since       BIGINT,
    -- Its messages have positions from the first (the one that it answers) to the last.
    first_position    BIGINT  NOT NULL,
    last_position     BIGINT  NOT NULL,
    -- JSON, while it is queued: the message that it was opened with, or null.
    queued            TEXT,
    -- Whether its events are kept.
    has_events        BOOLEAN NOT NULL,
    -- The name of the process that carries it out, or did.
    owner             TEXT    NOT NULL,
    -- Grows whenever another process takes it over.
    fence             BIGINT  NOT NULL,
    -- One active run per thread, whichever process starts it. Checked when a statement is over: one that ends a
    -- run and starts another does so in no order.
    CONSTRAINT runs_active EXCLUDE USING btree (thread WITH =) WHERE (active) DEFERRABLE INITIALLY IMMEDIATE
);

CREATE INDEX runs_in_time ON runs (thread, create_time, number);
CREATE INDEX runs_open ON runs (create_time, number) WHERE active OR queued IS NOT NULL;
CREATE INDEX runs_queued ON runs (thread, number) WHERE queued IS NOT NULL;
CREATE INDEX runs_pending ON runs (number) WHERE pending IS NOT NULL;
-- What the sweep looks for.
CREATE INDEX runs_with_events ON runs (end_time) WHERE has_events AND NOT active;

CREATE TABLE messages (
    thread      BIGINT  NOT NULL REFERENCES threads (number) ON DELETE CASCADE,
    -- Grows along the thread; gaps mean nothing.
    position    BIGINT  NOT NULL,
    id          TEXT    NOT NULL UNIQUE,
    role        TEXT    NOT NULL,
    -- JSON: the parts.
    content     TEXT    NOT NULL,
    run         TEXT,
    incomplete  BOOLEAN NOT NULL,
    create_time BIGINT  NOT NULL,
    -- JSON: the caller's notes.
    metadata    TEXT    NOT NULL,
    PRIMARY KEY (thread, position)
);

CREATE TABLE steps (
    run   BIGINT NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    place BIGINT NOT NULL,
    -- JSON: the step.
    step  TEXT   NOT NULL,
    PRIMARY KEY (run, place)
);

CREATE TABLE events (
    run           BIGINT NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    last_sequence BIGINT NOT NULL,
    -- JSON: events that follow one another, up to the last sequence. Two chunks may overlap: what both have is
    -- the same.
    chunk         TEXT   NOT NULL,
    PRIMARY KEY (run, last_sequence)
);

CREATE TABLE processes (
    id        TEXT        PRIMARY KEY,
    -- Until then it counts as alive, by the server's clock.
    lease_end TIMESTAMPTZ NOT NULL
);

CREATE TABLE letters (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run    BIGINT NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    -- JSON: what is asked of the run's owner.
    letter TEXT   NOT NULL
);

CREATE INDEX letters_of_runs ON letters (run);

CREATE TABLE requests (
    -- The caller's name for the request.
    id      TEXT   PRIMARY KEY,
    -- A digest of the request without its id.
    digest  BYTEA  NOT NULL,
    -- The id of what it brought.
    subject TEXT   NOT NULL,
    time    BIGINT NOT NULL
);

-- What the sweep looks for.
CREATE INDEX requests_in_time ON requests (time);

CREATE TABLE assistants (
    number      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          TEXT   NOT NULL UNIQUE,
    -- JSON: what it is, and what runs get from it.
    profile     TEXT   NOT NULL,
    -- Grows with every change.
    version     BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL
);

CREATE INDEX assistants_in_time ON assistants (create_time, number);
