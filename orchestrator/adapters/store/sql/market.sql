-- name: add_tick
-- As it came; the same tick twice is two rows.
INSERT INTO ticks (instrument, venue_ns, seen_ns, bid, ask, tradeable) VALUES (?, ?, ?, ?, ?, ?)

-- name: add_candle
-- A later form of a running candle replaces the earlier one; a complete one stays as it is.
INSERT INTO candles (
    instrument, granularity, start_ns, volume, complete,
    bid_o, bid_h, bid_l, bid_c, ask_o, ask_h, ask_l, ask_c
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (instrument, granularity, start_ns) DO UPDATE SET
    volume = excluded.volume, complete = excluded.complete,
    bid_o = excluded.bid_o, bid_h = excluded.bid_h, bid_l = excluded.bid_l,
    bid_c = excluded.bid_c, ask_o = excluded.ask_o, ask_h = excluded.ask_h,
    ask_l = excluded.ask_l, ask_c = excluded.ask_c
WHERE candles.complete = 0

-- name: add_outcome
-- The first one counts.
INSERT OR IGNORE INTO outcomes (
    account_id, trade_id, strategy, regime, instrument, closed_ns, data
) VALUES (?, ?, ?, ?, ?, ?, CAST(? AS TEXT))

-- name: drop_old_ticks
-- In small bites, so that no write takes long.
DELETE FROM ticks WHERE id IN (
    SELECT id FROM ticks WHERE instrument = ? AND venue_ns < ? ORDER BY venue_ns LIMIT 5000
)

-- name: ticks
-- One instrument's ticks of a span, oldest first.
SELECT instrument, venue_ns, seen_ns, bid, ask, tradeable FROM ticks
WHERE instrument = ? AND venue_ns >= ? AND venue_ns < ? ORDER BY venue_ns, id LIMIT ?

-- name: candles
-- One instrument's candles of a span, oldest first.
SELECT instrument, granularity, start_ns, volume, complete,
       bid_o, bid_h, bid_l, bid_c, ask_o, ask_h, ask_l, ask_c
FROM candles WHERE instrument = ? AND granularity = ? AND start_ns >= ? AND start_ns < ?
ORDER BY start_ns LIMIT ?

-- name: outcomes
-- Finished trades closed since an instant, oldest first.
SELECT CAST(data AS BLOB) FROM outcomes WHERE closed_ns >= ? ORDER BY closed_ns LIMIT ?

-- name: minute
-- What is known of a minute so far.
SELECT instrument, start_ns, volume, first_ns, last_ns,
       bid_o, bid_h, bid_l, bid_c, ask_o, ask_h, ask_l, ask_c
FROM candles_m1 WHERE instrument = ? AND start_ns = ?

-- name: put_minute
-- A minute with what a batch added to it.
INSERT OR REPLACE INTO candles_m1 (
    instrument, start_ns, volume, first_ns, last_ns,
    bid_o, bid_h, bid_l, bid_c, ask_o, ask_h, ask_l, ask_c
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: minutes
-- One instrument's minutes of a span, oldest first.
SELECT instrument, start_ns, volume, first_ns, last_ns,
       bid_o, bid_h, bid_l, bid_c, ask_o, ask_h, ask_l, ask_c
FROM candles_m1 WHERE instrument = ? AND start_ns >= ? AND start_ns < ? ORDER BY start_ns

-- name: newest_ns
-- The newest stamp of a minute: what is older than it has ended.
SELECT max(last_ns) FROM (
    SELECT last_ns FROM candles_m1 WHERE instrument = ? ORDER BY start_ns DESC LIMIT 1
)

-- name: spans
-- What is there of each instrument.
SELECT instrument, count(*), min(start_ns), max(start_ns), sum(volume)
FROM candles_m1 GROUP BY instrument ORDER BY instrument
