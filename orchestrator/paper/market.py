"""The venue at work: feed, clock, exchange and candles together, and whoever listens to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import msgspec

from orchestrator.model.conversion import factors
from orchestrator.model.market import Tick
from orchestrator.model.money import Currency, InstrumentName, InstrumentSpec, Price
from orchestrator.model.ports import VenueClock
from orchestrator.model.time import NS_PER_S, Instant, new_york
from orchestrator.paper.candles import CandleStore
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.clockwork import Clockwork
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.exchange.depth import DEEP, Depth
from orchestrator.paper.exchange.exchange import Exchange
from orchestrator.paper.feeds.base import Feed
from orchestrator.paper.instruments import REFERENCE_MIDS, SPECS, spec_of

TickSink = Callable[[Sequence[Tick]], None]

_USD = Currency("USD")
_DEEPEST_WAIT_NS = NS_PER_S  # market time between two looks at expiries, when nothing is quoted


_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6
_FIVE_PM = 17 * 3600


def weekend(at_ns: Instant) -> bool:
    """From Friday 17:00 to Sunday 17:00 in New York no currency is traded."""
    weekday, second = new_york(at_ns)
    if weekday == _FRIDAY:
        return second >= _FIVE_PM
    return weekday == _SATURDAY or (weekday == _SUNDAY and second < _FIVE_PM)


class Market:
    """One venue. `references`: constant quotes, published once, for conversions alone."""

    def __init__(
        self,
        feed: Feed,
        time: VenueTime,
        *,
        calendar: str = "fx",
        depth: Depth = DEEP,
        specs: Mapping[InstrumentName, InstrumentSpec] | None = None,
    ) -> None:
        self.feed = feed
        self.time = time
        self.calendar = calendar
        self.finished = False
        self.ticks = 0
        self.instruments = feed.instruments
        self.references: tuple[InstrumentName, ...] = ()
        self.fixed: set[InstrumentName] = set()  # priced by hand: the feed's prices are ignored
        self._unheard: dict[InstrumentName, Tick] = {}  # what it said last of those
        self.halted: set[InstrumentName] = set()  # by hand: prices go on, trading does not
        self.candles = CandleStore()
        known = dict(SPECS) | {name: spec_of(name) for name in feed.instruments}
        self.depth = depth
        self.exchange = Exchange(known | dict(specs or {}), depth)
        self._clockwork = Clockwork(self.exchange, time.now())
        self._sinks: list[TickSink] = []
        self._released = asyncio.Event()
        self._weekend = False
        for name, period, bars in feed.history():
            self.candles.put_history(name, bars, period)

    def prepare(self, configs: Sequence[AccountConfig]) -> None:
        """Publish reference quotes for currencies that the feed cannot convert."""
        wanted = set(self.feed.instruments)
        for config in configs:
            for spec in (spec_of(name) for name in self.feed.instruments):
                self._cover(spec.quote, config.currency, wanted)
            self._cover(config.currency, _USD, wanted)
        self.references = tuple(sorted(wanted - set(self.feed.instruments)))
        self.instruments = (*self.feed.instruments, *self.references)
        self.publish([self._reference(name) for name in self.references])

    def _cover(self, frm: Currency, to: Currency, wanted: set[InstrumentName]) -> None:
        def known(name: InstrumentName) -> tuple[Decimal, Decimal] | None:
            return (Decimal(1), Decimal(1)) if name in wanted else None

        def listed(name: InstrumentName) -> tuple[Decimal, Decimal] | None:
            return (Decimal(1), Decimal(1)) if name in REFERENCE_MIDS else known(name)

        if factors(frm, to, known) is not None or factors(frm, to, listed) is None:
            return
        for currency in (frm, to):
            for name in (f"{currency}_USD", f"USD_{currency}"):
                if InstrumentName(name) in REFERENCE_MIDS:
                    wanted.add(InstrumentName(name))

    def _reference(self, name: InstrumentName) -> Tick:
        spec, mid = self.exchange.specs[name], REFERENCE_MIDS[name]
        now = self.time.now()
        return Tick(
            instrument=name,
            bid=Price(mid - spec.tick),
            ask=Price(mid + spec.tick),
            venue_ns=now,
            seen_ns=now,
            tradeable=False,
        )

    def spec(self, name: InstrumentName) -> InstrumentSpec:
        return self.exchange.specs[name]

    # --- time --------------------------------------------------------------------------------

    def clock(self) -> VenueClock:
        """What GET /control/clock tells."""
        return VenueClock(
            now_ns=self.time.now(),
            speed=0.0 if self.time.held else self.time.speed,
            calendar=self.calendar,
            finished=self.finished,
            ticks=self.ticks,
            start_ns=self.time.start_ns,
        )

    def release(self) -> None:
        """Start a held market; harmless when it runs."""
        self.time.release()
        self._released.set()

    async def run(self) -> None:
        """Publish the feed's prices as market time reaches them, until cancelled."""
        if self.time.held:
            await self._released.wait()
        while True:
            due = self.feed.next_ns()
            if due is None and not self.finished:
                self.finished = True
            now = self.time.now()
            # A second of the machine at most: the clock may be set meanwhile.
            beat = now + round(_DEEPEST_WAIT_NS * min(1.0, self.time.speed or 1.0))
            target = beat if due is None else min(due, beat)
            # At full speed only prices move time on; without any, the machine's pace will do.
            pause = 1.0 if self.time.speed == 0 and due is None else 0.0
            await asyncio.sleep(max(pause, self.time.machine_seconds_until(target)))
            self._advance(due if self.time.speed == 0 and due is not None else target, due)

    def _advance(self, target: Instant, due: Instant | None) -> None:
        if due is not None and due <= target:
            self.time.advance_to(due)
        now = max(self.time.now(), target if self.time.speed else 0)
        ticks = self.feed.due(now) if due is not None else []
        if self.calendar == "fx" and weekend(now) != self._weekend:
            self._weekend = not self._weekend
            if self._weekend:
                self._halt(now)
        if ticks:
            self.publish(ticks)
        else:
            self._clockwork.on_time(now)

    def _halt(self, now: Instant) -> None:
        """The week is over: the last prices stand, and nobody can trade on them."""
        quotes, unheard = self.exchange.quotes, self._unheard
        said = (unheard if name in self.fixed else quotes for name in self.instruments)
        found = (each.get(name) for each, name in zip(said, self.instruments, strict=True))
        last = [tick for tick in found if tick is not None]
        self.publish(
            [
                msgspec.structs.replace(tick, venue_ns=now, seen_ns=now, tradeable=False)
                for tick in last
            ]
        )

    # --- prices ------------------------------------------------------------------------------

    def publish(self, ticks: Sequence[Tick]) -> None:
        """Into the books and candles first, then to whoever listens."""
        if self.fixed:
            self._unheard |= {t.instrument: t for t in ticks if t.instrument in self.fixed}
            ticks = [tick for tick in ticks if tick.instrument not in self.fixed]
        if self.halted:
            ticks = [self._as_halted(tick) for tick in ticks]
        candles, clockwork = self.candles, self._clockwork
        for tick in ticks:
            if tick.tradeable:
                candles.on_tick(tick)
            clockwork.on_tick(tick)
        self.ticks += len(ticks)
        for sink in tuple(self._sinks):
            sink(ticks)

    def _as_halted(self, tick: Tick) -> Tick:
        if tick.instrument not in self.halted:
            return tick
        return msgspec.structs.replace(tick, tradeable=False)

    def set_tradeable(self, name: InstrumentName, *, tradeable: bool) -> None:
        """By hand: a halted instrument's prices go on, but nobody can trade on them."""
        if tradeable:
            self.halted.discard(name)
        else:
            self.halted.add(name)
        last, now = self.exchange.quotes.get(name), self.time.now()
        if last is not None:
            opens = tradeable and not self._weekend and name not in self.references
            said = msgspec.structs.replace(last, venue_ns=now, seen_ns=now, tradeable=opens)
            fixed, self.fixed = self.fixed, set()
            self.publish([said])
            self.fixed = fixed

    def go_on_from_accounts(self, *, catch_up: bool) -> None:
        """After a rebuild: rolls that were charged are not charged again.

        `catch_up`: market time goes on where the accounts stood, if they are ahead of it, as after
        a quick run or a jump; a replay begins anew with its file.
        """
        lived = self.exchange.now_ns
        behind = lived - self.time.now()
        if behind > 0 and catch_up:
            self.time.jump(behind)
        self._clockwork.begin(max(lived, self.time.now()))

    def jump(self, ahead_ns: int) -> None:
        """Set market time forward; what was due until then happens now."""
        self.time.jump(ahead_ns)
        due = self.feed.next_ns()
        self._advance(self.time.now(), due)

    def put_price(
        self, name: InstrumentName, bid: Decimal, ask: Decimal, *, tradeable: bool = True
    ) -> Tick:
        """A price by hand; it stays put until `let_go`."""
        spec, now = self.exchange.specs[name], self.time.now()
        tick = Tick(
            instrument=name,
            bid=Price(bid.quantize(spec.tick)),
            ask=Price(ask.quantize(spec.tick)),
            venue_ns=now,
            seen_ns=now,
            tradeable=tradeable,
        )
        self.fixed.discard(name)
        self.publish([tick])
        self.fixed.add(name)
        return tick

    def let_go(self, name: InstrumentName) -> None:
        """The feed prices this instrument again: at once, if it said anything meanwhile."""
        self.fixed.discard(name)
        last = self._unheard.pop(name, None)
        if last is not None:
            now = self.time.now()
            self.publish([msgspec.structs.replace(last, venue_ns=now, seen_ns=now)])

    def listen(self, sink: TickSink) -> None:
        self._sinks.append(sink)

    def unlisten(self, sink: TickSink) -> None:
        self._sinks.remove(sink)
