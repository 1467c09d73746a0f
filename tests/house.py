"""A whole house for tests: the real System and the paper venue in one process, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from orchestrator.adapters.store.market_sqlite import SqliteMarketStore
from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.main.parts import Hosting, build_system
from orchestrator.model.money import AccountId, Currency, InstrumentName, Side
from orchestrator.model.time import parse_time
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.feeds.manual import ManualFeed
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market
from orchestrator.service.desk import SignalWish
from orchestrator.service.gate import Gate
from orchestrator.service.seams import VirtualClock
from orchestrator.service.supervisor import System
from orchestrator.service.views import SignalTaken
from orchestrator.service.virtual import VirtualLoop
from orchestrator.settings import load_settings

T = TypeVar("T")

USD_ACCOUNT = AccountId("101-001-1000001-001")
EUR_ACCOUNT = AccountId("101-001-1000001-002")
EUR_USD = InstrumentName("EUR_USD")
# A Wednesday, 12:00 UTC: far from the roll.
START_NS = parse_time("2014-05-07T12:00:00Z")


def in_virtual_time(main: Callable[[], Awaitable[T]]) -> T:
    """Run a story to its end on a virtual-time loop."""

    async def story() -> T:
        return await main()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story())


def new_market(instruments: tuple[InstrumentName, ...] = (EUR_USD,)) -> Market:
    """A market priced by hand, with the two default accounts; inside a virtual-time loop."""
    loop = asyncio.get_running_loop()
    time = VenueTime(START_NS, 1.0, lambda: round(loop.time() * 1e9))
    market = Market(ManualFeed(START_NS, instruments), time, calendar="always")
    open_accounts(
        market,
        [
            AccountConfig(
                account_id=USD_ACCOUNT, currency=Currency("USD"), balance=Decimal(100_000)
            ),
            AccountConfig(
                account_id=EUR_ACCOUNT, currency=Currency("EUR"), balance=Decimal(50_000)
            ),
        ],
        None,
    )
    return market


class House:
    """One life of a service on a state folder. Use as an async context manager.

    Leaving it in the ordinary way shuts down in order; `crash()` cuts the life off instead, as a
    kill would: nothing is flushed that was not durable.
    """

    def __init__(
        self, folder: Path, market: Market, *, venue: InProcessVenue | None = None,
        **environment: str,
    ) -> None:  # fmt: skip
        self.market = market
        self.folder = folder
        settings = load_settings(
            env={"STATE_DIR": str(folder), "INSTRUMENTS": "EUR_USD", **environment}, env_file=None,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        self.store = SqliteStore(
            settings.database_path, sync="normal", checkpoint_s=0, installation_id="house"
        )
        self._market_store = SqliteMarketStore(settings.market_data_path)
        self.gate = Gate(folder)
        self.venue = venue or InProcessVenue(market)
        self.system: System = build_system(
            settings, self.venue, VirtualClock(market.time.now, loop), self.store, self.gate,
            self._market_store,
            Hosting(calendar="always", history=False, threads=False, node="test"),
        )  # fmt: skip
        self.desk = self.system.desk
        self.kernel = self.system.kernel
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> House:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self.market.run()), loop.create_task(self.system.run())]
        await self.system.up.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._tasks:
            self.system.shutdown()
            await self._tasks[1]
        await self._end()

    async def crash(self) -> None:
        """The process is gone: tasks stop where they stand; what was durable stays."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._end()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []
        self.store.close()
        self._market_store.close()

    async def price(self, bid: str, ask: str, name: InstrumentName = EUR_USD) -> None:
        """A price now, and a moment for what follows from it."""
        self.market.put_price(name, Decimal(bid), Decimal(ask))
        await asyncio.sleep(0.2)

    async def calm(self, seconds: int, bid: str = "1.39100", ask: str = "1.39110") -> None:
        """So many seconds of a market that stands still."""
        for _ in range(seconds):
            await self.price(bid, ask)
            await asyncio.sleep(0.8)

    async def buy(self, **wish: object) -> SignalTaken:
        """A person's signal to buy, which must be taken."""
        asked: Mapping[str, object] = {
            "instrument": EUR_USD, "side": Side.BUY, "stop_distance": Decimal("0.00300"),
            "target_distance": Decimal("0.00600"), "confidence": Decimal("0.6"), **wish,
        }  # fmt: skip
        taken = await self.desk.submit_signal(SignalWish(**asked), "anna")  # type: ignore[arg-type]
        assert isinstance(taken, SignalTaken), taken
        return taken

    def venue_trades(self) -> list[tuple[str, str]]:
        """(account, trade id) of what is open by the venue's own books."""
        accounts = self.market.exchange.accounts
        return [(name, trade_id) for name, books in accounts.items() for trade_id in books.trades]
