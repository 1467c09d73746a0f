"""What both market stores share: a bounded queue to a thread of their own, and honest counters."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeAlias

import msgspec

from orchestrator.model.market import Candle, MarketCondition, Tick
from orchestrator.model.outcomes import TradeOutcome

Item: TypeAlias = Tick | Candle | TradeOutcome

_CLOSE_S = 10.0
_NS_MAX = 2**63
_DIGITS_MAX = 18  # of a price, before and behind the point
_NAME_MAX = 200


class MarketStats(msgspec.Struct):
    """Rows since the start; see `MarketCondition` for what each number says."""

    written: int = 0
    refused: int = 0
    dropped: int = 0
    failed: int = 0
    spooled: int = 0
    problem: str = ""


class MarketQueue(ABC):
    """Writes return at once and never raise for a disk's or a server's troubles.

    With more than `rows_max` rows waiting, the oldest are thrown away and counted. A subclass
    gives the thread its work by `_begin`, `_write_waiting` and `_end`.
    """

    def __init__(self, *, rows_max: int, flush_s: float, rows_a_commit: int) -> None:
        self._rows_max = rows_max
        self._rows_a_commit = rows_a_commit
        self._flush_s = flush_s
        self._queue: deque[Item] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self.stats = MarketStats()
        self._thread = threading.Thread(target=self._run, name="market store", daemon=True)

    # -- for the event loop's thread -------------------------------------------------------------

    def write_ticks(self, ticks: Sequence[Tick]) -> None:
        self._put(ticks)

    def write_candles(self, candles: Sequence[Candle]) -> None:
        self._put(candles)

    def write_outcomes(self, outcomes: Sequence[TradeOutcome]) -> None:
        self._put(outcomes)

    def condition(self) -> MarketCondition:
        """What became of the rows so far."""
        return MarketCondition(waiting=len(self._queue), **msgspec.structs.asdict(self.stats))

    def close(self) -> None:
        """Writes what is waiting; gives up after 10 s. Idempotent."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(_CLOSE_S)

    def _put(self, items: Sequence[Item]) -> None:
        with self._wake:
            if self._closing:
                self.stats.dropped += len(items)
                return
            self._queue.extend(items)
            over = len(self._queue) - self._rows_max
            for _ in range(over):
                self._queue.popleft()
            self.stats.dropped += max(0, over)
            if len(self._queue) >= self._rows_a_commit:
                self._wake.notify()

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._wake:
                if not self._closing and len(self._queue) < self._rows_a_commit:
                    self._wake.wait(self._flush_s)
                closing = self._closing
            try:
                self._write_waiting()
            except Exception as exc:  # noqa: BLE001 -- the top of the thread; it is told, and ends
                self.stats.problem = f"market data is no longer stored: {type(exc).__name__}: {exc}"
                with self._wake:
                    closing = self._closing = True
        self._end()

    def _take(self) -> list[Item]:
        """The oldest rows that can be stored at all, at most a commit's worth."""
        while True:
            with self._wake:
                count = min(len(self._queue), self._rows_a_commit)
                taken = [self._queue.popleft() for _ in range(count)]
            fit = [item for item in taken if storable(item)]
            self.stats.refused += len(taken) - len(fit)
            if fit or not taken:
                return fit

    @abstractmethod
    def _write_waiting(self) -> None:
        """Store what waits, as far as the server takes it."""

    @abstractmethod
    def _end(self) -> None:
        """Nothing is stored any more: what still waits is put aside."""


def storable(item: Item) -> bool:
    """Whether every store can hold it: finite prices, plain names, instants of 64 bits.

    One row that a server cannot take would cost its whole batch. A tick that is merely wrong
    (crossed, stale, stamped oddly) is stored as it came.
    """
    return _CHECKS[type(item)](item)


def _tick_fits(tick: Tick) -> bool:
    return (
        _price_fits(tick.bid) and _price_fits(tick.ask) and _name_fits(tick.instrument)
        and _instant_fits(tick.venue_ns) and _instant_fits(tick.seen_ns)
    )  # fmt: skip


def _candle_fits(candle: Candle) -> bool:
    prices = (
        candle.bid_o, candle.bid_h, candle.bid_l, candle.bid_c,
        candle.ask_o, candle.ask_h, candle.ask_l, candle.ask_c,
    )  # fmt: skip
    return (
        all(map(_price_fits, prices)) and _instant_fits(candle.start_ns)
        and _name_fits(candle.instrument) and _name_fits(candle.granularity)
        and 0 <= candle.volume < _NS_MAX
    )  # fmt: skip


def _outcome_fits(outcome: TradeOutcome) -> bool:
    names = (
        outcome.account_id, outcome.trade_id, outcome.strategy, outcome.regime, outcome.instrument
    )  # fmt: skip
    return all(map(_name_fits, names)) and _instant_fits(outcome.closed_ns)


def _price_fits(price: Decimal) -> bool:
    if not price.is_finite():
        return False
    digits = price.as_tuple().exponent
    return -_DIGITS_MAX <= price.adjusted() <= _DIGITS_MAX and int(digits) >= -_DIGITS_MAX


def _name_fits(name: str) -> bool:
    return len(name) <= _NAME_MAX and "\0" not in name and name.isprintable()


def _instant_fits(at_ns: int) -> bool:
    return -_NS_MAX <= at_ns < _NS_MAX


_CHECKS: dict[type[Item], Callable[..., bool]] = {
    Tick: _tick_fits, Candle: _candle_fits, TradeOutcome: _outcome_fits,
}  # fmt: skip
