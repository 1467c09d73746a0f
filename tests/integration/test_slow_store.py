"""The house on a real PostgreSQL that is frozen, killed and brought back: trading waits, nothing
else does, and what was promised stands.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from orchestrator.adapters.store.market_sqlite import SqliteMarketStore
from orchestrator.adapters.store.postgres import PostgresStore
from orchestrator.kernel.audit import verify
from orchestrator.kernel.engine import Kernel
from orchestrator.main.parts import Hosting, build_system, kernel_plan
from orchestrator.model.facts import Fact, IntentWritten, SignalAccepted, SignalEnded
from orchestrator.model.money import AccountId, Currency, InstrumentName, Side
from orchestrator.model.safety import SystemMode
from orchestrator.model.venue import Transaction
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.feeds.manual import ManualFeed
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market
from orchestrator.service.desk import SignalWish
from orchestrator.service.gate import Gate
from orchestrator.service.seams import SystemClock, mono_ns, wall_ns
from orchestrator.service.supervisor import System
from orchestrator.service.views import Refused, SignalTaken, StopReceipt
from orchestrator.settings import load_settings
from tests.servers.postgres import PostgresServer

EUR_USD = InstrumentName("EUR_USD")
ACCOUNTS = {AccountId("101-001-1000001-001"): "USD", AccountId("101-001-1000001-002"): "EUR"}
_WITHIN_S = 60.0
# The machine is shared: what would block these stories for that, or for their haste, comes later.
_TABLES = """
[limits]
duplicate_window_s = 0
strategy_interval_s = 0
[breakers]
loop_lag_ms_max = 2000
losing_run = 100
unclean_starts = 1000
"""


class Story:
    """A house in real time: the market in its process, its store elsewhere."""

    def __init__(self, folder: Path, url: str) -> None:
        tables = folder / "orchestrator.toml"
        tables.write_text(_TABLES)
        self.settings = load_settings(
            env={"STATE_DIR": str(folder), "INSTRUMENTS": "EUR_USD"}, env_file=None, config=tables
        )
        venue_time = VenueTime(wall_ns(), 1.0, mono_ns)
        self.market = Market(ManualFeed(wall_ns(), (EUR_USD,)), venue_time, calendar="always")
        configs = [
            AccountConfig(account_id=name, currency=Currency(home), balance=Decimal(100_000))
            for name, home in ACCOUNTS.items()
        ]
        open_accounts(self.market, configs, None)
        self.store = PostgresStore(url)
        self.gate = Gate(folder)
        self.market_store = SqliteMarketStore(self.settings.market_data_path)
        self.system: System = build_system(
            self.settings, InProcessVenue(self.market), SystemClock(), self.store, self.gate,
            self.market_store, Hosting(calendar="always", history=False, threads=True, node="test"),
        )  # fmt: skip
        self.turns = 0
        self.signals = 0
        self.orders: list[str] = []  # of ours, as the venue has heard them
        self.market.exchange.listeners.append(self._hear)

    def _hear(self, _: Books, made: Sequence[Transaction], __: Sequence[bytes]) -> None:
        named = (tx.client_extensions for tx in made if tx.reason == "CLIENT_ORDER")
        self.orders += [each.id or "" for each in named if each is not None]

    async def live(self) -> None:
        """Prices, and a count of the loop's turns."""
        while True:
            self.turns += 1
            step = Decimal(self.turns % 3) / 100_000
            self.market.put_price(EUR_USD, Decimal("1.39100") + step, Decimal("1.39110") + step)
            await asyncio.sleep(0.02)

    async def buy(self) -> SignalTaken | Refused:
        self.signals += 1
        wish = SignalWish(
            instrument=EUR_USD, side=Side.BUY, stop_distance=Decimal("0.00300"),
            target_distance=Decimal("0.00600"), confidence=Decimal("0.6"),
            signal_id=f"s-{self.signals}",
        )  # fmt: skip
        return await self.system.desk.submit_signal(wish, "anna")

    async def trade(self) -> None:
        """One that stands at the venue; a machine at its limit may need several signals."""

        async def buy() -> None:
            while not self.trades():
                await self.buy()
                await asyncio.sleep(0.5)

        async with asyncio.timeout(_WITHIN_S):
            await buy()

    async def until(self, what: str, true: Callable[[], bool]) -> None:
        ends = time.monotonic() + _WITHIN_S  # noqa: TID251 -- real servers live in real time
        while not true():
            assert time.monotonic() < ends, what  # noqa: TID251 -- as above
            await asyncio.sleep(0.02)

    def trades(self) -> int:
        """By the venue's own books."""
        return sum(len(books.trades) for books in self.market.exchange.accounts.values())

    def journal(self) -> list[Fact]:
        """All of it, when it verifies and makes the kernel that lives."""
        rows = list(self.store.facts_after(0))
        records = [record for record, _ in rows]
        assert verify(records, self.store.installation_id()) is None
        played = Kernel(kernel_plan(self.settings, "always"))
        for record, fact in rows:
            played.apply(fact, record.ts)
        assert played.snapshot() == self.system.kernel.snapshot()
        return [fact for _, fact in rows]


@asynccontextmanager
async def living(folder: Path, url: str) -> AsyncIterator[Story]:
    """Up and trading; ended in order."""
    story = Story(folder, url)
    try:
        async with asyncio.TaskGroup() as tasks:
            every = [tasks.create_task(story.market.run()), tasks.create_task(story.live())]
            running = tasks.create_task(story.system.run())
            await story.system.up.wait()
            await story.until("warm", lambda: _warm(story.system))
            yield story
            story.system.shutdown()
            await running
            for task in every:
                task.cancel()
        story.journal()
    finally:
        story.store.close()
        story.market_store.close()


def _warm(system: System) -> bool:
    blocked = [b for b in system.kernel.breakers(0) if b.breaker == "T4" and b.state != "armed"]
    return system.mode is SystemMode.RUNNING and not blocked


def test_with_the_database_frozen_a_stop_is_answered_and_carried_out_and_the_loop_turns(
    tmp_path, own_postgres: PostgresServer
):
    async def story() -> None:
        async with living(tmp_path, own_postgres.create()) as house:
            await house.trade()
            own_postgres.freeze()
            try:
                turns, orders = house.turns, list(house.orders)
                waiting = await house.buy()
                assert isinstance(waiting, Refused)
                assert waiting.status == 503
                assert house.turns - turns > 10
                receipt = await house.system.desk.emergency_stop("anna", "frozen")
                assert isinstance(receipt, StopReceipt)
                assert receipt.persisted
                assert house.gate.stopped
                await house.until("flat", lambda: house.trades() == 0)
                assert not house.system.engine.durable
                again = await house.system.desk.emergency_stop("bert", "once more")
                assert isinstance(again, StopReceipt)
                assert again.stop_id == receipt.stop_id
            finally:
                own_postgres.thaw()
            await house.until("durable", lambda: house.system.engine.durable)
            facts = house.journal()
        assert house.orders == orders
        taken = {f.signal.signal_id: f.accounts for f in facts if isinstance(f, SignalAccepted)}
        ended = [(f.signal_id, f.account_id) for f in facts if isinstance(f, SignalEnded)]
        assert f"s-{house.signals}" in taken
        assert sorted(ended) == sorted((name, a) for name, each in taken.items() for a in each)

    asyncio.run(story())


def test_a_database_that_is_killed_blocks_new_risk_and_loses_nothing_that_was_promised(
    tmp_path, own_postgres: PostgresServer
):
    async def story() -> None:
        async with living(tmp_path, own_postgres.create()) as house:
            await house.trade()
            own_postgres.kill()
            assert isinstance(await house.buy(), Refused)
            await house.until("S5", lambda: house.system.kernel.storage_blocked)
            orders = list(house.orders)
            assert isinstance(await house.buy(), Refused)
            await asyncio.to_thread(own_postgres.start)
            await house.until("durable", lambda: house.system.engine.durable)
            assert house.orders == orders
            intents = [f.intent.intent_id for f in house.journal() if isinstance(f, IntentWritten)]
            assert set(orders) <= set(intents)

    asyncio.run(story())


def test_an_agent_that_is_begun_anew_does_not_wait_for_a_frozen_database(
    tmp_path, own_postgres: PostgresServer
):
    async def story() -> None:
        async with living(tmp_path, own_postgres.create()) as house:
            await house.trade()
            own_postgres.freeze()
            try:
                view = house.system.agents.restart("learning_safety-1")
                assert view is not None
                assert view.state == "healthy"
            finally:
                own_postgres.thaw()
            await house.until("durable", lambda: house.system.engine.durable)

    asyncio.run(story())
