"""How currencies move together, and how alike two books of currency exposure therefore are."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from orchestrator.agents.quotes import close_mid, mid_of, usable_tick
from orchestrator.model.conversion import BidAsk
from orchestrator.model.market import History, Tick
from orchestrator.model.money import InstrumentName
from orchestrator.model.time import HOUR_NS, MINUTE_NS, Instant

Book = Mapping[str, float]  # currency -> signed exposure, as a multiple of the account's NAV
_Array = npt.NDArray[np.float64]

_HISTORY_STEPS_MAX = 5_000
_RETURN_MAX = 0.2  # a larger move within a step is a bad price, or another market
_TINY = 1e-24


class CurrencyRisk:
    """EWMA covariance of currencies' returns, from instruments' mids every few minutes.

    Each step solves, by least squares, instrument return = base's return - quote's return, for the
    returns of the currencies against their common mean. Books of whole instruments sum to zero, so
    their risk does not depend on that choice. Source of the numbers: SAFETY C16 (0.97 an hour,
    shrunk 20 % to the diagonal, cosine of the exposures below 50 points).
    """

    def __init__(
        self,
        *,
        step_ns: int = 5 * MINUTE_NS,
        keep_per_hour: float = 0.97,
        shrink: float = 0.20,
        points_min: int = 50,
    ) -> None:
        self._step_ns = step_ns
        self._keep = keep_per_hour ** (step_ns / HOUR_NS)
        self._shrink = shrink
        self._points_min = points_min
        self._index: dict[str, int] = {}
        self._covariance: _Array = np.zeros((0, 0))
        self._base: dict[InstrumentName, float] = {}
        self._closes: dict[InstrumentName, float] = {}
        self._quotes: dict[InstrumentName, BidAsk] = {}
        self._bucket = 0
        self._warm: dict[int, dict[InstrumentName, float]] = {}
        self._solvers: dict[tuple[InstrumentName, ...], _Array] = {}
        self._rows: list[list[float]] = []
        self.points = 0

    def quote_of(self, instrument: InstrumentName) -> BidAsk | None:
        """The last usable quote, for conversions between home currencies."""
        return self._quotes.get(instrument)

    def tick(self, tick: Tick) -> None:
        if not usable_tick(tick):
            return
        self._quotes[tick.instrument] = (tick.bid, tick.ask)
        bucket = tick.seen_ns // self._step_ns
        if bucket > self._bucket:
            self._roll(bucket)
        self._closes[tick.instrument] = mid_of(tick)

    def history(self, history: History) -> None:
        """Candles of one instrument; folded in, in time's order, when the first tick comes."""
        if self._bucket:
            return  # live prices have begun; older ones would come out of order
        for candle in history.candles[-_HISTORY_STEPS_MAX:]:
            mid = close_mid(candle)
            if mid is not None:
                bucket: Instant = candle.start_ns // self._step_ns
                self._warm.setdefault(bucket, {})[history.instrument] = mid

    def _roll(self, bucket: int) -> None:
        for _, closes in sorted(self._warm.items()):
            self._fold(closes)
        self._warm.clear()
        self._fold(self._closes)
        self._closes = {}
        self._bucket = bucket

    def _fold(self, closes: dict[InstrumentName, float]) -> None:
        """One step: the closes of a bucket against those of the buckets before."""
        names = tuple(sorted(name for name in closes if name in self._base))
        moves = [math.log(closes[name] / self._base[name]) for name in names]
        self._base.update(closes)
        if not names or max(abs(move) for move in moves) > _RETURN_MAX:
            return
        for name in names:
            self._learn_currencies(name)
        returns = self._solver(names) @ np.asarray(moves)
        share = max(1 - self._keep, 1 / (self.points + 1))
        self._covariance += share * (np.outer(returns, returns) - self._covariance)
        self.points += 1
        self._rows = []

    def _learn_currencies(self, name: InstrumentName) -> None:
        for currency in name.split("_", 1):
            if currency not in self._index:
                self._index[currency] = len(self._index)
                self._covariance = np.pad(self._covariance, (0, 1))
                self._solvers.clear()

    def _solver(self, names: tuple[InstrumentName, ...]) -> _Array:
        """Pseudo-inverse of the incidence of instruments and currencies; kept for each set."""
        known = self._solvers.get(names)
        if known is not None:
            return known
        incidence = np.zeros((len(names), len(self._index)))
        for row, name in enumerate(names):
            base, quote = name.split("_", 1)
            incidence[row, self._index[base]] = 1.0
            incidence[row, self._index[quote]] = -1.0
        if len(self._solvers) > len(self._index) ** 2:
            self._solvers.clear()
        solver: _Array = np.linalg.pinv(incidence).astype(np.float64)
        self._solvers[names] = solver
        return solver

    def multiple(self, book: Book, order: Book) -> float:
        """How many times the order's risk the book holds already: x' S o / o' S o."""
        measured = self._measured(book, order)
        size = self._product(order, order, measured)
        return self._product(book, order, measured) / size if size > _TINY else 0.0

    def correlation(self, a: Book, b: Book) -> float | None:
        """Of two books' values, -1 ... 1; None when one of them is empty."""
        if not any(a.values()) or not any(b.values()):
            return None
        measured = self._measured(a, b)
        size = self._product(a, a, measured) * self._product(b, b, measured)
        return self._product(a, b, measured) / math.sqrt(size) if size > _TINY**2 else None

    def _measured(self, *books: Book) -> bool:
        """Whether the covariance can speak; else exposures are compared as they stand."""
        return self.points >= self._points_min and all(
            currency in self._index for book in books for currency in book if book[currency]
        )

    def _product(self, a: Book, b: Book, measured: bool) -> float:
        """a' S b, or a' b where the covariance is not known."""
        if not measured:
            return sum(amount * b.get(currency, 0.0) for currency, amount in a.items())
        # Books hold few currencies: plain loops are several times quicker than arrays here.
        rows, index = self._shrunk(), self._index
        right = [(index[currency], amount) for currency, amount in b.items() if amount]
        total = 0.0
        for currency, amount in a.items():
            if amount:
                row = rows[index[currency]]
                total += amount * sum(row[column] * other for column, other in right)
        return total

    def _shrunk(self) -> list[list[float]]:
        """The covariance, shrunk to its diagonal; made anew after each step."""
        if not self._rows:
            diagonal = np.diag(np.diag(self._covariance))
            matrix = (1 - self._shrink) * self._covariance + self._shrink * diagonal
            self._rows = [[float(value) for value in row] for row in matrix]
        return self._rows
