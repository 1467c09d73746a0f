"""The paper venue behind a socket, traders on its accounts, a bad line between: in quick time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import msgspec

from orchestrator.adapters.oanda.client import ClientLimits, OandaVenue
from orchestrator.model.money import AccountId, Currency
from orchestrator.model.time import parse_time
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.faults import Fault
from orchestrator.paper.feeds.manual import ManualFeed
from orchestrator.paper.instruments import SPECS
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market
from orchestrator.paper.server import Connection, Server
from orchestrator.paper.state import read_transactions
from tests.integration.rogue_line import RogueLine
from tests.integration.venue_driver import EUR_USD, Driver

START_NS = parse_time("2014-05-07T12:00:00Z")
TOKEN = "secret"
LOW, BID, ASK = Decimal("1.05000"), Decimal("1.10000"), Decimal("1.10010")
STOP, TIGHTER = Decimal("1.08000"), Decimal("1.09000")


def _mono_ns() -> int:
    return round(asyncio.get_running_loop().time() * 1e9)


class _Counting(Connection):
    """Counts the orders that arrive at the venue's door, whatever becomes of them."""

    received: Counter[str]

    def on_message_complete(self) -> None:
        name = self._headers.get(b"clientrequestid", b"").decode()
        if name:
            self.received[name] += 1
        super().on_message_complete()


class World:
    """One venue, `accounts` traders."""

    def __init__(self, accounts: int, seed: int) -> None:
        self.dice = random.Random(seed)
        self.names = [AccountId(f"101-001-1000001-{n:03d}") for n in range(1, accounts + 1)]
        time = VenueTime(START_NS, 1.0, _mono_ns)
        self.market = Market(ManualFeed(START_NS, tuple(SPECS)), time, calendar="always")
        home = Currency("USD")
        configs = [
            AccountConfig(account_id=name, currency=home, balance=Decimal(100_000))
            for name in self.names
        ]
        open_accounts(self.market, configs, None)
        self.server = Server(self.market, TOKEN, with_control=True, seed=seed)
        self.received: Counter[str] = Counter()
        self.line = RogueLine(seed)
        self._slowest_s = 0.0  # a request that was held back acts so long after its fault
        self.drivers: dict[AccountId, Driver] = {}
        self.venue: OandaVenue
        self.price(BID)

    def price(self, bid: Decimal) -> None:
        self.market.put_price(EUR_USD, bid, bid + Decimal("0.00010"))

    def fault(self, **fields: object) -> None:
        fault = msgspec.convert(fields, Fault)
        self._slowest_s = max(self._slowest_s, fault.delay_ms / 1000)
        assert self.server.faults.add(fault)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        counting = type("Door", (_Counting,), {"received": self.received})
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: counting(self.server), "127.0.0.1", 0)
        async with self.line.between(listening.sockets[0].getsockname()[1]):
            self.venue = OandaVenue(
                self.names, TOKEN, rest_url=self.line.url, stream_url=self.line.url,
                now=self.market.time.now, mono=_mono_ns, dice=self.dice.random,
                limits=ClientLimits(backoff_most_s=5.0),
            )  # fmt: skip
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self.market.run())]
                for name in self.names:
                    driver = self.drivers[name] = Driver(self.venue, name)
                    await driver.begin()
                    running.append(tasks.create_task(driver.run()))
                try:
                    yield
                finally:
                    for task in running:
                        task.cancel()
            await self.venue.close()
        listening.close()
        self.server.close()
        await asyncio.sleep(1)  # what was cut hears of it before the loop ends

    async def settle_and_judge(self) -> list[str]:
        """All faults end, everything settles; what does not hold, as sentences."""
        self.server.faults.clear()
        self.line.stop()
        await asyncio.sleep(self._slowest_s)
        said: list[str] = []
        for driver in self.drivers.values():
            async with asyncio.timeout(20_000):
                await driver.settled()
        for name, driver in self.drivers.items():
            history = read_transactions(self.market.exchange.accounts[name].history)
            said += await driver.judged(self.received, list(history))
        return said


def told(accounts: int, seed: int, story: Callable[[World], Awaitable[None]]) -> Callable:
    """The story in a world of its own, judged at its end; gives the world back."""

    async def run() -> World:
        world = World(accounts, seed)
        async with world.running():
            await story(world)
            said = await world.settle_and_judge()
        assert said == [], "\n".join(said)
        return world

    return run


# one of each kind of write, by a trader of its own, while `strike(operation)` arms the trouble


async def create(driver: Driver, strike: Callable[[str], None]) -> None:
    strike("orders.create")
    await driver.buy(100, stop=STOP)


async def rest_and_cancel(driver: Driver, strike: Callable[[str], None]) -> None:
    await driver.rest(10, LOW)
    strike("orders.cancel")
    for order_id in driver.entries():
        await driver.cancel(order_id)


async def replace(driver: Driver, strike: Callable[[str], None]) -> None:
    await driver.rest(10, LOW)
    strike("orders.replace")
    for order_id in driver.entries():
        await driver.replace(order_id, LOW - Decimal("0.01"))


async def protect(driver: Driver, strike: Callable[[str], None]) -> None:
    await driver.buy(100, stop=STOP)
    strike("trades.orders")
    for trade_id in tuple(driver.book.trades):
        await driver.protect(trade_id, TIGHTER)


async def close(driver: Driver, strike: Callable[[str], None]) -> None:
    await driver.buy(100, stop=STOP)
    strike("trades.close")
    for trade_id in tuple(driver.book.trades):
        await driver.close(trade_id)


async def flatten(driver: Driver, strike: Callable[[str], None]) -> None:
    await driver.buy(100, stop=STOP)
    await driver.buy(50)
    strike("positions.close")
    await driver.flatten()


WRITES = (create, rest_and_cancel, replace, protect, close, flatten)


async def each_write(world: World, strike: Callable[[str, AccountId], None]) -> None:
    """All kinds of writes at once, one a trader."""
    async with asyncio.timeout(20_000), asyncio.TaskGroup() as tasks:
        for write, driver in zip(WRITES, world.drivers.values(), strict=True):

            def armed(operation: str, name: AccountId = driver.account) -> None:
                strike(operation, name)

            tasks.create_task(write(driver, armed))


async def trade_at_random(world: World, driver: Driver, acts: int) -> None:
    """`acts` of all kinds, some at once, as the dice say."""
    dice = random.Random(f"{driver.account} {world.dice.random()}")

    async def act() -> None:
        trades, entries = list(driver.book.trades), driver.entries()
        away = Decimal(dice.randint(200, 900)) * Decimal("0.00001")
        match dice.randrange(10):
            case 0 | 1 | 2:
                await driver.buy(dice.choice((100, -100, 37)), stop=None)
            case 3:
                await driver.buy(100, stop=STOP)
            case 4:
                await driver.rest(dice.choice((10, -10)), BID + dice.choice((1, -1)) * away)
            case 5 if entries:
                await driver.cancel(dice.choice(entries))
            case 6 if entries:
                await driver.replace(dice.choice(entries), BID - away)
            case 7 if trades:
                await driver.close(dice.choice(trades))
            case 8:
                await driver.flatten()
            case _:
                world.price(BID + dice.choice((1, -1)) * away)

    async with asyncio.timeout(20_000), asyncio.TaskGroup() as tasks:
        for _ in range(acts):
            tasks.create_task(act())
            await asyncio.sleep(dice.uniform(0.0, 1.5))
