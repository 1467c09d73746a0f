-- name: signals
-- Signals with the accepting fact, newest first or from a row on.
SELECT s.seq, j.ts, s.signal_id, s.accepted, CAST(j.data AS BLOB)
FROM signals AS s JOIN journal AS j ON j.seq = s.seq
WHERE (:strategy = '' OR s.strategy = :strategy)
  AND (:instrument = '' OR s.instrument = :instrument)
  AND ((:account = '' AND :outcome = '') OR EXISTS (
      SELECT 1 FROM signal_outcomes AS o WHERE o.signal_id = s.signal_id
      AND (:account = '' OR o.account_id = :account)
      AND (:outcome = '' OR o.outcome = :outcome)))
  AND (CAST(:before AS BIGINT) = 0 OR s.seq < :before) AND s.seq > :after
ORDER BY s.seq {direction} LIMIT :limit

-- name: signal
-- One signal by its id.
SELECT s.seq, j.ts, s.signal_id, s.accepted, CAST(j.data AS BLOB)
FROM signals AS s JOIN journal AS j ON j.seq = s.seq WHERE s.signal_id = ?

-- name: signal_outcomes
-- How a signal ended, account by account.
SELECT o.seq, j.ts, CAST(j.data AS BLOB)
FROM signal_outcomes AS o JOIN journal AS j ON j.seq = o.seq
WHERE o.signal_id = ? ORDER BY o.seq

-- name: intents
-- Intents with the fact that wrote them.
SELECT i.seq, j.ts, CAST(j.data AS BLOB), i.state, i.moved_ns, i.reason, i.order_id, i.trade_id,
       i.first_byte_ns, i.latency_us
FROM intents AS i JOIN journal AS j ON j.seq = i.seq
WHERE (:account = '' OR i.account_id = :account)
  AND (:state = '' OR i.state = :state)
  AND (:strategy = '' OR i.strategy = :strategy)
  AND (CAST(:before AS BIGINT) = 0 OR i.seq < :before) AND i.seq > :after
ORDER BY i.seq {direction} LIMIT :limit

-- name: intents_of_signal
-- All legs at all accounts.
SELECT i.seq, j.ts, CAST(j.data AS BLOB), i.state, i.moved_ns, i.reason, i.order_id, i.trade_id,
       i.first_byte_ns, i.latency_us
FROM intents AS i JOIN journal AS j ON j.seq = i.seq
WHERE i.signal_id = ? ORDER BY i.seq

-- name: trades
-- Trades, newest first or from a row on.
SELECT id, account_id, trade_id, instrument, units, open_units, price, opened_ns, ours,
       intent_id, signal_id, strategy, regime, stop_price, target_price, reference_price,
       half_spread_cost, realized_pl, financing, close_price, close_reason, closed_ns
FROM trades
WHERE (:state = '' OR is_open = CASE WHEN :state = 'open' THEN 1 ELSE 0 END)
  AND (:account = '' OR account_id = :account)
  AND (:strategy = '' OR strategy = :strategy)
  AND (:instrument = '' OR instrument = :instrument)
  AND (CAST(:before AS BIGINT) = 0 OR id < :before) AND id > :after
ORDER BY id {direction} LIMIT :limit

-- name: trade
-- One trade.
SELECT id, account_id, trade_id, instrument, units, open_units, price, opened_ns, ours,
       intent_id, signal_id, strategy, regime, stop_price, target_price, reference_price,
       half_spread_cost, realized_pl, financing, close_price, close_reason, closed_ns
FROM trades WHERE account_id = ? AND trade_id = ?

-- name: transactions
-- One account's transactions; the page's ends are the venue's ids.
SELECT t.transaction_id, j.ts, t.seq, t.account_id, CAST(j.data AS BLOB)
FROM transactions AS t JOIN journal AS j ON j.seq = t.seq
WHERE t.account_id = :account
  AND (CAST(:before AS BIGINT) = 0 OR t.transaction_id < :before) AND t.transaction_id > :after
ORDER BY t.transaction_id {direction} LIMIT :limit

-- name: linked_transactions
-- All that speak of an order, trade or client id of an account.
SELECT t.transaction_id, j.ts, t.seq, t.account_id, CAST(j.data AS BLOB)
FROM transaction_links AS l
JOIN transactions AS t ON t.account_id = l.account_id AND t.transaction_id = l.transaction_id
JOIN journal AS j ON j.seq = t.seq
WHERE l.account_id = ? AND l.kind = ? AND l.ref = ? ORDER BY l.transaction_id

-- name: transaction
-- One transaction.
SELECT t.transaction_id, j.ts, t.seq, t.account_id, CAST(j.data AS BLOB)
FROM transactions AS t JOIN journal AS j ON j.seq = t.seq
WHERE t.account_id = ? AND t.transaction_id = ?

-- name: outcomes
-- Finished trades as they are learnt from.
SELECT o.seq, j.ts, CAST(j.data AS BLOB)
FROM outcomes AS o JOIN journal AS j ON j.seq = o.seq
WHERE (:account = '' OR o.account_id = :account)
  AND (:strategy = '' OR o.strategy = :strategy)
  AND (CAST(:before AS BIGINT) = 0 OR o.seq < :before) AND o.seq > :after
ORDER BY o.seq {direction} LIMIT :limit

-- name: outcome_of_trade
-- What one trade came to.
SELECT o.seq, j.ts, CAST(j.data AS BLOB)
FROM outcomes AS o JOIN journal AS j ON j.seq = o.seq
WHERE o.account_id = ? AND o.trade_id = ?

-- name: alerts
-- Alerts, newest first or from a row on.
SELECT a.seq, CAST(j.data AS BLOB)
FROM alerts AS a JOIN journal AS j ON j.seq = a.seq
WHERE (:severity = '' OR a.severity = :severity)
  AND (CAST(:before AS BIGINT) = 0 OR a.seq < :before) AND a.seq > :after
ORDER BY a.seq {direction} LIMIT :limit

-- name: breakers
-- Every breaker that ever moved.
SELECT seq, breaker, scope, subject, tripped, latched, effect, evidence, since_ns, until_ns,
       trips, actor, reset_ns, reset_by, reset_reason
FROM breakers WHERE (:tripped < 0 OR tripped = :tripped) ORDER BY seq DESC, breaker

-- name: story
-- Every record of one signal, oldest first.
SELECT seq, ts, node, epoch, type, subject, corr, actor, CAST(data AS BLOB), prev, hash
FROM journal WHERE corr = ? AND corr <> '' ORDER BY seq LIMIT 10000

-- name: find_signal_id
-- A signal's own id.
SELECT signal_id FROM signals WHERE signal_id = ?

-- name: find_intent
-- An intent's id.
SELECT signal_id, account_id FROM intents WHERE intent_id = ?

-- name: accounts
-- Accounts that were ever adopted; few.
SELECT account_id FROM accounts WHERE (:account = '' OR account_id = :account)
ORDER BY account_id

-- name: closed_trades
-- The material of performance figures; sums are made in decimals by the caller.
SELECT t.account_id, coalesce(a.currency, ''), t.strategy, t.realized_pl, t.financing,
       o.r_multiple
FROM trades AS t
LEFT JOIN accounts AS a ON a.account_id = t.account_id
LEFT JOIN outcomes AS o ON o.account_id = t.account_id AND o.trade_id = t.trade_id
WHERE t.is_open = 0 AND t.ours = 1
  AND (:account = '' OR t.account_id = :account)
  AND (:strategy = '' OR t.strategy = :strategy)
