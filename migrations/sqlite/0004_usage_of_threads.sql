-- What the runs of a thread have used all together.

-- JSON: what those of its runs that are over have used. The one that is active has its own.
ALTER TABLE threads ADD COLUMN usage TEXT NOT NULL DEFAULT '{}';

UPDATE threads SET usage = (
    SELECT json_object(
        'input_tokens', coalesce(sum(json_extract(usage, '$.input_tokens')), 0),
        'cached_tokens', coalesce(sum(json_extract(usage, '$.cached_tokens')), 0),
        'output_tokens', coalesce(sum(json_extract(usage, '$.output_tokens')), 0),
        'reasoning_tokens', coalesce(sum(json_extract(usage, '$.reasoning_tokens')), 0),
        'turns', coalesce(sum(json_extract(usage, '$.turns')), 0),
        'tool_calls', coalesce(sum(json_extract(usage, '$.tool_calls')), 0)
    )
    FROM runs WHERE runs.thread = threads.number AND NOT runs.active
);
