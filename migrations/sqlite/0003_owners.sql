-- Which process carries out which run, and what processes ask of one another.

-- The name of the process; nothing for runs of before.
ALTER TABLE runs ADD COLUMN owner TEXT;
-- Grows whenever another process takes the run over.
ALTER TABLE runs ADD COLUMN fence INTEGER NOT NULL DEFAULT 1;

-- What processes look through for runs whose owner is gone.
CREATE INDEX runs_unfinished ON runs (owner) WHERE active OR queued IS NOT NULL;

CREATE TABLE letters (
    number INTEGER PRIMARY KEY,
    run    INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    -- JSON: what is asked of the run's owner.
    letter TEXT    NOT NULL
) STRICT;

CREATE INDEX letters_of_runs ON letters (run);
