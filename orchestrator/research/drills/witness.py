"""Sees the venue's books, every durable record, and each order's first byte; believes nobody."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from orchestrator.kernel.orders.identity import is_ours
from orchestrator.model.facts import (
    AlertRaised,
    BreakerMoved,
    BreakerReset,
    BreakerTripped,
    DayStarted,
    Fact,
    ModeChanged,
    Resumed,
    SignalAccepted,
    SignalEnded,
    Stopped,
    StopStep,
    TransactionApplied,
)
from orchestrator.model.journal import Record
from orchestrator.model.market import Tick
from orchestrator.model.money import AccountId
from orchestrator.model.orders import WriteRequest
from orchestrator.model.outcomes import TradeClosed, TradeOpened
from orchestrator.model.safety import BreakerState, Effect, Scope
from orchestrator.model.signals import Outcome
from orchestrator.model.time import NS_PER_S, Instant
from orchestrator.model.venue import Transaction
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.views import account_of
from orchestrator.paper.market import Market
from orchestrator.research.drills.report import Moment

_MOMENTS_MAX = 400
_PROBATION = "E3"  # after a person's resume: nothing has happened
_NUMBERS = re.compile(r"\d[\d.,:]*")
_ENTRY = frozenset(
    ("MARKET_ORDER", "LIMIT_ORDER", "STOP_ORDER", "MARKET_IF_TOUCHED_ORDER", "FIXED_PRICE_ORDER")
)


class Trip:
    """A breaker's trip, from the record that made it durable."""

    def __init__(self, fact: BreakerTripped, at_ns: Instant) -> None:
        self.fact = fact
        self.at_ns = at_ns
        self.effect = fact.effect
        self.evidence = fact.evidence
        self.reset_ns: Instant | None = None
        self.blocks = fact.effect is not Effect.SCALE


class Money:
    """An account's course by the venue's own books, home currency."""

    def __init__(self, currency: str, began: Decimal) -> None:
        self.currency = currency
        self.began = began
        self.day_start = began
        self.ended = began
        self.lost = Decimal(0)  # at most, of a day's beginning
        self.lost_fraction = Decimal(0)
        self.crossed_ns: Instant | None = None  # the first price beyond the daily limit

    def see(self, nav: Decimal) -> Decimal:
        """The day's loss at this price, as a fraction."""
        lost = self.day_start - nav
        if lost > self.lost:
            self.lost, self.lost_fraction = lost, lost / self.day_start
        return lost / self.day_start


class Witness:
    """`limit_of` each account is its daily limit; `quiet` while no price reaches the service."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self.limits: dict[AccountId, Decimal] = {}
        self.moments: list[Moment] = []
        self.trips: list[Trip] = []
        self.money: dict[AccountId, Money] = {}
        self.log: dict[AccountId, list[Transaction]] = {}
        self.applied: dict[AccountId, list[int]] = {}
        self.accepted: dict[str, tuple[AccountId, ...]] = {}
        self.ended: dict[tuple[str, AccountId], list[Outcome]] = {}
        self.refusals: Counter[str] = Counter()
        self.names: Counter[str] = Counter()  # client ids of orders at the venue
        self.alerts: list[tuple[Instant, str]] = []
        self.causes: list[tuple[Instant, str, str]] = []  # when, what, the alert's key begins so
        self.first_bytes: list[Instant] = []
        self.after_block: list[str] = []
        self.without_stop: list[str] = []
        self.naked_since: dict[str, Instant] = {}
        self.naked_s = 0.0
        self.quiet = False
        self._changed: set[AccountId] = set()  # valued again with the next price
        self._standing: dict[tuple[str, str], Trip] = {}
        self._stopped: frozenset[AccountId] | None = None  # empty: all
        market.exchange.listeners.append(self._on_batch)
        market.listen(self._on_ticks)
        for account_id, books in market.exchange.accounts.items():
            account = account_of(market.exchange, books, full=False)
            self.money[account_id] = Money(account.currency, account.nav or account.balance)

    # -- telling ----------------------------------------------------------------------------------

    @property
    def now(self) -> Instant:
        return self._market.time.now()

    def at_s(self, at_ns: Instant) -> float:
        return round((at_ns - self._market.time.start_ns) / NS_PER_S, 3)

    def tell(self, who: str, text: str, at_ns: Instant | None = None) -> None:
        if len(self.moments) < _MOMENTS_MAX:
            at_s = self.at_s(self.now if at_ns is None else at_ns)
            self.moments.append(Moment(at_s=at_s, who=who, text=text))

    # -- orders leave -----------------------------------------------------------------------------

    def first_byte(self, request: WriteRequest) -> Instant:
        """A write leaves now; an order that adds risk must not, behind a block."""
        now = self.now
        if request.makes_order:
            self.first_bytes.append(now)
            block = self._block_of(request)
            if block:
                name = request.client_request_id
                self.after_block.append(f"{name} at {self.at_s(now):.1f} s behind {block}")
                self.tell("order", f"SENT BEHIND A BLOCK ({block}): {name}")
        return now

    def _block_of(self, request: WriteRequest) -> str:
        if self._stopped is not None and (not self._stopped or request.account_id in self._stopped):
            return "the emergency stop"
        instrument = _instrument_of(request.body)
        for trip in self._standing.values():
            scope, subject = trip.fact.scope, trip.fact.subject
            hits = (
                scope is Scope.SYSTEM
                or (scope is Scope.ACCOUNT and subject == request.account_id)
                or (scope is Scope.INSTRUMENT and subject == instrument)
            )
            if trip.blocks and hits:
                return f"{trip.fact.breaker} for {subject}"
        return ""

    # -- the venue --------------------------------------------------------------------------------

    def _on_batch(self, books: Books, made: Sequence[Transaction], _: Sequence[bytes]) -> None:
        self.log.setdefault(books.account_id, []).extend(made)
        self._changed.add(books.account_id)
        for tx in made:
            if tx.type not in _ENTRY or _closes(tx):
                continue
            name = (tx.client_extensions.id if tx.client_extensions is not None else None) or ""
            if is_ours(name):
                self.names[name] += 1
                if tx.stop_loss_on_fill is None:
                    self.without_stop.append(name)

    def _on_ticks(self, _: Sequence[Tick]) -> None:
        for account_id, books in self._market.exchange.accounts.items():
            if books.trades or account_id in self._changed:
                self._value(account_id, books)
        self._changed.clear()

    def _value(self, account_id: AccountId, books: Books) -> None:
        nav = account_of(self._market.exchange, books, full=False).nav
        money = self.money[account_id]
        if nav is not None:
            limit = self.limits.get(account_id)
            if money.see(nav) >= (limit or 1) and not self.quiet:
                money.crossed_ns = money.crossed_ns or self.now
        self._watch_stops(account_id, books)

    def _watch_stops(self, account_id: AccountId, books: Books) -> None:
        now = self.now
        for trade in books.trades.values():
            key = f"{account_id}/{trade.id}"
            if trade.stop_loss_order_id is None:
                since = self.naked_since.setdefault(key, now)
                self.naked_s = max(self.naked_s, (now - since) / NS_PER_S)

    def close_books(self) -> None:
        """What everybody has in the end."""
        for account_id, books in self._market.exchange.accounts.items():
            account = account_of(self._market.exchange, books, full=False)
            money = self.money[account_id]
            money.ended = account.nav or account.balance
            money.see(money.ended)

    # -- the journal ------------------------------------------------------------------------------

    def durable(self, records: Sequence[Record], facts: Sequence[Fact]) -> None:
        """These are written down now, in this order."""
        for record, fact in zip(records, facts, strict=True):
            self._hear(fact, record.ts)

    def _hear(self, fact: Fact, at: Instant) -> None:  # noqa: C901, PLR0912 -- one table
        match fact:
            case DayStarted():
                self.money[fact.account_id].day_start = fact.equity
            case BreakerTripped():
                self._on_trip(fact, at)
            case BreakerMoved():
                self._on_move(fact, at)
            case BreakerReset():
                self._on_reset(fact, at)
            case Stopped():
                self._stopped = frozenset(fact.accounts)
                if not fact.repeated:
                    self.causes.append((at, "the emergency stop", "stop"))
                self.tell("stop", f"emergency stop by {fact.actor}: {fact.reason}", at)
            case StopStep():
                self.tell("stop", f"{fact.account_id}: {fact.text}", at)
            case Resumed():
                self._stopped = None
                self.tell("stop", f"resumed by {fact.actor}: {fact.reason}", at)
            case ModeChanged():
                self.tell("system", f"is {fact.mode.value} ({fact.reason or fact.actor})", at)
            case AlertRaised():
                self.alerts.append((fact.alert.at_ns, fact.alert.key))
            case SignalAccepted():
                self.accepted[fact.signal.signal_id] = fact.accounts
            case SignalEnded():
                self.ended.setdefault((fact.signal_id, fact.account_id), []).append(fact.outcome)
                if fact.outcome is not Outcome.FILLED:
                    why = f"{fact.outcome.value} {fact.stage}: {_NUMBERS.sub('#', fact.reason)}"
                    self.refusals[why[:110]] += 1
            case TransactionApplied():
                self.applied.setdefault(fact.account_id, []).append(fact.transaction.number)
            case TradeOpened():
                text = f"{fact.account_id} opens {fact.units} {fact.instrument} at {fact.price}"
                self.tell("trade", f"{text}, stop {fact.stop_price}", at)
            case TradeClosed():
                text = f"{fact.account_id} closes {fact.units} {fact.instrument} at {fact.price}"
                self.tell("trade", f"{text}: {fact.realized_pl:.2f} ({fact.reason})", at)
            case _:
                pass

    def _on_trip(self, fact: BreakerTripped, at: Instant) -> None:
        trip = Trip(fact, at)
        before = self._standing.get((fact.breaker, fact.subject))
        if before is not None:
            before.reset_ns = at
        self._standing[fact.breaker, fact.subject] = trip
        self.trips.append(trip)
        if trip.blocks and fact.breaker != _PROBATION:
            self.causes.append(
                (at, f"{fact.breaker} for {fact.subject}", f"breaker:{fact.breaker}")
            )
        self.tell(
            "breaker", f"{fact.breaker} {fact.effect} for {fact.subject}: {fact.evidence}", at
        )

    def _on_move(self, fact: BreakerMoved, at: Instant) -> None:
        trip = self._standing.get((fact.breaker, fact.subject))
        if trip is not None:
            trip.blocks = fact.state is not BreakerState.PROBING
        self.tell("breaker", f"{fact.breaker} is {fact.state} for {fact.subject}", at)

    def _on_reset(self, fact: BreakerReset, at: Instant) -> None:
        trip = self._standing.pop((fact.breaker, fact.subject), None)
        if trip is not None:
            trip.reset_ns = at
            self.tell(
                "breaker", f"{fact.breaker} armed again for {fact.subject}: {fact.reason}", at
            )

    def tripped(self, *breakers: str, since: Instant = 0) -> list[Trip]:
        """Trips of these breakers, in order; scales do not count."""
        return [
            trip
            for trip in self.trips
            if trip.fact.breaker in breakers and trip.at_ns >= since
            and trip.effect is not Effect.SCALE
        ]  # fmt: skip


def _instrument_of(body: str) -> str:
    try:
        found = msgspec.json.decode(body, type=_Body)
    except ValueError:
        return ""
    return found.order.instrument


class _Order(msgspec.Struct):
    instrument: str = ""


class _Body(msgspec.Struct):
    order: _Order = msgspec.field(default_factory=_Order)


def _closes(order: Transaction) -> bool:
    """Whether it only closes: a trade, a position, or by the venue's own margin call."""
    return any((
        order.trade_close, order.long_position_closeout, order.short_position_closeout,
        order.margin_closeout,
    ))  # fmt: skip
