-- Queues that nobody takes from until they are resumed. since: Unix seconds.
CREATE TABLE umbel_paused (
    queue TEXT PRIMARY KEY,
    since REAL NOT NULL,
    by TEXT NOT NULL
) WITHOUT ROWID;
