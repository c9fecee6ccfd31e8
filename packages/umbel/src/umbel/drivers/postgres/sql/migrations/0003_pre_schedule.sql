-- The entries of timetables, and one row for each timetable that counts its changes.
CREATE TABLE {schema}.schedule (
    timetable text NOT NULL,
    name text NOT NULL,
    revision bigint NOT NULL,
    entry bytea NOT NULL,
    PRIMARY KEY (timetable, name)
);

CREATE TABLE {schema}.timetable (
    timetable text PRIMARY KEY,
    version bigint NOT NULL
) WITH (fillfactor = 50);
