-- The headers of chords, counted. One row for each join, and one for each slot that is filled; the
-- number of these is kept with the join, so that filling one costs the same in a header of any size.

CREATE TABLE umbel_join (
    join_id TEXT PRIMARY KEY,
    size INTEGER,
    grown INTEGER NOT NULL DEFAULT 0,
    filled INTEGER NOT NULL DEFAULT 0,
    closed INTEGER NOT NULL DEFAULT 0,
    until REAL
) WITHOUT ROWID;
CREATE INDEX umbel_join_until ON umbel_join (until) WHERE until IS NOT NULL;

-- slot is the largest number there is for a member that has none: those come last, in their order.
CREATE TABLE umbel_join_part (
    id INTEGER PRIMARY KEY,
    join_id TEXT NOT NULL,
    slot INTEGER NOT NULL,
    task_id TEXT NOT NULL,
    part BLOB NOT NULL
);
CREATE UNIQUE INDEX umbel_join_part_slot ON umbel_join_part (join_id, slot, task_id);
