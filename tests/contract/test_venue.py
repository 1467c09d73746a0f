"""The Venue port: the OANDA client at the paper venue's socket, and the paper venue in process."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.adapters.oanda.client import OandaVenue
from orchestrator.model.errors import VenueError, VenueRefused
from orchestrator.model.market import StreamUp, Tick
from orchestrator.model.money import AccountId, Currency, InstrumentName
from orchestrator.model.orders import (
    Answered,
    NotSent,
    Rejected,
    WriteKind,
    WriteOutcome,
    WriteRequest,
)
from orchestrator.model.ports import StreamItem, Venue
from orchestrator.model.time import NS_PER_S
from orchestrator.model.venue import Transaction
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.feeds.manual import ManualFeed
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.paper.instruments import SPECS
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market

EUR_USD = InstrumentName("EUR_USD")
TOKEN = "contract"
ACCOUNTS = [AccountId(f"101-001-1000001-{number:03d}") for number in range(1, 121)]
OTHER = AccountId("101-001-1000001-900")


def mono_ns() -> int:
    return round(asyncio.get_running_loop().time() * NS_PER_S)


class Bench:
    """A venue under test, an account of its own that nobody traded on, and a hand on the price."""

    def __init__(
        self, venue: Venue, account: AccountId, quote: Callable[[str, str], asyncio.Future]
    ) -> None:
        self.venue = venue
        self.account = account
        self._quote = quote
        self.names = iter(range(1, 1000))

    async def price(self, bid: str, ask: str) -> None:
        await self._quote(bid, ask)

    def request(self, kind: WriteKind, target: str = "", body: object = None) -> WriteRequest:
        return WriteRequest(
            kind=kind,
            account_id=self.account,
            target=target,
            body="" if body is None else json.dumps(body),
        )

    def order(self, **fields: object) -> WriteRequest:
        name = f"i-{next(self.names)}"
        wish = {
            "type": "MARKET", "instrument": EUR_USD, "units": "100", "timeInForce": "FOK",
            "positionFill": "DEFAULT", "clientExtensions": {"id": name},
            "tradeClientExtensions": {"id": name}, **fields,
        }  # fmt: skip
        return WriteRequest(
            kind=WriteKind.ORDER,
            account_id=self.account,
            body=json.dumps({"order": wish}),
            client_request_id=name,
        )

    def limit(self, price: str = "0.50000") -> WriteRequest:
        return self.order(type="LIMIT", price=price, timeInForce="GTC")

    async def send(self, request: WriteRequest, gate=lambda: None) -> tuple[WriteOutcome, int]:
        ended = asyncio.get_running_loop().create_future()

        def done(outcome: WriteOutcome, first_byte_ns: int) -> None:
            ended.set_result((outcome, first_byte_ns))  # a second call would raise

        self.venue.submit(request, gate, done)
        assert not ended.done()  # never inside submit
        async with asyncio.timeout(5):
            return await ended

    async def write(self, request: WriteRequest) -> WriteOutcome:
        return (await self.send(request))[0]

    async def log(self, since: int = 0) -> list[Transaction]:
        return list((await self.venue.transactions_since(self.account, since))[0])

    async def types(self, since: int = 0) -> list[str]:
        return [one.type for one in await self.log(since)]


class Paper:
    """The paper venue as a process of its own."""

    def __init__(self, folder: Path) -> None:
        port_file = folder / "port"
        flags = ["--port", "0", "--port-file", str(port_file), "--token", TOKEN, "--control"]
        for account in (*ACCOUNTS, OTHER):
            flags += ["--account", f"{account}:USD:100000"]
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


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paper]:
    venue = Paper(tmp_path_factory.mktemp("paper"))
    yield venue
    venue.process.terminate()
    assert venue.process.wait(10) is not None


@pytest.fixture(scope="module")
def free_accounts() -> Iterator[AccountId]:
    return iter(ACCOUNTS)


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


@pytest.fixture(params=["http", "in_process"])
async def bench(
    request: pytest.FixtureRequest, free_accounts: Iterator[AccountId]
) -> AsyncIterator[Bench]:
    account = next(free_accounts)
    if request.param == "http":
        made = over_http(request.getfixturevalue("paper"), account)
    else:
        made = in_process(account)
    async with made as bench:
        await bench.price("1.10000", "1.10010")
        yield bench


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
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


# reading


async def test_an_account_starts_with_its_money_and_its_log(bench):
    account = await bench.venue.account(bench.account)
    assert (account.id, account.currency, account.balance) == (bench.account, "USD", 100_000)
    assert account.nav == 100_000
    assert account.trades == account.orders == ()
    log, last = await bench.venue.transactions_since(bench.account, 0)
    assert [one.number for one in log] == list(range(1, last + 1))
    assert log[0].type == "CREATE"
    assert account.last_transaction_id == str(last)


async def test_all_accounts_are_listed(bench):
    assert {bench.account, OTHER} <= set(await bench.venue.account_ids())


async def test_an_account_that_is_not_there_is_an_error(bench):
    with pytest.raises(VenueError):
        await bench.venue.account(AccountId("101-001-9999999-001"))


async def test_instruments_have_rules_that_orders_can_be_made_with(bench):
    specs = {spec.name: spec for spec in await bench.venue.instruments(bench.account)}
    assert specs["EUR_USD"].display_precision == 5
    assert specs["USD_JPY"].pip == Decimal("0.01")
    assert all(spec.margin_rate > 0 and spec.minimum_trade_size > 0 for spec in specs.values())


async def test_prices_are_the_latest(bench):
    await bench.price("1.20000", "1.20010")
    (tick,) = await bench.venue.prices(bench.account, [EUR_USD])
    assert (tick.bid, tick.ask, tick.tradeable) == (Decimal("1.2"), Decimal("1.2001"), True)


async def test_candles_are_ascending_and_only_the_last_may_run(bench):
    found = await bench.venue.candles(EUR_USD, "M1", 10)
    assert found
    assert [one.start_ns for one in found] == sorted({one.start_ns for one in found})
    assert all(one.complete for one in found[:-1])
    assert all(one.bid_l <= one.bid_o <= one.bid_h and one.bid_c < one.ask_c for one in found)


async def test_candles_of_nothing_are_an_error(bench):
    with pytest.raises(VenueError):
        await bench.venue.candles(InstrumentName("NO_SUCH"), "M1", 10)
    with pytest.raises(VenueError):
        await bench.venue.candles(EUR_USD, "M3", 10)


async def test_the_end_of_the_log_is_empty_and_beyond_it_is_an_error(bench):
    _, last = await bench.venue.transactions_since(bench.account, 0)
    assert await bench.venue.transactions_since(bench.account, last) == ((), last)
    with pytest.raises(VenueRefused):
        await bench.venue.transactions_since(bench.account, last + 5)


async def test_the_venue_tells_its_market_clock(bench):
    first = await bench.venue.clock()
    await asyncio.sleep(0.01)
    second = await bench.venue.clock()
    assert first.speed == 1.0
    assert first.calendar == "always"
    assert first.start_ns <= first.now_ns < second.now_ns
    assert not second.finished


async def test_the_clocks_are_compared_by_what_the_venue_answers(bench):
    await bench.venue.account(bench.account)
    assert isinstance(bench.venue.clock_offset_ns, int)


# orders


async def test_a_market_order_fills_with_its_stop_loss_in_the_same_batch(bench):
    before = (await bench.venue.account(bench.account)).last_transaction_id
    request = bench.order(stopLossOnFill={"price": "1.09000"})
    outcome, first_byte_ns = await bench.send(request)
    assert isinstance(outcome, Answered)
    assert outcome.status == 201
    assert first_byte_ns > 0
    create, fill = outcome.transactions[:2]
    assert (create.type, fill.type) == ("MARKET_ORDER", "ORDER_FILL")
    assert create.client_extensions.id == request.client_request_id
    assert (fill.units, fill.price, fill.order_id) == (100, Decimal("1.1001"), create.id)
    log = await bench.log(int(before))
    assert [one.type for one in log] == ["MARKET_ORDER", "ORDER_FILL", "STOP_LOSS_ORDER"]
    assert {one.batch_id for one in log} == {create.id}
    assert outcome.last_transaction_id == log[-1].number
    account = await bench.venue.account(bench.account)
    (trade,) = account.trades
    assert (trade.id, trade.current_units) == (fill.id, 100)
    assert trade.stop_loss_order_id == log[-1].id
    assert account.balance == fill.account_balance


async def test_a_201_may_be_no_fill(bench):
    outcome = await bench.write(bench.order(priceBound="1.05000"))
    assert isinstance(outcome, Answered)
    assert [one.type for one in outcome.transactions] == ["MARKET_ORDER", "ORDER_CANCEL"]
    assert outcome.transactions[1].reason == "BOUNDS_VIOLATION"


async def test_an_order_that_the_account_refuses_is_rejected_with_its_transaction(bench):
    outcome = await bench.write(bench.order(units="0"))
    assert isinstance(outcome, Rejected)
    assert (outcome.status, outcome.code) == (400, "UNITS_INVALID")
    assert [one.type for one in outcome.transactions] == ["MARKET_ORDER_REJECT"]
    assert (await bench.types())[-1] == "MARKET_ORDER_REJECT"


@pytest.mark.parametrize("body", ["", "{", "[]", '{"order": 7}', '{"order": {}}', '{"units": 1}'])
async def test_a_body_that_is_no_order_is_rejected_and_leaves_no_order(bench, body):
    request = WriteRequest(kind=WriteKind.ORDER, account_id=bench.account, body=body)
    outcome = await bench.write(request)
    assert isinstance(outcome, Rejected)
    assert outcome.status in {400, 404}
    account = await bench.venue.account(bench.account)
    assert account.orders == account.trades == ()


async def test_an_account_that_is_not_there_trades_nothing(bench):
    request = WriteRequest(
        kind=WriteKind.ORDER, account_id=AccountId("101-001-9999999-001"), body=bench.order().body
    )
    assert isinstance(await bench.write(request), Rejected | NotSent)


async def test_a_refusing_gate_leaves_no_trace_at_the_venue(bench):
    before = await bench.types()
    outcome, first_byte_ns = await bench.send(bench.order(), lambda: "stopped")
    assert outcome == NotSent(reason="stopped", by_gate=True)
    assert first_byte_ns == 0
    assert await bench.types() == before


async def test_the_gate_is_asked_once_for_each_write_and_never_for_a_read(bench):
    asked: list[int] = []
    for _ in range(3):
        await bench.send(bench.order(), lambda: asked.append(1))
    await bench.venue.account(bench.account)
    assert len(asked) == 3


async def test_many_orders_at_once_are_each_answered_once_and_each_in_the_log_once(bench):
    requests = [bench.order() for _ in range(30)]
    async with asyncio.TaskGroup() as tasks:
        sent = [tasks.create_task(bench.write(request)) for request in requests]
    assert all(isinstance(one.result(), Answered) for one in sent)
    ids = [t.client_extensions.id for t in await bench.log() if t.type == "MARKET_ORDER"]
    assert sorted(ids) == sorted(request.client_request_id for request in requests)


async def test_a_pending_order_is_cancelled_once(bench):
    made = await bench.write(bench.limit())
    assert isinstance(made, Answered)
    (create,) = made.transactions
    assert [one.id for one in (await bench.venue.account(bench.account)).orders] == [create.id]
    cancel = bench.request(WriteKind.CANCEL, create.id)
    gone = await bench.write(cancel)
    assert isinstance(gone, Answered)
    assert [(t.type, t.order_id) for t in gone.transactions] == [("ORDER_CANCEL", create.id)]
    again = await bench.write(cancel)
    assert isinstance(again, Rejected)
    assert (again.status, again.code) == (404, "ORDER_DOESNT_EXIST")


async def test_an_order_is_found_by_its_client_id_too(bench):
    request = bench.limit()
    await bench.write(request)
    cancel = bench.request(WriteKind.CANCEL, f"@{request.client_request_id}")
    assert isinstance(await bench.write(cancel), Answered)


# reducing


async def test_a_trade_is_closed_with_its_stop(bench):
    opened = await bench.write(bench.order(stopLossOnFill={"price": "1.09000"}))
    trade_id = opened.transactions[1].trade_opened.trade_id
    close = bench.request(WriteKind.CLOSE_TRADE, trade_id, {"units": "ALL"})
    outcome = await bench.write(close)
    assert isinstance(outcome, Answered)
    assert outcome.transactions[1].trades_closed[0].trade_id == trade_id
    assert (await bench.types())[-3:] == ["MARKET_ORDER", "ORDER_FILL", "ORDER_CANCEL"]
    assert (await bench.venue.account(bench.account)).trades == ()
    again = await bench.write(close)
    assert isinstance(again, Rejected)
    assert (again.status, again.code) == (404, "TRADE_DOESNT_EXIST")


async def test_a_position_is_closed_by_its_side_and_only_once(bench):
    await bench.write(bench.order())
    await bench.write(bench.order(units="50"))
    close = bench.request(WriteKind.CLOSE_POSITION, EUR_USD, {"longUnits": "ALL"})
    outcome = await bench.write(close)
    assert isinstance(outcome, Answered)
    (fill,) = [one for one in outcome.transactions if one.type == "ORDER_FILL"]
    assert fill.units == -150
    assert len(fill.trades_closed) == 2
    again = await bench.write(close)
    assert isinstance(again, Rejected)
    assert again.code == "CLOSEOUT_POSITION_DOESNT_EXIST"


async def test_a_stop_is_moved_by_protect(bench):
    opened = await bench.write(bench.order(stopLossOnFill={"price": "1.09000"}))
    trade_id = opened.transactions[1].id
    protect = bench.request(
        WriteKind.PROTECT, trade_id, {"stopLoss": {"price": "1.09500", "timeInForce": "GTC"}}
    )
    outcome = await bench.write(protect)
    assert isinstance(outcome, Answered)
    assert {one.type for one in outcome.transactions} == {"ORDER_CANCEL", "STOP_LOSS_ORDER"}
    (order,) = (await bench.venue.account(bench.account)).orders
    assert (order.type, order.price) == ("STOP_LOSS", Decimal("1.095"))


async def test_a_stop_triggers_by_itself_at_the_gapped_price(bench):
    await bench.write(bench.order(stopLossOnFill={"price": "1.09000"}))
    await bench.price("1.05000", "1.05010")
    fill = [one for one in await bench.log() if one.type == "ORDER_FILL"][-1]
    assert (fill.reason, fill.price) == ("STOP_LOSS_ORDER", Decimal("1.05"))
    account = await bench.venue.account(bench.account)
    assert account.trades == ()
    assert account.balance == 100_000 + fill.pl == fill.account_balance


# streams


async def test_transactions_are_streamed_once_and_in_order_from_now_on(bench):
    await bench.write(bench.order())
    _, before = await bench.venue.transactions_since(bench.account, 0)

    def stream(sink):
        return bench.venue.stream_transactions(bench.account, sink)

    async with heard(stream) as items:
        await bench.write(bench.order(stopLossOnFill={"price": "1.09000"}))
        await bench.write(bench.order(units="0"))
        await bench.price("1.05000", "1.05010")
        log = await bench.log(before)
        await until(lambda: sum(isinstance(one, Transaction) for one in items) >= len(log))
    streamed = [one for one in items if isinstance(one, Transaction)]
    assert streamed == log
    assert {one.account_id for one in streamed} == {bench.account}


async def test_another_accounts_transactions_are_not_streamed(bench):
    def stream(sink):
        return bench.venue.stream_transactions(OTHER, sink)

    async with heard(stream) as items:
        await bench.write(bench.order())
        await asyncio.sleep(0.05)
    assert not any(isinstance(one, Transaction) for one in items)


async def test_prices_are_streamed_from_a_snapshot_on(bench):
    def stream(sink):
        return bench.venue.stream_prices(bench.account, [EUR_USD], sink)

    def ticks(items: list[StreamItem]) -> list[Decimal]:
        return [one.bid for one in items if isinstance(one, Tick)]

    async with heard(stream) as items:
        await until(lambda: Decimal("1.10000") in ticks(items))
        await bench.price("1.30000", "1.30010")
        await until(lambda: ticks(items)[-1] == Decimal("1.30000"))
    assert {one.instrument for one in items if isinstance(one, Tick)} == {EUR_USD}


async def test_a_closed_venue_sends_nothing(bench):
    await bench.venue.close()
    outcome, first_byte_ns = await bench.send(bench.order())
    assert isinstance(outcome, NotSent)
    assert not outcome.by_gate
    assert first_byte_ns == 0
