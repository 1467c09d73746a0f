-- name: look
-- The lease, what is left of it by the database's clock (an empty one: long over), and whether a
-- session of its holder lives.
SELECT node, holder, address, renewals::text,
 CASE WHEN isfinite(expires_at) THEN
  least(greatest(floor(extract(epoch FROM expires_at - clock_timestamp()) * 1000), -1e9), 1e9)::bigint
 ELSE -1000000000 END,
 EXISTS (
  SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
  WHERE d.datname = current_database() AND locktype = 'advisory' AND classid = 1953656687
 )
FROM leader_lease

-- name: live
-- A lock that ends with this session: while it is there, so is the leader's process or its wire.
SELECT pg_try_advisory_lock_shared(1953656687, 1)

-- name: take
-- Ours, if nobody has moved it since it was looked at.
UPDATE leader_lease SET node = $1, holder = $2, address = $3, renewals = renewals + 1,
 expires_at = clock_timestamp() + make_interval(secs => $4)
WHERE holder = $5 AND renewals = $6 RETURNING renewals

-- name: raise_epoch
-- Waits for an append that runs, and has every later one of an older epoch refused.
UPDATE meta SET value = (value::bigint + 1)::text WHERE key = 'epoch' RETURNING value::bigint

-- name: renew
-- Ours for as long again, if it still is.
UPDATE leader_lease SET renewals = renewals + 1, address = $2,
 expires_at = clock_timestamp() + make_interval(secs => $3)
WHERE holder = $1 RETURNING renewals

-- name: release
-- Nobody's from now on, if it still was ours.
UPDATE leader_lease SET holder = '', renewals = renewals + 1, expires_at = clock_timestamp()
WHERE holder = $1

-- name: standing
-- The stops that no resume has ended.
SELECT stop_id, node, actor, reason, liquidate, accounts, closed_ns, joined_to, receipt, ended_by
FROM control_stops WHERE ended_at IS NULL ORDER BY raised_at, stop_id LIMIT 100

-- name: find
-- One stop, ended or not.
SELECT stop_id, node, actor, reason, liquidate, accounts, closed_ns, joined_to, receipt, ended_by
FROM control_stops WHERE stop_id = $1

-- name: put
-- A stop, told to whoever listens; one that stands is widened, never narrowed, never revived.
WITH put AS (
 INSERT INTO control_stops (stop_id, node, actor, reason, liquidate, accounts, closed_ns, joined_to)
 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
 ON CONFLICT (stop_id) DO UPDATE SET
  liquidate = control_stops.liquidate OR excluded.liquidate,
  accounts = CASE
   WHEN control_stops.accounts = '{}' OR excluded.accounts = '{}' THEN '{}'
   ELSE ARRAY(SELECT DISTINCT unnest(control_stops.accounts || excluded.accounts)) END,
  joined_to = CASE
   WHEN excluded.joined_to = '' THEN control_stops.joined_to ELSE excluded.joined_to END
 RETURNING stop_id
)
SELECT pg_notify('tso_stop', stop_id) FROM put

-- name: show
-- How far the leader has come with a stop.
UPDATE control_stops SET receipt = $2 WHERE stop_id = $1 AND receipt <> $2

-- name: end
-- A recorded resume ends a stop, and those that were joined to it; whoever listens hears it.
WITH done AS (
 UPDATE control_stops SET ended_at = clock_timestamp(), ended_by = $2
 WHERE ended_at IS NULL AND (stop_id = $1 OR joined_to = $1) RETURNING stop_id
)
SELECT pg_notify('tso_stop', stop_id) FROM done
