"""What is held against the money behind it: A6 of each account, S3 of all together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import combinations

from orchestrator.kernel.engine import scene
from orchestrator.kernel.engine.holding import hold
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.ledger import valuation
from orchestrator.kernel.safety.breakers.a6_margin import a6_margin
from orchestrator.kernel.safety.breakers.s3_exposure import s3_correlation, s3_gross
from orchestrator.model.money import ZERO, AccountId
from orchestrator.model.safety import Effect
from orchestrator.model.time import HOUR_NS

# NAV this much above the limit is near: then A6 looks at each price.
_NEAR = Decimal("1.10")


def judge_margins(turn: Turn, accounts: Iterable[AccountId]) -> None:
    """A6 of these accounts."""
    for account_id in accounts:
        nav = scene.nav_of(turn.world, account_id)
        if nav is not None:
            judge_margin(turn, account_id, nav)


def judge_margin(turn: Turn, account_id: AccountId, nav: Decimal) -> None:
    record = turn.world.record(account_id)
    margin = scene.margin_of(turn.world, account_id)
    if record is None or margin is None:
        return  # unknown is A7's
    live = turn.live.account(account_id)
    limits = turn.world.plan.breakers
    live.margin_near = margin * _NEAR / limits.margin_block
    found = a6_margin(margin, nav, limits)
    effect, evidence = found if found is not None else (Effect.BLOCK, None)
    hold(turn, "A6", evidence, account_id, effect=effect)


def judge_told(turn: Turn, account_id: AccountId, percent: Decimal | None) -> None:
    """The venue's own margin-closeout percent: it flattens, and calms nothing."""
    limit = turn.world.plan.breakers.margin_flatten
    if percent is not None and percent.is_finite() and percent >= limit:
        told = f"the venue says margin closeout percent {percent}, limit {limit}"
        hold(turn, "A6", told, account_id, effect=Effect.FLATTEN)


def judge_exposure(turn: Turn) -> None:
    """S3: gross exposure, and what was last found of the returns."""
    live = turn.live
    live.gross_ns = turn.now
    gross = nav = ZERO
    for account_id in scene.counted(turn.world):
        own, rate = scene.nav_of(turn.world, account_id), scene.rate_of(turn.world, account_id)
        held = _gross(turn, account_id)
        if own is None or rate is None or held is None:
            return  # unknown is A7's
        gross += held * rate
        nav += own * rate
    evidence = s3_gross(gross, nav, turn.world.plan.breakers) or live.correlated
    hold(turn, "S3", evidence)


def _gross(turn: Turn, account_id: AccountId) -> Decimal | None:
    """Notional of what is open and what is in flight, home currency."""
    record = turn.world.record(account_id)
    total = ZERO
    book = record.book if record is not None else None
    for trade in book.trades.values() if book is not None else ():
        pair = turn.live.quotes.bid_ask(trade.instrument)
        part = None
        if pair is not None and book is not None:
            part = valuation.notional(
                trade.instrument, trade.units, pair[1], book.currency, turn.live.quotes
            )
        if part is None:
            return None
        total += part
    waiting = scene.reservations(turn.world, account_id)
    return total + sum((each.intent.reservation.notional for each in waiting), ZERO)


def keep_correlations(turn: Turn) -> None:
    """On each beat: S3's other half, when an hour is over."""
    live, hour = turn.live, turn.now // HOUR_NS
    if hour == live.returns_hour:
        return
    live.returns_hour = hour
    live.correlated = next(_pairs(turn), None)
    judge_exposure(turn)


def _pairs(turn: Turn) -> Iterator[str]:
    accounts = turn.state.accounts
    limits = turn.world.plan.breakers
    for one, other in combinations(turn.world.account_ids, 2):
        rho = s3_correlation(accounts[one].returns, accounts[other].returns, limits)
        if rho is not None:
            limit = limits.returns_correlation_max
            yield f"returns of {one} and {other} correlate by {rho:.2f}, limit {limit}"
