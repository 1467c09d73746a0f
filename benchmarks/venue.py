"""The paper venue as a process that stamps each tick it writes and each order it has read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from multiprocessing.connection import Connection as Pipe

import msgspec
import uvloop

from benchmarks.children import Child
from orchestrator.model.market import Tick
from orchestrator.model.money import AccountId, Currency, InstrumentName, Price
from orchestrator.model.venue import Transaction
from orchestrator.paper.call import Answer
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.clockwork import Clockwork
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.exchange.requests import CloseTradeBody
from orchestrator.paper.exchange.triggers import FILL_REASONS
from orchestrator.paper.feeds.manual import ManualFeed
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market
from orchestrator.paper.routes.pricing import price_line
from orchestrator.paper.server import Connection, Server

TOKEN = "benchmark"  # noqa: S105 -- of a venue that lives for seconds on loopback
EUR_USD = InstrumentName("EUR_USD")
OURS = (AccountId("101-001-1000001-001"), AccountId("101-001-1000001-002"))
SCRIPT = AccountId("101-001-1000001-003")
CALM = (Decimal("1.10000"), Decimal("1.10001"))
TRIGGER = Decimal("1.10005")  # a bid that the scripts, and our trigger agent, answer with an order
SPREAD = Decimal("0.00010")
_BALANCE = Decimal(10_000_000)
_KEPT_S = 0.02  # an opened trade is closed by the venue after so long


class Stamps(msgspec.Struct):
    """Machine time, monotonic nanoseconds. Ticks by their venue time, orders by their client id."""

    ticks: list[tuple[int, int]]
    orders: list[tuple[str, int]]


class _Line(Connection):
    """A connection of the paper venue that knows when what it read had come."""

    def __init__(self, server: Server, bench: Bench) -> None:
        super().__init__(server)
        self._bench = bench
        self._read_ns = 0

    def data_received(self, data: bytes) -> None:
        self._read_ns = time.monotonic_ns()
        super().data_received(data)

    def on_message_complete(self) -> None:
        if self._url.endswith(b"/orders") and self._body:
            self._bench.order_came(self._body, self._read_ns)
        super().on_message_complete()

    def _open_stream(
        self, method: str, parts: list[str], query: dict[str, str], request_id: str
    ) -> Answer | None:
        answer = super()._open_stream(method, parts, query, request_id)
        if parts[3] == "pricing":
            self._bench.listeners.append(self)
        return answer

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self in self._bench.listeners:
            self._bench.listeners.remove(self)

    def write_line(self, line: bytes) -> None:
        """Straight to the socket: the venue's four prices a second are too few for us."""
        self._chunk(line)


class _Names(msgspec.Struct):
    id: str


class _Order(msgspec.Struct, rename="camel"):
    client_extensions: _Names


class _Body(msgspec.Struct):
    order: _Order


_read_body = msgspec.json.Decoder(_Body).decode


class Bench:
    """The market, what is stamped, and the closing of trades so that none pile up."""

    def __init__(self) -> None:
        clock = VenueTime(time.time_ns(), 1.0, time.monotonic_ns)
        self.market = Market(ManualFeed(clock.now(), (EUR_USD,)), clock, calendar="always")
        configs = [
            AccountConfig(account_id=name, currency=Currency(home), balance=_BALANCE)
            for name, home in ((OURS[0], "USD"), (OURS[1], "EUR"), (SCRIPT, "USD"))
        ]
        open_accounts(self.market, configs, None)
        self._clockwork = Clockwork(self.market.exchange, clock.now())
        self.market.exchange.listeners.append(self._filled)
        self.listeners: list[_Line] = []
        self.stamps = Stamps([], [])
        self.order_read = asyncio.Event()
        self._closings = 0
        self.tick(CALM[0])

    def order_came(self, body: bytes, read_ns: int) -> None:
        self.stamps.orders.append((_read_body(body).order.client_extensions.id, read_ns))
        self.order_read.set()

    def tick(self, bid: Decimal) -> None:
        """Written to every listener at once, and stamped as it goes."""
        tick = self._quote(bid)
        self._clockwork.on_tick(tick)
        line = price_line(tick) + b"\n"
        now = time.monotonic_ns()
        for listener in self.listeners:
            listener.write_line(line)
        self.stamps.ticks.append((tick.venue_ns, now))

    def _quote(self, bid: Decimal) -> Tick:
        now = self.market.time.now()
        return Tick(
            instrument=EUR_USD, bid=Price(bid), ask=Price(bid + SPREAD), venue_ns=now, seen_ns=now
        )

    # -- trades end, two with a gain and one with a loss, so that no strategy is given up --------

    def _filled(self, books: Books, made: Sequence[Transaction], encoded: Sequence[bytes]) -> None:
        del encoded
        for each in made:
            if each.trade_opened is not None:
                loop = asyncio.get_running_loop()
                loop.call_later(_KEPT_S, self._close, books, each.trade_opened.trade_id)

    def _close(self, books: Books, trade_id: str) -> None:
        trade = books.trades.get(trade_id)
        if trade is None:
            return
        self._closings += 1
        target, stop = trade.take_profit_order_id, trade.stop_loss_order_id
        wanted = stop if self._closings % 3 == 0 else target
        if wanted is None:
            body = CloseTradeBody(units="ALL")
            now = self.market.time.now()
            self.market.exchange.close_trade(books, trade_id, body, "closing", now)
            return
        order = books.pending[wanted]
        assert order.price is not None
        # A price that nobody is told of fills this one order; then the old one stands again.
        exchange = self.market.exchange
        before = exchange.quotes.get(EUR_USD)
        exchange.quotes.put(self._quote(order.price))
        batch = exchange.own_batch(books, self.market.time.now())
        exchange.matching.execute(batch, order, FILL_REASONS[order.type])
        exchange.finish(batch)
        if before is not None:
            exchange.quotes.put(before)


class Floor:
    """Answers what the run asks through the pipe; one wish at a time."""

    def __init__(self, bench: Bench, pipe: Pipe) -> None:
        self._bench = bench
        self._pipe = pipe
        self._pace: asyncio.Task[None] | None = None

    async def wish(self, name: str, *numbers: float) -> object:
        """What is sent back."""
        bench = self._bench
        if self._pace is not None:
            self._pace.cancel()
            self._pace = None
        match name:
            case "calm":  # prices that trigger nothing go on until the next wish
                self._pace = asyncio.get_running_loop().create_task(self._calm(numbers[0]))
            case "paced":
                await self._paced(int(numbers[0]), numbers[1])
            case "hot":
                await self._hot(int(numbers[0]), numbers[1])
            case "take":
                taken, bench.stamps = bench.stamps, Stamps([], [])
                return taken
            case "listeners":
                return len(bench.listeners)
            case _:
                raise ValueError(name)
        return None

    async def _calm(self, per_s: float) -> None:
        number = 0
        while True:
            number += 1
            self._bench.tick(CALM[number % 2])
            await asyncio.sleep(1 / per_s)

    async def _paced(self, orders: int, per_s: float) -> None:
        """Every second tick is a trigger; the process sleeps in between."""
        began = time.monotonic_ns()
        for number in range(2 * orders):
            due = began + int(number / per_s * 1e9)
            await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
            self._bench.tick(TRIGGER if number % 2 else CALM[number // 2 % 2])
        await asyncio.sleep(0.2)

    async def _hot(self, orders: int, gap_s: float) -> None:
        """The next tick comes so soon after the last order that nobody falls asleep."""
        for number in range(orders):
            self._bench.order_read.clear()
            self._bench.tick(CALM[number % 2])
            await asyncio.sleep(gap_s)
            self._bench.tick(TRIGGER)
            try:
                await asyncio.wait_for(self._bench.order_read.wait(), 0.25)
            except TimeoutError:
                continue  # refused by a check; the matching counts it as missing
            await asyncio.sleep(gap_s)
        await asyncio.sleep(0.2)


def serve(pipe: Pipe) -> None:
    """The child's work: the port first, then an answer to each wish until the pipe ends."""
    uvloop.run(_serve(pipe))


async def _serve(pipe: Pipe) -> None:
    loop = asyncio.get_running_loop()
    bench = Bench()
    server = Server(bench.market, TOKEN)
    listening = await loop.create_server(lambda: _Line(server, bench), "127.0.0.1", 0)
    floor = Floor(bench, pipe)
    pipe.send(listening.sockets[0].getsockname()[1])
    ready = asyncio.Event()
    loop.add_reader(pipe.fileno(), ready.set)
    while True:
        await ready.wait()
        ready.clear()
        while pipe.poll():
            pipe.send(await floor.wish(*pipe.recv()))


class VenueProcess(Child):
    """The venue's process as the run sees it."""

    def __init__(self) -> None:
        super().__init__(serve)
        self.port = int(self.hear())

    def take(self) -> Stamps:
        """What was stamped since the last time."""
        found = self.ask("take")
        assert isinstance(found, Stamps)
        return found
