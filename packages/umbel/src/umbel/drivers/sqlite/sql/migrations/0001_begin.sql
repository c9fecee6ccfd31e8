-- A state is a place: a message has one row in umbel_message, written once, and one row in the
-- place where it is: umbel_ready, umbel_resting or umbel_claim. Moving it never copies its bytes.
-- All names begin with umbel_, so that the file may hold an application's own tables as well.
-- Moments are Unix times in seconds.

CREATE TABLE umbel_schema (version INTEGER NOT NULL);

-- The last place given out. Places order messages of one priority; each is given once.
CREATE TABLE umbel_place (last INTEGER NOT NULL);
INSERT INTO umbel_place (last) VALUES (0);

-- id is the place the message had first; count is how many claims ended without an outcome.
CREATE TABLE umbel_message (
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    place INTEGER NOT NULL,
    count INTEGER NOT NULL DEFAULT 0,
    raw BLOB NOT NULL
);

-- Whoever comes first by this key is claimed first: a claim takes a prefix of one queue.
CREATE TABLE umbel_ready (
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    place INTEGER NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (queue, priority, place)
) WITHOUT ROWID;

CREATE TABLE umbel_resting (
    queue TEXT NOT NULL,
    due REAL NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (queue, due, id)
) WITHOUT ROWID;

-- token is new for each claim; a settlement that names another one is refused.
CREATE TABLE umbel_claim (
    owner INTEGER NOT NULL,
    id INTEGER NOT NULL,
    token INTEGER NOT NULL,
    PRIMARY KEY (owner, id)
) WITHOUT ROWID;

-- One row for each consumer's lease. AUTOINCREMENT: a number is never given to a second owner,
-- so the claims of one who died cannot become those of another. until is a reading of the machine's
-- monotonic clock, which all processes share and which neither an adjusted calendar nor a laptop
-- put to sleep moves; it begins anew at each boot, so the lease of another boot has ended.
CREATE TABLE umbel_owner (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    boot TEXT NOT NULL,
    until REAL NOT NULL,
    presence BLOB NOT NULL
);

CREATE TABLE umbel_quarantine (
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    count INTEGER NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT,
    at REAL NOT NULL,
    raw BLOB NOT NULL
);

-- AUTOINCREMENT: workers remember the highest serial they have seen, so none may come back.
CREATE TABLE umbel_revocation (
    serial INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id TEXT NOT NULL UNIQUE,
    terminate INTEGER NOT NULL,
    signal TEXT NOT NULL,
    until REAL NOT NULL
);
CREATE INDEX umbel_revocation_until ON umbel_revocation (until);

-- A new state is a new row with a new serial: watchers read what is above the last one they saw.
CREATE TABLE umbel_result (
    serial INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    final INTEGER NOT NULL,
    until REAL,
    document BLOB NOT NULL
);
CREATE INDEX umbel_result_until ON umbel_result (until) WHERE until IS NOT NULL;

CREATE TABLE umbel_group (
    group_id TEXT PRIMARY KEY,
    until REAL,
    document BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX umbel_group_until ON umbel_group (until) WHERE until IS NOT NULL;
