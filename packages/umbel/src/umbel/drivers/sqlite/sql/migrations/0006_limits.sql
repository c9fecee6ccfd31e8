-- Limits that all workers share. A message that waits for one has its row in umbel_message, and one
-- in umbel_blocked: that is its place, as umbel_ready and the others are.

-- Who holds a place under a limit of concurrency. owner 0: nobody yet; it is kept until that moment.
CREATE TABLE umbel_hold (
    name TEXT NOT NULL,
    task_id TEXT NOT NULL,
    owner INTEGER NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (name, task_id)
) WITHOUT ROWID;
CREATE INDEX umbel_hold_owner ON umbel_hold (owner);

-- In the order of arrival; most: how many may run at once under the limit, as was last said.
CREATE TABLE umbel_blocked (
    name TEXT NOT NULL,
    place INTEGER NOT NULL,
    id INTEGER NOT NULL,
    task_id TEXT NOT NULL,
    most INTEGER NOT NULL,
    queue TEXT NOT NULL,
    PRIMARY KEY (name, place)
) WITHOUT ROWID;
CREATE INDEX umbel_blocked_queue ON umbel_blocked (queue);

-- When the next run may begin, and the latest turn that was given.
CREATE TABLE umbel_pace (
    name TEXT PRIMARY KEY,
    free_at REAL NOT NULL,
    last_turn REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX umbel_pace_free_at ON umbel_pace (free_at);
