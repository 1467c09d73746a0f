-- Market data on TimescaleDB (Community edition): ticks are a hypertable, minutes a continuous aggregate.
-- Decimals are NUMERIC, instants are BIGINT nanoseconds, UTC.

CREATE TABLE market_layout (layout text NOT NULL);
INSERT INTO market_layout (layout) VALUES ('timescale');

-- The newest arrival that was stored. Ticks age by it, so that they age by market time.
CREATE TABLE market_clock (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    newest_ns bigint  NOT NULL
);
INSERT INTO market_clock (newest_ns) VALUES (0);

-- The latest batch of each life of a service: a batch that comes twice is stored once.
CREATE TABLE market_writers (
    writer text        PRIMARY KEY,
    batch  bigint      NOT NULL,
    at     timestamptz NOT NULL DEFAULT now()
);

-- Candles as the venue gave them. What is rolled up from ticks stands in candles_m1.
CREATE TABLE candles (
    instrument  text    NOT NULL,
    granularity text    NOT NULL,
    start_ns    bigint  NOT NULL,
    volume      bigint  NOT NULL,
    complete    boolean NOT NULL,
    bid_o numeric NOT NULL, bid_h numeric NOT NULL, bid_l numeric NOT NULL, bid_c numeric NOT NULL,
    ask_o numeric NOT NULL, ask_h numeric NOT NULL, ask_l numeric NOT NULL, ask_c numeric NOT NULL,
    PRIMARY KEY (instrument, granularity, start_ns)
);

CREATE TABLE outcomes (
    account_id text   NOT NULL,
    trade_id   text   NOT NULL,
    strategy   text   NOT NULL,
    regime     text   NOT NULL,
    instrument text   NOT NULL,
    closed_ns  bigint NOT NULL,
    data       text   NOT NULL,
    PRIMARY KEY (account_id, trade_id)
);
CREATE INDEX outcomes_time ON outcomes (closed_ns);

CREATE TABLE ticks (
    instrument text    NOT NULL,
    venue_ns   bigint  NOT NULL,
    seen_ns    bigint  NOT NULL,
    bid        numeric NOT NULL,
    ask        numeric NOT NULL,
    tradeable  boolean NOT NULL
);
SELECT create_hypertable(
    'ticks', 'venue_ns', chunk_time_interval => 86400000000000, create_default_indexes => false
);
CREATE INDEX ticks_time ON ticks (instrument, venue_ns);

-- What "now" is to the policies: the market's time, not the server's.
CREATE FUNCTION market_now() RETURNS bigint LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT newest_ns FROM market_clock
$$;
SELECT set_integer_now_func('ticks', 'market_now');

-- After two days, when late ticks have come.
ALTER TABLE ticks SET (
    timescaledb.compress, timescaledb.compress_segmentby = 'instrument',
    timescaledb.compress_orderby = 'venue_ns'
);
SELECT add_compression_policy('ticks', bigint '172800000000000');

-- Kept when the ticks below are dropped: it is never refreshed further back than a day by itself.
CREATE MATERIALIZED VIEW candles_m1
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT instrument,
       time_bucket(bigint '60000000000', venue_ns) AS start_ns,
       count(*) AS volume, min(venue_ns) AS first_ns, max(venue_ns) AS last_ns,
       first(bid, venue_ns) AS bid_o, max(bid) AS bid_h, min(bid) AS bid_l, last(bid, venue_ns) AS bid_c,
       first(ask, venue_ns) AS ask_o, max(ask) AS ask_h, min(ask) AS ask_l, last(ask, venue_ns) AS ask_c
FROM ticks WHERE bid > 0 AND ask >= bid
GROUP BY instrument, time_bucket(bigint '60000000000', venue_ns)
WITH NO DATA;
SELECT add_continuous_aggregate_policy(
    'candles_m1', start_offset => bigint '86400000000000', end_offset => bigint '60000000000',
    schedule_interval => interval '1 minute'
);

-- Chunks are made by themselves.
CREATE FUNCTION market_make_day(day bigint) RETURNS boolean LANGUAGE sql AS $$
    SELECT false
$$;

-- Drop the chunks that ended before an instant. How many there were.
CREATE FUNCTION market_drop_before(before_ns bigint) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT count(*)::integer FROM drop_chunks('ticks', older_than => before_ns)
$$;
REVOKE EXECUTE ON FUNCTION market_make_day(bigint), market_drop_before(bigint) FROM PUBLIC;
