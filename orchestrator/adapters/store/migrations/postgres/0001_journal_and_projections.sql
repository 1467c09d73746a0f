-- As on SQLite: the journal is the truth; every other table is a projection of it, made in the same
-- transaction. Decimals are TEXT, instants BIGINT nanoseconds UTC; texts are compared by their bytes.

CREATE TABLE meta (
    key   TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE journal (
    seq     BIGINT PRIMARY KEY CHECK (seq > 0),
    ts      BIGINT NOT NULL,
    node    TEXT NOT NULL,
    epoch   BIGINT NOT NULL,
    type    TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    corr    TEXT COLLATE "C" NOT NULL,
    actor   TEXT NOT NULL,
    data    TEXT NOT NULL,
    prev    BYTEA NOT NULL,
    hash    BYTEA NOT NULL
);
CREATE INDEX journal_corr ON journal (corr, seq) WHERE corr <> '';
CREATE INDEX journal_subject ON journal (subject, seq) WHERE corr = '';
CREATE INDEX journal_rare_type ON journal (type, seq)
WHERE type <> 'signal.accepted' AND type <> 'stage.decided' AND type <> 'checks.decided'
  AND type <> 'intent.written' AND type <> 'intent.moved' AND type <> 'signal.ended'
  AND type <> 'transaction.applied';

CREATE TABLE prunings (
    upto   BIGINT PRIMARY KEY,
    hash   BYTEA NOT NULL,
    file   TEXT NOT NULL,
    digest TEXT NOT NULL,
    at_ns  BIGINT NOT NULL,
    actor  TEXT NOT NULL
);

CREATE TABLE snapshots (
    seq    BIGINT PRIMARY KEY,
    digest TEXT NOT NULL,
    state  BYTEA NOT NULL
);

CREATE TABLE accounts (
    account_id TEXT COLLATE "C" PRIMARY KEY,
    currency   TEXT NOT NULL,
    seq        BIGINT NOT NULL
);

-- One row per signal, for ever. accepted = 0: it was refused before it entered its path.
CREATE TABLE signals (
    seq        BIGINT PRIMARY KEY,
    signal_id  TEXT COLLATE "C" NOT NULL UNIQUE,
    accepted   INTEGER NOT NULL,
    strategy   TEXT COLLATE "C" NOT NULL,
    instrument TEXT COLLATE "C" NOT NULL
);

-- One outcome per signal and account (INV-14).
CREATE TABLE signal_outcomes (
    signal_id  TEXT COLLATE "C" NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL,
    outcome    TEXT COLLATE "C" NOT NULL,
    seq        BIGINT NOT NULL,
    PRIMARY KEY (signal_id, account_id)
);

-- One intent per signal, account and leg, for ever (INV-02).
CREATE TABLE intents (
    seq           BIGINT PRIMARY KEY,
    intent_id     TEXT COLLATE "C" NOT NULL UNIQUE,
    signal_id     TEXT COLLATE "C" NOT NULL,
    account_id    TEXT COLLATE "C" NOT NULL,
    leg           TEXT COLLATE "C" NOT NULL,
    strategy      TEXT COLLATE "C" NOT NULL,
    state         TEXT COLLATE "C" NOT NULL,
    moved_ns      BIGINT NOT NULL,
    reason        TEXT NOT NULL DEFAULT '',
    order_id      TEXT NOT NULL DEFAULT '',
    trade_id      TEXT NOT NULL DEFAULT '',
    first_byte_ns BIGINT NOT NULL DEFAULT 0,
    latency_us    BIGINT NOT NULL DEFAULT 0,
    UNIQUE (signal_id, account_id, leg)
);

-- Each venue transaction exactly once (INV-05).
CREATE TABLE transactions (
    account_id     TEXT COLLATE "C" NOT NULL,
    transaction_id BIGINT NOT NULL,
    seq            BIGINT NOT NULL,
    PRIMARY KEY (account_id, transaction_id)
);

-- Which orders (not its own), trades and client ids a transaction speaks of.
-- kind: order | trade | client
CREATE TABLE transaction_links (
    account_id     TEXT COLLATE "C" NOT NULL,
    kind           TEXT COLLATE "C" NOT NULL,
    ref            TEXT COLLATE "C" NOT NULL,
    transaction_id BIGINT NOT NULL,
    PRIMARY KEY (account_id, kind, ref, transaction_id)
);

CREATE TABLE trades (
    id               BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id       TEXT COLLATE "C" NOT NULL,
    trade_id         TEXT COLLATE "C" NOT NULL,
    instrument       TEXT COLLATE "C" NOT NULL,
    units            TEXT NOT NULL,
    open_units       TEXT NOT NULL,
    is_open          INTEGER NOT NULL,
    price            TEXT,
    opened_ns        BIGINT NOT NULL,
    ours             INTEGER NOT NULL,
    intent_id        TEXT NOT NULL DEFAULT '',
    signal_id        TEXT COLLATE "C" NOT NULL DEFAULT '',
    strategy         TEXT COLLATE "C" NOT NULL DEFAULT '',
    regime           TEXT NOT NULL DEFAULT '',
    stop_price       TEXT,
    target_price     TEXT,
    reference_price  TEXT,
    half_spread_cost TEXT NOT NULL DEFAULT '0',
    realized_pl      TEXT NOT NULL DEFAULT '0',
    financing        TEXT NOT NULL DEFAULT '0',
    close_price      TEXT,
    close_reason     TEXT NOT NULL DEFAULT '',
    closed_ns        BIGINT NOT NULL DEFAULT 0,
    UNIQUE (account_id, trade_id)
);
CREATE INDEX trades_open ON trades (id) WHERE is_open = 1;

-- What was learnt of each finished trade, once.
CREATE TABLE outcomes (
    seq        BIGINT PRIMARY KEY,
    account_id TEXT COLLATE "C" NOT NULL,
    trade_id   TEXT COLLATE "C" NOT NULL,
    strategy   TEXT COLLATE "C" NOT NULL,
    r_multiple TEXT NOT NULL,
    UNIQUE (account_id, trade_id)
);

-- The last move of each breaker.
CREATE TABLE breakers (
    breaker      TEXT COLLATE "C" NOT NULL,
    subject      TEXT COLLATE "C" NOT NULL,
    scope        TEXT NOT NULL,
    seq          BIGINT NOT NULL,
    tripped      INTEGER NOT NULL,
    latched      INTEGER NOT NULL,
    effect       TEXT NOT NULL,
    evidence     TEXT NOT NULL,
    since_ns     BIGINT NOT NULL,
    until_ns     BIGINT,
    trips        BIGINT NOT NULL,
    actor        TEXT NOT NULL,
    reset_ns     BIGINT NOT NULL DEFAULT 0,
    reset_by     TEXT NOT NULL DEFAULT '',
    reset_reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (breaker, subject)
);

CREATE TABLE alerts (
    seq      BIGINT PRIMARY KEY,
    severity TEXT COLLATE "C" NOT NULL
);

-- Decimals are kept as the texts that they came as; their sums are exact.
CREATE FUNCTION decimal_add(a TEXT, b TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT
AS $$ SELECT CAST(CAST(a AS NUMERIC) + CAST(b AS NUMERIC) AS TEXT) $$;

-- Append-only (SAFETY D3): only what a pruning names may be deleted, nothing be changed. ALWAYS: not
-- even a session that plays a replica gets past them. The service's role should not own these tables
-- (docs/store.md), so that it cannot drop them either.
CREATE FUNCTION journal_keeps_rows() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF old.seq > (SELECT coalesce(max(upto), 0) FROM prunings) THEN
        RAISE EXCEPTION 'the journal is append-only: no row is deleted'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN old;
END $$;
CREATE TRIGGER journal_keeps_rows BEFORE DELETE ON journal
FOR EACH ROW EXECUTE FUNCTION journal_keeps_rows();
ALTER TABLE journal ENABLE ALWAYS TRIGGER journal_keeps_rows;

CREATE FUNCTION refuse_change() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: nothing in it is changed', tg_table_name
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER journal_keeps_content BEFORE UPDATE ON journal
FOR EACH ROW EXECUTE FUNCTION refuse_change();
ALTER TABLE journal ENABLE ALWAYS TRIGGER journal_keeps_content;
CREATE TRIGGER journal_keeps_all BEFORE TRUNCATE ON journal
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE journal ENABLE ALWAYS TRIGGER journal_keeps_all;
CREATE TRIGGER prunings_keep_rows BEFORE UPDATE OR DELETE ON prunings
FOR EACH ROW EXECUTE FUNCTION refuse_change();
ALTER TABLE prunings ENABLE ALWAYS TRIGGER prunings_keep_rows;
CREATE TRIGGER prunings_keep_all BEFORE TRUNCATE ON prunings
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE prunings ENABLE ALWAYS TRIGGER prunings_keep_all;

CREATE FUNCTION prunings_only_grow() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF new.upto <= (SELECT coalesce(max(upto), 0) FROM prunings) THEN
        RAISE EXCEPTION 'a pruning goes further than the one before'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER prunings_only_grow BEFORE INSERT ON prunings
FOR EACH ROW EXECUTE FUNCTION prunings_only_grow();
ALTER TABLE prunings ENABLE ALWAYS TRIGGER prunings_only_grow;

INSERT INTO meta (key, value) VALUES
    ('installation_id', replace(CAST(gen_random_uuid() AS TEXT), '-', '')), ('epoch', '0');
