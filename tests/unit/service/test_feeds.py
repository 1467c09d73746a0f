"""Streams in: what arrives becomes events, and each reconnection is followed by a read."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from orchestrator.model.events import Drained, TransactionsSeen
from orchestrator.model.market import Beat, StreamBeat, StreamDown, StreamUp, Tick
from orchestrator.model.money import Currency, InstrumentName
from orchestrator.model.safety import SystemMode
from orchestrator.model.venue import Transaction
from orchestrator.service.feeds import Feeds
from orchestrator.service.seams import VirtualClock
from orchestrator.service.virtual import run_virtual
from tests.unit.service.parts import EUR_USD, START_NS, A, B, tick


class FakeEngine:
    def __init__(self) -> None:
        self.heard: list[object] = []
        self.fetched: list[object] = []
        self.order: list[str] = []
        self.in_flight = 1
        book = SimpleNamespace(last_id=41, currency=Currency("EUR"), sides=dict)
        self.kernel = SimpleNamespace(
            mode=SystemMode.RUNNING, books={A: book}, in_flight=lambda: (1,) * self.in_flight,
            signals_in_flight=lambda: 0,
            known_instruments=lambda: frozenset(("EUR_USD", "USD_JPY", "EUR_JPY", "EUR_GBP")),
        )  # fmt: skip

    def handle(self, *events: object) -> None:
        self.heard.extend(events)
        self.order.append("handle")

    def fetch(self, act: object) -> None:
        self.fetched.append(act)

    def retry_commit(self) -> None:
        self.order.append("retry")

    def maybe_snapshot(self) -> None:
        self.order.append("snapshot")


class FakeReader:
    """Gives its sink what the test prepared."""

    def __init__(self, *batches: tuple) -> None:
        self.batches = batches
        self.asked: list[tuple] = []

    async def stream_prices(self, account_id, instruments, sink):
        self.asked.append((account_id, tuple(instruments)))
        for batch in self.batches:
            sink(batch)

    async def stream_transactions(self, _account_id, sink):
        for batch in self.batches:
            sink(batch)


def _feeds(engine: FakeEngine, reader: FakeReader, kept: list[Tick], names=(EUR_USD,)) -> Feeds:
    clock = VirtualClock(lambda: START_NS, asyncio.get_running_loop())
    return Feeds(engine, reader, clock, names, kept.extend)


def test_prices_are_heard_in_order_and_kept_for_the_store():
    engine, kept = FakeEngine(), []
    up = StreamUp(stream="prices", account_id=A, seen_ns=1)
    items = (
        up,
        tick(),
        tick("1.2", "1.3"),
        StreamDown(stream="prices", account_id=A, seen_ns=2, reason="x"),
    )

    async def story() -> None:
        feeds = _feeds(engine, FakeReader(items), kept)
        await asyncio.sleep(1)
        await feeds.prices(A)
        assert feeds.last_tick_mono_ns > 0

    run_virtual(story())
    assert engine.heard == list(items)
    assert kept == [items[1], items[2]]


def test_what_converts_into_home_currencies_is_streamed_too():
    async def story() -> None:
        reader = FakeReader()
        await _feeds(FakeEngine(), reader, [], (InstrumentName("USD_JPY"),)).prices(A)
        ((account, wanted),) = reader.asked
        assert account == A
        assert wanted[0] == "USD_JPY"
        assert set(wanted) >= {"USD_JPY", "EUR_JPY", "EUR_USD"}

    run_virtual(story())


def test_a_batch_of_transactions_comes_through_the_one_door_with_its_highest_id():
    engine = FakeEngine()
    found = tuple(Transaction(id=str(n), type="ORDER_CANCEL") for n in (9, 10, 42))
    beat = StreamBeat(stream="transactions", account_id=A, venue_ns=1, seen_ns=1)

    async def story() -> None:
        await _feeds(engine, FakeReader((*found, beat)), []).transactions(A)

    run_virtual(story())
    (seen,) = [e for e in engine.heard if isinstance(e, TransactionsSeen)]
    assert (seen.transactions, seen.last_transaction_id, seen.source, seen.complete_to) == (
        found, 42, "stream", 0,
    )  # fmt: skip
    assert beat in engine.heard
    assert engine.fetched == []


def test_each_connection_of_a_log_is_followed_by_a_read_of_what_was_missed():
    engine = FakeEngine()
    up = StreamUp(stream="transactions", account_id=A, seen_ns=1)

    async def story() -> None:
        feeds = _feeds(engine, FakeReader((up,), (up,)), [])
        await feeds.transactions(A)
        await feeds.transactions(B)

    run_virtual(story())
    assert [(f.account_id, f.since, f.after_ms) for f in engine.fetched] == [(A, 41, 0), (A, 41, 0)]


def test_the_beat_saves_what_waits_before_time_is_told():
    engine = FakeEngine()

    async def story() -> None:
        work = asyncio.get_running_loop().create_task(
            _feeds(engine, FakeReader(), []).beat(lambda: 1.0)
        )
        await asyncio.sleep(5.5)
        work.cancel()

    run_virtual(story())
    assert [type(e) for e in engine.heard] == [Beat] * 5
    assert engine.order[:3] == ["retry", "handle", "snapshot"]


def test_a_quick_market_beats_each_of_its_seconds_but_never_more_than_fifty_times_a_second():
    counts = []
    for speed in (10.0, 60_000.0, 0.0):
        engine = FakeEngine()

        async def story(engine: FakeEngine = engine, speed: float = speed) -> None:
            work = asyncio.get_running_loop().create_task(
                _feeds(engine, FakeReader(), []).beat(lambda: speed)
            )
            await asyncio.sleep(10.01)
            work.cancel()

        run_virtual(story())
        counts.append(len(engine.heard))
    assert 99 <= counts[0] <= 101
    assert 499 <= counts[1] <= 501
    assert counts[2] == 10


def _drain(engine: FakeEngine, seconds: float) -> None:
    engine.kernel.mode = SystemMode.DRAINING

    async def story() -> None:
        work = asyncio.get_running_loop().create_task(
            _feeds(engine, FakeReader(), []).beat(lambda: 1.0)
        )
        await asyncio.sleep(seconds)
        work.cancel()

    run_virtual(story())


def test_a_drain_ends_as_soon_as_nothing_is_in_flight():
    engine = FakeEngine()
    engine.in_flight = 0
    _drain(engine, 1.5)
    assert [type(e) for e in engine.heard] == [Beat, Drained]


def test_a_drain_ends_after_ten_seconds_whatever_is_in_flight():
    engine = FakeEngine()
    _drain(engine, 9.5)
    assert not any(isinstance(e, Drained) for e in engine.heard)
    _drain(engine, 13.0)
    assert any(isinstance(e, Drained) for e in engine.heard)
