"""Finished candles, packed into a tenth of the memory of objects. The oldest go first."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from decimal import Decimal

from orchestrator.model.time import Instant

_COLUMNS = 13  # volume, then open, high, low, close of bid, ask and mid, in half steps of a price


class Bar:
    """A candle while it grows: prices of bid, ask and mid, and how many there were."""

    __slots__ = ("ask", "bid", "mid", "start_ns", "volume")

    def __init__(
        self,
        start_ns: Instant,
        volume: int,
        bid: list[Decimal],
        ask: list[Decimal],
        mid: list[Decimal],
    ) -> None:
        self.start_ns = start_ns
        self.volume = volume
        self.bid = bid  # open, high, low, close
        self.ask = ask
        self.mid = mid

    def add(self, bid: Decimal, ask: Decimal, mid: Decimal) -> None:
        self.volume += 1
        _grow(self.bid, bid)
        _grow(self.ask, ask)
        _grow(self.mid, mid)

    def merge(self, later: Bar) -> None:
        self.volume += later.volume
        _join(self.bid, later.bid)
        _join(self.ask, later.ask)
        _join(self.mid, later.mid)

    def at(self, start_ns: Instant) -> Bar:
        """A copy that starts a longer period."""
        return Bar(start_ns, self.volume, [*self.bid], [*self.ask], [*self.mid])


def _grow(ohlc: list[Decimal], price: Decimal) -> None:
    if price > ohlc[1]:
        ohlc[1] = price
    elif price < ohlc[2]:
        ohlc[2] = price
    ohlc[3] = price


def _join(ohlc: list[Decimal], later: list[Decimal]) -> None:
    ohlc[1] = max(ohlc[1], later[1])
    ohlc[2] = min(ohlc[2], later[2])
    ohlc[3] = later[3]


class Shelf:
    """At most `most` bars, oldest first; what comes later starts later."""

    __slots__ = ("_digits", "_first", "_most", "_rows", "_starts")

    def __init__(self, most: int) -> None:
        self._most = most
        self._first = 0  # where the oldest stands, once the shelf is full
        self._starts = array("q")
        self._rows = array("i")  # wider when a price asks for it
        self._digits = 0  # decimals of the prices

    def __len__(self) -> int:
        return len(self._starts)

    def append(self, bar: Bar) -> None:
        """The prices must be finite, the mid a half of whole steps."""
        row = [bar.volume, *self._whole((*bar.bid, *bar.ask, *bar.mid))]
        place = len(self._starts)
        full = place == self._most
        if full:
            place, self._first = self._first, (self._first + 1) % self._most
            self._starts[place] = bar.start_ns
        else:
            self._starts.append(bar.start_ns)
        try:
            packed = array(self._rows.typecode, row)
        except OverflowError:
            self._rows = array("q", self._rows)
            packed = array("q", row)
        self._rows[place * _COLUMNS : (place + 1) * _COLUMNS] = packed

    def place_of(self, start_ns: Instant) -> int:
        """How many bars start before that."""
        return bisect_left(range(len(self)), start_ns, key=self._start)

    def bars(self, skip: int = 0) -> Iterator[Bar]:
        """Oldest first, without the first `skip`; each one is the caller's own."""
        kept: dict[int, Decimal] = {}  # prices repeat
        for number in range(skip, len(self)):
            place = (self._first + number) % self._most
            volume, *prices = self._rows[place * _COLUMNS : (place + 1) * _COLUMNS]
            for each in prices:
                if each not in kept:
                    kept[each] = (Decimal(each) / 2).scaleb(-self._digits)
            told = [kept[each] for each in prices]
            yield Bar(self._starts[place], volume, told[:4], told[4:8], told[8:])

    def _start(self, number: int) -> Instant:
        return self._starts[(self._first + number) % self._most]

    def _whole(self, prices: Sequence[Decimal]) -> list[int]:
        scaled = [price.scaleb(self._digits) * 2 for price in prices]
        whole = [int(each) for each in scaled]
        if all(a == b for a, b in zip(whole, scaled, strict=True)):
            return whole
        self._refine(prices)
        return self._whole(prices)

    def _refine(self, prices: Sequence[Decimal]) -> None:
        """Finer prices than before: those that are there are counted in their steps too."""
        finest = max(-int(price.normalize().as_tuple().exponent) for price in prices)
        factor = 10 ** max(1, finest - self._digits)
        self._digits += max(1, finest - self._digits)
        rows = [n if i % _COLUMNS == 0 else n * factor for i, n in enumerate(self._rows)]
        try:
            self._rows = array(self._rows.typecode, rows)
        except OverflowError:
            self._rows = array("q", rows)
