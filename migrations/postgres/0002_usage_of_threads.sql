-- What the runs of a thread have used all together.

-- JSON: what those of its runs that are over have used. The one that is active has its own.
ALTER TABLE threads ADD COLUMN usage TEXT NOT NULL DEFAULT '{}';

UPDATE threads SET usage = sums.usage FROM (
    SELECT thread, json_build_object(
        'input_tokens', coalesce(sum((usage::json ->> 'input_tokens')::numeric), 0),
        'cached_tokens', coalesce(sum((usage::json ->> 'cached_tokens')::numeric), 0),
        'output_tokens', coalesce(sum((usage::json ->> 'output_tokens')::numeric), 0),
        'reasoning_tokens', coalesce(sum((usage::json ->> 'reasoning_tokens')::numeric), 0),
        'turns', coalesce(sum((usage::json ->> 'turns')::numeric), 0),
        'tool_calls', coalesce(sum((usage::json ->> 'tool_calls')::numeric), 0)
    )::text AS usage
    FROM runs WHERE NOT active GROUP BY thread
) AS sums WHERE threads.number = sums.thread;
