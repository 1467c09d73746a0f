-- name: begin
-- Each transaction locks what it needs by its own statements.
BEGIN

-- name: append
-- All facts of a batch at once, their values in the place of the mark.
INSERT INTO journal (seq, ts, node, epoch, type, subject, corr, actor, data, prev, hash)
VALUES {rows}

-- name: refuse_other_epoch
-- Divides by zero where another node's epoch is in force (SAFETY H3). Otherwise the epoch's row stays
-- locked until the commit, so that a takeover waits for us, and we come before it.
WITH fence AS MATERIALIZED (
    SELECT 1 FROM meta WHERE key = 'epoch' AND value = ? FOR SHARE
)
SELECT 1 / count(*) FROM fence

-- name: fence
-- For what is written beside the journal: a row while our epoch is in force.
SELECT 1 FROM meta WHERE key = 'epoch' AND value = ? FOR SHARE

-- name: raise_epoch
-- Epochs only grow (INV-13), and only who has the present one raises it.
UPDATE meta SET value = CAST(greatest(CAST(value AS BIGINT), CAST(? AS BIGINT)) + 1 AS TEXT)
WHERE key = 'epoch' AND value = ? RETURNING value

-- name: set_installation_id
-- Of a store that was made just now.
UPDATE meta SET value = ? WHERE key = 'installation_id'

-- name: signal_digests
-- Eight bytes of each of the newest signals' ids: what a node keeps in memory (C04).
SELECT string_agg(substring(sha256(convert_to(signal_id, 'UTF8')) FROM 1 FOR 8), CAST('' AS BYTEA))
FROM (SELECT signal_id FROM signals ORDER BY seq DESC LIMIT ?) AS newest

-- name: count_signals
-- How many there are in all.
SELECT count(*) FROM signals

-- name: claim_writing
-- The single writer's lock, which ends with its session.
SELECT pg_try_advisory_lock(?, ?)

-- name: who_writes
-- Process and name of the session that holds that lock.
SELECT a.pid, a.application_name FROM pg_locks AS l
JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid = CAST(CAST(? AS BIGINT) AS OID) AND l.objid = CAST(CAST(? AS BIGINT) AS OID)

-- name: who_leads
-- The node whose lease has not run out, for tools that want the store for themselves.
SELECT node, address FROM leader_lease WHERE holder <> '' AND expires_at > clock_timestamp()

-- name: end_session
-- Cuts off an earlier session of ours whose end the server has not noticed.
SELECT pg_terminate_backend(?)

-- name: name_session
-- So that a person who looks at the server knows whose session it is.
SELECT set_config('application_name', ?, false)

-- name: new_token
-- Eight hex digits by chance, from the server.
SELECT left(replace(CAST(gen_random_uuid() AS TEXT), '-', ''), 8)

-- name: no_time_limit
-- For work that may take long and holds nobody up.
SET LOCAL statement_timeout = 0

-- name: compact
-- Lets the room of deleted rows be used again.
VACUUM journal

-- name: has_prunings
-- Every schema of ours has that table.
SELECT 1

-- name: probe
-- Whether the server answers; nothing is read or written.
SELECT 1
