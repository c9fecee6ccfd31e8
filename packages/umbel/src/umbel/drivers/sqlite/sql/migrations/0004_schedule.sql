-- The entries of timetables, and one row for each timetable that counts its changes.
CREATE TABLE umbel_schedule (
    timetable TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    entry BLOB NOT NULL,
    PRIMARY KEY (timetable, name)
) WITHOUT ROWID;

CREATE TABLE umbel_timetable (
    timetable TEXT PRIMARY KEY,
    version INTEGER NOT NULL
) WITHOUT ROWID;
