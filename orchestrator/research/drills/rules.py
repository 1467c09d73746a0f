"""What must hold on any bad day, judged from the venue's books and the journal."""

from __future__ import annotations

from orchestrator.kernel.audit import verify
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record
from orchestrator.model.time import NS_PER_S
from orchestrator.paper.exchange.views import account_of
from orchestrator.research.drills.stage import Stage

_WITHIN_NS = NS_PER_S
# A tick that crosses is heard when it comes; prices come about each second.
_TRIP_WITHIN_NS = 2 * NS_PER_S
_NAKED_S = 5.0
_NAMED = 3


def judge(stage: Stage) -> None:
    """Adds its rules and figures to the stage's own."""
    _no_order_behind_a_block(stage)
    _losses_held(stage)
    _loss_breakers_in_time(stage)
    _stops_at_the_venue(stage)
    _nothing_twice(stage)
    _one_outcome(stage)
    _trail_complete(stage)
    _books_equal(stage)
    _alerts_in_time(stage)
    _chain_holds(stage)


def _no_order_behind_a_block(stage: Stage) -> None:
    late = stage.witness.after_block
    text = f"{len(stage.witness.first_bytes)} orders left, {len(late)} of them behind a block"
    if late:
        text += f": {'; '.join(late[:_NAMED])}"
    stage.rule("INV-01", "no order after a block", text, passed=not late)


def _losses_held(stage: Stage) -> None:
    """By the venue's books, at closeout prices: what was lost at most beside the limit."""
    told: list[str] = []
    held = True
    for account_id, money in stage.witness.money.items():
        limit = stage.witness.limits[account_id]
        held = held and money.lost_fraction <= limit
        told.append(f"{account_id} {money.lost_fraction:.2%} of {limit:.2%}")
    stage.rule("A1", "worst loss within the daily limit", ", ".join(told), passed=held)


def _loss_breakers_in_time(stage: Stage) -> None:
    """INV-16: blocked within a second of the price that crosses."""
    told: list[str] = []
    good = True
    for account_id, money in stage.witness.money.items():
        if money.crossed_ns is None:
            continue
        trips = [
            trip
            for trip in stage.witness.tripped("A1", "A2", "S1", "S2")
            if trip.fact.subject in (account_id, "system")
            and trip.at_ns <= money.crossed_ns + _TRIP_WITHIN_NS
        ]
        good = good and bool(trips)
        what = f"{trips[0].fact.breaker} in time" if trips else "NOT BLOCKED"
        told.append(f"{account_id} crossed at {stage.witness.at_s(money.crossed_ns)} s: {what}")
    text = ", ".join(told) or "no account crossed its limit"
    stage.rule("INV-16", "loss breakers trip at once", text, passed=good)


def _stops_at_the_venue(stage: Stage) -> None:
    witness = stage.witness
    text = f"{sum(witness.names.values())} orders, {len(witness.without_stop)} without a stop loss"
    if witness.naked_s:
        text += f"; a trade stood without one for {witness.naked_s:.1f} s"
    passed = not witness.without_stop and witness.naked_s <= _NAKED_S
    stage.rule("INV-09", "every trade has its stop loss at the venue", text, passed=passed)


def _nothing_twice(stage: Stage) -> None:
    twice = [name for name, count in stage.witness.names.items() if count > 1]
    text = f"{len(stage.witness.names)} intents, {len(twice)} ordered twice"
    stage.rule("INV-02", "no order twice", text, passed=not twice)


def _one_outcome(stage: Stage) -> None:
    witness = stage.witness
    wanted = [(signal, a) for signal, accounts in witness.accepted.items() for a in accounts]
    wrong = [key for key in wanted if len(witness.ended.get(key, ())) != 1]
    text = f"{len(wanted)} signals at accounts, {len(wrong)} without exactly one outcome"
    stage.rule("INV-14", "each signal has one outcome", text, passed=not wrong)


def _trail_complete(stage: Stage) -> None:
    """INV-05: each transaction of the venue once, in order."""
    wrong = 0
    count = 0
    for account_id, log in stage.witness.log.items():
        there = [tx.number for tx in log]
        here = stage.witness.applied.get(account_id, [])
        count += len(there)
        wrong += len(set(there) ^ set(here)) + (here != sorted(set(here)))
    text = f"{count} transactions at the venue, {wrong} differences in the trail"
    stage.rule("INV-05", "the trail has every transaction once, in order", text, passed=not wrong)


def _books_equal(stage: Stage) -> None:
    """INV-06, to the last digit."""
    told: list[str] = []
    for account_id, books in stage.market.exchange.accounts.items():
        there = account_of(stage.market.exchange, books, full=False)
        here = stage.system.kernel.books.get(account_id)
        if here is None:
            told.append(f"{account_id} is not known here")
        elif here.balance != there.balance or set(here.trades) != set(books.trades):
            told.append(f"{account_id}: {here.balance} here, {there.balance} there")
    text = "; ".join(told) or f"{len(stage.witness.money)} accounts equal, to the last digit"
    stage.rule("INV-06", "our books equal the venue's", text, passed=not told)


def _alerts_in_time(stage: Stage) -> None:
    """Each trip that blocks, and each stop, has an alert within a second of its cause."""
    alerts = stage.witness.alerts
    late = [
        what
        for at, what, key in stage.witness.causes
        if not any(
            said.startswith(key) and at - _WITHIN_NS <= alert <= at + _WITHIN_NS
            for alert, said in alerts
        )
    ]
    text = f"{len(stage.witness.causes)} causes, {len(late)} without an alert within 1 s"
    if late:
        text += f": {', '.join(late[:_NAMED])}"
    stage.rule("B3", "alerts within a second", text, passed=not late)


def _chain_holds(stage: Stage) -> None:
    records: list[tuple[Record, Fact]] = list(stage.store.facts_after(0))
    broken = verify((record for record, _ in records), stage.store.installation_id())
    text = f"{len(records):,} records" if broken is None else f"{broken.seq}: {broken.what}"
    stage.rule("INV-11", "the audit chain verifies", text, passed=broken is None)
