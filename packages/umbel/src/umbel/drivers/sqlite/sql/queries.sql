-- Every statement of the SQLite driver. A comment says who runs it and what it relies on.
-- Writing statements run inside BEGIN IMMEDIATE: there is one writer at a time, so a statement may
-- rely on what the one before it has read.

-- ---------------------------------------------------------------------------- messages arrive --

-- name: take_places
-- Gives out :number places; the last of them is returned.
UPDATE umbel_place SET last = last + ? RETURNING last;

-- name: add_message
INSERT INTO umbel_message (id, queue, priority, place, raw) VALUES (?, ?, ?, ?, ?);

-- name: add_ready
INSERT INTO umbel_ready (queue, priority, place, id) VALUES (?, ?, ?, ?);

-- name: add_resting
INSERT INTO umbel_resting (queue, due, id) VALUES (?, ?, ?);

-- name: due
-- What has become due in one queue, the earliest first.
SELECT id, due FROM umbel_resting WHERE queue = ? AND due <= ? ORDER BY due, id LIMIT ?;

-- name: park
-- As add_resting, for one that is told why it must wait.
INSERT INTO umbel_resting (queue, due, id, why) VALUES (?, ?, ?, ?);

-- name: drop_resting
DELETE FROM umbel_resting WHERE queue = ? AND due = ? AND id = ?;

-- name: move_to_place
-- To the back of its queue: the place has just been given out.
UPDATE umbel_message SET place = ? WHERE id = ?;

-- name: ready_again
-- Puts a message where its row says: its old place, or the one move_to_place has just given it.
INSERT INTO umbel_ready (queue, priority, place, id)
SELECT queue, priority, place, id FROM umbel_message WHERE id = ?;

-- name: next_due
SELECT min(due) FROM umbel_resting WHERE queue = ?;

-- name: any_ready
SELECT 1 FROM umbel_ready WHERE queue = ? LIMIT 1;

-- ---------------------------------------------------------------------------- claims ----------

-- name: first_ready
-- The next messages of one queue, in the order of their claim. Takes a prefix of the primary key.
SELECT r.priority, r.place, r.id, m.count, m.raw
FROM umbel_ready AS r JOIN umbel_message AS m ON m.id = r.id
WHERE r.queue = ? ORDER BY r.priority, r.place LIMIT ?;

-- name: drop_ready_up_to
-- What first_ready returned up to this row: nobody else writes meanwhile, so it is that prefix.
DELETE FROM umbel_ready WHERE queue = ? AND (priority, place) <= (?, ?);

-- name: add_claim
INSERT INTO umbel_claim (owner, id, token) VALUES (?, ?, ?);

-- name: drop_claim
-- The fence: no row goes when the claim is not this owner's any more.
DELETE FROM umbel_claim WHERE owner = ? AND id = ? AND token = ?;

-- name: claim_is_held
SELECT 1 FROM umbel_claim WHERE owner = ? AND id = ? AND token = ?;

-- name: claims_of
SELECT id, token FROM umbel_claim WHERE owner = ?;

-- name: drop_message
DELETE FROM umbel_message WHERE id = ?;

-- name: count_claim
UPDATE umbel_message SET count = count + 1 WHERE id = ?;

-- name: queue_of
SELECT queue FROM umbel_message WHERE id = ?;

-- name: set_aside
-- count + 1: the claim that ends here is one of those that brought no outcome.
INSERT INTO umbel_quarantine (queue, priority, count, reason, detail, error, worker, at, raw)
SELECT queue, priority, count + 1, ?, ?, ?, ?, ?, raw FROM umbel_message WHERE id = ?;

-- ---------------------------------------------------------------------------- shelves ---------

-- name: page_resting
-- In the order in which they are due, from after a place; the bounds are beside each other.
SELECT r.due, r.id, m.count, r.why, m.raw
FROM umbel_resting AS r JOIN umbel_message AS m ON m.id = r.id
WHERE r.queue = ? AND (r.due, r.id) > (?, ?) AND r.due >= ? AND r.due < ?
ORDER BY r.due, r.id LIMIT ?;

-- name: fetch_resting
SELECT r.due, r.id, m.count, r.why, m.raw
FROM umbel_resting AS r JOIN umbel_message AS m ON m.id = r.id
WHERE r.queue = ? AND r.due = ? AND r.id = ?;

-- name: replace_raw
UPDATE umbel_message SET raw = ? WHERE id = ?;

-- name: page_quarantine
SELECT at, id, count, reason, raw, detail, error, worker FROM umbel_quarantine
WHERE queue = ? AND (at, id) > (?, ?) AND at >= ? AND at < ?
ORDER BY at, id LIMIT ?;

-- name: fetch_quarantine
SELECT at, id, count, reason, raw, detail, error, worker FROM umbel_quarantine
WHERE queue = ? AND at = ? AND id = ?;

-- name: drop_quarantined
-- at beside id: numbers of rows that are gone may be given again.
DELETE FROM umbel_quarantine WHERE queue = ? AND at = ? AND id = ? RETURNING priority;

-- name: add_quarantined
-- For who has no claim on the message any more.
INSERT INTO umbel_quarantine (queue, priority, count, reason, detail, error, worker, at, raw)
VALUES (?, 0, ?, ?, ?, ?, ?, ?, ?);

-- name: count_quarantined
SELECT count(*), min(at) FROM umbel_quarantine WHERE queue = ?;

-- ---------------------------------------------------------------------------- owners ----------

-- name: register_owner
-- A consumer that comes back under its name keeps its number and so its claims.
INSERT INTO umbel_owner (name, boot, until, presence) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE
SET boot = excluded.boot, until = excluded.until, presence = excluded.presence
RETURNING id;

-- name: renew_owner
UPDATE umbel_owner SET until = ? WHERE id = ?;

-- name: drop_owner
DELETE FROM umbel_owner WHERE id = ?;

-- name: dead_owners
SELECT id FROM umbel_owner WHERE (boot <> ? OR until <= ?) AND id <> ?;

-- name: next_lease_end
SELECT min(iif(boot = ?, until, -1.0)) FROM umbel_owner WHERE id <> ?;

-- name: presences
SELECT presence FROM umbel_owner WHERE boot = ? AND until > ? ORDER BY id;

-- name: count_claims_of
UPDATE umbel_message SET count = count + 1
WHERE id IN (SELECT id FROM umbel_claim WHERE owner = ?);

-- name: ready_claims_of
-- To their old places: whatever was behind them then is behind them now.
INSERT INTO umbel_ready (queue, priority, place, id)
SELECT queue, priority, place, id FROM umbel_message
WHERE id IN (SELECT id FROM umbel_claim WHERE owner = ?);

-- name: ready_claim
-- As ready_claims_of, for one.
INSERT INTO umbel_ready (queue, priority, place, id)
SELECT queue, priority, place, id FROM umbel_message WHERE id = ?;

-- name: drop_claims_of
DELETE FROM umbel_claim WHERE owner = ?;

-- ---------------------------------------------------------------------------- looking ---------

-- name: count_ready
SELECT count(*) FROM umbel_ready WHERE queue = ?;

-- name: count_due
SELECT count(*) FROM umbel_resting WHERE queue = ? AND due <= ?;

-- name: count_resting
SELECT count(*) FROM umbel_resting WHERE queue = ? AND due > ?;

-- name: count_claimed
SELECT count(*) FROM umbel_claim AS c JOIN umbel_message AS m ON m.id = c.id WHERE m.queue = ?;

-- name: purge_messages
DELETE FROM umbel_message WHERE id IN (
    SELECT id FROM umbel_ready WHERE queue = ?
    UNION ALL SELECT id FROM umbel_resting WHERE queue = ?
);

-- name: purge_ready
DELETE FROM umbel_ready WHERE queue = ?;

-- name: purge_resting
DELETE FROM umbel_resting WHERE queue = ?;

-- ---------------------------------------------------------------------------- revocations -----

-- name: revoke
-- REPLACE gives a new serial, so that every worker hears of it again.
INSERT OR REPLACE INTO umbel_revocation (task_id, terminate, signal, until) VALUES (?, ?, ?, ?);

-- name: last_revocation
SELECT max(serial) FROM umbel_revocation;

-- name: revocations_since
SELECT serial, task_id, terminate, signal FROM umbel_revocation
WHERE serial > ? AND until > ? ORDER BY serial;

-- name: drop_old_revocations
DELETE FROM umbel_revocation WHERE until <= ?;

-- ---------------------------------------------------------------------------- results ---------

-- name: store_result
-- REPLACE gives a new serial, so that watchers hear of it. A SUCCESS that has not expired stays.
INSERT OR REPLACE INTO umbel_result (task_id, state, final, until, document)
SELECT ?, ?, ?, ?, ? WHERE NOT EXISTS (
    SELECT 1 FROM umbel_result
    WHERE task_id = ? AND state = 'SUCCESS' AND (until IS NULL OR until > ?)
);

-- name: fetch_results
-- The ids come as one JSON array, so that any number of them is one prepared statement.
SELECT serial, task_id, state, final, document FROM umbel_result
WHERE task_id IN (SELECT value FROM json_each(?)) AND (until IS NULL OR until > ?);

-- name: results_since
SELECT serial, task_id, state, final, document FROM umbel_result
WHERE serial > ? AND (until IS NULL OR until > ?) ORDER BY serial;

-- name: last_result
SELECT max(serial) FROM umbel_result;

-- name: forget_result
DELETE FROM umbel_result WHERE task_id = ?;

-- name: drop_old_results
DELETE FROM umbel_result WHERE serial IN (
    SELECT serial FROM umbel_result WHERE until <= ? LIMIT ?
);

-- name: store_group
INSERT OR REPLACE INTO umbel_group (group_id, until, document) VALUES (?, ?, ?);

-- name: fetch_group
SELECT document FROM umbel_group WHERE group_id = ? AND (until IS NULL OR until > ?);

-- name: forget_group
DELETE FROM umbel_group WHERE group_id = ?;

-- name: drop_old_groups
DELETE FROM umbel_group WHERE group_id IN (
    SELECT group_id FROM umbel_group WHERE until <= ? LIMIT ?
);

-- ---------------------------------------------------------------------------- the bus ---------

-- name: add_mailbox
INSERT INTO umbel_mailbox (topic, binding, boot, until) VALUES (?, ?, ?, ?) RETURNING id;

-- name: keep_mailbox
-- No row changes when somebody took it for dead and removed it.
UPDATE umbel_mailbox SET until = ? WHERE id = ?;

-- name: drop_mailbox
DELETE FROM umbel_mailbox WHERE id = ?;

-- name: mailboxes
SELECT id, binding FROM umbel_mailbox WHERE topic = ? AND boot = ? AND until > ?;

-- name: drop_dead_mailboxes
DELETE FROM umbel_mailbox WHERE boot <> ? OR until <= ? RETURNING id;

-- name: drop_notices
DELETE FROM umbel_notice WHERE mailbox = ?;

-- name: add_notice
-- Numbered within its mailbox: there is one writer at a time.
INSERT INTO umbel_notice (mailbox, id, key, raw)
SELECT ?, coalesce((SELECT max(id) FROM umbel_notice WHERE mailbox = ?), 0) + 1, ?, ?;

-- name: count_notices
SELECT count(*) FROM umbel_notice WHERE mailbox = ?;

-- name: notices
SELECT id, key, raw FROM umbel_notice WHERE mailbox = ? ORDER BY id LIMIT ?;

-- name: drop_notices_up_to
DELETE FROM umbel_notice WHERE mailbox = ? AND id <= ?;

-- ---------------------------------------------------------------------------- the schedule ----

-- name: schedule_entries
SELECT name, revision, entry FROM umbel_schedule WHERE timetable = ?;

-- name: schedule_version
SELECT version FROM umbel_timetable WHERE timetable = ?;

-- name: next_schedule_version
INSERT INTO umbel_timetable (timetable, version) VALUES (?, 1)
ON CONFLICT (timetable) DO UPDATE SET version = version + 1 RETURNING version;

-- name: schedule_revision
SELECT revision FROM umbel_schedule WHERE timetable = ? AND name = ?;

-- name: put_schedule_entry
INSERT INTO umbel_schedule (timetable, name, revision, entry) VALUES (?, ?, ?, ?)
ON CONFLICT (timetable, name) DO UPDATE SET revision = excluded.revision, entry = excluded.entry;

-- name: drop_schedule_entry
DELETE FROM umbel_schedule WHERE timetable = ? AND name = ?;

-- ---------------------------------------------------------------------------- joins -----------

-- name: make_join
INSERT INTO umbel_join (join_id) VALUES (?) ON CONFLICT (join_id) DO NOTHING;

-- name: drop_dead_join
DELETE FROM umbel_join WHERE join_id = ? AND until <= ?;

-- name: drop_join_parts
DELETE FROM umbel_join_part WHERE join_id = ?;

-- name: open_join
UPDATE umbel_join SET size = ?, closed = 0, until = ? WHERE join_id = ?;

-- name: grow_join
UPDATE umbel_join SET grown = grown + ? WHERE join_id = ?;

-- name: add_join_part
INSERT INTO umbel_join_part (join_id, slot, task_id, part)
SELECT ?, ?, ?, ? WHERE (SELECT closed FROM umbel_join WHERE join_id = ?) = 0
ON CONFLICT DO NOTHING;

-- name: count_join_part
UPDATE umbel_join SET filled = filled + 1 WHERE join_id = ?;

-- name: join_counts
SELECT size, grown, filled, closed FROM umbel_join
WHERE join_id = ? AND (until IS NULL OR until > ?);

-- name: join_parts
SELECT part FROM umbel_join_part WHERE join_id = ? ORDER BY slot, id;

-- name: close_join
INSERT OR REPLACE INTO umbel_join (join_id, closed, until) VALUES (?, 1, ?);

-- name: old_joins
SELECT join_id FROM umbel_join WHERE until <= ? LIMIT ?;
