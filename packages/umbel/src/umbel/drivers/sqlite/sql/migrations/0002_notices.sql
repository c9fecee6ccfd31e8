-- The bus: who listens, and what was told to each and not heard yet. All of it may be lost; nothing
-- is written while nobody listens.

-- until is a reading of the machine's monotonic clock, as in umbel_owner: a listener that died is
-- told nothing after it. AUTOINCREMENT: what was told to one must never reach another.
CREATE TABLE umbel_mailbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    binding TEXT NOT NULL,
    boot TEXT NOT NULL,
    until REAL NOT NULL
);
CREATE INDEX umbel_mailbox_topic ON umbel_mailbox (topic);

CREATE TABLE umbel_notice (
    mailbox INTEGER NOT NULL,
    id INTEGER NOT NULL,
    key TEXT NOT NULL,
    raw BLOB NOT NULL,
    PRIMARY KEY (mailbox, id)
) WITHOUT ROWID;
