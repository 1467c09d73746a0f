-- The journal is the truth; every other table is a projection of it, made in the same transaction.
-- Decimals are TEXT (SQLite would make floats of them), instants are INTEGER nanoseconds, UTC.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE journal (
    seq     INTEGER PRIMARY KEY,
    ts      INTEGER NOT NULL,
    node    TEXT NOT NULL,
    epoch   INTEGER NOT NULL,
    type    TEXT NOT NULL,
    subject TEXT NOT NULL,
    corr    TEXT NOT NULL,
    actor   TEXT NOT NULL,
    data    TEXT NOT NULL,
    prev    BLOB NOT NULL,
    hash    BLOB NOT NULL
);
-- Every index costs each commit a page; so only what could not be found quickly otherwise has one.
-- A signal's story is found by corr. Of the rest, what is common is met soon by walking backwards.
CREATE INDEX journal_corr ON journal (corr) WHERE corr <> '';
CREATE INDEX journal_subject ON journal (subject) WHERE corr = '';
CREATE INDEX journal_rare_type ON journal (type)
WHERE type <> 'signal.accepted' AND type <> 'stage.decided' AND type <> 'checks.decided'
  AND type <> 'intent.written' AND type <> 'intent.moved' AND type <> 'signal.ended'
  AND type <> 'transaction.applied';

-- Append-only (SAFETY D3); with recursive triggers, as our connections have them, the first one
-- also stops INSERT OR REPLACE.
CREATE TRIGGER journal_keeps_rows BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only: no row is deleted'); END;
CREATE TRIGGER journal_keeps_content BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only: no row is changed'); END;

CREATE TABLE snapshots (
    seq    INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,
    state  BLOB NOT NULL
);

CREATE TABLE accounts (
    account_id TEXT PRIMARY KEY,
    currency   TEXT NOT NULL,
    seq        INTEGER NOT NULL
) WITHOUT ROWID;

-- One row per signal, for ever. accepted = 0: it was refused before it entered its path.
CREATE TABLE signals (
    seq        INTEGER PRIMARY KEY,
    signal_id  TEXT NOT NULL UNIQUE,
    accepted   INTEGER NOT NULL,
    strategy   TEXT NOT NULL,
    instrument TEXT NOT NULL
);

-- One outcome per signal and account (INV-14).
CREATE TABLE signal_outcomes (
    signal_id  TEXT NOT NULL,
    account_id TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    PRIMARY KEY (signal_id, account_id)
) WITHOUT ROWID;

-- One intent per signal, account and leg, for ever (INV-02).
CREATE TABLE intents (
    seq           INTEGER PRIMARY KEY,
    intent_id     TEXT NOT NULL UNIQUE,
    signal_id     TEXT NOT NULL,
    account_id    TEXT NOT NULL,
    leg           TEXT NOT NULL,
    strategy      TEXT NOT NULL,
    state         TEXT NOT NULL,
    moved_ns      INTEGER NOT NULL,
    reason        TEXT NOT NULL DEFAULT '',
    order_id      TEXT NOT NULL DEFAULT '',
    trade_id      TEXT NOT NULL DEFAULT '',
    first_byte_ns INTEGER NOT NULL DEFAULT 0,
    latency_us    INTEGER NOT NULL DEFAULT 0,
    UNIQUE (signal_id, account_id, leg)
);

-- Each venue transaction exactly once (INV-05).
CREATE TABLE transactions (
    account_id     TEXT NOT NULL,
    transaction_id INTEGER NOT NULL,
    seq            INTEGER NOT NULL,
    PRIMARY KEY (account_id, transaction_id)
) WITHOUT ROWID;

-- Which orders (not its own), trades and client ids a transaction speaks of.
-- kind: order | trade | client
CREATE TABLE transaction_links (
    account_id     TEXT NOT NULL,
    kind           TEXT NOT NULL,
    ref            TEXT NOT NULL,
    transaction_id INTEGER NOT NULL,
    PRIMARY KEY (account_id, kind, ref, transaction_id)
) WITHOUT ROWID;

CREATE TABLE trades (
    id               INTEGER PRIMARY KEY,
    account_id       TEXT NOT NULL,
    trade_id         TEXT NOT NULL,
    instrument       TEXT NOT NULL,
    units            TEXT NOT NULL,
    open_units       TEXT NOT NULL,
    is_open          INTEGER NOT NULL,
    price            TEXT,
    opened_ns        INTEGER NOT NULL,
    ours             INTEGER NOT NULL,
    intent_id        TEXT NOT NULL DEFAULT '',
    signal_id        TEXT NOT NULL DEFAULT '',
    strategy         TEXT NOT NULL DEFAULT '',
    regime           TEXT NOT NULL DEFAULT '',
    stop_price       TEXT,
    target_price     TEXT,
    reference_price  TEXT,
    half_spread_cost TEXT NOT NULL DEFAULT '0',
    realized_pl      TEXT NOT NULL DEFAULT '0',
    financing        TEXT NOT NULL DEFAULT '0',
    close_price      TEXT,
    close_reason     TEXT NOT NULL DEFAULT '',
    closed_ns        INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account_id, trade_id)
);
CREATE INDEX trades_open ON trades (id) WHERE is_open = 1;

-- What was learnt of each finished trade, once.
CREATE TABLE outcomes (
    seq        INTEGER PRIMARY KEY,
    account_id TEXT NOT NULL,
    trade_id   TEXT NOT NULL,
    strategy   TEXT NOT NULL,
    r_multiple TEXT NOT NULL,
    UNIQUE (account_id, trade_id)
);

-- The last move of each breaker.
CREATE TABLE breakers (
    breaker      TEXT NOT NULL,
    subject      TEXT NOT NULL,
    scope        TEXT NOT NULL,
    seq          INTEGER NOT NULL,
    tripped      INTEGER NOT NULL,
    latched      INTEGER NOT NULL,
    effect       TEXT NOT NULL,
    evidence     TEXT NOT NULL,
    since_ns     INTEGER NOT NULL,
    until_ns     INTEGER,
    trips        INTEGER NOT NULL,
    actor        TEXT NOT NULL,
    reset_ns     INTEGER NOT NULL DEFAULT 0,
    reset_by     TEXT NOT NULL DEFAULT '',
    reset_reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (breaker, subject)
) WITHOUT ROWID;

CREATE TABLE alerts (
    seq      INTEGER PRIMARY KEY,
    severity TEXT NOT NULL
);
