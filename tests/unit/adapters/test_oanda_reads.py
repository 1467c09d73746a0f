"""Reads: typed answers, errors of ours, repeated only when that can help."""

from __future__ import annotations

import asyncio
import gzip
import json
from decimal import Decimal

import pytest

from orchestrator.adapters.oanda.client import ClientLimits, OandaVenue
from orchestrator.model.errors import (
    VenueError,
    VenueNonsense,
    VenueRefused,
    VenueSilent,
    VenueUnreachable,
)
from orchestrator.model.money import InstrumentName
from tests.unit.adapters.oanda_server import (
    ACCOUNT,
    IN_A_HURRY,
    OTHER,
    QUICK,
    Peer,
    Request,
    Script,
    answer,
    market_ns,
    saying,
    serving,
    until,
    venue_at,
)

EUR_USD = InstrumentName("EUR_USD")


async def read(script: Script, what, limits=QUICK):
    async with serving(script), venue_at(script.url, limits) as venue:
        return await what(venue)


ACCOUNT_JSON = {
    "account": {
        "id": ACCOUNT, "currency": "USD", "balance": "100000.0000", "NAV": "99990.5000",
        "lastTransactionID": "7", "openTradeCount": 1, "hedgingEnabled": False,
        "trades": [{"id": "6", "instrument": "EUR_USD", "price": "1.1", "currentUnits": "5"}],
        "positions": [], "orders": [], "somethingNew": {"a": [1]},
    },
    "lastTransactionID": "7",
}  # fmt: skip


def changed(**fields: object) -> dict:
    return {**ACCOUNT_JSON, "account": {**ACCOUNT_JSON["account"], **fields}}


async def test_an_account_is_read_exactly():
    script = Script()
    script.answer = saying(answer(200, ACCOUNT_JSON))
    account = await read(script, lambda venue: venue.account(ACCOUNT))
    assert (account.balance, account.nav) == (Decimal("100000.0000"), Decimal("99990.5000"))
    assert account.trades[0].current_units == 5
    assert script.lines == [f"GET /v3/accounts/{ACCOUNT}"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"\xff\xfe", b"{}", {"account": None, "lastTransactionID": "7"},
        changed(balance="NaN"), changed(NAV="Infinity"), changed(id=OTHER), changed(currency=""),
        changed(lastTransactionID="x"),
        changed(trades=[{"id": "6", "instrument": "EUR_USD", "price": "sNaN"}]),
    ],
    ids=lambda body: str(body)[:40],
)  # fmt: skip
async def test_an_account_that_makes_no_sense_is_nonsense_and_not_asked_again(body):
    script = Script()
    script.answer = saying(answer(200, body))
    with pytest.raises(VenueNonsense):
        await read(script, lambda venue: venue.account(ACCOUNT))
    assert len(script.requests) == 1


async def test_an_account_that_is_not_configured_is_never_asked_for():
    script = Script()
    with pytest.raises(VenueError, match="not configured"):
        await read(script, lambda venue: venue.account("999"))
    assert script.requests == []


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_refusal_is_told_with_its_words_and_not_repeated(status):
    script = Script()
    script.answer = saying(answer(status, {"errorCode": "C", "errorMessage": "no"}))
    with pytest.raises(VenueRefused) as refused:
        await read(script, lambda venue: venue.account(ACCOUNT))
    assert (refused.value.status, refused.value.code, refused.value.message) == (status, "C", "no")
    assert len(script.requests) == 1
    assert "a-token" not in str(refused.value)


@pytest.mark.parametrize("said", [answer(500, b"<html>"), answer(503, {}), answer(201, b"x")[:-1]])
async def test_trouble_that_may_pass_is_tried_three_times(said):
    script = Script()

    async def trouble(peer: Peer, request: Request) -> None:
        del request
        await peer.say(said)
        peer.writer.close()

    script.answer = trouble
    with pytest.raises((VenueRefused, VenueSilent)):
        await read(script, lambda venue: venue.account(ACCOUNT))
    assert len(script.requests) == 3


async def test_a_read_recovers_from_a_reset_and_an_error():
    script = Script()

    async def third_time_lucky(peer: Peer, request: Request) -> None:
        del request
        if len(script.requests) == 1:
            peer.reset()
        elif len(script.requests) == 2:
            await peer.say(answer(502, b"<html>"))
        else:
            await peer.say(answer(200, ACCOUNT_JSON))

    script.answer = third_time_lucky
    assert (await read(script, lambda venue: venue.account(ACCOUNT))).id == ACCOUNT


async def test_silence_has_its_own_error():
    script = Script()
    script.answer = saying()
    with pytest.raises(VenueSilent, match="no answer in"):
        await read(script, lambda venue: venue.account(ACCOUNT), IN_A_HURRY)


async def test_nobody_there_has_its_own_error():
    async with venue_at("http://127.0.0.1:1") as venue:
        with pytest.raises(VenueUnreachable):
            await venue.account(ACCOUNT)


async def test_gzip_is_asked_for_and_read():
    script = Script()
    packed = gzip.compress(json.dumps(ACCOUNT_JSON).encode())
    script.answer = saying(answer(200, packed, "Content-Encoding: gzip\r\n"))
    account = await read(script, lambda venue: venue.account(ACCOUNT))
    assert account.id == ACCOUNT
    assert script.requests[0].headers["accept-encoding"] == "gzip"


async def test_the_accounts_of_all_tokens_are_listed_once():
    script = Script()
    script.answer = saying(answer(200, {"accounts": [{"id": ACCOUNT, "tags": []}, {"id": "9"}]}))
    assert await read(script, lambda venue: venue.account_ids()) == (ACCOUNT, "9")
    assert script.lines == ["GET /v3/accounts"]


GOOD = {
    "name": "XAU_USD", "type": "METAL", "displayName": "Gold", "pipLocation": -2,
    "displayPrecision": 3, "tradeUnitsPrecision": 0, "minimumTradeSize": "1",
    "maximumOrderUnits": "6000", "maximumPositionSize": "0", "marginRate": "0.05",
    "minimumTrailingStopDistance": "0.050", "maximumTrailingStopDistance": "100.000",
    "financing": {"longRate": "-0.0237", "shortRate": "0.0012", "financingDaysOfWeek": []},
}  # fmt: skip


async def test_instruments_with_impossible_rules_are_left_out_and_counted():
    bad = [
        {**GOOD, "marginRate": "0"}, {**GOOD, "minimumTradeSize": "NaN"}, {"name": "X_Y"}, 7,
        {**GOOD, "name": "GOLD"}, {**GOOD, "displayPrecision": 99},
    ]  # fmt: skip
    script = Script()
    script.answer = saying(answer(200, {"instruments": [*bad, GOOD], "lastTransactionID": "1"}))
    async with serving(script), venue_at(script.url) as venue:
        (spec,) = await venue.instruments(ACCOUNT)
        assert venue.stats.bad_items == len(bad)
    assert (spec.name, spec.display_precision, spec.pip) == ("XAU_USD", 3, Decimal("0.01"))
    assert spec.financing_long_rate == Decimal("-0.0237")


def candle(number: int, complete: bool = True, **sides: dict) -> dict:
    side = {"o": "1.1", "h": "1.2", "l": "1.0", "c": "1.15"}
    time = f"2014-05-08T{number // 60:02d}:{number % 60:02d}:00.000000000Z"
    return {"time": time, "volume": 3, "complete": complete, "bid": side, "ask": side, **sides}


def candles(*sticks: dict, instrument: str = "EUR_USD") -> bytes:
    body = {"instrument": instrument, "granularity": "M1", "candles": list(sticks)}
    return answer(200, body)


async def test_candles_come_oldest_first_with_both_sides():
    script = Script()
    script.answer = saying(candles(candle(1), candle(2, False)))
    found = await read(script, lambda venue: venue.candles(EUR_USD, "M1", 2))
    assert [one.complete for one in found] == [True, False]
    assert found[0].start_ns < found[1].start_ns
    assert (found[0].bid_l, found[0].ask_h) == (Decimal("1.0"), Decimal("1.2"))
    assert script.lines == ["GET /v3/instruments/EUR_USD/candles?price=BA&granularity=M1&count=2"]


async def test_more_candles_than_an_answer_holds_are_read_by_pages_and_end_where_history_ends():
    script = Script()
    history = [candle(number) for number in range(7)]

    async def page(peer: Peer, request: Request) -> None:
        end = 7 if "to=" not in request.path else 4 if len(script.requests) == 2 else 0
        await peer.say(candles(*history[max(0, end - 4) : end]))

    script.answer = page
    found = await read(script, lambda venue: venue.candles(EUR_USD, "M1", 6000))
    assert len(found) == 7
    assert "count=5000" in script.lines[0]
    assert "to=2014-05-08T00%3A03%3A00" in script.lines[1]


@pytest.mark.parametrize(
    "said",
    [
        candles(candle(1, bid={"o": "NaN", "h": "1", "l": "1", "c": "1"})),
        candles(candle(1, ask={"o": "0", "h": "1", "l": "1", "c": "1"})),
        candles(candle(1), instrument="GBP_USD"),
        candles({**candle(1), "time": "yesterday"}),
    ],
)
async def test_candles_that_cannot_be_are_nonsense(said):
    script = Script()
    script.answer = saying(said)
    with pytest.raises(VenueNonsense):
        await read(script, lambda venue: venue.candles(EUR_USD, "M1", 1))


@pytest.mark.parametrize("name", ["EUR/USD", "EUR_USD?x=1", "", "a" * 50, "A\r\nB"])
async def test_a_name_that_is_none_is_not_asked_for(name):
    script = Script()
    with pytest.raises(VenueError):
        await read(script, lambda venue: venue.candles(InstrumentName(name), "M1", 1))
    assert script.requests == []


PRICE = {
    "type": "PRICE", "instrument": "EUR_USD", "time": "2014-05-08T12:00:00.000000000Z",
    "tradeable": True, "bids": [{"price": "1.39000", "liquidity": 1000000}],
    "asks": [{"price": "1.39012", "liquidity": 1000000}],
    "closeoutBid": "1.38990", "closeoutAsk": "1.39022",
}  # fmt: skip


async def test_prices_are_the_first_bucket_and_a_halted_one_is_not_tradeable():
    halted = {**PRICE, "instrument": "USD_JPY", "bids": [], "asks": [], "tradeable": False}
    nothing = {"type": "PRICE", "instrument": "XAU_USD", "time": "0", "bids": [], "asks": []}
    script = Script()
    script.answer = saying(answer(200, {"prices": [PRICE, halted, nothing], "time": "0"}))
    async with serving(script), venue_at(script.url) as venue:
        first, second = await venue.prices(ACCOUNT, [EUR_USD, InstrumentName("USD_JPY")])
        assert venue.stats.bad_items == 1
        assert first.seen_ns <= market_ns()
    assert (first.bid, first.ask, first.tradeable) == (Decimal("1.39"), Decimal("1.39012"), True)
    assert (second.bid, second.tradeable) == (Decimal("1.3899"), False)
    assert script.lines == [f"GET /v3/accounts/{ACCOUNT}/pricing?instruments=EUR_USD,USD_JPY"]


def transaction(number: int, **more: object) -> dict:
    when = "2014-05-08T12:00:00.000000000Z"
    return {"id": str(number), "type": "ORDER_CANCEL", "accountID": ACCOUNT, "time": when, **more}


async def test_transactions_are_read_to_the_last_page_in_order_and_once():
    script = Script()
    pages = {
        "5": [transaction(7), transaction(6), transaction(6), transaction(5)],
        "7": [transaction(8), transaction(100)],
        "100": [transaction(101)],
    }

    async def page(peer: Peer, request: Request) -> None:
        since = request.path.split("id=")[1]
        await peer.say(answer(200, {"transactions": pages[since], "lastTransactionID": "101"}))

    script.answer = page
    found, last = await read(script, lambda venue: venue.transactions_since(ACCOUNT, 5))
    assert [one.number for one in found] == [6, 7, 8, 100, 101]
    assert last == 101


async def test_a_read_that_lags_ends_and_says_how_far_the_account_is():
    script = Script()
    script.answer = saying(answer(200, {"transactions": [], "lastTransactionID": "9"}))
    assert await read(script, lambda v: v.transactions_since(ACCOUNT, 5)) == ((), 9)
    assert len(script.requests) == 1


async def test_a_transaction_of_an_unknown_type_is_kept_by_what_all_have():
    strange = transaction(6, type="LUNAR_DIVIDEND", units={"oh": "no"}, time="1.5")
    script = Script()
    script.answer = saying(answer(200, {"transactions": [strange], "lastTransactionID": "6"}))
    (one,), _ = await read(script, lambda v: v.transactions_since(ACCOUNT, 5))
    assert (one.number, one.type, one.time, one.units) == (6, "LUNAR_DIVIDEND", "1.5", None)


@pytest.mark.parametrize(
    "strange",
    [
        transaction(6, type="ORDER_FILL", units={"oh": "no"}), transaction(6, pl="NaN"),
        transaction(6, accountID=OTHER), {"type": "X"}, transaction(-6), 5,
        transaction(6, time=None), transaction(6, time="soon"), transaction(6, time="0"),
        transaction(10**18), transaction(6, type="X", time="0"),
    ],
    ids=str,
)  # fmt: skip
async def test_a_known_transaction_that_cannot_be_read_whole_is_nonsense(strange):
    script = Script()
    script.answer = saying(answer(200, {"transactions": [strange], "lastTransactionID": "6"}))
    with pytest.raises(VenueNonsense):
        await read(script, lambda venue: venue.transactions_since(ACCOUNT, 5))


async def test_the_paper_venues_clock_is_read_and_others_have_none():
    said = {"now_ns": 5, "speed": 60, "calendar": "fx", "finished": False, "ticks": 3, "new": 1}
    script = Script()
    script.answer = saying(answer(200, said))
    clock = await read(script, lambda venue: venue.clock())
    assert (clock.now_ns, clock.speed, clock.calendar) == (5, 60.0, "fx")
    script.answer = saying(answer(404, {}))
    assert await read(script, lambda venue: venue.clock()) is None
    async with venue_at("https://api-fxpractice.oanda.com") as venue:
        assert await venue.clock() is None
        assert venue.stats.requests == {}


async def test_a_read_that_nobody_waits_for_is_never_sent():
    """Two reads hold the account's connections; the third waits, and its caller gives up."""
    script = Script()
    let_go = asyncio.Event()

    async def held(peer: Peer, request: Request) -> None:
        del request
        await let_go.wait()
        await peer.say(answer(200, ACCOUNT_JSON))

    script.answer = held
    limits = ClientLimits(requests_per_s=0.0)
    async with serving(script), venue_at(script.url, limits) as venue:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(venue.account(ACCOUNT))
            await until(lambda: len(script.requests) == 2)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await venue.account(ACCOUNT)
            let_go.set()
        assert (await venue.account(ACCOUNT)).id == ACCOUNT
    assert len(script.requests) == 3


async def test_reads_that_wait_behind_lost_connections_get_new_ones():
    script = Script()

    async def first_four_are_lost(peer: Peer, request: Request) -> None:
        del request
        if len(script.requests) > 4:
            await peer.say(answer(200, ACCOUNT_JSON))

    script.answer = first_four_are_lost
    limits = ClientLimits(requests_per_s=0.0, answer_s=0.1, read_attempts=1)
    async with serving(script), venue_at(script.url, limits) as venue:
        async with asyncio.TaskGroup() as tasks:
            lost = [tasks.create_task(silent(venue)) for _ in range(4)]
            await until(lambda: len(script.requests) == 4)
            fifth = tasks.create_task(venue.account(ACCOUNT))
        assert all(task.result() for task in lost)
        assert fifth.result().id == ACCOUNT


async def silent(venue: OandaVenue) -> bool:
    try:
        await venue.account(ACCOUNT)
    except VenueSilent:
        return True
    return False


async def test_an_answer_that_is_told_twice_is_never_taken_for_another_accounts():
    """The second copy of one account's empty list would be a proof of holes in the other's."""
    script = Script()

    async def say(peer, request):
        told = {"transactions": [], "lastTransactionID": "5" if OTHER in request.path else "90"}
        await peer.say(answer(200, told))
        if OTHER not in request.path:
            await asyncio.sleep(0.005)  # the client has got the first, and may ask again
            await peer.say(answer(200, told))

    script.answer = say
    async with serving(script), venue_at(script.url) as venue:
        for _ in range(20):
            await venue.transactions_since(ACCOUNT, 90)
            assert await venue.transactions_since(OTHER, 5) == ((), 5)
