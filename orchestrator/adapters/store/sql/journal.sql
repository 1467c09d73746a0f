-- name: begin
-- Takes the write lock at once, so that no later statement can find the store busy.
BEGIN IMMEDIATE

-- name: commit
-- Returns when the write-ahead log is flushed (synchronous FULL).
COMMIT

-- name: rollback
-- Leaves nothing of the transaction.
ROLLBACK

-- name: append
-- One fact; triggers refuse anything but the next number.
INSERT INTO journal (seq, ts, node, epoch, type, subject, corr, actor, data, prev, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT), ?, ?)

-- name: last
-- The head of the chain.
SELECT seq, ts, node, epoch, type, subject, corr, actor, CAST(data AS BLOB), prev, hash
FROM journal ORDER BY seq DESC LIMIT 1

-- name: after
-- The next rows of the journal, for recovery.
SELECT seq, ts, node, epoch, type, subject, corr, actor, CAST(data AS BLOB), prev, hash
FROM journal WHERE seq > ? ORDER BY seq LIMIT ?

-- name: records
-- Rows for a reader; the marked places are filled from fixed texts, never from a reader's words.
SELECT seq, ts, node, epoch, type, subject, corr, actor, CAST(data AS BLOB), prev, hash
FROM journal WHERE {conditions} ORDER BY seq {direction} LIMIT :limit

-- name: signal_seen
-- Whether an id was ever used.
SELECT 1 FROM signals WHERE signal_id = ?

-- name: insert_meta
-- Set once; what stands there stays.
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: make_installation_id
-- 128 bits of SQLite's own randomness, seeded by the operating system.
INSERT OR IGNORE INTO meta (key, value) VALUES ('installation_id', lower(hex(randomblob(16))))

-- name: get_meta
-- A single value.
SELECT value FROM meta WHERE key = ?

-- name: raise_epoch
-- Epochs only grow (INV-13).
UPDATE meta SET value = ? WHERE key = 'epoch' AND CAST(value AS INTEGER) < ?

-- name: save_snapshot
-- The kernel's state after the fact `seq`.
INSERT INTO snapshots (seq, digest, state) VALUES (?, ?, ?)
ON CONFLICT (seq) DO UPDATE SET digest = excluded.digest, state = excluded.state

-- name: drop_old_snapshots
-- The last two stay: one may turn out unreadable.
DELETE FROM snapshots WHERE seq NOT IN (SELECT seq FROM snapshots ORDER BY seq DESC LIMIT 2)

-- name: snapshots
-- Newest first; one of a longer journal than ours (a store partly restored) is no use.
SELECT seq, digest, state FROM snapshots
WHERE seq <= (SELECT coalesce(max(seq), 0) FROM journal) ORDER BY seq DESC

-- name: prunings
-- What was pruned, oldest first.
SELECT upto, hash, file, digest, at_ns, actor FROM prunings ORDER BY upto

-- name: add_pruning
-- Triggers let it only go further than the last one.
INSERT INTO prunings (upto, hash, file, digest, at_ns, actor) VALUES (?, ?, ?, ?, ?, ?)

-- name: delete_pruned
-- Refused by a trigger beyond what a pruning names.
DELETE FROM journal WHERE seq <= ?

-- name: has_prunings
-- A store that a newer version has not opened yet has no such table.
SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'prunings'

-- name: needed_from
-- The oldest record that open trades, open intents or an older snapshot still need.
SELECT min(seq) FROM (
    SELECT min(seq) AS seq FROM snapshots
    UNION ALL
    SELECT min(i.seq) FROM intents AS i
    WHERE i.state NOT IN ('filled', 'cancelled', 'rejected', 'absent', 'blocked', 'expired')
    UNION ALL
    SELECT min(s.seq) FROM trades AS t JOIN signals AS s ON s.signal_id = t.signal_id
    WHERE t.is_open = 1
) AS needed
