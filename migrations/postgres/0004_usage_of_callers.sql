-- What callers have used, for as long as the store lives: it outlives their threads.

CREATE TABLE usage_of_callers (
    -- A place in lists.
    number           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Days since 1970 in UTC: when the runs ended.
    day              BIGINT NOT NULL,
    -- Empty for runs of nobody.
    caller           TEXT NOT NULL,
    -- Empty where no costs were counted.
    currency         TEXT NOT NULL,
    runs             BIGINT NOT NULL,
    turns            BIGINT NOT NULL,
    tool_calls       BIGINT NOT NULL,
    input_tokens     BIGINT NOT NULL,
    cached_tokens    BIGINT NOT NULL,
    output_tokens    BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    -- Millionths of the currency's unit.
    cost_micros      BIGINT NOT NULL,
    UNIQUE (day, caller, currency)
);
