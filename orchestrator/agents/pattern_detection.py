"""Pattern Detection: flow of our own that should not be there."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from decimal import Decimal
from typing import ClassVar, Generic, TypeVar

import msgspec

from orchestrator.agents.base import NOTHING, Agent, Message, Role, Says, hears
from orchestrator.agents.statistics import Once, Recent
from orchestrator.model.facts import (
    IntentMoved,
    IntentWritten,
    SignalAccepted,
    TransactionApplied,
)
from orchestrator.model.market import Beat
from orchestrator.model.money import ONE, AccountId, InstrumentName, Side, ratio
from orchestrator.model.orders import Intent, IntentState
from orchestrator.model.outcomes import PatternSeen, RiskAdvice, TradeOpened
from orchestrator.model.safety import Severity
from orchestrator.model.time import MINUTE_NS, NS_PER_S, Instant, parse_time
from orchestrator.model.venue import Transaction

_KEYS_MAX = 2_000
_OPEN_TRADES_MAX = 10_000
# How an order ends that was sent; a blocked or expired one never reached the venue.
_ENDS = frozenset(
    {IntentState.FILLED, IntentState.CANCELLED, IntentState.REJECTED, IntentState.ABSENT}
)

_TradeKey = tuple[AccountId, str]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class FlowLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What is too much; see `PatternDetection` for the meanings."""

    account_orders: int
    account_orders_s: float
    strategy_orders: int
    strategy_orders_s: float
    signals_per_min: int
    duplicate_s: float
    herd_accounts: int
    herd_part: float
    herd_s: float
    fill_ratio_min: float
    reject_ratio_max: float
    ratio_orders: int
    losses: int
    losses_s: float


class _Windows(Generic[K, V]):
    """What happened lately, for each key; a window holds at most `size` events."""

    def __init__(self, seconds: float, size: int) -> None:
        self._ns = round(seconds * NS_PER_S)
        self._size = size
        self._events: Recent[K, deque[tuple[Instant, V]]] = Recent(_KEYS_MAX)

    def add(self, key: K, at_ns: Instant, value: V) -> list[V]:
        """The key's events within the window, this one last."""
        events = self._events.get(key)
        if events is None:
            events = deque[tuple[Instant, V]](maxlen=self._size)
        self._events.set(key, events)
        events.append((at_ns, value))
        while events and events[0][0] < at_ns - self._ns:
            events.popleft()
        return [value for _, value in events]

    def clear(self, key: K) -> None:
        self._events.pop(key)


# Patterns after which the account had better risk less for a while.
_CAUTIOUS = frozenset(("rejects", "churn", "loss_cluster"))


class _Shape(msgspec.Struct, frozen=True):
    """What makes two orders the same."""

    intent_id: str
    strategy: str
    units: Decimal


class PatternDetection(Agent):
    """Watches our own orders and fills, so that we stay within rules and out of trouble.

    Critical: `runaway` (too many orders of an account, or of a strategy x instrument) and
    `duplicate` (same account, strategy, instrument, side and size within seconds).
    Warning: `duplicate` of two strategies; `signal_flood` (too many signals of one strategy);
    `herding` (most accounts enter the same instrument and side within a short time);
    `offsetting` (two accounts of one owner hold opposite trades); `churn` (few of an account's
    latest orders were filled); `rejects` (many were rejected); `loss_cluster` (many losing
    closes of an account within a short time).

    Each is said once for its account, instrument and strategy, and again only after a cool-down.
    Rates of strategies count distinct signals: a signal that several accounts take is one.
    """

    role: ClassVar[Role] = Role.PATTERN_DETECTION
    name: ClassVar[str] = "pattern_detection"
    says: ClassVar[tuple[type[Message], ...]] = (PatternSeen, RiskAdvice)

    def __init__(
        self,
        *,
        account_orders: int = 10,
        account_orders_s: float = 10.0,
        strategy_orders: int = 30,
        strategy_orders_s: float = 3600.0,
        signals_per_min: int = 120,
        duplicate_s: float = 10.0,
        herd_accounts: int = 2,
        herd_part: float = 0.5,
        herd_s: float = 30.0,
        fill_ratio_min: float = 0.5,
        reject_ratio_max: float = 0.3,
        ratio_orders: int = 20,
        losses: int = 5,
        losses_s: float = 1800.0,
        cooldown_s: float = 300.0,
        caution_scale: float = 0.5,
        caution_s: float = 900.0,
    ) -> None:
        """Each count is the first that is too many, within its seconds of market time.
        `herd_accounts`: so many accounts at least, and more than `herd_part` of those that the
        signals were offered to. `fill_ratio_min`, `reject_ratio_max`: of an account's latest
        `ratio_orders` finished orders. `cooldown_s`: until the same pattern is said again.
        `caution_scale`: what the account may risk for `caution_s` seconds after `rejects`, `churn`
        or `loss_cluster`, as a part of the usual; 1 advises nothing.
        """
        self._caution_scale = ratio(caution_scale)
        self._caution_ns = round(caution_s * NS_PER_S)
        self._limits = FlowLimits(
            account_orders=account_orders,
            account_orders_s=account_orders_s,
            strategy_orders=strategy_orders,
            strategy_orders_s=strategy_orders_s,
            signals_per_min=signals_per_min,
            duplicate_s=duplicate_s,
            herd_accounts=herd_accounts,
            herd_part=herd_part,
            herd_s=herd_s,
            fill_ratio_min=fill_ratio_min,
            reject_ratio_max=reject_ratio_max,
            ratio_orders=ratio_orders,
            losses=losses,
            losses_s=losses_s,
        )
        self._cooldown_ns = round(cooldown_s * NS_PER_S)
        self._now_ns: Instant = 0
        self._said: Recent[Hashable, Instant] = Recent(_KEYS_MAX)
        self._accounts: Recent[AccountId, None] = Recent(_KEYS_MAX)
        self._by_account = _Windows[AccountId, str](account_orders_s, account_orders)
        self._by_strategy = _Windows[tuple[str, InstrumentName], str](
            strategy_orders_s, 8 * strategy_orders
        )
        self._signals = _Windows[str, str](60.0, signals_per_min)
        self._shapes = _Windows[tuple[AccountId, InstrumentName, Side], _Shape](duplicate_s, 50)
        self._entries = _Windows[tuple[InstrumentName, Side], AccountId](herd_s, 500)
        self._losing = _Windows[AccountId, Decimal](losses_s, losses)
        self._ends: Recent[AccountId, deque[IntentState]] = Recent(_KEYS_MAX)
        self._open: Recent[_TradeKey, InstrumentName] = Recent(_OPEN_TRADES_MAX)
        self._held: Recent[InstrumentName, Recent[_TradeKey, TradeOpened]] = Recent(_KEYS_MAX)
        self._once = Once()

    @hears(Beat)
    def on_beat(self, beat: Beat) -> Says:
        self._now_ns = max(self._now_ns, beat.now_ns)
        return NOTHING

    @hears(SignalAccepted)
    def on_signal(self, fact: SignalAccepted) -> Says:
        signal = fact.signal
        self._now_ns = max(self._now_ns, signal.created_ns)
        for account in fact.accounts:
            self._accounts.set(account, None)
        if not self._once.is_new(("signal", signal.signal_id)):
            return NOTHING
        lately = self._signals.add(signal.strategy, self._now_ns, signal.signal_id)
        if len(lately) < self._limits.signals_per_min:
            return NOTHING
        text = f"{signal.strategy} gave {len(lately)} signals within a minute"
        return self._say("signal_flood", Severity.WARNING, text, strategy=signal.strategy)

    @hears(IntentWritten)
    def on_intent(self, fact: IntentWritten) -> Says:
        intent = fact.intent
        if not self._once.is_new(("intent", intent.intent_id)):
            return NOTHING
        self._now_ns = max(self._now_ns, intent.checked_ns)
        return self._account_rate(intent) + self._strategy_rate(intent) + self._duplicate(intent)

    @hears(IntentMoved)
    def on_moved(self, fact: IntentMoved) -> Says:
        if fact.state not in _ENDS or not self._once.is_new(("end", fact.intent_id)):
            return NOTHING
        ends = self._ends.get(fact.account_id)
        if ends is None:
            ends = deque[IntentState](maxlen=self._limits.ratio_orders)
            self._ends.set(fact.account_id, ends)
        ends.append(fact.state)
        return NOTHING if len(ends) < self._limits.ratio_orders else self._ratios(fact, ends)

    @hears(TradeOpened)
    def on_opened(self, opened: TradeOpened) -> Says:
        key = (opened.account_id, opened.trade_id)
        if not self._once.is_new(("trade", key)):
            return NOTHING
        self._now_ns = max(self._now_ns, opened.opened_ns)
        side = Side.BUY if opened.units > 0 else Side.SELL
        said = self._offsetting(opened, side)
        self._remember(key, opened)
        return self._herding(opened, side) + said if opened.ours else said

    @hears(TransactionApplied)
    def on_transaction(self, fact: TransactionApplied) -> Says:
        transaction = fact.transaction
        for trade_id in _closed_trades(transaction):
            self._forget((fact.account_id, trade_id))
        if transaction.pl is None or not _closes(transaction):
            return NOTHING
        if not self._once.is_new(("transaction", fact.account_id, transaction.id)):
            return NOTHING
        at_ns = parse_time(transaction.time)
        return self._loss(fact.account_id, transaction.pl, at_ns) if transaction.pl < 0 else NOTHING

    def _remember(self, key: _TradeKey, opened: TradeOpened) -> None:
        held = self._held.get(opened.instrument)
        if held is None:
            held = Recent[_TradeKey, TradeOpened](_OPEN_TRADES_MAX // 10)
            self._held.set(opened.instrument, held)
        held.set(key, opened)
        self._open.set(key, opened.instrument)

    def _forget(self, key: _TradeKey) -> None:
        instrument = self._open.pop(key)
        held = self._held.get(instrument) if instrument is not None else None
        if held is not None:
            held.pop(key)

    def _account_rate(self, intent: Intent) -> Says:
        account, limits = intent.account_id, self._limits
        lately = self._by_account.add(account, intent.checked_ns, intent.intent_id)
        if len(lately) < limits.account_orders:
            return NOTHING
        text = f"{len(lately)} orders of account {account} within {limits.account_orders_s:.0f} s"
        return self._say("runaway", Severity.CRITICAL, text, account)

    def _strategy_rate(self, intent: Intent) -> Says:
        strategy, limits = intent.proposal.strategy, self._limits
        key = (strategy, intent.instrument)
        lately = set(self._by_strategy.add(key, intent.checked_ns, intent.signal_id))
        if len(lately) < limits.strategy_orders:
            return NOTHING
        text = (
            f"{strategy} had {len(lately)} signals on {intent.instrument} ordered within"
            f" {limits.strategy_orders_s:.0f} s"
        )
        return self._say(
            "runaway", Severity.CRITICAL, text, instrument=intent.instrument, strategy=strategy
        )

    def _duplicate(self, intent: Intent) -> Says:
        proposal = intent.proposal
        shape = _Shape(intent.intent_id, proposal.strategy, proposal.units)
        key = (intent.account_id, intent.instrument, proposal.side)
        *earlier, _ = self._shapes.add(key, intent.checked_ns, shape)
        same = [each for each in earlier if each.units == shape.units]
        if not same:
            return NOTHING
        exact = any(each.strategy == shape.strategy for each in same)
        text = (
            f"{proposal.side.value} {abs(shape.units)} {intent.instrument} ordered"
            f" {len(same) + 1} times within {self._limits.duplicate_s:.0f} s:"
            f" {', '.join(each.intent_id for each in (*same, shape))}"
        )
        severity = Severity.CRITICAL if exact else Severity.WARNING
        strategy = shape.strategy if exact else ""
        return self._say("duplicate", severity, text, *key[:2], strategy=strategy)

    def _ratios(self, fact: IntentMoved, ends: deque[IntentState]) -> Says:
        limits, count, account = self._limits, len(ends), fact.account_id
        filled = ends.count(IntentState.FILLED) / count
        rejected = ends.count(IntentState.REJECTED) / count
        cancelled = ends.count(IntentState.CANCELLED) / count
        said: Says = NOTHING
        if filled < limits.fill_ratio_min:
            text = (
                f"of the last {count} orders of account {account} {filled:.0%} were filled,"
                f" {cancelled:.0%} cancelled; at least {limits.fill_ratio_min:.0%} should fill"
            )
            said += self._say("churn", Severity.WARNING, text, account)
        if rejected > limits.reject_ratio_max:
            text = (
                f"of the last {count} orders of account {account} {rejected:.0%} were rejected,"
                f" limit {limits.reject_ratio_max:.0%}"
            )
            said += self._say("rejects", Severity.WARNING, text, account)
        return said

    def _herding(self, opened: TradeOpened, side: Side) -> Says:
        limits, instrument = self._limits, opened.instrument
        key = (instrument, side)
        self._accounts.set(opened.account_id, None)
        entered = set(self._entries.add(key, opened.opened_ns, opened.account_id))
        known = len(self._accounts)
        if len(entered) < limits.herd_accounts or len(entered) <= limits.herd_part * known:
            return NOTHING
        text = (
            f"{len(entered)} of {known} accounts entered {instrument} to {side.value} within"
            f" {limits.herd_s:.0f} s: {', '.join(sorted(entered))}"
        )
        return self._say("herding", Severity.WARNING, text, instrument=instrument)

    def _offsetting(self, opened: TradeOpened, side: Side) -> Says:
        held = self._held.get(opened.instrument)
        for other in held.values() if held else ():
            if other.account_id != opened.account_id and other.units * side.sign < 0:
                text = (
                    f"account {opened.account_id} opened {opened.units} {opened.instrument} while"
                    f" account {other.account_id} holds {other.units} (trade {other.trade_id})"
                )
                return self._say(
                    "offsetting", Severity.WARNING, text, opened.account_id, opened.instrument
                )
        return NOTHING

    def _loss(self, account: AccountId, pl: Decimal, at_ns: Instant) -> Says:
        self._now_ns = max(self._now_ns, at_ns)
        lately = self._losing.add(account, at_ns, pl)
        if len(lately) < self._limits.losses:
            return NOTHING
        self._losing.clear(account)
        text = (
            f"{len(lately)} losing closes of account {account} within"
            f" {self._limits.losses_s * NS_PER_S / MINUTE_NS:.0f} min, {sum(lately)} in all"
        )
        return self._say("loss_cluster", Severity.WARNING, text, account)

    def _say(
        self,
        kind: str,
        severity: Severity,
        text: str,
        account: AccountId = AccountId(""),  # noqa: B008  a NewType is a name, not a call
        instrument: InstrumentName = InstrumentName(""),  # noqa: B008
        strategy: str = "",
    ) -> Says:
        key = (kind, severity, account, instrument, strategy)
        before = self._said.get(key)
        if before is not None and self._now_ns < before + self._cooldown_ns:
            return NOTHING
        self._said.set(key, self._now_ns)
        seen = PatternSeen(
            kind=kind,
            severity=severity,
            text=text,
            at_ns=self._now_ns,
            account_id=account,
            instrument=instrument,
            strategy=strategy,
        )
        return (seen, *self._advice(seen)) if kind in _CAUTIOUS else (seen,)

    def _advice(self, seen: PatternSeen) -> Says:
        """Less risk for a while, where the account's own results call for it."""
        if self._caution_scale >= ONE:
            return NOTHING
        return (
            RiskAdvice(
                source=self.name,
                scale=self._caution_scale,
                until_ns=seen.at_ns + self._caution_ns,
                text=f"{seen.kind}: {seen.text}",
                account_id=seen.account_id,
            ),
        )


def _closed_trades(transaction: Transaction) -> Iterator[str]:
    for closed in transaction.trades_closed or ():
        yield closed.trade_id


def _closes(transaction: Transaction) -> bool:
    return bool(transaction.trades_closed or transaction.trade_reduced)
