"""How currencies move together: EWMA of hourly returns, and how alike two books therefore are.

Source: SAFETY C16 (0.97 an hour, shrunk 20 % to the diagonal, cosine below 50 points). Floats: it
is a statistic, and decides only whether an order is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from orchestrator.model.conversion import BidAsk, factors
from orchestrator.model.market import History
from orchestrator.model.money import Currency, InstrumentName
from orchestrator.model.time import HOUR_NS, Instant

KEEP = 0.97
SHRINK = 0.20
POINTS_MIN = 50
_MOVE_MAX = 0.2  # more within an hour is a bad price, or another market
_TINY = 1e-24
_HOURS_MAX = 5_000
_GRANULARITY = "H1"

Book = Mapping[Currency, float]  # signed exposure, in any one currency


class Covariance:
    """Of the currencies of some instruments. Live view: candles teach it after a start.

    A currency's return is that of its worth in `reporting`, less the mean of all: books of whole
    instruments sum to zero, so their risk does not depend on the choice of `reporting`.
    """

    def __init__(self, instruments: Iterable[InstrumentName], reporting: Currency) -> None:
        names = {name for each in instruments for name in each.split("_", 1)} | {reporting}
        self.currencies = tuple(Currency(name) for name in sorted(names))
        self._index = {name: place for place, name in enumerate(self.currencies)}
        self._reporting = reporting
        self._sums = [[0.0] * len(self.currencies) for _ in self.currencies]
        self._shrunk: list[list[float]] = []
        self._worths: dict[Currency, float] = {}
        self._mids: dict[InstrumentName, BidAsk] = {}
        self._hour = 0
        self.points = 0

    # -- learning --------------------------------------------------------------------------------

    def teach(self, histories: Iterable[History]) -> None:
        """Hourly candles of before live prices began; later ones would come out of order."""
        if self._hour:
            return
        hours: dict[int, dict[InstrumentName, BidAsk]] = {}
        for history in histories:
            if history.granularity != _GRANULARITY:
                continue
            for candle in history.candles[-_HOURS_MAX:]:
                if candle.complete and 0 < candle.bid_c <= candle.ask_c:
                    closes = hours.setdefault(candle.start_ns // HOUR_NS, {})
                    closes[history.instrument] = (candle.bid_c, candle.ask_c)
        for _, closes in sorted(hours.items()):
            self._mids.update(closes)
            self._fold()

    def hear(self, instrument: InstrumentName, pair: BidAsk, at: Instant) -> None:
        """A good price. The last ones of each hour are compared with those of the hour before."""
        hour = at // HOUR_NS
        if hour > self._hour:
            if self._hour:
                self._fold()
            self._hour = hour
        self._mids[instrument] = pair

    def _fold(self) -> None:
        before, now = self._worths, self._worths_now()
        self._worths = {**before, **now}
        moves = {
            name: math.log(worth / before[name]) for name, worth in now.items() if name in before
        }
        if not moves or max(map(abs, moves.values())) > _MOVE_MAX:
            return
        mean = sum(moves.values()) / len(moves)
        returns = [moves.get(name, mean) - mean for name in self.currencies]
        share = max(1 - KEEP, 1 / (self.points + 1))
        for row, own in zip(self._sums, returns, strict=True):
            for place, other in enumerate(returns):
                row[place] += share * (own * other - row[place])
        self.points += 1
        self._shrunk = []

    def _worths_now(self) -> dict[Currency, float]:
        found: dict[Currency, float] = {}
        for name in self.currencies:
            known = factors(name, self._reporting, self._mids.get)
            if known is not None and known.value > 0:
                found[name] = float(known.value)
        return found

    # -- asking ----------------------------------------------------------------------------------

    def correlation(self, a: Book, b: Book) -> float | None:
        """Of two books' values, -1 ... 1; None when one of them holds nothing."""
        if not any(a.values()) or not any(b.values()):
            return None
        measured = self.points >= POINTS_MIN and all(
            name in self._index for book in (a, b) for name, amount in book.items() if amount
        )
        rows = self._rows() if measured else None
        size = self._product(a, a, rows) * self._product(b, b, rows)
        if not size > _TINY**2:
            # The covariance has nothing to say of these books: compared as they stand.
            rows = None
            size = self._product(a, a, None) * self._product(b, b, None)
        if not size > 0:
            return None
        return max(-1.0, min(1.0, self._product(a, b, rows) / math.sqrt(size)))

    def _product(self, a: Book, b: Book, rows: list[list[float]] | None) -> float:
        if rows is None:
            return sum(amount * b.get(name, 0.0) for name, amount in a.items())
        index = self._index
        right = [(index[name], amount) for name, amount in b.items() if amount]
        total = 0.0
        for name, amount in a.items():
            if amount:
                row = rows[index[name]]
                total += amount * sum(row[place] * other for place, other in right)
        return total

    def _rows(self) -> list[list[float]]:
        """Shrunk to the diagonal; made anew after each hour."""
        if not self._shrunk:
            self._shrunk = [
                [value if place == own else (1 - SHRINK) * value for place, value in enumerate(row)]
                for own, row in enumerate(self._sums)
            ]
        return self._shrunk
