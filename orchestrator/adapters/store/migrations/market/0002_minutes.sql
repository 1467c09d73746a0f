-- Minutes of the ticks, rolled up as they are written; kept when the ticks are dropped.
-- first_ns and last_ns let a late tick find its place in a minute.

CREATE TABLE candles_m1 (
    instrument TEXT NOT NULL,
    start_ns   INTEGER NOT NULL,
    volume     INTEGER NOT NULL,
    first_ns   INTEGER NOT NULL,
    last_ns    INTEGER NOT NULL,
    bid_o TEXT NOT NULL, bid_h TEXT NOT NULL, bid_l TEXT NOT NULL, bid_c TEXT NOT NULL,
    ask_o TEXT NOT NULL, ask_h TEXT NOT NULL, ask_l TEXT NOT NULL, ask_c TEXT NOT NULL,
    PRIMARY KEY (instrument, start_ns)
) WITHOUT ROWID;
