-- Every statement of the PostgreSQL driver. {schema} is replaced when a driver is opened.
-- Statements that belong together are sent in one go and are one transaction (connection.py).
-- Time is the server's: now() is the moment the transaction began.

-- ---------------------------------------------------------------------------- messages arrive --

-- name: add_messages
-- Places are given in the order of the arrays. What is due already does not rest.
WITH given AS (
    SELECT * FROM unnest(%(queues)b::text[], %(priorities)b::smallint[], %(dues)b::timestamptz[],
                         %(raws)b::bytea[]) WITH ORDINALITY AS g (queue, priority, due, raw, n)
), resting AS (
    INSERT INTO {schema}.delayed (queue, due, priority, raw)
    SELECT queue, due, priority, raw FROM given WHERE due > now() ORDER BY n
)
INSERT INTO {schema}.ready (queue, priority, raw)
SELECT queue, priority, raw FROM given WHERE due IS NULL OR due <= now() ORDER BY n;

-- name: add_ready
-- As add_messages where nothing rests: the common case.
INSERT INTO {schema}.ready (queue, priority, raw)
SELECT queue, priority, raw FROM unnest(%(queues)b::text[], %(priorities)b::smallint[],
    %(raws)b::bytea[]) AS g (queue, priority, raw);

-- name: add_one_ready
-- The next three run on the caller's own connection, whichever library made it: one message each,
-- with plain values.
INSERT INTO {schema}.ready (queue, priority, raw) VALUES (%(queue)s, %(priority)s, %(raw)s);

-- name: add_one_delayed
-- What is due already is moved by the first worker that looks.
INSERT INTO {schema}.delayed (queue, due, priority, raw)
VALUES (%(queue)s, %(due)s, %(priority)s, %(raw)s);

-- name: ring_at_commit
-- Whether somebody waits is not known before the commit, so this rings always.
SELECT pg_notify(%(channel)s, '');

-- name: move_due
-- To the back of its queue, the earliest first.
WITH found AS (
    SELECT d.tid FROM unnest(%(queues)b::text[]) AS q (name) CROSS JOIN LATERAL (
        SELECT ctid AS tid FROM {schema}.delayed
        WHERE queue = q.name AND due <= now()
        ORDER BY due, place LIMIT 1000 FOR UPDATE SKIP LOCKED
    ) AS d
), moved AS (
    DELETE FROM {schema}.delayed WHERE ctid = ANY (ARRAY(SELECT tid FROM found))
    RETURNING queue, priority, count, raw, due, place
)
INSERT INTO {schema}.ready (queue, priority, count, raw)
SELECT queue, priority, count, raw FROM moved ORDER BY due, place;

-- ---------------------------------------------------------------------------- claims ----------

-- name: claim_one_queue
-- SKIP LOCKED: others take the next ones at the same moment, and nobody waits for anybody.
WITH taken AS (
    DELETE FROM {schema}.ready WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM {schema}.ready WHERE queue = %(queue)b
        ORDER BY priority, place LIMIT %(limit)b::int FOR UPDATE SKIP LOCKED
    )) RETURNING queue, priority, place, count, raw
)
INSERT INTO {schema}.claimed (owner, queue, priority, place, count, raw)
SELECT %(owner)b::bigint, queue, priority, place, count, raw FROM taken ORDER BY priority, place
RETURNING id, queue, count, raw;

-- name: claim_queues
-- The most urgent of all; among equals queues take turns, in the order of the array.
WITH found AS (
    SELECT r.tid, r.priority, q.turn,
           row_number() OVER (PARTITION BY q.turn ORDER BY r.priority, r.place) AS rank
    FROM unnest(%(queues)b::text[]) WITH ORDINALITY AS q (name, turn) CROSS JOIN LATERAL (
        SELECT ctid AS tid, priority, place FROM {schema}.ready WHERE queue = q.name
        ORDER BY priority, place LIMIT %(limit)b::int FOR UPDATE SKIP LOCKED
    ) AS r
), chosen AS (
    SELECT tid, rank, turn FROM found ORDER BY priority, rank, turn LIMIT %(limit)b::int
), taken AS (
    DELETE FROM {schema}.ready AS r USING chosen AS c WHERE r.ctid = c.tid
    RETURNING r.queue, r.priority, r.place, r.count, r.raw, c.rank, c.turn
)
INSERT INTO {schema}.claimed (owner, queue, priority, place, count, raw)
SELECT %(owner)b::bigint, queue, priority, place, count, raw FROM taken
ORDER BY priority, rank, turn
RETURNING id, queue, count, raw;

-- name: settle_done
-- The common case: every claim is acknowledged, with records and nothing else. The row of the claim
-- is the fence: where there is none, nothing is stored.
WITH ended AS (
    DELETE FROM {schema}.claimed WHERE owner = %(owner)b::bigint AND id = ANY (%(ids)b::bigint[])
    RETURNING id
), stored AS (
    INSERT INTO {schema}.result AS r (task_id, state, final, until, document)
    SELECT s.task_id, s.state, s.final, now() + s.life * interval '1 second', s.document
    FROM unnest(%(r_ids)b::bigint[], %(r_tasks)b::text[], %(r_states)b::text[],
                %(r_finals)b::boolean[], %(r_lives)b::float8[], %(r_documents)b::bytea[])
         AS s (id, task_id, state, final, life, document)
    WHERE s.id IN (SELECT id FROM ended)
    ON CONFLICT (task_id) DO UPDATE
    SET state = excluded.state, final = excluded.final, until = excluded.until,
        document = excluded.document
    WHERE r.state <> 'SUCCESS' OR r.until <= now()
)
SELECT id FROM ended;

-- name: settle
-- Every verdict and every effect. A verdict is one of: ack, keep, front, back, later, aside.
WITH given AS (
    SELECT * FROM unnest(%(ids)b::bigint[], %(verdicts)b::text[], %(dues)b::timestamptz[],
                         %(counted)b::boolean[], %(reasons)b::text[], %(details)b::text[],
                         %(errors)b::text[])
         WITH ORDINALITY AS g (id, verdict, due, counted, reason, detail, error, n)
), ended AS (
    DELETE FROM {schema}.claimed AS c USING given AS g
    WHERE c.owner = %(owner)b::bigint AND c.id = g.id AND g.verdict <> 'keep'
    RETURNING c.id, c.queue, c.priority, c.place, c.count, c.raw,
              CASE WHEN g.verdict = 'later' AND g.due <= now() THEN 'back' ELSE g.verdict END
              AS verdict, g.due, g.counted, g.reason, g.detail, g.error, g.n
), kept AS (
    SELECT id FROM {schema}.claimed
    WHERE owner = %(owner)b::bigint
      AND id = ANY (ARRAY(SELECT id FROM given WHERE verdict = 'keep'))
    FOR UPDATE
), held AS (
    SELECT id FROM ended UNION ALL SELECT id FROM kept
), returned AS (
    INSERT INTO {schema}.ready (queue, priority, place, count, raw)
    SELECT queue, priority,
           CASE WHEN verdict = 'front' THEN place ELSE nextval('{schema}.place') END,
           count + counted::int, raw
    FROM (SELECT * FROM ended WHERE verdict IN ('front', 'back') ORDER BY n) AS o
), rested AS (
    INSERT INTO {schema}.delayed (queue, due, priority, count, why, raw)
    SELECT queue, due, priority, count + counted::int, reason, raw
    FROM ended WHERE verdict = 'later' ORDER BY n
), set_aside AS (
    INSERT INTO {schema}.quarantine (queue, priority, count, reason, detail, error, worker, raw)
    SELECT queue, priority, count + 1, reason, detail, error, %(worker)b, raw
    FROM ended WHERE verdict = 'aside' ORDER BY n
), outgoing AS (
    SELECT o.* FROM unnest(%(o_ids)b::bigint[], %(o_queues)b::text[], %(o_priorities)b::smallint[],
                         %(o_dues)b::timestamptz[], %(o_raws)b::bytea[])
         WITH ORDINALITY AS o (id, queue, priority, due, raw, n)
    WHERE o.id IN (SELECT id FROM held)
), sent AS (
    INSERT INTO {schema}.ready (queue, priority, raw)
    SELECT queue, priority, raw FROM outgoing WHERE due IS NULL OR due <= now() ORDER BY n
), sent_to_rest AS (
    INSERT INTO {schema}.delayed (queue, due, priority, raw)
    SELECT queue, due, priority, raw FROM outgoing WHERE due > now() ORDER BY n
), stored AS (
    INSERT INTO {schema}.result AS r (task_id, state, final, until, document)
    SELECT s.task_id, s.state, s.final, now() + s.life * interval '1 second', s.document
    FROM unnest(%(r_ids)b::bigint[], %(r_tasks)b::text[], %(r_states)b::text[],
                %(r_finals)b::boolean[], %(r_lives)b::float8[], %(r_documents)b::bytea[])
         AS s (id, task_id, state, final, life, document)
    WHERE s.id IN (SELECT id FROM held)
    ON CONFLICT (task_id) DO UPDATE
    SET state = excluded.state, final = excluded.final, until = excluded.until,
        document = excluded.document
    WHERE r.state <> 'SUCCESS' OR r.until <= now()
)
SELECT id FROM held;

-- name: held
SELECT id FROM {schema}.claimed WHERE owner = %(owner)b::bigint AND id = ANY (%(ids)b::bigint[]);

-- ---------------------------------------------------------------------------- owners ----------

-- name: register
INSERT INTO {schema}.worker (name, until, presence)
VALUES (%(name)b, now() + %(lease)b::float8 * interval '1 second', %(presence)b)
RETURNING id;

-- name: renew
UPDATE {schema}.worker
SET until = now() + %(lease)b::float8 * interval '1 second', presence = %(presence)b
WHERE id = %(owner)b::bigint RETURNING id;

-- name: rescue
-- Claims whose owner's lease has ended, or who has none any more: a claim may come through after
-- its owner was taken for dead.
WITH freed AS (
    DELETE FROM {schema}.claimed AS c WHERE NOT EXISTS (
        SELECT FROM {schema}.worker AS w WHERE w.id = c.owner AND w.until > now()
    ) RETURNING queue, priority, place, count, raw
)
INSERT INTO {schema}.ready (queue, priority, place, count, raw)
SELECT queue, priority, place, count + 1, raw FROM freed RETURNING queue;

-- name: bury
DELETE FROM {schema}.worker WHERE until <= now() AND id <> %(owner)b::bigint;

-- name: release_all_but
-- Uncounted, to their old places: whatever was behind them then is behind them now.
WITH freed AS (
    DELETE FROM {schema}.claimed WHERE owner = %(owner)b::bigint AND id <> ALL (%(ids)b::bigint[])
    RETURNING queue, priority, place, count, raw
)
INSERT INTO {schema}.ready (queue, priority, place, count, raw)
SELECT queue, priority, place, count, raw FROM freed RETURNING queue;

-- name: leave
DELETE FROM {schema}.worker WHERE id = %(owner)b::bigint;

-- name: presences
SELECT presence FROM {schema}.worker WHERE until > now() ORDER BY id;

-- name: next_end
-- Seconds until the next lease of another ends.
SELECT extract(epoch FROM (
    SELECT min(until) FROM {schema}.worker WHERE id <> %(owner)b::bigint
) - clock_timestamp())::float8;

-- name: next_moments
-- Seconds until the next message is due and until the next lease ends, where there is any.
SELECT extract(epoch FROM (
           SELECT min((SELECT min(due) FROM {schema}.delayed WHERE queue = q.name))
           FROM unnest(%(queues)b::text[]) AS q (name)) - clock_timestamp())::float8,
       extract(epoch FROM (
           SELECT min(until) FROM {schema}.worker WHERE id <> %(owner)b::bigint)
           - clock_timestamp())::float8;

-- ---------------------------------------------------------------------------- bells -----------

-- name: wait_for
-- Who waits for something holds these locks, so that who brings it knows that somebody waits.
SELECT pg_advisory_lock_shared(key) FROM unnest(%(keys)b::bigint[]) AS k (key);

-- name: wait_no_more
SELECT pg_advisory_unlock_all();

-- name: ring
-- Run after the commit of what it tells of. Rings nobody, and costs no transaction, where nobody
-- waits. Whoever begins to wait looks once more afterwards: so one of the two sees the other.
SELECT pg_notify(channel, payload),
       set_config('synchronous_commit', 'off', true)
FROM unnest(%(keys)b::bigint[], %(channels)b::text[], %(payloads)b::text[])
     AS b (key, channel, payload)
WHERE NOT pg_try_advisory_xact_lock(key);

-- name: tell
SELECT pg_notify(%(channel)b, '');

-- ---------------------------------------------------------------------------- looking ---------

-- name: stats
SELECT q.name,
       (SELECT count(*) FROM {schema}.ready WHERE queue = q.name)
       + (SELECT count(*) FROM {schema}.delayed WHERE queue = q.name AND due <= now()),
       (SELECT count(*) FROM {schema}.claimed WHERE queue = q.name),
       (SELECT count(*) FROM {schema}.delayed WHERE queue = q.name AND due > now()),
       (SELECT count(*) FROM {schema}.quarantine WHERE queue = q.name),
       (SELECT min(at) FROM {schema}.quarantine WHERE queue = q.name)
FROM unnest(%(queues)b::text[]) WITH ORDINALITY AS q (name, n) ORDER BY q.n;

-- name: purge
WITH gone AS (
    DELETE FROM {schema}.ready WHERE queue = %(queue)b RETURNING 1
), gone_resting AS (
    DELETE FROM {schema}.delayed WHERE queue = %(queue)b RETURNING 1
)
SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM gone_resting);

-- name: version
SHOW server_version;

-- ---------------------------------------------------------------------------- shelves ---------

-- name: page_quarantine
SELECT at, id, count, reason, raw, detail, error, worker FROM {schema}.quarantine
WHERE queue = %(queue)b AND (at, id) > (%(moment)b, %(number)b::bigint)
  AND at >= %(since)b AND at < %(until)b
ORDER BY at, id LIMIT %(limit)b::int;

-- name: page_delayed
SELECT due, place, count, why, raw, NULL, NULL, NULL FROM {schema}.delayed
WHERE queue = %(queue)b AND (due, place) > (%(moment)b, %(number)b::bigint)
  AND due >= %(since)b AND due < %(until)b
ORDER BY due, place LIMIT %(limit)b::int;

-- name: fetch_quarantine
SELECT t.at, t.id, t.count, t.reason, t.raw, t.detail, t.error, t.worker
FROM unnest(%(moments)b::timestamptz[], %(numbers)b::bigint[]) AS g (moment, number)
JOIN {schema}.quarantine AS t ON t.queue = %(queue)b AND t.at = g.moment AND t.id = g.number;

-- name: fetch_delayed
SELECT t.due, t.place, t.count, t.why, t.raw, NULL, NULL, NULL
FROM unnest(%(moments)b::timestamptz[], %(numbers)b::bigint[]) AS g (moment, number)
JOIN {schema}.delayed AS t ON t.queue = %(queue)b AND t.due = g.moment AND t.place = g.number;

-- name: withdraw_quarantine
WITH given AS (
    SELECT * FROM unnest(%(moments)b::timestamptz[], %(numbers)b::bigint[], %(raws)b::bytea[],
                         %(dues)b::timestamptz[])
         WITH ORDINALITY AS g (moment, number, raw, due, n)
), taken AS (
    DELETE FROM {schema}.quarantine AS t USING given AS g
    WHERE t.queue = %(queue)b AND t.at = g.moment AND t.id = g.number
    RETURNING t.at AS moment, t.id AS number, t.queue, t.priority, 0 AS count,
              g.raw, g.due, g.n
), returned AS (
    INSERT INTO {schema}.ready (queue, priority, count, raw)
    SELECT queue, priority, count, raw FROM taken
    WHERE raw IS NOT NULL AND (due IS NULL OR due <= now()) ORDER BY n
), rested AS (
    INSERT INTO {schema}.delayed (queue, due, priority, count, raw)
    SELECT queue, due, priority, count, raw FROM taken
    WHERE raw IS NOT NULL AND due > now() ORDER BY n
), forgotten AS (
    DELETE FROM {schema}.result WHERE task_id IN (
        SELECT f.task_id FROM unnest(%(f_ids)b::bigint[], %(f_tasks)b::text[]) AS f (id, task_id)
        WHERE f.id IN (SELECT number FROM taken)
    )
), stored AS (
    INSERT INTO {schema}.result AS r (task_id, state, final, until, document)
    SELECT s.task_id, s.state, s.final, now() + s.life * interval '1 second', s.document
    FROM unnest(%(r_ids)b::bigint[], %(r_tasks)b::text[], %(r_states)b::text[],
                %(r_finals)b::boolean[], %(r_lives)b::float8[], %(r_documents)b::bytea[])
         AS s (id, task_id, state, final, life, document)
    WHERE s.id IN (SELECT number FROM taken)
    ON CONFLICT (task_id) DO UPDATE
    SET state = excluded.state, final = excluded.final, until = excluded.until,
        document = excluded.document
    WHERE r.state <> 'SUCCESS' OR r.until <= now()
)
SELECT moment, number FROM taken;

-- name: withdraw_delayed
WITH given AS (
    SELECT * FROM unnest(%(moments)b::timestamptz[], %(numbers)b::bigint[], %(raws)b::bytea[],
                         %(dues)b::timestamptz[])
         WITH ORDINALITY AS g (moment, number, raw, due, n)
), taken AS (
    DELETE FROM {schema}.delayed AS t USING given AS g
    WHERE t.queue = %(queue)b AND t.due = g.moment AND t.place = g.number
    RETURNING t.due AS moment, t.place AS number, t.queue, t.priority, t.count AS count,
              g.raw, g.due, g.n
), returned AS (
    INSERT INTO {schema}.ready (queue, priority, count, raw)
    SELECT queue, priority, count, raw FROM taken
    WHERE raw IS NOT NULL AND (due IS NULL OR due <= now()) ORDER BY n
), rested AS (
    INSERT INTO {schema}.delayed (queue, due, priority, count, raw)
    SELECT queue, due, priority, count, raw FROM taken
    WHERE raw IS NOT NULL AND due > now() ORDER BY n
), forgotten AS (
    DELETE FROM {schema}.result WHERE task_id IN (
        SELECT f.task_id FROM unnest(%(f_ids)b::bigint[], %(f_tasks)b::text[]) AS f (id, task_id)
        WHERE f.id IN (SELECT number FROM taken)
    )
), stored AS (
    INSERT INTO {schema}.result AS r (task_id, state, final, until, document)
    SELECT s.task_id, s.state, s.final, now() + s.life * interval '1 second', s.document
    FROM unnest(%(r_ids)b::bigint[], %(r_tasks)b::text[], %(r_states)b::text[],
                %(r_finals)b::boolean[], %(r_lives)b::float8[], %(r_documents)b::bytea[])
         AS s (id, task_id, state, final, life, document)
    WHERE s.id IN (SELECT number FROM taken)
    ON CONFLICT (task_id) DO UPDATE
    SET state = excluded.state, final = excluded.final, until = excluded.until,
        document = excluded.document
    WHERE r.state <> 'SUCCESS' OR r.until <= now()
)
SELECT moment, number FROM taken;

-- name: add_quarantined
-- For who has no claim on the message any more.
INSERT INTO {schema}.quarantine (queue, priority, count, reason, detail, error, worker, raw)
SELECT queue, 0, count, reason, detail, error, worker, raw
FROM unnest(%(queues)b::text[], %(counts)b::int[], %(reasons)b::text[], %(details)b::text[],
            %(errors)b::text[], %(workers)b::text[], %(raws)b::bytea[])
     AS g (queue, count, reason, detail, error, worker, raw);

-- ---------------------------------------------------------------------------- revocations -----

-- name: in_turn
-- Serials must become visible in their order: readers ask for those above the last they saw.
SELECT pg_advisory_xact_lock(%(key)b::bigint);

-- name: revoke
INSERT INTO {schema}.revocation (task_id, terminate, signal, until)
SELECT task_id, terminate, signal, now() + %(keep)b::float8 * interval '1 second'
FROM unnest(%(tasks)b::text[], %(terminates)b::boolean[], %(signals)b::text[])
     AS g (task_id, terminate, signal)
ON CONFLICT (task_id) DO UPDATE
SET serial = DEFAULT, terminate = excluded.terminate, signal = excluded.signal,
    until = excluded.until;

-- name: revocations_since
SELECT serial, task_id, terminate, signal FROM {schema}.revocation
WHERE serial > %(serial)b::bigint AND until > now() ORDER BY serial;

-- name: drop_old_revocations
DELETE FROM {schema}.revocation WHERE until <= now();

-- ---------------------------------------------------------------------------- results ---------

-- name: store_results
-- A SUCCESS that has not expired stays.
INSERT INTO {schema}.result AS r (task_id, state, final, until, document)
SELECT task_id, state, final, now() + life * interval '1 second', document
FROM unnest(%(r_tasks)b::text[], %(r_states)b::text[], %(r_finals)b::boolean[],
            %(r_lives)b::float8[], %(r_documents)b::bytea[])
     AS s (task_id, state, final, life, document)
ON CONFLICT (task_id) DO UPDATE
SET state = excluded.state, final = excluded.final, until = excluded.until,
    document = excluded.document
WHERE r.state <> 'SUCCESS' OR r.until <= now();

-- name: fetch_results
SELECT task_id, state, final, document FROM {schema}.result
WHERE task_id = ANY (%(tasks)b::text[]) AND (until IS NULL OR until > now());

-- name: forget_results
DELETE FROM {schema}.result WHERE task_id = ANY (%(tasks)b::text[]);

-- name: drop_old_results
WITH gone AS (
    DELETE FROM {schema}.result WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM {schema}.result WHERE until <= now()
        ORDER BY until LIMIT %(limit)b::int FOR UPDATE SKIP LOCKED
    )) RETURNING 1
)
SELECT count(*) FROM gone;

-- name: store_group
INSERT INTO {schema}.result_group (group_id, until, document)
VALUES (%(group)b, now() + %(life)b::float8 * interval '1 second', %(document)b)
ON CONFLICT (group_id) DO UPDATE SET until = excluded.until, document = excluded.document;

-- name: fetch_group
SELECT document FROM {schema}.result_group
WHERE group_id = %(group)b AND (until IS NULL OR until > now());

-- name: forget_group
DELETE FROM {schema}.result_group WHERE group_id = %(group)b;

-- name: drop_old_groups
WITH gone AS (
    DELETE FROM {schema}.result_group WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM {schema}.result_group WHERE until <= now()
        ORDER BY until LIMIT %(limit)b::int FOR UPDATE SKIP LOCKED
    )) RETURNING 1
)
SELECT count(*) FROM gone;

-- ---------------------------------------------------------------------------- joins -----------

-- name: lock_joins
-- In the order of the keys: two who change several joins never wait for each other in a circle.
-- Statements that follow in the transaction see what its former holders have committed.
SELECT pg_advisory_xact_lock(key) FROM (
    SELECT key FROM unnest(%(keys)b::bigint[]) AS k (key) ORDER BY key
) AS k;

-- name: drop_dead_joins
WITH dead AS (
    DELETE FROM {schema}.join_count WHERE join_id = ANY (%(joins)b::text[]) AND until <= now()
    RETURNING join_id
)
DELETE FROM {schema}.join_part WHERE join_id IN (SELECT join_id FROM dead);

-- name: hold
-- So that nobody takes these claims away between the steps of their joins and their end.
SELECT id FROM {schema}.claimed WHERE owner = %(owner)b::bigint AND id = ANY (%(ids)b::bigint[])
ORDER BY id FOR UPDATE;

-- name: open_joins
INSERT INTO {schema}.join_count AS j (join_id, size, until)
SELECT join_id, size, now() + life * interval '1 second'
FROM unnest(%(ids)b::bigint[], %(joins)b::text[], %(sizes)b::int[], %(lives)b::float8[])
     AS g (id, join_id, size, life)
WHERE id = 0 OR EXISTS (
    SELECT FROM {schema}.claimed AS c WHERE c.owner = %(owner)b::bigint AND c.id = g.id)
ON CONFLICT (join_id) DO UPDATE
SET size = excluded.size, until = excluded.until, closed = false;

-- name: grow_joins
INSERT INTO {schema}.join_count AS j (join_id, grown)
SELECT join_id, by FROM unnest(%(ids)b::bigint[], %(joins)b::text[], %(by)b::int[])
     AS g (id, join_id, by)
WHERE id = 0 OR EXISTS (
    SELECT FROM {schema}.claimed AS c WHERE c.owner = %(owner)b::bigint AND c.id = g.id)
ON CONFLICT (join_id) DO UPDATE SET grown = j.grown + excluded.grown;

-- name: close_joins
WITH given AS (
    SELECT join_id FROM unnest(%(ids)b::bigint[], %(joins)b::text[]) AS g (id, join_id)
    WHERE id = 0 OR EXISTS (
        SELECT FROM {schema}.claimed AS c WHERE c.owner = %(owner)b::bigint AND c.id = g.id)
), gone AS (
    DELETE FROM {schema}.join_part WHERE join_id IN (SELECT join_id FROM given)
)
INSERT INTO {schema}.join_count (join_id, closed, until)
SELECT join_id, true, now() + %(life)b::float8 * interval '1 second' FROM given
ON CONFLICT (join_id) DO UPDATE
SET size = NULL, grown = 0, filled = 0, closed = true, until = excluded.until;

-- name: fill_slots
-- A slot stays as it is first filled. What follows is enqueued by the statement that fills the last
-- one; its row tells which of the given ones was taken for it.
WITH given AS (
    SELECT g.* FROM unnest(%(ids)b::bigint[], %(joins)b::text[], %(slots)b::bigint[],
                           %(tasks)b::text[], %(parts)b::bytea[], %(lives)b::float8[],
                           %(o_queues)b::text[], %(o_priorities)b::smallint[],
                           %(o_dues)b::timestamptz[], %(o_raws)b::bytea[])
         WITH ORDINALITY AS g (id, join_id, slot, task_id, part, life, queue, priority, due, raw, n)
    WHERE (id = 0 OR EXISTS (
        SELECT FROM {schema}.claimed AS c WHERE c.owner = %(owner)b::bigint AND c.id = g.id))
      AND NOT EXISTS (
        SELECT FROM {schema}.join_count AS j WHERE j.join_id = g.join_id AND j.closed)
), added AS (
    INSERT INTO {schema}.join_part (join_id, slot, task_id, part)
    SELECT join_id, slot, task_id, part FROM given ORDER BY n
    ON CONFLICT DO NOTHING RETURNING join_id
), new AS (
    SELECT join_id, count(*)::int AS filled FROM added GROUP BY join_id
), lives AS (
    SELECT join_id, max(life) AS life FROM given GROUP BY join_id
), counted AS (
    INSERT INTO {schema}.join_count AS j (join_id, filled, until)
    SELECT join_id, filled, now() + life * interval '1 second' FROM new JOIN lives USING (join_id)
    ON CONFLICT (join_id) DO UPDATE SET filled = j.filled + excluded.filled
    RETURNING join_id, size + grown AS whole, filled
), complete AS (
    SELECT join_id FROM counted JOIN new USING (join_id)
    WHERE counted.filled >= whole AND counted.filled - new.filled < whole
), due AS (
    SELECT DISTINCT ON (join_id) n, queue, priority, due, raw
    FROM given JOIN complete USING (join_id) ORDER BY join_id, n DESC
), sent AS (
    INSERT INTO {schema}.ready (queue, priority, raw)
    SELECT queue, priority, raw FROM due WHERE due IS NULL OR due <= now() ORDER BY n
), sent_to_rest AS (
    INSERT INTO {schema}.delayed (queue, due, priority, raw)
    SELECT queue, due, priority, raw FROM due WHERE due > now() ORDER BY n
)
SELECT n FROM due ORDER BY n;

-- name: fill_slots_and_tell
-- As fill_slots for who sends by itself what follows: a row for each join that is complete now, also
-- where it was before.
WITH given AS (
    SELECT g.* FROM unnest(%(ids)b::bigint[], %(joins)b::text[], %(slots)b::bigint[],
                           %(tasks)b::text[], %(parts)b::bytea[], %(lives)b::float8[])
         WITH ORDINALITY AS g (id, join_id, slot, task_id, part, life, n)
    WHERE (id = 0 OR EXISTS (
        SELECT FROM {schema}.claimed AS c WHERE c.owner = %(owner)b::bigint AND c.id = g.id))
      AND NOT EXISTS (
        SELECT FROM {schema}.join_count AS j WHERE j.join_id = g.join_id AND j.closed)
), added AS (
    INSERT INTO {schema}.join_part (join_id, slot, task_id, part)
    SELECT join_id, slot, task_id, part FROM given ORDER BY n
    ON CONFLICT DO NOTHING RETURNING join_id
), found AS (
    SELECT g.join_id, max(g.life) AS life, max(g.n) AS n,
           (SELECT count(*) FROM added AS a WHERE a.join_id = g.join_id)::int AS filled
    FROM given AS g GROUP BY g.join_id
), counted AS (
    INSERT INTO {schema}.join_count AS j (join_id, filled, until)
    SELECT join_id, filled, now() + life * interval '1 second' FROM found
    ON CONFLICT (join_id) DO UPDATE SET filled = j.filled + excluded.filled
    RETURNING join_id, size + grown AS whole, filled
)
SELECT n FROM counted JOIN found USING (join_id) WHERE counted.filled >= whole ORDER BY n;

-- name: fetch_join
SELECT size + grown, closed, ARRAY(
    SELECT part FROM {schema}.join_part AS p WHERE p.join_id = j.join_id ORDER BY slot, place
) FROM {schema}.join_count AS j WHERE join_id = %(join)b AND (until IS NULL OR until > now());

-- name: drop_old_joins
-- Those that somebody is at work on are left for the next time.
WITH old AS (
    DELETE FROM {schema}.join_count WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM {schema}.join_count WHERE until <= now()
        ORDER BY until LIMIT %(limit)b::int FOR UPDATE SKIP LOCKED
    )) RETURNING join_id
), gone AS (
    DELETE FROM {schema}.join_part WHERE join_id IN (SELECT join_id FROM old)
)
SELECT count(*) FROM old;

-- ---------------------------------------------------------------------------- the schedule ----

-- name: schedule_entries
SELECT name, revision, entry FROM {schema}.schedule WHERE timetable = %(timetable)b;

-- name: schedule_version
SELECT version FROM {schema}.timetable WHERE timetable = %(timetable)b;

-- name: change_entry
-- A row where the entry stood at the revision: it is changed then, and the messages are sent.
WITH counted AS (
    INSERT INTO {schema}.timetable AS t (timetable, version)
    SELECT %(timetable)b, 1 WHERE %(revision)b::bigint = coalesce((
        SELECT revision FROM {schema}.schedule
        WHERE timetable = %(timetable)b AND name = %(name)b), 0)
    ON CONFLICT (timetable) DO UPDATE SET version = t.version + 1
    RETURNING version
), put AS (
    INSERT INTO {schema}.schedule (timetable, name, revision, entry)
    SELECT %(timetable)b, %(name)b, version, %(entry)b::bytea FROM counted
    WHERE %(entry)b::bytea IS NOT NULL
    ON CONFLICT (timetable, name) DO UPDATE
    SET revision = excluded.revision, entry = excluded.entry
), dropped AS (
    DELETE FROM {schema}.schedule
    WHERE timetable = %(timetable)b AND name = %(name)b AND %(entry)b::bytea IS NULL
      AND EXISTS (SELECT FROM counted)
), outgoing AS (
    SELECT o.* FROM unnest(%(o_queues)b::text[], %(o_priorities)b::smallint[],
                           %(o_dues)b::timestamptz[], %(o_raws)b::bytea[])
         WITH ORDINALITY AS o (queue, priority, due, raw, n)
    WHERE EXISTS (SELECT FROM counted)
), sent AS (
    INSERT INTO {schema}.ready (queue, priority, raw)
    SELECT queue, priority, raw FROM outgoing WHERE due IS NULL OR due <= now() ORDER BY n
), sent_to_rest AS (
    INSERT INTO {schema}.delayed (queue, due, priority, raw)
    SELECT queue, due, priority, raw FROM outgoing WHERE due > now() ORDER BY n
)
SELECT version FROM counted;

-- ---------------------------------------------------------------------------- the bus ---------

-- name: mailboxes
-- Who listens to these topics, and has room for more.
SELECT id, topic, binding FROM {schema}.mailbox AS m
WHERE topic = ANY (%(topics)b::text[]) AND until > now() AND NOT EXISTS (
    SELECT FROM {schema}.notice AS n WHERE n.mailbox = m.id OFFSET %(most)b::int
) ORDER BY id;

-- name: add_notices
-- Somebody may have gone in between.
INSERT INTO {schema}.notice (mailbox, key, raw)
SELECT mailbox, key, raw
FROM unnest(%(mailboxes)b::bigint[], %(keys)b::text[], %(raws)b::bytea[])
     WITH ORDINALITY AS g (mailbox, key, raw, n)
WHERE EXISTS (SELECT FROM {schema}.mailbox AS m WHERE m.id = g.mailbox) ORDER BY n;

-- name: tell_all
SELECT pg_notify(channel, '') FROM unnest(%(channels)b::text[]) AS c (channel);

-- name: add_mailbox
INSERT INTO {schema}.mailbox (topic, binding, until)
VALUES (%(topic)b, %(binding)b, now() + %(life)b::float8 * interval '1 second')
RETURNING id;

-- name: keep_mailboxes
UPDATE {schema}.mailbox SET until = now() + %(life)b::float8 * interval '1 second'
WHERE id = ANY (%(ids)b::bigint[]) RETURNING id;

-- name: drop_mailboxes
WITH gone AS (
    DELETE FROM {schema}.mailbox WHERE id = ANY (%(ids)b::bigint[])
)
DELETE FROM {schema}.notice WHERE mailbox = ANY (%(ids)b::bigint[]);

-- name: drop_dead_mailboxes
-- What was told to somebody who is gone has no reader.
WITH gone AS (
    DELETE FROM {schema}.mailbox WHERE until <= now()
)
DELETE FROM {schema}.notice AS n WHERE NOT EXISTS (
    SELECT FROM {schema}.mailbox AS m WHERE m.id = n.mailbox AND m.until > now());

-- name: take_notices
DELETE FROM {schema}.notice WHERE ctid = ANY (ARRAY(
    SELECT n.tid FROM unnest(%(ids)b::bigint[]) AS m (id) CROSS JOIN LATERAL (
        SELECT ctid AS tid FROM {schema}.notice WHERE mailbox = m.id
        ORDER BY id LIMIT %(limit)b::int FOR UPDATE SKIP LOCKED
    ) AS n
)) RETURNING mailbox, id, key, raw;
