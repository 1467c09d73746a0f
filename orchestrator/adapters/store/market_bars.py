"""Minutes of ticks, and longer candles of minutes: pure arithmetic, in any order of arrival."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import msgspec

from orchestrator.model.market import Candle, Tick
from orchestrator.model.money import InstrumentName, Price
from orchestrator.model.time import HOUR_NS, MINUTE_NS, Instant, trading_day

Key: TypeAlias = tuple[InstrumentName, Instant]

# What can be rolled up from minutes. Others are read as the venue gave them, or not at all.
PERIODS: dict[str, int] = {
    "M1": MINUTE_NS, "M2": 2 * MINUTE_NS, "M4": 4 * MINUTE_NS, "M5": 5 * MINUTE_NS,
    "M10": 10 * MINUTE_NS, "M15": 15 * MINUTE_NS, "M30": 30 * MINUTE_NS, "H1": HOUR_NS,
}  # fmt: skip
_LATEST_NS = 2**62
DAY = "D"  # a trading day: 17:00 to 17:00 New York


class Bar(msgspec.Struct, kw_only=True, gc=False):
    """Ticks of one instrument in one period. `first_ns`, `last_ns`: the venue's stamps."""

    instrument: InstrumentName
    start_ns: Instant
    volume: int
    first_ns: Instant
    last_ns: Instant
    bid_o: Price
    bid_h: Price
    bid_l: Price
    bid_c: Price
    ask_o: Price
    ask_h: Price
    ask_l: Price
    ask_c: Price

    def add(self, tick: Tick) -> None:
        self.volume += 1
        self.bid_h, self.bid_l = max(self.bid_h, tick.bid), min(self.bid_l, tick.bid)
        self.ask_h, self.ask_l = max(self.ask_h, tick.ask), min(self.ask_l, tick.ask)
        if tick.venue_ns < self.first_ns:
            self.first_ns, self.bid_o, self.ask_o = tick.venue_ns, tick.bid, tick.ask
        if tick.venue_ns >= self.last_ns:
            self.last_ns, self.bid_c, self.ask_c = tick.venue_ns, tick.bid, tick.ask

    def merge(self, other: Bar) -> None:
        """`other` came later, whatever its stamps."""
        self.volume += other.volume
        self.bid_h, self.bid_l = max(self.bid_h, other.bid_h), min(self.bid_l, other.bid_l)
        self.ask_h, self.ask_l = max(self.ask_h, other.ask_h), min(self.ask_l, other.ask_l)
        if other.first_ns < self.first_ns:
            self.first_ns, self.bid_o, self.ask_o = other.first_ns, other.bid_o, other.ask_o
        if other.last_ns >= self.last_ns:
            self.last_ns, self.bid_c, self.ask_c = other.last_ns, other.bid_c, other.ask_c

    def candle(self, granularity: str, newest_ns: Instant) -> Candle:
        """Complete when something newer than its end has arrived."""
        return Candle(
            instrument=self.instrument, granularity=granularity, start_ns=self.start_ns,
            volume=self.volume, complete=end_of(granularity, self.start_ns) <= newest_ns,
            bid_o=self.bid_o, bid_h=self.bid_h, bid_l=self.bid_l, bid_c=self.bid_c,
            ask_o=self.ask_o, ask_h=self.ask_h, ask_l=self.ask_l, ask_c=self.ask_c,
        )  # fmt: skip


def minutes_of(ticks: Iterable[Tick]) -> list[Bar]:
    """By instrument and minute. A tick that no market can have made (crossed, not positive) is
    kept among the ticks, but makes no candle (SAFETY M5).
    """
    found: dict[Key, Bar] = {}
    for tick in ticks:
        if not 0 < tick.bid <= tick.ask:
            continue
        key = (tick.instrument, tick.venue_ns - tick.venue_ns % MINUTE_NS)
        bar = found.get(key)
        if bar is None:
            found[key] = _bar_of(tick, key[1])
        else:
            bar.add(tick)
    return list(found.values())


def _bar_of(tick: Tick, start_ns: Instant) -> Bar:
    return Bar(
        instrument=tick.instrument, start_ns=start_ns, volume=1, first_ns=tick.venue_ns,
        last_ns=tick.venue_ns, bid_o=tick.bid, bid_h=tick.bid, bid_l=tick.bid, bid_c=tick.bid,
        ask_o=tick.ask, ask_h=tick.ask, ask_l=tick.ask, ask_c=tick.ask,
    )  # fmt: skip


def start_of(granularity: str) -> Callable[[Instant], Instant]:
    """From an instant to the start of its period; KeyError for what cannot be rolled up."""
    if granularity == DAY:
        return lambda at_ns: trading_day(at_ns)[1]
    width = PERIODS[granularity]
    return lambda at_ns: at_ns - at_ns % width


def end_of(granularity: str, start_ns: Instant) -> Instant:
    return trading_day(start_ns)[2] if granularity == DAY else start_ns + PERIODS[granularity]


def can_roll(granularity: str) -> bool:
    return granularity in PERIODS or granularity == DAY


def aligned(granularity: str, at_ns: Instant) -> Instant:
    """The first start of a period that is not before `at_ns`, from 1970 to 2116."""
    at_ns = max(0, min(_LATEST_NS, at_ns))
    start = start_of(granularity)(at_ns)
    return start if start == at_ns else end_of(granularity, start)


def day_starts(since_ns: Instant, until_ns: Instant) -> list[Instant]:
    """Of every trading day that begins from `since_ns` on and before `until_ns`."""
    start, found = aligned(DAY, since_ns), list[Instant]()
    while start < until_ns:
        found.append(start)
        start = trading_day(start)[2]
    return found


def rolled(minutes: Iterable[Bar], granularity: str, limit: int) -> Iterator[Bar]:
    """Minutes in order of time, rolled up; at most `limit` periods."""
    start = start_of(granularity)
    current: Bar | None = None
    for minute in minutes:
        begins = start(minute.start_ns)
        if current is not None and current.start_ns == begins:
            current.merge(minute)
            continue
        if current is not None:
            yield current
            limit -= 1
        if limit <= 0:
            return
        current = msgspec.structs.replace(minute, start_ns=begins)
    if current is not None:
        yield current


def joined(given: Iterable[Candle], made: Iterable[Candle], limit: int) -> list[Candle]:
    """What the venue gave goes before what was rolled up; oldest first."""
    found = {candle.start_ns: candle for candle in made}
    found.update({candle.start_ns: candle for candle in given})
    return [found[start] for start in sorted(found)][:limit]
