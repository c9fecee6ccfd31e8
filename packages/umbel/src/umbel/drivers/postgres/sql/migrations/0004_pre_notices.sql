-- The bus: who listens, and what was told to each and not heard yet. All of it may be lost, so it is
-- in no log: the tables are empty after a crash of the server, and on a standby. Nothing is written
-- while nobody listens.
CREATE UNLOGGED TABLE {schema}.mailbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    binding text NOT NULL,
    until timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX mailbox_topic ON {schema}.mailbox (topic);

CREATE UNLOGGED TABLE {schema}.notice (
    mailbox bigint NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    key text NOT NULL,
    raw bytea NOT NULL,
    PRIMARY KEY (mailbox, id)
);
ALTER TABLE {schema}.notice SET (autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
