"""After an outage of prices agents are given what they missed, before they hear on."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal

import msgspec
import pytest

from orchestrator.agents.base import Agent, Role, Says, hears
from orchestrator.agents.market_analysis.candles import Candles
from orchestrator.model.errors import VenueUnreachable
from orchestrator.model.market import Candle, History, StreamBeat, StreamDown, StreamUp, Tick
from orchestrator.model.money import Price
from orchestrator.model.signals import Signal
from orchestrator.model.time import MINUTE_NS, NS_PER_S
from orchestrator.service.price_gap import PriceGap
from orchestrator.service.virtual import run_virtual
from tests.unit.service.engine_parts import Bench
from tests.unit.service.parts import EUR_USD, START_NS, A, signal

UP = StreamUp(stream="prices", account_id=A, seen_ns=START_NS)


class Listener(Agent):
    """Keeps what it hears; says a signal at a price of 2."""

    role = Role.MARKET_ANALYSIS
    name = "listener"
    says = (Signal,)

    def __init__(self) -> None:
        self.heard: list[Tick | History] = []

    @hears(Tick)
    def on_tick(self, tick: Tick) -> Says:
        self.heard.append(tick)
        return (signal(),) if tick.bid == 2 else ()

    @hears(History)
    def on_history(self, history: History) -> Says:
        self.heard.append(history)
        return ()


class Quotes:
    def __init__(self) -> None:
        self.last = None

    def tick(self, _):
        return self.last


class Reader:
    """Gives its candles after `slow_s`, or its trouble."""

    def __init__(self, *, slow_s: float = 0.0, trouble: Exception | None = None) -> None:
        self.slow_s = slow_s
        self.trouble = trouble
        self.asked: list[tuple] = []

    async def candles(self, instrument, granularity, count):
        self.asked.append((instrument, granularity, count))
        await asyncio.sleep(self.slow_s)
        if self.trouble is not None:
            raise self.trouble
        return ()


def tick_at(seconds: float, bid: str = "1.10000") -> Tick:
    at_ns = START_NS + round(seconds * NS_PER_S)
    price = Price(Decimal(bid))
    ask = Price(price + Decimal("0.0001"))
    return Tick(instrument=EUR_USD, bid=price, ask=ask, venue_ns=at_ns, seen_ns=at_ns)


def down(seconds: float) -> StreamDown:
    at_ns = START_NS + round(seconds * NS_PER_S)
    return StreamDown(stream="prices", account_id=A, seen_ns=at_ns, reason="reset")


def up(seconds: float) -> StreamUp:
    return msgspec.structs.replace(UP, seen_ns=START_NS + round(seconds * NS_PER_S))


class Scene:
    """An engine that hears a stream, and an agent that hears the engine."""

    def __init__(self, folder, reader: Reader) -> None:
        self.bench = Bench(folder)
        self.bench.kernel.quotes = Quotes()
        self.agent = Listener()
        self.bench.agents.register(lambda: self.agent)
        self.bench.agents.bring_up(())
        self.gap = PriceGap(self.bench.engine, reader, (EUR_USD,))
        self.tasks: list[asyncio.Task] = []

    def hear(self, *items) -> None:
        minutes = self.gap.begins(items)
        if minutes:
            fill = self.gap.fill(minutes)
            self.tasks.append(asyncio.get_running_loop().create_task(fill))
        for item in items:
            self.bench.kernel.quotes.last = item
            self.bench.engine.handle(item)

    async def filled(self) -> None:
        for task in self.tasks:
            await task


def test_what_was_missed_comes_first_then_what_was_held_and_the_kernel_never_waits(tmp_path):
    async def story() -> None:
        reader = Reader(slow_s=1)
        scene = Scene(tmp_path, reader)
        before, first, second, after = (tick_at(s) for s in (1, 200, 200.5, 203))
        scene.hear(up(0), before)
        scene.hear(down(12))
        scene.hear(up(199), first)
        await asyncio.sleep(0.5)
        scene.hear(second)
        assert scene.agent.heard == [before]
        assert [e for e in scene.bench.kernel.heard if type(e) is Tick] == [before, first, second]
        await scene.filled()
        scene.hear(after)
        assert reader.asked == [(EUR_USD, "M1", 4)]  # 14:00 to 14:03, the running one included
        history = History(instrument=EUR_USD, granularity="M1", candles=())
        assert scene.agent.heard == [before, history, first, second, after]

    run_virtual(story())


def test_a_signal_that_a_held_price_brings_is_heard(tmp_path):
    async def story() -> None:
        scene = Scene(tmp_path, Reader(slow_s=1))
        scene.hear(up(0), tick_at(1), down(2), up(3), tick_at(4, "2"))
        assert not any(hasattr(e, "signal") for e in scene.bench.kernel.heard)
        await scene.filled()
        assert [e.signal for e in scene.bench.kernel.heard if hasattr(e, "signal")] == [signal()]

    run_virtual(story())


@pytest.mark.parametrize(
    "reader", [Reader(trouble=VenueUnreachable("away")), Reader(slow_s=3600)], ids=["away", "slow"]
)
def test_without_candles_agents_go_on_after_a_moment(tmp_path, reader):
    async def story() -> None:
        scene = Scene(tmp_path, reader)
        scene.hear(up(0), tick_at(1), down(20), up(30), tick_at(31))
        async with asyncio.timeout(6):
            await scene.filled()
        scene.hear(tick_at(40))
        assert scene.agent.heard == [tick_at(1), tick_at(31), tick_at(40)]

    run_virtual(story())


def test_another_loss_while_the_candles_are_read_does_not_read_twice(tmp_path):
    async def story() -> None:
        reader = Reader(slow_s=2)
        scene = Scene(tmp_path, reader)
        scene.hear(up(0), tick_at(1), down(20), up(30), down(31), up(32), tick_at(33))
        await scene.filled()
        assert len(reader.asked) == 1
        assert scene.agent.heard[-1] == tick_at(33)

    run_virtual(story())


def test_the_first_connection_has_missed_nothing(tmp_path):
    async def story() -> None:
        scene = Scene(tmp_path, Reader())
        scene.hear(down(0))
        beat = StreamBeat(stream="prices", account_id=A, venue_ns=START_NS, seen_ns=START_NS)
        scene.hear(up(1), tick_at(2), beat)
        assert scene.tasks == []
        assert scene.agent.heard == [tick_at(2)]

    run_virtual(story())


def candles_of(ticks: list[Tick], now_ns: int) -> list[Candle]:
    """M1, as the venue has them."""
    found: dict[int, list[Tick]] = {}
    for one in ticks:
        found.setdefault(one.venue_ns - one.venue_ns % MINUTE_NS, []).append(one)
    return [
        Candle(
            instrument=EUR_USD, granularity="M1", start_ns=start, volume=len(of),
            complete=start + MINUTE_NS <= now_ns,
            bid_o=of[0].bid, bid_h=max(t.bid for t in of), bid_l=min(t.bid for t in of),
            bid_c=of[-1].bid, ask_o=of[0].ask, ask_h=max(t.ask for t in of),
            ask_l=min(t.ask for t in of), ask_c=of[-1].ask,
        )
        for start, of in found.items()
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_with_the_candles_of_an_outage_the_bars_are_the_same_as_without_one(seed):
    dice = random.Random(seed)
    at, price, ticks = 0.0, 11000, []
    for _ in range(900):
        at += dice.expovariate(0.5)
        price += dice.randint(-9, 9)
        ticks.append(tick_at(at, f"{price / 10000:.5f}"))
    gone, back = sorted(dice.sample(range(50, 850), 2))
    read = min(back + 5, 899)  # the candles are read a moment after the stream is up again

    def bars(heard) -> list[tuple]:
        candles, found = Candles(("M5", "M15")), []
        for one in heard:
            if isinstance(one, Tick):
                made = candles.on_quote(one.venue_ns, float(one.bid), float(one.ask))
            else:
                made = candles.on_candle(one)
            found += [(b.timeframe, b.start_ns, b.open, b.high, b.low, b.close) for b in made]
        return found

    first_ns = ticks[gone - 1].venue_ns // MINUTE_NS * MINUTE_NS
    missed = candles_of([t for t in ticks[:read] if t.venue_ns >= first_ns], ticks[read].venue_ns)
    assert bars([*ticks[:gone], *missed, *ticks[back:]]) == bars(ticks)
