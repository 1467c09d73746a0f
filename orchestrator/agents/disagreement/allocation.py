"""Who takes a signal: the least added correlated risk first, fairly over time."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from orchestrator.agents.disagreement.returns import AccountReturns
from orchestrator.agents.disagreement.risk import CurrencyRisk
from orchestrator.agents.statistics import Once, Recent, clamp
from orchestrator.model.conversion import factors
from orchestrator.model.money import ZERO, AccountId, InstrumentName, ratio
from orchestrator.model.signals import AccountView, AskAllocation, Share, Signal

_ACCOUNTS_MAX = 200
_DEFICIT_MAX = 5.0
_WEIGHT_DIGITS = 2
_DUST = 1e-9  # 0.29 x 100 is 28.999999999999996
_SHRINK_FLOOR = 0.25  # weight just below the correlation limit


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps the books diverse; see `Disagreement` for the meanings."""

    pair_correlation: float
    currency_exposure: float
    weight_min: float
    fairness: float


class _Seat:
    """An account while one signal is shared out; `book` grows as it is given its part."""

    __slots__ = ("_wish", "book", "order", "view")

    def __init__(self, view: AccountView, signal: Signal) -> None:
        nav = float(view.nav)
        self.view = view
        self.book: dict[str, float] = {}
        for exposure in view.exposures:
            self.book[exposure.currency] = (
                self.book.get(exposure.currency, 0.0) + float(exposure.amount) / nav
            )
        base, quote = signal.instrument.split("_", 1)
        # |u| d k = r E gives N / E = r p / d; never above what the kernel's headroom leaves.
        price = signal.reference_price
        self._wish = float(view.risk_per_trade * price / signal.stop_distance)
        room = float(view.headroom_units * price * view.value_factor / view.nav)
        size = max(0.0, min(self._wish, room)) * signal.side.sign
        self.order = {base: size, quote: -size}  # at full weight

    def part(self, weight: float) -> float:
        """The part of the full order that is left at a weight: headroom may cut both alike."""
        full = max(map(abs, self.order.values()))
        return min(1.0, weight * self._wish / full) if full else 0.0

    def weight_of(self, part: float) -> float:
        """The weight that gives a part of the full order: the inverse of `part`."""
        return part * max(map(abs, self.order.values())) / self._wish

    def with_order(self, weight: float) -> dict[str, float]:
        book, part = dict(self.book), self.part(weight)
        for currency, amount in self.order.items():
            book[currency] = book.get(currency, 0.0) + part * amount
        return book


class _Judgement(msgspec.Struct, frozen=True):
    seat: _Seat
    weight: float
    cost: float
    reason: str


def _readable(view: AccountView) -> bool:
    numbers = (view.nav, view.risk_per_trade, view.headroom_units, view.value_factor)
    amounts = (exposure.amount for exposure in view.exposures)
    return all(number.is_finite() for number in (*numbers, *amounts)) and view.nav > 0


def _objection(view: AccountView, signal: Signal, others: Sequence[AccountView]) -> str:
    """Why an account cannot take the signal at all, or ""."""
    if signal.accounts and view.account_id not in signal.accounts:
        return "the signal is meant for other accounts"
    if view.blocked_by:
        return f"blocked by {', '.join(view.blocked_by)}"
    if not _readable(view):
        return f"its numbers are unusable: NAV {view.nav}, headroom {view.headroom_units}"
    if view.headroom_units <= 0 or view.risk_per_trade <= 0 or view.value_factor <= 0:
        return (
            f"its limits leave no room: headroom {view.headroom_units} units,"
            f" risk per trade {view.risk_per_trade}"
        )
    return _opposition(view, signal, others)


def _opposition(view: AccountView, signal: Signal, others: Sequence[AccountView]) -> str:
    """SAFETY C19's thought; in the account itself the order would close that trade."""
    for account in (view, *others):
        for trade in account.open_trades:
            if trade.instrument == signal.instrument and trade.units * signal.side.sign < 0:
                owner = "this account" if account is view else f"account {account.account_id}"
                return (
                    f"{owner} holds the opposite: trade {trade.trade_id} of {trade.units}"
                    f" {trade.instrument}"
                )
    return ""


class Allocator:
    """Shares a signal out, one account at a time, each judged with what the others were given.

    Cost of an account = what of this order's risk its book holds already (x' S o / o' S o)
    + the highest positive correlation with another account's book after it
    - fairness x its deficit. Lowest cost first; equal costs by a hash of the question's seed.
    """

    def __init__(self, limits: Limits, risk: CurrencyRisk, returns: AccountReturns) -> None:
        self._limits = limits
        self._risk = risk
        self._returns = returns
        self._deficits: Recent[AccountId, float] = Recent(_ACCOUNTS_MAX)
        self._once = Once()

    def shares(self, ask: AskAllocation) -> tuple[Share, ...]:
        """One for each account that was asked about, in the question's order."""
        given: dict[AccountId, Share] = {}
        # Who cannot take the signal still holds a book that the others' must not resemble.
        seats = [_Seat(view, ask.signal) for view in ask.accounts if _readable(view)]
        for view in ask.accounts:
            others = [other for other in ask.accounts if other.account_id != view.account_id]
            objection = _objection(view, ask.signal, others)
            if objection:
                given[view.account_id] = _skip(view.account_id, objection)
        waiting = [seat for seat in seats if seat.view.account_id not in given]
        self._share_out(waiting, seats, given, ask.seed)
        if self._once.is_new(ask.signal.signal_id):  # a question may be delivered twice
            self._settle([seat.view.account_id for seat in waiting], given)
        return tuple(given[view.account_id] for view in ask.accounts)

    def _share_out(
        self, asked: list[_Seat], seats: list[_Seat], given: dict[AccountId, Share], seed: int
    ) -> None:
        waiting = list(asked)
        while waiting:
            judged = [self._judge(seat, seats) for seat in waiting]
            best = min(judged, key=lambda j: (j.weight == 0, round(j.cost, 6), _tie(j, seed)))
            account = best.seat.view.account_id
            if best.weight > 0:
                best.seat.book = best.seat.with_order(best.weight)
            weight = ratio(best.weight, _WEIGHT_DIGITS)
            given[account] = Share(account_id=account, weight=weight, reason=best.reason)
            waiting.remove(best.seat)

    def _settle(self, asked: list[AccountId], given: dict[AccountId, Share]) -> None:
        """Deficit round robin: all gain an equal part of what was given, takers pay theirs."""
        total = sum(float(given[account].weight) for account in asked)
        for account in asked:
            before = self._deficits.get(account) or 0.0
            after = before + total / len(asked) - float(given[account].weight)
            self._deficits.set(account, clamp(after, -_DEFICIT_MAX, _DEFICIT_MAX))

    def _judge(self, seat: _Seat, seats: list[_Seat]) -> _Judgement:
        others = [other for other in seats if other is not seat]
        held = self._risk.multiple(seat.book, seat.order)
        alike, with_whom, objection = self._likeness(seat, others)
        deficit = self._deficits.get(seat.view.account_id) or 0.0
        cost = held + max(0.0, alike) - self._limits.fairness * deficit
        if objection:
            return _Judgement(seat, 0.0, cost, objection)
        weight, why = self._weight(seat, others, alike)
        weight = _floor(weight)
        if weight < self._limits.weight_min:
            return _Judgement(seat, 0.0, cost, f"{why}; less than {self._limits.weight_min} skips")
        reason = (
            f"weight {weight:.2f}: its book holds {held:.2f} times this order's risk already,"
            f" correlation {alike:.2f}{with_whom}, fairness {deficit:+.2f}{why and '; ' + why}"
        )
        return _Judgement(seat, weight, cost, reason)

    def _likeness(self, seat: _Seat, others: list[_Seat]) -> tuple[float, str, str]:
        """Highest correlation with another book after the order, with whom, and an objection."""
        highest, whom, limit = 0.0, "", self._limits.pair_correlation
        for other in others:
            after = self._risk.correlation(seat.with_order(1.0), other.book)
            if after is None or after <= highest:
                continue
            highest, whom = after, f" with account {other.view.account_id}"
            before = self._risk.correlation(seat.book, other.book)
            if after > limit and (before is None or after >= before):
                return (
                    after,
                    whom,
                    (
                        f"correlation with account {other.view.account_id} would be {after:.2f},"
                        f" limit {limit:.2f}"
                    ),
                )
        return highest, whom, ""

    def _weight(self, seat: _Seat, others: list[_Seat], alike: float) -> tuple[float, str]:
        """Full up to half the limit of correlation, falling to a quarter at the limit."""
        limit = self._limits.pair_correlation
        over = clamp((alike - limit / 2) / (limit / 2), 0.0, 1.0)
        weight = 1 - (1 - _SHRINK_FLOOR) * over
        weight, why = self._fit_currency(seat, others, weight)
        for other in others:
            moved = self._returns.correlation(seat.view.account_id, other.view.account_id)
            if moved is not None and moved > limit and any(other.book.values()):
                text = f"returns move with account {other.view.account_id}'s ({moved:.2f}): halved"
                return weight / 2, f"{why}; {text}" if why else text
        return weight, why

    def _fit_currency(self, seat: _Seat, others: list[_Seat], weight: float) -> tuple[float, str]:
        """Cuts the weight so that no currency's total exposure grows past its limit."""
        seats = [seat, *others]
        parts = self._parts([each.view for each in seats])
        limit, why = self._limits.currency_exposure, ""
        for currency, amount in seat.order.items():
            total = sum(
                part * each.book.get(currency, 0.0) for part, each in zip(parts, seats, strict=True)
            )
            step = parts[0] * amount
            room = limit - total if step > 0 else limit + total
            if abs(step) * seat.part(weight) > room:
                weight = max(0.0, seat.weight_of(room / abs(step)))
                why = (
                    f"{currency} in all accounts stands at {total:+.2f} times their NAV,"
                    f" limit {limit:.2f}, which leaves weight {weight:.2f}"
                )
        return weight, why

    def _parts(self, views: list[AccountView]) -> list[float]:
        """Each account's part of the whole money; equal parts where a rate is missing."""
        home = views[0].currency
        worth: list[float] = []
        for view in views:
            rate = factors(view.currency, home, self._quote)
            if rate is None:
                return [1 / len(views)] * len(views)
            worth.append(float(view.nav * rate.value))
        return [each / sum(worth) for each in worth]

    def _quote(self, instrument: InstrumentName) -> tuple[Decimal, Decimal] | None:
        return self._risk.quote_of(instrument)


def _floor(weight: float) -> float:
    """To two digits, never up."""
    return math.floor(min(1.0, weight) * 10**_WEIGHT_DIGITS + _DUST) / 10**_WEIGHT_DIGITS


def _skip(account: AccountId, reason: str) -> Share:
    return Share(account_id=account, weight=ZERO, reason=reason)


def _tie(judgement: _Judgement, seed: int) -> int:
    return zlib.crc32(f"{seed}:{judgement.seat.view.account_id}".encode())
