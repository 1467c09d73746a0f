-- name: begin_batch
-- Gives a row when this batch of this writer is new; none when it stands already.
INSERT INTO market_writers (writer, batch) VALUES ($1, $2)
ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, at = now()
WHERE market_writers.batch < excluded.batch
RETURNING batch

-- name: forget_writers
-- Lives that ended a year ago will not send a batch again.
DELETE FROM market_writers WHERE at < now() - interval '1 year'

-- name: newest
-- Forward only, and never ahead of the server's own clock by more than a day: what a wrong clock
-- stamped must not make good ticks look old.
UPDATE market_clock SET newest_ns = least(
    greatest(newest_ns, $1::bigint), (extract(epoch FROM now()) * 1e9)::bigint + 86400000000000
)
RETURNING newest_ns

-- name: add_minute
-- What a batch adds to a minute: late and unordered ticks find their place in it.
INSERT INTO candles_m1 AS known (
    instrument, start_ns, volume, first_ns, last_ns,
    bid_o, bid_h, bid_l, bid_c, ask_o, ask_h, ask_l, ask_c
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (instrument, start_ns) DO UPDATE SET
    volume = known.volume + excluded.volume,
    first_ns = least(known.first_ns, excluded.first_ns),
    last_ns = greatest(known.last_ns, excluded.last_ns),
    bid_o = CASE WHEN excluded.first_ns < known.first_ns THEN excluded.bid_o ELSE known.bid_o END,
    ask_o = CASE WHEN excluded.first_ns < known.first_ns THEN excluded.ask_o ELSE known.ask_o END,
    bid_h = greatest(known.bid_h, excluded.bid_h), ask_h = greatest(known.ask_h, excluded.ask_h),
    bid_l = least(known.bid_l, excluded.bid_l), ask_l = least(known.ask_l, excluded.ask_l),
    bid_c = CASE WHEN excluded.last_ns >= known.last_ns THEN excluded.bid_c ELSE known.bid_c END,
    ask_c = CASE WHEN excluded.last_ns >= known.last_ns THEN excluded.ask_c ELSE known.ask_c END

-- name: add_candle
-- A later form of a running candle replaces the earlier one; a complete one stays as it is.
INSERT INTO candles AS known (
    instrument, granularity, start_ns, volume, complete,
    bid_o, bid_h, bid_l, bid_c, ask_o, ask_h, ask_l, ask_c
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (instrument, granularity, start_ns) DO UPDATE SET
    volume = excluded.volume, complete = excluded.complete,
    bid_o = excluded.bid_o, bid_h = excluded.bid_h, bid_l = excluded.bid_l,
    bid_c = excluded.bid_c, ask_o = excluded.ask_o, ask_h = excluded.ask_h,
    ask_l = excluded.ask_l, ask_c = excluded.ask_c
WHERE NOT known.complete

-- name: add_outcome
-- The first one counts.
INSERT INTO outcomes (account_id, trade_id, strategy, regime, instrument, closed_ns, data)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (account_id, trade_id) DO NOTHING

-- name: make_day
-- The place for a day's ticks, ahead of need.
SELECT market_make_day($1)

-- name: drop_before
-- Whole days of ticks that are older than they are kept.
SELECT market_drop_before($1)

-- name: refresh_minutes
-- TimescaleDB only, outside a transaction: minutes whose ticks came later than its policy looks.
CALL refresh_continuous_aggregate('candles_m1', $1::bigint, $2::bigint)

-- name: layout
-- How ticks are kept here: timescale or partitions.
SELECT layout FROM market_layout

-- name: timescale
-- Whether TimescaleDB could be used, of which version, and under which license: "apache" has
-- hypertables, but neither compression nor continuous aggregates.
SELECT default_version, installed_version, current_setting('timescaledb.license', true)
FROM pg_available_extensions WHERE name = 'timescaledb'

-- name: ticks
-- One instrument's ticks of a span, oldest first.
SELECT instrument, venue_ns, seen_ns, bid, ask, tradeable FROM ticks
WHERE instrument = $1 AND venue_ns >= $2 AND venue_ns < $3 ORDER BY venue_ns, seen_ns LIMIT $4

-- name: candles
-- One instrument's candles of a span as they were given, oldest first.
SELECT instrument, granularity, start_ns, volume, complete,
       bid_o, bid_h, bid_l, bid_c, ask_o, ask_h, ask_l, ask_c
FROM candles WHERE instrument = $1 AND granularity = $2 AND start_ns >= $3 AND start_ns < $4
ORDER BY start_ns LIMIT $5

-- name: minutes
-- One instrument's minutes of a span, rolled up from ticks, oldest first.
SELECT instrument, start_ns, volume, first_ns, last_ns,
       bid_o, bid_h, bid_l, bid_c, ask_o, ask_h, ask_l, ask_c
FROM candles_m1 WHERE instrument = $1 AND start_ns >= $2 AND start_ns < $3
ORDER BY start_ns LIMIT $4

-- name: rolled
-- Minutes rolled up further, into periods of $5 nanoseconds that begin from $2 on and before $3,
-- oldest first. Period by period along the index, so that a page costs what it shows.
SELECT a.instrument, period.start_ns, sums.volume, sums.first_ns, sums.last_ns,
       a.bid_o, sums.bid_h, sums.bid_l, z.bid_c, a.ask_o, sums.ask_h, sums.ask_l, z.ask_c
FROM (SELECT n AS start_ns FROM generate_series($2::bigint, $3::bigint - 1, $5::bigint) AS n ORDER BY n) AS period
CROSS JOIN LATERAL (
    SELECT sum(volume)::bigint AS volume, min(first_ns) AS first_ns, max(last_ns) AS last_ns,
           min(start_ns) AS opens, max(start_ns) AS closes, max(bid_h) AS bid_h,
           min(bid_l) AS bid_l, max(ask_h) AS ask_h, min(ask_l) AS ask_l
    FROM candles_m1
    WHERE instrument = $1 AND start_ns >= period.start_ns AND start_ns < period.start_ns + $5::bigint
) AS sums
JOIN candles_m1 a ON a.instrument = $1 AND a.start_ns = sums.opens
JOIN candles_m1 z ON z.instrument = $1 AND z.start_ns = sums.closes
ORDER BY period.start_ns LIMIT $4

-- name: rolled_days
-- As `rolled`, into periods from each instant of $2 to the same one of $3.
SELECT a.instrument, period.start_ns, sums.volume, sums.first_ns, sums.last_ns,
       a.bid_o, sums.bid_h, sums.bid_l, z.bid_c, a.ask_o, sums.ask_h, sums.ask_l, z.ask_c
FROM (SELECT since AS start_ns, until FROM unnest($2::bigint[], $3::bigint[]) AS p (since, until) ORDER BY since) AS period
CROSS JOIN LATERAL (
    SELECT sum(volume)::bigint AS volume, min(first_ns) AS first_ns, max(last_ns) AS last_ns,
           min(start_ns) AS opens, max(start_ns) AS closes, max(bid_h) AS bid_h,
           min(bid_l) AS bid_l, max(ask_h) AS ask_h, min(ask_l) AS ask_l
    FROM candles_m1
    WHERE instrument = $1 AND start_ns >= period.start_ns AND start_ns < period.until
) AS sums
JOIN candles_m1 a ON a.instrument = $1 AND a.start_ns = sums.opens
JOIN candles_m1 z ON z.instrument = $1 AND z.start_ns = sums.closes
ORDER BY period.start_ns LIMIT $4

-- name: edges
-- The first and the last minute of an instrument.
SELECT min(start_ns), max(start_ns) FROM candles_m1 WHERE instrument = $1

-- name: newest_ns
-- The newest stamp of an instrument's last minute: what is older than it has ended.
SELECT last_ns FROM candles_m1 WHERE instrument = $1 ORDER BY start_ns DESC LIMIT 1

-- name: outcomes
-- Finished trades closed since an instant, oldest first.
SELECT data FROM outcomes WHERE closed_ns >= $1 ORDER BY closed_ns LIMIT $2

-- name: spans
-- What is there of each instrument: minutes, and the first and last of them.
SELECT instrument, count(*), min(start_ns), max(start_ns), sum(volume)::bigint
FROM candles_m1 GROUP BY instrument ORDER BY instrument
