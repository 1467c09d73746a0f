"""The paper venue without a socket: the Venue port over the same market, for virtual time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeAlias

import msgspec

from orchestrator.model.errors import VenueRefused
from orchestrator.model.market import Candle, StreamBeat, StreamUp, Tick
from orchestrator.model.money import AccountId, InstrumentName, InstrumentSpec, Price
from orchestrator.model.orders import (
    Answered,
    GateQuestion,
    NotSent,
    Rejected,
    WriteKind,
    WriteOutcome,
    WriteRequest,
)
from orchestrator.model.ports import StreamSink, VenueClock, WriteDone
from orchestrator.model.time import Instant
from orchestrator.model.venue import Account, Transaction
from orchestrator.paper.alignment import GRANULARITIES
from orchestrator.paper.candles import Bar, complete
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.exchange import Exchange
from orchestrator.paper.exchange.reply import Reply, refusal
from orchestrator.paper.exchange.requests import (
    BadBody,
    ClosePositionBody,
    CloseTradeBody,
    ConfigureBody,
    ExtensionsBody,
    OrderBody,
    TradeOrdersBody,
    read_body,
)
from orchestrator.paper.exchange.valuation import margin_rate
from orchestrator.paper.exchange.views import account_of
from orchestrator.paper.market import Market
from orchestrator.paper.state import read_transactions

BEAT_S = 5.0
ORDERS_WAITING = 1000

_BAD_REQUEST = 400


class InProcessVenue:
    """Meets `model.ports.Venue`. Run `market.run()` beside it; streams get every tick.

    A write changes the exchange in the loop's next turn, asking the gate right before it; urgent
    writes go before orders that wait.
    """

    def __init__(self, market: Market) -> None:
        self.market = market
        self._urgent: deque[tuple[WriteRequest, GateQuestion, WriteDone]] = deque()
        self._orders: deque[tuple[WriteRequest, GateQuestion, WriteDone]] = deque()
        self._scheduled = False
        self._requests = 0
        self._closed = False

    # --- writing -----------------------------------------------------------------------------

    def submit(self, request: WriteRequest, gate: GateQuestion, done: WriteDone) -> None:
        """Queue a write; `done` is called once, from the loop, never in here."""
        waiting = self._urgent if request.urgent else self._orders
        loop = asyncio.get_running_loop()
        if self._closed or len(waiting) >= ORDERS_WAITING:
            why = "the venue is closed" if self._closed else "queue full"
            loop.call_soon(done, NotSent(reason=why), 0)
            return
        waiting.append((request, gate, done))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._pump)

    def _pump(self) -> None:
        """One write a turn of the loop, so that whatever closes the gate gets its turn between."""
        waiting = self._urgent or self._orders
        self._scheduled = False
        if not waiting:
            return  # the venue was closed in between
        request, gate, done = waiting.popleft()
        loop = asyncio.get_running_loop()
        self._scheduled = bool(self._urgent or self._orders)
        if self._scheduled:
            loop.call_soon(self._pump)
        refused = gate()
        if refused is not None:
            loop.call_soon(done, NotSent(reason=refused, by_gate=True), 0)
            return
        first_byte_ns = self.market.time.now()
        loop.call_soon(done, self._perform(request, first_byte_ns), first_byte_ns)

    def _perform(self, request: WriteRequest, now: Instant) -> WriteOutcome:
        books = self.market.exchange.accounts.get(request.account_id)
        if books is None:
            return Rejected(status=403, code="", message="The provided request was forbidden.")
        try:
            reply = self._reply(request, books, now)
        except BadBody as error:
            reply = refusal(_BAD_REQUEST, str(error))
        if reply.status >= _BAD_REQUEST:
            return Rejected(
                status=reply.status,
                code=reply.error_code,
                message=reply.error_message,
                transactions=reply.made,
                last_transaction_id=reply.last_id,
            )
        return Answered(
            status=reply.status, transactions=reply.made, last_transaction_id=reply.last_id
        )

    def _reply(self, request: WriteRequest, books: Books, now: Instant) -> Reply:
        self._requests += 1
        write = _WRITES[request.kind]
        return write(self.market.exchange, books, request, str(self._requests), now)

    # --- reading -----------------------------------------------------------------------------

    def _books(self, account_id: AccountId) -> Books:
        books = self.market.exchange.accounts.get(account_id)
        if books is None:
            raise VenueRefused(403, "", "The provided request was forbidden.")
        return books

    async def account(self, account_id: AccountId) -> Account:
        return account_of(self.market.exchange, self._books(account_id), full=True)

    async def refreshed(self, known: Account) -> Account:
        return await self.account(known.id)

    async def account_ids(self) -> tuple[AccountId, ...]:
        return tuple(self.market.exchange.accounts)

    async def instruments(self, account_id: AccountId) -> tuple[InstrumentSpec, ...]:
        books = self._books(account_id)
        return tuple(_with_margin(self.market.spec(n), books) for n in self.market.instruments)

    async def candles(
        self, instrument: InstrumentName, granularity: str, count: int
    ) -> tuple[Candle, ...]:
        """VenueRefused for an instrument or granularity that does not exist."""
        if instrument not in self.market.instruments or granularity not in GRANULARITIES:
            raise VenueRefused(400, "", "Invalid value specified for 'instrument' or 'granularity'")
        now, step = self.market.time.now(), self.market.spec(instrument).tick
        bars = self.market.candles.bars_latest(instrument, granularity, count)
        return tuple(_candle(instrument, granularity, bar, step, now) for bar in bars)

    async def prices(
        self, account_id: AccountId, instruments: Sequence[InstrumentName]
    ) -> tuple[Tick, ...]:
        self._books(account_id)
        quotes = self.market.exchange.quotes
        return tuple(tick for name in instruments if (tick := quotes.get(name)) is not None)

    async def transactions_since(
        self, account_id: AccountId, since: int
    ) -> tuple[tuple[Transaction, ...], int]:
        books = self._books(account_id)
        if since > books.last_id:
            raise VenueRefused(416, "", "The transaction ID is beyond the account's history")
        return read_transactions(books.history[max(0, since) :]), books.last_id

    async def clock(self) -> VenueClock | None:
        return self.market.clock()

    @property
    def clock_offset_ns(self) -> int | None:
        """The market has one clock, which both sides read."""
        return 0

    # --- streams -----------------------------------------------------------------------------

    async def stream_prices(
        self, account_id: AccountId, instruments: Sequence[InstrumentName], sink: StreamSink
    ) -> None:
        """StreamUp, a snapshot, then every tick as it is published, until cancelled."""
        self._books(account_id)
        wanted = frozenset(instruments)
        everything = wanted.issuperset(self.market.instruments)

        def on_ticks(ticks: Sequence[Tick]) -> None:
            heard = tuple(ticks) if everything else tuple(
                tick for tick in ticks if tick.instrument in wanted
            )  # fmt: skip
            if heard:
                sink(heard)

        now = self.market.time.now()
        snapshot = await self.prices(account_id, instruments)
        sink((StreamUp(stream="prices", account_id=account_id, seen_ns=now), *snapshot))
        self.market.listen(on_ticks)
        self.market.release()
        try:
            await self._beat("prices", account_id, sink)
        finally:
            self.market.unlisten(on_ticks)

    async def stream_transactions(self, account_id: AccountId, sink: StreamSink) -> None:
        """StreamUp, then every batch of the account as it is made, until cancelled."""
        wanted = self._books(account_id)
        listeners = self.market.exchange.listeners

        def on_batch(books: Books, made: Sequence[Transaction], _encoded: Sequence[bytes]) -> None:
            if books is wanted:
                # In a turn of its own, as a socket would bring it: never inside a write's own call.
                asyncio.get_running_loop().call_soon(deliver, tuple(made))

        deliver: Callable[[tuple[Transaction, ...]], None] = sink
        now = self.market.time.now()
        sink((StreamUp(stream="transactions", account_id=account_id, seen_ns=now),))
        listeners.append(on_batch)
        try:
            await self._beat("transactions", account_id, sink)
        finally:
            listeners.remove(on_batch)

    async def _beat(self, stream: str, account_id: AccountId, sink: StreamSink) -> None:
        books = self._books(account_id)
        while True:
            await asyncio.sleep(BEAT_S)
            now = self.market.time.now()
            last = str(books.last_id) if stream == "transactions" else None
            sink(
                (
                    StreamBeat(
                        stream=stream,
                        account_id=account_id,
                        venue_ns=now,
                        seen_ns=now,
                        last_transaction_id=last,
                    ),
                )
            )

    async def close(self) -> None:
        """No more writes; what waits is answered as not sent."""
        self._closed = True
        loop = asyncio.get_running_loop()
        for waiting in (self._urgent, self._orders):
            while waiting:
                _, _, done = waiting.popleft()
                loop.call_soon(done, NotSent(reason="the venue is closed"), 0)


_Write: TypeAlias = Callable[[Exchange, Books, WriteRequest, str, Instant], Reply]


def _create(to: Exchange, books: Books, asked: WriteRequest, name: str, now: Instant) -> Reply:
    return to.create_order(books, read_body(asked.body, OrderBody).order, name, now)


def _replace(to: Exchange, books: Books, asked: WriteRequest, name: str, now: Instant) -> Reply:
    order = read_body(asked.body, OrderBody).order
    return to.replace_order(books, asked.target, order, name, now)


def _protect(to: Exchange, books: Books, asked: WriteRequest, name: str, now: Instant) -> Reply:
    wishes = read_body(asked.body, TradeOrdersBody)
    return to.trade_orders(books, asked.target, wishes, name, now)


def _cancel(to: Exchange, books: Books, asked: WriteRequest, name: str, now: Instant) -> Reply:
    return to.cancel_order(books, asked.target, name, now)


def _close(to: Exchange, books: Books, asked: WriteRequest, name: str, now: Instant) -> Reply:
    close = read_body(asked.body, CloseTradeBody)
    return to.close_trade(books, asked.target, close, name, now)


def _close_all(to: Exchange, books: Books, asked: WriteRequest, name: str, now: Instant) -> Reply:
    sides = read_body(asked.body, ClosePositionBody)
    instrument = InstrumentName(asked.target)
    if instrument not in to.specs:
        return refusal(_BAD_REQUEST, "Invalid value specified for 'instrument'")
    return to.close_position(books, instrument, sides, name, now)


def _name_order(to: Exchange, books: Books, asked: WriteRequest, name: str, now: Instant) -> Reply:
    extensions = read_body(asked.body, ExtensionsBody)
    return to.order_extensions(books, asked.target, extensions, name, now)


def _name_trade(to: Exchange, books: Books, asked: WriteRequest, name: str, now: Instant) -> Reply:
    extensions = read_body(asked.body, ExtensionsBody)
    return to.trade_extensions(books, asked.target, extensions, name, now)


def _configure(to: Exchange, books: Books, asked: WriteRequest, name: str, now: Instant) -> Reply:
    return to.configure(books, read_body(asked.body, ConfigureBody), name, now)


_WRITES: dict[WriteKind, _Write] = {
    WriteKind.ORDER: _create,
    WriteKind.REPLACE: _replace,
    WriteKind.PROTECT: _protect,
    WriteKind.CANCEL: _cancel,
    WriteKind.CLOSE_TRADE: _close,
    WriteKind.CLOSE_POSITION: _close_all,
    WriteKind.ORDER_EXTENSIONS: _name_order,
    WriteKind.TRADE_EXTENSIONS: _name_trade,
    WriteKind.CONFIGURE: _configure,
}


def _with_margin(spec: InstrumentSpec, books: Books) -> InstrumentSpec:
    rate = margin_rate(books, spec)
    return spec if rate == spec.margin_rate else msgspec.structs.replace(spec, margin_rate=rate)


def _candle(
    instrument: InstrumentName, granularity: str, bar: Bar, step: Decimal, now: Instant
) -> Candle:
    bid, ask = ([Price(v.quantize(step)) for v in side] for side in (bar.bid, bar.ask))
    return Candle(
        instrument=instrument,
        granularity=granularity,
        start_ns=bar.start_ns,
        volume=bar.volume,
        complete=complete(bar, granularity, now),
        bid_o=bid[0],
        bid_h=bid[1],
        bid_l=bid[2],
        bid_c=bid[3],
        ask_o=ask[0],
        ask_h=ask[1],
        ask_l=ask[2],
        ask_c=ask[3],
    )
