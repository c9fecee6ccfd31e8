-- Limits that all workers share. Functions, because who asks must read what was committed while it
-- waited for the lock of a limit, claim by claim, in one round trip.

-- Who holds a place under a limit of concurrency; without an owner it is kept until that moment.
CREATE TABLE {schema}.hold (
    name text NOT NULL,
    task text NOT NULL,
    owner bigint,
    until timestamptz,
    PRIMARY KEY (name, task)
) WITH (fillfactor = 70);

-- What waits for a place, in the order of arrival; most: how many may run at once under the limit.
CREATE TABLE {schema}.blocked (
    name text NOT NULL,
    n bigint GENERATED ALWAYS AS IDENTITY,
    task text NOT NULL,
    most integer NOT NULL,
    queue text NOT NULL,
    priority smallint NOT NULL,
    place bigint NOT NULL,
    count integer NOT NULL,
    raw bytea NOT NULL,
    PRIMARY KEY (name, n)
);
CREATE INDEX blocked_queue ON {schema}.blocked (queue);

-- When the next run may begin, and the latest turn that was given, in Unix seconds.
CREATE TABLE {schema}.pace (
    name text PRIMARY KEY,
    free_at float8 NOT NULL,
    last_turn float8 NOT NULL
) WITH (fillfactor = 50);

-- Whoever changes a limit holds its lock until the transaction ends. In one order, by everybody.
CREATE FUNCTION {schema}.lock_limits(p_names text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(s.k) FROM (
        SELECT DISTINCT hashtextextended('{schema}/limit/' || l, 0) AS k
        FROM unnest(p_names) AS l WHERE l IS NOT NULL ORDER BY k
    ) AS s;
END $$;

-- Take the places of the dead away, and those that were kept in vain.
CREATE FUNCTION {schema}.bury_holders(p_name text) RETURNS bigint LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM {schema}.hold AS h
        WHERE h.name = p_name AND CASE WHEN h.owner IS NULL THEN h.until <= clock_timestamp()
            ELSE NOT EXISTS (SELECT FROM {schema}.worker AS w
                             WHERE w.id = h.owner AND w.until > clock_timestamp()) END
        RETURNING 1
    ) SELECT count(*) FROM gone
$$;

-- Send the first that wait to the front of their queues, as far as there are places.
CREATE FUNCTION {schema}.let_go(p_name text, p_most integer) RETURNS SETOF text LANGUAGE sql AS $$
    WITH first AS (
        SELECT b.n FROM {schema}.blocked AS b WHERE b.name = p_name ORDER BY b.n
        LIMIT greatest(0, p_most - (SELECT count(*) FROM {schema}.hold AS h WHERE h.name = p_name))
    ), gone AS (
        DELETE FROM {schema}.blocked AS b USING first AS f WHERE b.name = p_name AND b.n = f.n
        RETURNING b.task, b.queue, b.priority, b.place, b.count, b.raw
    ), kept AS (
        INSERT INTO {schema}.hold (name, task, owner, until)
        SELECT DISTINCT p_name, task, NULL::bigint, clock_timestamp() + interval '60 seconds' FROM gone
        ON CONFLICT (name, task) DO NOTHING
    )
    INSERT INTO {schema}.ready (queue, priority, place, count, raw)
    SELECT queue, priority, place, count, raw FROM gone RETURNING queue
$$;

-- The arithmetic of model/pace.py. Seconds.
CREATE FUNCTION {schema}.turn(p_name text, p_interval float8) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
    v_now float8 := extract(epoch FROM clock_timestamp());
    v_free float8;
    v_last float8;
    v_wait float8 := 0;
BEGIN
    SELECT free_at, last_turn INTO v_free, v_last FROM {schema}.pace WHERE name = p_name;
    v_free := coalesce(v_free, v_now);
    v_last := coalesce(v_last, 0);
    IF v_now >= v_free - 0.001 THEN
        IF v_now - v_free > least(1.0, p_interval) THEN v_free := v_now; END IF;
        v_free := v_free + p_interval;
    ELSE
        v_last := greatest(v_last + p_interval, v_free);
        v_wait := least(v_last - v_now, 300.0);
    END IF;
    INSERT INTO {schema}.pace AS p (name, free_at, last_turn) VALUES (p_name, v_free, v_last)
    ON CONFLICT (name) DO UPDATE SET free_at = excluded.free_at, last_turn = excluded.last_turn;
    RETURN v_wait;
END $$;

-- For each claim: 0 when it may run, seconds until its turn, NULL when it waits or is not ours.
CREATE FUNCTION {schema}.admit(
    p_owner bigint, p_ids bigint[], p_tasks text[], p_holds text[], p_mosts integer[],
    p_paces text[], p_intervals float8[]
) RETURNS SETOF float8 LANGUAGE plpgsql AS $$
DECLARE
    v_holds boolean;
    v_wait float8;
BEGIN
    PERFORM {schema}.lock_limits(p_holds || p_paces);
    FOR i IN 1 .. coalesce(array_length(p_ids, 1), 0) LOOP
        PERFORM 1 FROM {schema}.claimed WHERE owner = p_owner AND id = p_ids[i] FOR UPDATE;
        IF NOT FOUND THEN
            RETURN NEXT NULL;
            CONTINUE;
        END IF;
        v_holds := false;
        IF p_holds[i] IS NOT NULL THEN
            PERFORM 1 FROM {schema}.hold WHERE name = p_holds[i] AND task = p_tasks[i];
            v_holds := FOUND;
            IF NOT v_holds AND NOT {schema}.has_room(p_holds[i], p_mosts[i]) THEN
                WITH gone AS (
                    DELETE FROM {schema}.claimed WHERE owner = p_owner AND id = p_ids[i]
                    RETURNING queue, priority, place, count, raw
                )
                INSERT INTO {schema}.blocked (name, task, most, queue, priority, place, count, raw)
                SELECT p_holds[i], p_tasks[i], p_mosts[i], queue, priority, place, count, raw
                FROM gone;
                PERFORM {schema}.let_go(p_holds[i], p_mosts[i]);
                RETURN NEXT NULL;
                CONTINUE;
            END IF;
        END IF;
        IF p_paces[i] IS NOT NULL THEN
            v_wait := {schema}.turn(p_paces[i], p_intervals[i]);
            IF v_wait > 0 THEN
                IF v_holds THEN
                    DELETE FROM {schema}.hold WHERE name = p_holds[i] AND task = p_tasks[i];
                    PERFORM {schema}.let_go(p_holds[i], p_mosts[i]);
                END IF;
                RETURN NEXT v_wait;
                CONTINUE;
            END IF;
        END IF;
        IF p_holds[i] IS NOT NULL THEN
            INSERT INTO {schema}.hold AS h (name, task, owner) VALUES (p_holds[i], p_tasks[i], p_owner)
            ON CONFLICT (name, task) DO UPDATE SET owner = excluded.owner, until = NULL;
        END IF;
        RETURN NEXT 0;
    END LOOP;
END $$;

-- Whether there is a place, and nobody who waits for one.
CREATE FUNCTION {schema}.has_room(p_name text, p_most integer) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM {schema}.hold WHERE name = p_name) >= p_most THEN
        PERFORM {schema}.bury_holders(p_name);
        IF (SELECT count(*) FROM {schema}.hold WHERE name = p_name) >= p_most THEN
            RETURN false;
        END IF;
    END IF;
    RETURN NOT EXISTS (SELECT FROM {schema}.blocked WHERE name = p_name);
END $$;

-- Returns the queues to which something went.
CREATE FUNCTION {schema}.release_places(
    p_owner bigint, p_holds text[], p_tasks text[], p_mosts integer[]
) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.lock_limits(p_holds);
    FOR i IN 1 .. coalesce(array_length(p_holds, 1), 0) LOOP
        DELETE FROM {schema}.hold
        WHERE name = p_holds[i] AND task = p_tasks[i] AND owner = p_owner;
        RETURN QUERY SELECT {schema}.let_go(p_holds[i], p_mosts[i]);
    END LOOP;
END $$;

-- For some of the limits, from after a name on. Returns the queues to which something went.
CREATE FUNCTION {schema}.sweep_limits(p_names text[], p_mosts integer[]) RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.lock_limits(p_names);
    FOR i IN 1 .. coalesce(array_length(p_names, 1), 0) LOOP
        PERFORM {schema}.bury_holders(p_names[i]);
        RETURN QUERY SELECT {schema}.let_go(p_names[i], p_mosts[i]);
    END LOOP;
END $$;
