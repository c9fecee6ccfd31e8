-- The headers of chords, counted. One row for each join, and one for each slot that is filled; the
-- number of these is kept with the join, so that filling one costs the same in a header of any size.

-- Counting changes no indexed column and finds room in its page.
CREATE TABLE {schema}.join_count (
    join_id text PRIMARY KEY,
    size integer,
    grown integer NOT NULL DEFAULT 0,
    filled integer NOT NULL DEFAULT 0,
    closed boolean NOT NULL DEFAULT false,
    until timestamptz
) WITH (fillfactor = 50);
CREATE INDEX join_count_until ON {schema}.join_count (until) WHERE until IS NOT NULL;

-- slot is the largest number there is for a member that has none: those come last, in their order.
CREATE TABLE {schema}.join_part (
    join_id text NOT NULL,
    slot bigint NOT NULL,
    task_id text NOT NULL,
    place bigint GENERATED ALWAYS AS IDENTITY,
    part bytea NOT NULL,
    PRIMARY KEY (join_id, slot, task_id)
);
