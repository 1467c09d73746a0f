-- Old records may go once they stand in an export that verifies: a row here says up to where, the
-- hash of the last one that went, and which file of the folder `archive` holds them.
CREATE TABLE prunings (
    upto   INTEGER PRIMARY KEY,
    hash   BLOB NOT NULL,
    file   TEXT NOT NULL,
    digest TEXT NOT NULL,
    at_ns  INTEGER NOT NULL,
    actor  TEXT NOT NULL
);
CREATE TRIGGER prunings_only_grow BEFORE INSERT ON prunings
WHEN new.upto <= (SELECT coalesce(max(upto), 0) FROM prunings)
BEGIN SELECT RAISE(ABORT, 'a pruning goes further than the one before'); END;
CREATE TRIGGER prunings_keep_rows BEFORE DELETE ON prunings
BEGIN SELECT RAISE(ABORT, 'what was pruned stays written down'); END;
CREATE TRIGGER prunings_keep_content BEFORE UPDATE ON prunings
BEGIN SELECT RAISE(ABORT, 'what was pruned stays written down'); END;

-- Append-only still (SAFETY D3): only what a pruning names may be deleted, nothing be changed.
DROP TRIGGER journal_keeps_rows;
CREATE TRIGGER journal_keeps_rows BEFORE DELETE ON journal
WHEN old.seq > (SELECT coalesce(max(upto), 0) FROM prunings)
BEGIN SELECT RAISE(ABORT, 'the journal is append-only: no row is deleted'); END;
