-- Market data for research, beside the path of orders: it may lose its newest rows in a crash.
-- Decimals are TEXT, instants are INTEGER nanoseconds, UTC.

CREATE TABLE ticks (
    id         INTEGER PRIMARY KEY,
    instrument TEXT NOT NULL,
    venue_ns   INTEGER NOT NULL,
    seen_ns    INTEGER NOT NULL,
    bid        TEXT NOT NULL,
    ask        TEXT NOT NULL,
    tradeable  INTEGER NOT NULL
);
CREATE INDEX ticks_time ON ticks (instrument, venue_ns);

CREATE TABLE candles (
    instrument  TEXT NOT NULL,
    granularity TEXT NOT NULL,
    start_ns    INTEGER NOT NULL,
    volume      INTEGER NOT NULL,
    complete    INTEGER NOT NULL,
    bid_o TEXT NOT NULL, bid_h TEXT NOT NULL, bid_l TEXT NOT NULL, bid_c TEXT NOT NULL,
    ask_o TEXT NOT NULL, ask_h TEXT NOT NULL, ask_l TEXT NOT NULL, ask_c TEXT NOT NULL,
    PRIMARY KEY (instrument, granularity, start_ns)
) WITHOUT ROWID;

CREATE TABLE outcomes (
    account_id TEXT NOT NULL,
    trade_id   TEXT NOT NULL,
    strategy   TEXT NOT NULL,
    regime     TEXT NOT NULL,
    instrument TEXT NOT NULL,
    closed_ns  INTEGER NOT NULL,
    data       TEXT NOT NULL,
    PRIMARY KEY (account_id, trade_id)
) WITHOUT ROWID;
