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
INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)

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
