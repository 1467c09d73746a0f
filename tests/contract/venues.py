"""The venues of the contract suite: each given to a test with an account and clean books."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path

from orchestrator.adapters.oanda.address import PRACTICE
from orchestrator.adapters.oanda.bodies import Bodies
from orchestrator.adapters.oanda.client import OandaVenue
from orchestrator.model.market import StreamUp
from orchestrator.model.money import AccountId, Currency, InstrumentName
from orchestrator.model.orders import Answered, WriteKind, WriteOutcome, WriteRequest
from orchestrator.model.ports import StreamItem, Venue
from orchestrator.model.time import NS_PER_S
from orchestrator.model.venue import ClientExtensions, Transaction
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.feeds.manual import ManualFeed
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.paper.instruments import SPECS
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market
from orchestrator.service.seams import wall_ns

EUR_USD = InstrumentName("EUR_USD")
TOKEN = "contract"
ACCOUNTS = [AccountId(f"101-001-1000001-{number:03d}") for number in range(1, 121)]
OTHER = AccountId("101-001-1000001-900")
GUARANTEED = AccountId("101-001-1000001-901")


def mono_ns() -> int:
    return round(asyncio.get_running_loop().time() * NS_PER_S)


PRACTICE_TOKEN = "OANDA_PRACTICE_TOKEN"
PRACTICE_ACCOUNT = "OANDA_PRACTICE_ACCOUNT"


class Bench:
    """A venue under test, and an account of its own that nobody else trades on meanwhile.

    `since`: the account's last transaction before the test. At practice nobody has a hand on the
    price, so `quote` is None there, and orders are of one unit, the least there is.
    """

    def __init__(
        self,
        venue: Venue,
        account: AccountId,
        quote: Callable[[str, str], asyncio.Future] | None,
        prefix: str = "i",
    ) -> None:
        self.venue = venue
        self.account = account
        self._quote = quote
        self.practice = quote is None
        self.units = "1" if quote is None else "100"
        self.bodies = Bodies(account, SPECS[EUR_USD])
        self.prefix = prefix
        self.names = iter(range(1, 1000))
        self.since = 0
        self.bid = Decimal("1.10000")

    async def begin(self) -> None:
        if self._quote is not None:
            await self.price("1.10000", "1.10010")
        (tick,) = await self.venue.prices(self.account, [EUR_USD])
        self.bid = tick.bid
        account = await self.venue.account(self.account)
        self.since = int(account.last_transaction_id)

    async def price(self, bid: str, ask: str) -> None:
        assert self._quote is not None, "nobody has a hand on the price of a practice account"
        await self._quote(bid, ask)

    def below(self, part: str = "0.01") -> Decimal:
        """So far below the bid, on the grid."""
        return (self.bid * (1 - Decimal(part))).quantize(Decimal("0.00001"))

    def request(self, kind: WriteKind, target: str = "", body: object = None) -> WriteRequest:
        return WriteRequest(
            kind=kind,
            account_id=self.account,
            target=target,
            body="" if body is None else json.dumps(body),
        )

    def order(self, **fields: object) -> WriteRequest:
        name = f"{self.prefix}-{next(self.names)}"
        wish = {
            "type": "MARKET", "instrument": EUR_USD, "units": self.units, "timeInForce": "FOK",
            "positionFill": "DEFAULT", "clientExtensions": {"id": name},
            "tradeClientExtensions": {"id": name}, **fields,
        }  # fmt: skip
        return WriteRequest(
            kind=WriteKind.ORDER,
            account_id=self.account,
            body=json.dumps({"order": wish}),
            client_request_id=name,
        )

    def protected(self, **fields: object) -> WriteRequest:
        """A market order with a stop 1 % away."""
        return self.order(stopLossOnFill={"price": str(self.below())}, **fields)

    def limit(self, **fields: object) -> WriteRequest:
        """One that will not be filled."""
        price = str(self.below("0.2"))
        return self.order(**{"type": "LIMIT", "price": price, "timeInForce": "GTC"} | fields)

    async def send(self, request: WriteRequest, gate=lambda: None) -> tuple[WriteOutcome, int]:
        ended = asyncio.get_running_loop().create_future()

        def done(outcome: WriteOutcome, first_byte_ns: int) -> None:
            ended.set_result((outcome, first_byte_ns))  # a second call would raise

        self.venue.submit(request, gate, done)
        assert not ended.done()  # never inside submit
        async with asyncio.timeout(60):
            return await ended

    async def write(self, request: WriteRequest) -> WriteOutcome:
        return (await self.send(request))[0]

    async def done(self, request: WriteRequest) -> list[Transaction]:
        """What an accepted write made."""
        outcome = await self.write(request)
        assert isinstance(outcome, Answered), outcome
        return list(outcome.transactions)

    async def log(self, since: int | None = None) -> list[Transaction]:
        begun = self.since if since is None else since
        return list((await self.venue.transactions_since(self.account, begun))[0])

    async def types(self, since: int | None = None) -> list[str]:
        return [one.type for one in await self.log(since)]

    async def tidy(self) -> None:
        """Cancel and close what this test left at the venue, by our own names alone."""
        account = await self.venue.account(self.account)
        for order in account.orders or ():
            if self._ours(order.client_extensions):
                await self.write(self.bodies.cancel(order.id))
        for trade in account.trades or ():
            if self._ours(trade.client_extensions):
                await self.write(self.bodies.close_trade(trade.id))

    def _ours(self, names: ClientExtensions | None) -> bool:
        return ((names and names.id) or "").startswith(f"{self.prefix}-")


class Paper:
    """The paper venue as a process of its own."""

    def __init__(self, folder: Path) -> None:
        port_file = folder / "port"
        flags = ["--port", "0", "--port-file", str(port_file), "--token", TOKEN, "--control"]
        for account in (*ACCOUNTS, OTHER):
            flags += ["--account", f"{account}:USD:100000"]
        flags += ["--account", f"{GUARANTEED}:USD:100000:guaranteed"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.paper", "--feed", "manual", *flags],
            stdout=subprocess.DEVNULL,
        )
        for _ in range(600):
            if port_file.exists() or self.process.poll() is not None:
                break
            time.sleep(0.05)  # noqa: TID251 - waits for another process
        self.port = int(port_file.read_text())

    async def quote(self, bid: str, ask: str) -> None:
        body = json.dumps({"instrument": EUR_USD, "bid": bid, "ask": ask}).encode()
        head = f"POST /control/prices HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        head += f"Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n")
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        assert b" 200 " in answer, answer


@asynccontextmanager
async def over_http(paper: Paper, account: AccountId) -> AsyncIterator[Bench]:
    url = f"http://127.0.0.1:{paper.port}"
    venue = OandaVenue(
        [account, OTHER],
        TOKEN,
        rest_url=url,
        stream_url=url,
        now=mono_ns,
        mono=mono_ns,
        dice=random.Random(1).random,
    )
    try:
        yield Bench(venue, account, paper.quote)
    finally:
        await venue.close()


@asynccontextmanager
async def in_process(account: AccountId) -> AsyncIterator[Bench]:
    feed = ManualFeed(1_400_000_000 * NS_PER_S, tuple(SPECS))
    market = Market(feed, VenueTime(feed.start_ns, 1.0, mono_ns), calendar="always")
    configs = [
        AccountConfig(account_id=one, currency=Currency("USD"), balance=Decimal(100_000))
        for one in (account, OTHER)
    ]
    open_accounts(market, configs, None)

    async def quote(bid: str, ask: str) -> None:
        market.put_price(EUR_USD, Decimal(bid), Decimal(ask))

    venue = InProcessVenue(market)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(market.run())
        try:
            yield Bench(venue, account, quote)
        finally:
            await venue.close()
            running.cancel()


@asynccontextmanager
async def at_practice() -> AsyncIterator[Bench]:
    """A real practice account: practice hosts only, one unit an order, tidied up at the end."""
    account = AccountId(os.environ[PRACTICE_ACCOUNT])
    assert account.startswith("101-"), "not a practice account"
    venue = OandaVenue(
        [account],
        os.environ[PRACTICE_TOKEN],
        rest_url=PRACTICE.rest,
        stream_url=PRACTICE.stream,
        now=wall_ns,
        mono=mono_ns,
        dice=random.Random(1).random,
    )
    bench = Bench(venue, account, None, prefix=f"contract{wall_ns() // NS_PER_S}")
    try:
        yield bench
    finally:
        await bench.tidy()
        await venue.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - conditions of all kinds, no event to wait for
            await asyncio.sleep(0.005)


@asynccontextmanager
async def heard(stream: Callable) -> AsyncIterator[list[StreamItem]]:
    """What a stream told, from its StreamUp on."""
    items: list[StreamItem] = []
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(stream(items.extend))
        await until(lambda: bool(items))
        assert isinstance(items[0], StreamUp)
        try:
            yield items
        finally:
            running.cancel()
