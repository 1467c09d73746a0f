"""Streams: what arrives, what is lost, and how they come back."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest

from orchestrator.model.errors import VenueError
from orchestrator.model.market import StreamBeat, StreamDown, StreamUp, Tick
from orchestrator.model.money import InstrumentName
from orchestrator.model.venue import Transaction
from tests.unit.adapters.oanda_server import (
    ACCOUNT,
    IN_A_HURRY,
    QUICK,
    Peer,
    Request,
    Script,
    answer,
    saying,
    serving,
    until,
    venue_at,
)

EUR_USD = InstrumentName("EUR_USD")
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def price(bid: str = "1.39000", ask: str = "1.39012", **more: object) -> bytes:
    line = {
        "type": "PRICE", "instrument": "EUR_USD", "time": "2014-05-08T12:00:00.5Z",
        "tradeable": True, "bids": [{"price": bid}], "asks": [{"price": ask}], **more,
    }  # fmt: skip
    return json.dumps(line).encode() + b"\n"


def beat(**more: object) -> bytes:
    line = {"type": "HEARTBEAT", "time": "2014-05-08T12:00:00Z", **more}
    return json.dumps(line).encode() + b"\n"


def cancelled(number: int) -> bytes:
    line = {
        "id": str(number), "type": "ORDER_CANCEL", "accountID": ACCOUNT,
        "time": "2014-05-08T12:00:00.000000000Z",
    }  # fmt: skip
    return json.dumps(line).encode() + b"\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Listener:
    """Runs a stream of the venue; `calls` is what the sink was told, call by call."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    @property
    def items(self) -> list:
        return [item for call in self.calls for item in call]

    @property
    def kinds(self) -> str:
        letters = {StreamUp: "U", StreamDown: "D", Tick: "T", StreamBeat: "B", Transaction: "X"}
        return "".join(letters[type(item)] for item in self.items)

    @property
    def reasons(self) -> list[str]:
        return [item.reason for item in self.items if isinstance(item, StreamDown)]


async def listen(script: Script, enough, *, transactions: bool = False, limits=QUICK):
    listener = Listener()
    async with serving(script), venue_at(script.url, limits) as venue:
        if transactions:
            stream = venue.stream_transactions(ACCOUNT, listener.calls.append)
        else:
            stream = venue.stream_prices(ACCOUNT, [EUR_USD], listener.calls.append)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(stream)
            await until(lambda: enough(listener) or running.done())
            running.cancel()
        listener.stats = venue.stats
    return listener


def then_wait(*chunks: bytes):
    """Say these once on the first connection, then nothing; later connections just hold."""

    async def say(peer: Peer, request: Request) -> None:
        del request
        await peer.say(HEAD)
        if peer is first_of[0]:
            for one in chunks:
                await peer.say(one)
                await asyncio.sleep(0.01)

    first_of: list[Peer] = []

    async def remember(peer: Peer) -> bool:
        first_of.append(peer)
        return True

    script = Script()
    script.greet = remember
    script.answer = say
    return script


async def test_prices_of_one_chunk_come_in_one_call():
    script = then_wait(chunk(price() + beat() + price("1.39001")))
    heard = await listen(script, lambda it: it.kinds.endswith("TBT"))
    *_, tick, between, last = heard.calls[-1]
    assert [type(item) for item in (tick, between, last)] == [Tick, StreamBeat, Tick]
    assert tick.venue_ns == 1_399_550_400_500_000_000
    assert (str(tick.bid), tick.instrument, tick.tradeable) == ("1.39000", "EUR_USD", True)
    assert script.lines == [f"GET /v3/accounts/{ACCOUNT}/pricing/stream?instruments=EUR_USD"]


async def test_lines_that_arrive_byte_by_byte_are_whole_again():
    script = Script()

    async def drip(peer: Peer, request: Request) -> None:
        del request
        for byte in HEAD + chunk(price()[:20]) + chunk(price()[20:]) + chunk(price()):
            await peer.say(bytes([byte]))

    script.answer = drip
    heard = await listen(script, lambda it: it.kinds == "UTT")
    assert heard.stats.bad_lines == 0


async def test_doubled_and_blank_lines_harm_nobody():
    heard = await listen(
        then_wait(chunk(price() * 2 + b"\n \n" + beat())), lambda it: "B" in it.kinds
    )
    assert heard.kinds == "UTTB"
    assert heard.stats.blank_lines == 2


BAD_LINES = [
    b"{\n", b"[]\n", b"\xff\xfe\n", b'{"type":"PRICE"}\n', b'{"type":"SURPRISE","time":"1"}\n',
    price().replace(b'"1.39000"', b'"one"'), price().replace(b"2014-05-08T", b"once upon a T"),
    price(bids=[], asks=[]), price("1e30"), price(time="99999-01-01T00:00:00Z"),
    price(bids=[{"price": None}]), price(instrument=None),
]  # fmt: skip


@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: repr(line[:50]))
async def test_a_bad_price_line_is_counted_and_the_next_one_is_heard(line):
    heard = await listen(then_wait(chunk(line + price())), lambda it: "T" in it.kinds)
    assert heard.kinds == "UT"
    assert heard.stats.bad_lines == 1


@pytest.mark.parametrize(
    ("bid", "ask"),
    [("NaN", "1"), ("1", "Infinity"), ("sNaN", "1"), ("-1", "1"), ("0", "1"), ("1.2", "1.1")],
)
async def test_a_bad_price_is_counted_and_reaches_the_breaker(bid, ask):
    heard = await listen(then_wait(chunk(price(bid, ask))), lambda it: "T" in it.kinds)
    assert heard.stats.bad_prices == 1


async def test_a_halted_market_tells_its_closeout_prices_as_not_tradeable():
    line = price(bids=[], asks=[], closeoutBid="1.3", closeoutAsk="1.4", tradeable=True)
    heard = await listen(then_wait(chunk(line)), lambda it: "T" in it.kinds)
    tick = heard.items[1]
    assert (str(tick.bid), str(tick.ask), tick.tradeable) == ("1.3", "1.4", False)


async def test_many_bad_price_lines_in_a_row_connect_anew():
    heard = await listen(then_wait(chunk(b"{\n" * 20)), lambda it: it.kinds == "UDU")
    assert "20 bad lines" in heard.reasons[0]


async def test_one_bad_transaction_line_connects_anew_because_it_may_hide_a_fill():
    script = then_wait(chunk(cancelled(5) + b'{"id":"6","type":"ORDER_FILL","pl":"NaN"}\n'))
    heard = await listen(script, lambda it: it.kinds == "UXDU", transactions=True)
    assert "1 bad lines" in heard.reasons[0]
    assert script.lines[0] == f"GET /v3/accounts/{ACCOUNT}/transactions/stream"


async def test_transactions_and_their_heartbeats_are_told():
    said = chunk(cancelled(999) + cancelled(1000) + beat(lastTransactionID="1000"))
    heard = await listen(then_wait(said), lambda it: "B" in it.kinds, transactions=True)
    assert heard.kinds == "UXXB"
    assert heard.items[-1].last_transaction_id == "1000"


async def test_a_transaction_of_another_account_is_not_believed():
    said = chunk(cancelled(5).replace(ACCOUNT.encode(), b"101-001-9-001"))
    heard = await listen(then_wait(said), lambda it: it.kinds == "UDU", transactions=True)
    assert "another account" in heard.reasons[0]


async def test_silence_is_a_loss_though_the_socket_is_open():
    heard = await listen(
        then_wait(chunk(price())), lambda it: it.kinds == "UTDU", limits=IN_A_HURRY
    )
    assert heard.reasons == ["silent for 0.2 s"]
    assert heard.stats.stream_losses == {"prices": 1}
    assert heard.stats.stream_connects == {"prices": 2}


async def test_a_stream_that_is_heard_lives_longer_than_its_patience():
    script = then_wait(*[chunk(beat())] * 100)
    hurry = msgspec.structs.replace(QUICK, stream_silence_s=0.7)
    heard = await listen(script, lambda it: it.kinds.count("B") == 100, limits=hurry)
    assert heard.kinds == "U" + "B" * 100


async def test_bytes_that_are_no_lines_do_not_count_as_life():
    script = then_wait(*[chunk(b"x")] * 100)
    heard = await listen(script, lambda it: it.kinds == "UDU", limits=IN_A_HURRY)
    assert heard.reasons == ["silent for 0.2 s"]


@pytest.mark.parametrize(
    "chunks",
    [[b"0\r\n\r\n"], [b"zz\r\n"], [chunk(price()[:-5]), b"0\r\n\r\n"], [chunk(b"x" * 1_000_001)]],
    ids=["ended", "broken chunk", "cut line", "endless line"],
)
async def test_whatever_ends_a_stream_it_comes_back(chunks):
    heard = await listen(then_wait(*chunks), lambda it: it.kinds == "UDU")
    assert heard.reasons[0]


async def test_a_ten_megabyte_line_is_not_kept():
    heard = await listen(
        then_wait(*[chunk(b"x" * 500_000)] * 20), lambda it: it.kinds.startswith("UDU")
    )
    assert heard.reasons[0] == "a line longer than 1000000 bytes"


async def test_a_reset_is_a_loss_and_it_comes_back():
    script = Script()

    async def cut(peer: Peer, request: Request) -> None:
        del request
        await peer.say(HEAD + chunk(price()))
        if len(script.requests) < 3:
            await asyncio.sleep(0.01)
            peer.reset()

    script.answer = cut
    heard = await listen(script, lambda it: it.kinds == "UTDUTDUT")
    assert "connection" in heard.reasons[0]


@pytest.mark.parametrize("status", [401, 404])
async def test_a_refused_stream_is_told_with_its_status_and_tried_slowly(status):
    script = Script()
    script.answer = saying(answer(status, {"errorMessage": "not here"}))
    ends = asyncio.get_running_loop().time() + 0.2
    heard = await listen(script, lambda _: asyncio.get_running_loop().time() > ends)
    assert heard.reasons == [f"HTTP {status} not here"]
    assert len(script.requests) == 1


async def test_a_venue_in_trouble_is_told_once_and_tried_again():
    script = Script()
    script.answer = saying(answer(500, b"<html>"))

    def enough(it: Listener) -> bool:
        if len(script.requests) == 4:
            script.answer = saying(HEAD)
        return it.kinds == "DU"

    heard = await listen(script, enough)
    assert heard.reasons == ["HTTP 500"]


async def test_nobody_there_is_told():
    listener = Listener()
    async with venue_at("http://127.0.0.1:1") as venue, asyncio.TaskGroup() as tasks:
        stream = venue.stream_prices(ACCOUNT, [EUR_USD], listener.calls.append)
        running = tasks.create_task(stream)
        await until(lambda: listener.kinds == "D" and venue.stats.stream_connects == {})
        running.cancel()


async def test_a_sink_that_raises_ends_the_stream_with_its_own_error():
    def broken(items: tuple) -> None:
        del items
        raise LookupError("a bug of the sink")

    script = then_wait(chunk(price()))
    async with serving(script), venue_at(script.url) as venue:
        with pytest.raises(LookupError):
            await venue.stream_prices(ACCOUNT, [EUR_USD], broken)


async def test_an_impossible_stream_is_an_error_at_once():
    async with venue_at("http://127.0.0.1:1") as venue:
        with pytest.raises(VenueError):
            await venue.stream_prices("999", [EUR_USD], Listener().calls.append)
