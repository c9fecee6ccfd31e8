-- A state is a place: a message has one row, in the table of the state it is in. Rows are inserted
-- and deleted, never updated, so the tables that are read at every claim hold live messages only.
-- {schema} is the name of the schema, which the URL may choose.

CREATE SEQUENCE {schema}.place;
CREATE SEQUENCE {schema}.claim;

-- Whoever comes first by this key is claimed first.
CREATE TABLE {schema}.ready (
    queue text NOT NULL,
    priority smallint NOT NULL,
    place bigint NOT NULL DEFAULT nextval('{schema}.place'),
    count integer NOT NULL DEFAULT 0,
    raw bytea NOT NULL,
    PRIMARY KEY (queue, priority, place)
);

-- The id is never given twice: it is the receipt of the claim.
CREATE TABLE {schema}.claimed (
    owner bigint NOT NULL,
    id bigint NOT NULL DEFAULT nextval('{schema}.claim'),
    queue text NOT NULL,
    priority smallint NOT NULL,
    place bigint NOT NULL,
    count integer NOT NULL,
    raw bytea NOT NULL,
    PRIMARY KEY (owner, id)
);

-- why: what it waits for, where that is not its own time.
CREATE TABLE {schema}.delayed (
    queue text NOT NULL,
    due timestamptz NOT NULL,
    place bigint NOT NULL DEFAULT nextval('{schema}.place'),
    priority smallint NOT NULL,
    count integer NOT NULL DEFAULT 0,
    why text,
    raw bytea NOT NULL,
    PRIMARY KEY (queue, due, place)
);

CREATE TABLE {schema}.quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text NOT NULL,
    priority smallint NOT NULL,
    count integer NOT NULL,
    reason text NOT NULL,
    detail text,
    error text,
    worker text,
    at timestamptz NOT NULL DEFAULT now(),
    raw bytea NOT NULL
);
CREATE INDEX quarantine_queue ON {schema}.quarantine (queue, at, id);

-- One row for each consumer's lease. Renewing changes no indexed column and finds room in its page.
CREATE TABLE {schema}.worker (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    until timestamptz NOT NULL,
    presence bytea NOT NULL
) WITH (fillfactor = 30);

CREATE TABLE {schema}.revocation (
    task_id text PRIMARY KEY,
    serial bigint GENERATED ALWAYS AS IDENTITY,
    terminate boolean NOT NULL,
    signal text NOT NULL,
    until timestamptz NOT NULL
);
CREATE INDEX revocation_serial ON {schema}.revocation (serial);

CREATE TABLE {schema}.result (
    task_id text PRIMARY KEY,
    state text NOT NULL,
    final boolean NOT NULL,
    until timestamptz,
    document bytea NOT NULL
);
CREATE INDEX result_until ON {schema}.result (until) WHERE until IS NOT NULL;

CREATE TABLE {schema}.result_group (
    group_id text PRIMARY KEY,
    until timestamptz,
    document bytea NOT NULL
);
CREATE INDEX result_group_until ON {schema}.result_group (until) WHERE until IS NOT NULL;

-- Dead rows at the front of a queue are read at every claim until they are vacuumed away: vacuum
-- after some thousand, however large the table is, and without pauses, for there is little to read.
ALTER TABLE {schema}.ready SET (autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.claimed SET (autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.delayed SET (autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 5000);
ALTER TABLE {schema}.result SET (autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 10000);
