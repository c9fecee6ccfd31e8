-- Queues that nobody takes from until they are resumed.
CREATE TABLE {schema}.paused (
    queue text PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT now(),
    by text NOT NULL
);
