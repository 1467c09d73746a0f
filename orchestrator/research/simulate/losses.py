"""INV-16 and B4: a loss that crosses its limit trips within a second, and new peaks are seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

from orchestrator.model.limits import KernelPlan
from orchestrator.model.market import Tick
from orchestrator.model.money import AccountId
from orchestrator.model.safety import BreakerState, BreakerView
from orchestrator.model.time import NS_PER_S, Instant, new_york
from orchestrator.paper.exchange.books import Books
from orchestrator.research.simulate.knowledge import Knowledge
from orchestrator.research.simulate.standing import Day, Standing
from orchestrator.research.simulate.worth import worth_of

_TRIPS_WITHIN_NS = NS_PER_S
_ROLL = (16 * 3600 + 54 * 60, 17 * 3600 + 11 * 60)  # New York, seconds of the day
_NEVER_NS = 10**18
_SURE = Decimal("1.0005")  # beyond roundings
_PEAK_STEP = Decimal("1.0003")  # peaks are told in steps of 0.01 %
_BLOCKING = frozenset((BreakerState.TRIPPED, BreakerState.LATCHED))

Views = Callable[[], tuple[BreakerView, ...]]


def _rolling(now: Instant) -> bool:
    return _ROLL[0] <= new_york(now)[1] < _ROLL[1]


class LossJudge:
    """Looks after each price that the service has heard, and on each look of the judge."""

    def __init__(
        self, standing: Standing, knowledge: Knowledge, books: dict[AccountId, Books],
        applied: dict[AccountId, int], blame: Callable[[str, str], None],
    ) -> None:  # fmt: skip
        self._standing = standing
        self._known = knowledge
        self._books = books
        self._applied = applied
        self._blame = blame
        self._plan: KernelPlan | None = None
        self._views: Views = tuple
        self._durable: Callable[[], bool] = bool
        self._since: dict[tuple[str, AccountId], Instant] = {}

    def begin(self, plan: KernelPlan, views: Views, durable: Callable[[], bool]) -> None:
        """A new life, with these limits; `views`: what its kernel shows of its breakers."""
        self._plan, self._views, self._durable = plan, views, durable
        self._since.clear()

    def after(self, ticks: Sequence[Tick], now: Instant) -> None:
        """The service has just heard these."""
        if ticks and any(books.trades for books in self._books.values()):
            self.look(now)

    def look(self, now: Instant) -> None:
        if self._plan is None or (self._plan.calendar == "fx" and _rolling(now)):
            return  # at the roll's wide spreads accounts are valued in another way (B4)
        for account in self._plan.accounts:
            crossed = set(self._crossed(account.account_id))
            for breaker in ("A1", "A2", "peak"):
                self._judge(breaker, account.account_id, now, crossed=breaker in crossed)

    def _crossed(self, account_id: AccountId) -> Iterator[str]:
        """What is over its limit, by the venue's books and the prices that were told."""
        books, day = self._books[account_id], self._standing.days.get(account_id)
        level = books.last_id == self._applied.get(account_id)
        if day is None or not level or self._plan is None:
            return  # what the service cannot know yet, it cannot judge
        worth = worth_of(books, self._known.quotes(), list(books.trades.values()))
        if worth is None:
            return
        limits = next(a.limits for a in self._plan.accounts if a.account_id == account_id)
        if day.start - worth.nav >= limits.max_daily_loss * day.start * _SURE:
            yield "A1"
        if day.peak - worth.nav >= limits.max_drawdown * day.peak * _SURE:
            yield "A2"
        if day.trails and worth.nav > day.peak * _PEAK_STEP and self._durable():
            yield "peak"

    def _judge(self, breaker: str, account_id: AccountId, now: Instant, *, crossed: bool) -> None:
        key = (breaker, account_id)
        if not crossed or self._tripped(breaker, account_id):
            self._since.pop(key, None)
            return
        since = self._since.setdefault(key, now)
        if now - since <= _TRIPS_WITHIN_NS:
            return
        self._since[key] = now + _NEVER_NS  # said once
        day = self._standing.days.get(account_id, Day())
        what = "its new peak is not written down" if breaker == "peak" else f"{breaker} is armed"
        invariant = "B4" if breaker == "peak" else "INV-16"
        late_s = (now - since) / NS_PER_S
        self._blame(
            invariant, f"{account_id}: {what} {late_s:.1f} s later, E0 {day.start}, P {day.peak}"
        )

    def _tripped(self, breaker: str, account_id: AccountId) -> bool:
        return any(
            view.breaker == breaker and view.subject == account_id and view.state in _BLOCKING
            for view in self._views()
        )
