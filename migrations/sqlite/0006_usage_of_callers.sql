-- What callers have used, for as long as the store lives: it outlives their threads.

CREATE TABLE usage_of_callers (
    -- A place in lists.
    number           INTEGER PRIMARY KEY,
    -- Days since 1970 in UTC: when the runs ended.
    day              INTEGER NOT NULL,
    -- Empty for runs of nobody.
    caller           TEXT NOT NULL,
    -- Empty where no costs were counted.
    currency         TEXT NOT NULL,
    runs             INTEGER NOT NULL,
    turns            INTEGER NOT NULL,
    tool_calls       INTEGER NOT NULL,
    input_tokens     INTEGER NOT NULL,
    cached_tokens    INTEGER NOT NULL,
    output_tokens    INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    -- Millionths of the currency's unit.
    cost_micros      INTEGER NOT NULL,
    UNIQUE (day, caller, currency)
) STRICT;
