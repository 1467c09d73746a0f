-- name: add_account
-- An account's home currency, the first time that it is adopted.
INSERT INTO accounts (account_id, currency, seq) VALUES (?, ?, ?)
ON CONFLICT (account_id) DO UPDATE SET currency = excluded.currency, seq = excluded.seq

-- name: add_signal
-- A second one under the same id is a conflict.
INSERT INTO signals (seq, signal_id, accepted, strategy, instrument) VALUES (?, ?, 1, ?, ?)

-- name: add_refused_signal
-- A signal that ended without having entered its path still has its place in the list.
INSERT INTO signals (seq, signal_id, accepted, strategy, instrument)
VALUES (?, ?, 0, '', '') ON CONFLICT DO NOTHING

-- name: end_signal
-- A second outcome of the same signal at the same account is a conflict.
INSERT INTO signal_outcomes (signal_id, account_id, outcome, seq) VALUES (?, ?, ?, ?)

-- name: add_intent
-- Unique by intent id, and by signal, account and leg.
INSERT INTO intents (seq, intent_id, signal_id, account_id, leg, strategy, state, moved_ns)
VALUES (?, ?, ?, ?, ?, ?, 'written', ?)

-- name: move_intent
-- What is not known yet ('' or 0) leaves what was known before.
UPDATE intents SET
    state = ?, reason = ?, moved_ns = ?,
    order_id = coalesce(nullif(?, ''), order_id),
    trade_id = coalesce(nullif(?, ''), trade_id),
    first_byte_ns = coalesce(nullif(CAST(? AS BIGINT), 0), first_byte_ns),
    latency_us = coalesce(nullif(CAST(? AS BIGINT), 0), latency_us)
WHERE intent_id = ?

-- name: add_transaction
-- A second one of the same account and id is a conflict.
INSERT INTO transactions (account_id, transaction_id, seq) VALUES (?, ?, ?)

-- name: link_transaction
-- So that an order's or trade's story is found without reading every transaction.
INSERT INTO transaction_links (account_id, kind, ref, transaction_id)
VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: open_trade
-- May complete a row that an adoption or an early close has made.
INSERT INTO trades (
    account_id, trade_id, instrument, units, open_units, is_open, price, opened_ns, ours,
    intent_id, signal_id, strategy, regime, stop_price, target_price, reference_price,
    half_spread_cost
) VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (account_id, trade_id) DO UPDATE SET
    price = excluded.price, opened_ns = excluded.opened_ns, ours = excluded.ours,
    intent_id = excluded.intent_id, signal_id = excluded.signal_id,
    strategy = excluded.strategy, regime = excluded.regime,
    stop_price = excluded.stop_price, target_price = excluded.target_price,
    reference_price = excluded.reference_price, half_spread_cost = excluded.half_spread_cost

-- name: add_known_trade
-- A trade that stood at the venue when its account was adopted, or was only seen closing.
INSERT INTO trades (
    account_id, trade_id, instrument, units, open_units, is_open, price, opened_ns, ours,
    intent_id, signal_id, strategy
)
VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: close_trade
-- Wholly (nothing remains) or in part; sums are made in decimals.
UPDATE trades SET
    open_units = ?, is_open = ?, realized_pl = decimal_add(realized_pl, ?),
    financing = decimal_add(financing, ?), close_price = ?, close_reason = ?, closed_ns = ?
WHERE account_id = ? AND trade_id = ?

-- name: add_outcome
-- The first one counts: nothing is learnt twice.
INSERT INTO outcomes (seq, account_id, trade_id, strategy, r_multiple)
VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: trip_breaker
-- A breaker that trips again while tripped keeps the time of its first trip.
INSERT INTO breakers (
    breaker, subject, scope, seq, tripped, latched, effect, evidence, since_ns, until_ns, trips,
    actor
) VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?, 1, ?)
ON CONFLICT (breaker, subject) DO UPDATE SET
    since_ns = CASE WHEN breakers.tripped = 1 THEN breakers.since_ns ELSE excluded.since_ns END,
    scope = excluded.scope, seq = excluded.seq, tripped = 1, latched = excluded.latched,
    effect = excluded.effect, evidence = excluded.evidence, until_ns = excluded.until_ns,
    trips = breakers.trips + 1, actor = excluded.actor

-- name: reset_breaker
-- Armed again.
UPDATE breakers SET
    tripped = 0, latched = 0, until_ns = NULL, seq = ?, reset_ns = ?, reset_by = ?,
    reset_reason = ?
WHERE breaker = ? AND subject = ?

-- name: add_alert
-- The alert itself is the journal's row of this number.
INSERT INTO alerts (seq, severity) VALUES (?, ?)
