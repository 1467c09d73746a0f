-- Market data on plain PostgreSQL: ticks in a partition for each day, minutes rolled up by the writer.
-- Decimals are NUMERIC, instants are BIGINT nanoseconds, UTC.

CREATE TABLE market_layout (layout text NOT NULL);
INSERT INTO market_layout (layout) VALUES ('partitions');

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
) PARTITION BY RANGE (venue_ns);
CREATE INDEX ticks_time ON ticks (instrument, venue_ns);

-- For a day that has no partition yet: too late, too early, or stamped with nonsense.
CREATE TABLE ticks_other_days PARTITION OF ticks DEFAULT;

-- Minutes of the ticks. first_ns and last_ns let a late tick find its place in a minute.
CREATE TABLE candles_m1 (
    instrument text   NOT NULL,
    start_ns   bigint NOT NULL,
    volume     bigint NOT NULL,
    first_ns   bigint NOT NULL,
    last_ns    bigint NOT NULL,
    bid_o numeric NOT NULL, bid_h numeric NOT NULL, bid_l numeric NOT NULL, bid_c numeric NOT NULL,
    ask_o numeric NOT NULL, ask_h numeric NOT NULL, ask_l numeric NOT NULL, ask_c numeric NOT NULL,
    PRIMARY KEY (instrument, start_ns)
);

-- The partition of a day (days since 1970, UTC); true when it was made now. With the rights of the
-- owner, so that the writer needs none over tables. Ticks that came earlier move into it.
CREATE FUNCTION market_make_day(day bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    since bigint := day * 86400000000000;
    until bigint := (day + 1) * 86400000000000;
    made  text   := 'ticks_' || to_char(date '1970-01-01' + day::integer, 'YYYYMMDD');
BEGIN
    IF to_regclass(made) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('market_make_day'));
    IF to_regclass(made) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE ticks INCLUDING DEFAULTS)', made);
    EXECUTE format(
        'WITH moved AS (DELETE FROM ticks_other_days WHERE venue_ns >= %s AND venue_ns < %s RETURNING *)'
        ' INSERT INTO %I SELECT * FROM moved', since, until, made);
    EXECUTE format('ALTER TABLE ticks ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                   made, since, until);
    RETURN true;
END $$;

-- Drop whole days that ended before an instant, and what was seen before it among the rest.
-- How many days were dropped.
CREATE FUNCTION market_drop_before(before_ns bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    part    regclass;
    dropped integer := 0;
BEGIN
    FOR part IN
        SELECT child.oid::regclass
        FROM pg_inherits
        JOIN pg_class child ON child.oid = pg_inherits.inhrelid
        WHERE pg_inherits.inhparent = 'ticks'::regclass AND child.relname ~ '^ticks_\d{8}$'
          AND (to_date(substr(child.relname, 7), 'YYYYMMDD') - date '1970-01-01' + 1)::bigint
              * 86400000000000 <= before_ns
    LOOP
        EXECUTE format('DROP TABLE %s', part);
        dropped := dropped + 1;
    END LOOP;
    DELETE FROM ticks_other_days WHERE seen_ns < before_ns;
    RETURN dropped;
END $$;
REVOKE EXECUTE ON FUNCTION market_make_day(bigint), market_drop_before(bigint) FROM PUBLIC;
