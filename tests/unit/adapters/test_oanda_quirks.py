"""What is known to trip clients of OANDA (fact sheet, section 16), one by one.

Cuts, silences, blank lines and pieces of lines have their tests beside the streams.
"""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import pytest

from orchestrator.adapters.oanda.bodies import Bodies, Dependents, Resting
from orchestrator.adapters.oanda.client import ClientLimits
from orchestrator.adapters.oanda.wire import read, transaction_of
from orchestrator.kernel.ledger.adopt import adopt
from orchestrator.kernel.ledger.apply import apply_transaction
from orchestrator.model.errors import VenueNonsense, VenueRefused
from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName
from orchestrator.model.orders import Answered
from orchestrator.model.venue import Account
from orchestrator.paper.instruments import SPECS
from tests.unit.adapters.oanda_server import (
    ACCOUNT,
    TOKEN,
    Request,
    Script,
    answer,
    filled,
    saying,
    send,
    serving,
    venue_at,
)

TIME = "2016-10-24T21:48:18.593753865Z"
EUR_USD = InstrumentName("EUR_USD")


def account(**fields: object) -> dict:
    plain = {
        "id": ACCOUNT, "currency": "USD", "balance": "100000.0000", "lastTransactionID": "7",
        "trades": [], "positions": [], "orders": [], **fields,
    }  # fmt: skip
    return {"account": plain, "lastTransactionID": "7"}


async def read_account(**fields: object) -> Account:
    script = Script()
    script.answer = saying(answer(200, account(**fields)))
    async with serving(script), venue_at(script.url) as venue:
        return await venue.account(ACCOUNT)


def transaction(number: int, **fields: object):
    line = {"id": str(number), "type": "X", "accountID": ACCOUNT, "time": TIME, **fields}
    return transaction_of(json.dumps(line).encode())


async def test_ids_are_compared_as_numbers_past_a_power_of_ten():
    """As text "1000" is less than "999": a client lost every transaction from there on."""
    lines = [json.loads(json.dumps({"id": str(n), "type": "ORDER_CANCEL", "accountID": ACCOUNT,
                                    "time": TIME})) for n in (1001, 999, 1000)]  # fmt: skip
    script = Script()
    script.answer = saying(answer(200, {"transactions": lines, "lastTransactionID": "1001"}))
    async with serving(script), venue_at(script.url) as venue:
        found, last = await venue.transactions_since(ACCOUNT, 998)
    assert [one.number for one in found] == [999, 1000, 1001]
    assert last == 1001


async def test_an_account_may_lack_its_margin_rate_and_say_zero_for_a_time():
    found = await read_account(resettablePLTime="0")
    assert found.margin_rate is None
    assert found.resettable_pl_time == "0"


async def test_one_decimal_or_four_is_the_same_money():
    assert (await read_account(pl="0.0")).pl == (await read_account(pl="0.0000")).pl == 0


async def test_every_digit_of_a_decimal_is_kept():
    """No float on the way: 0.1 + 0.2 stays 0.3, and twelve digits of a factor survive."""
    found = await read_account(balance="97770.1692", pl="1.308472358521")
    assert (found.balance, found.pl) == (Decimal("97770.1692"), Decimal("1.308472358521"))


async def test_numbers_where_strings_are_promised_are_no_money():
    """JSON numbers are floats on some way: an account that sends them is not believed."""
    with pytest.raises(VenueNonsense):
        await read_account(lastTransactionID=7)


async def test_fields_of_newer_servers_are_ignored():
    found = await read_account(dividendAdjustment="1.5", guaranteedStopLossOrderMutability={"a": 1})
    assert found.dividend_adjustment == Decimal("1.5")


def test_liquidity_is_a_number_in_prices_and_a_string_in_fills():
    for liquidity in (1000000, "1000000"):
        full = {"timestamp": TIME, "bids": [{"price": "1.1", "liquidity": liquidity}], "asks": []}
        fill = transaction(5, type="ORDER_FILL", instrument="EUR_USD", fullPrice=full)
        assert fill.full_price.bids[0].price == Decimal("1.1")


def test_a_fill_without_its_deprecated_price_opens_at_its_average():
    book = adopt(read(json.dumps(account()["account"]).encode(), Account), lambda _: None)
    apply_transaction(book, transaction(8, type="MARKET_ORDER", instrument="EUR_USD", units="5"),
                      lambda _: None)  # fmt: skip
    fill = transaction(
        9, type="ORDER_FILL", orderID="8", instrument="EUR_USD", units="5", fullVWAP="1.10010",
        accountBalance="100000.0000", tradeOpened={"tradeID": "9", "units": "5"},
    )  # fmt: skip
    apply_transaction(book, fill, lambda _: None)
    assert book.trades["9"].price == Decimal("1.10010")


def test_times_may_be_unix_seconds():
    assert transaction(5, time="1477345698.593753865").time == "1477345698.593753865"


def test_prices_are_written_with_the_instruments_own_decimals():
    """Formatted with five for every instrument, USD_JPY is PRICE_PRECISION_EXCEEDED."""
    make = Bodies(ACCOUNT, SPECS[InstrumentName("USD_JPY")])
    hangs = Dependents(stop_loss=Resting(price=Decimal("149.5")))
    order = json.loads(make.market(Decimal(10), with_it=hangs).body)["order"]
    assert order["stopLossOnFill"]["price"] == "149.500"
    assert order["units"] == "10"
    with pytest.raises(ValueError, match="finer"):
        make.market(Decimal(10), bound=Decimal("149.12345"))


def test_nothing_null_and_no_number_is_sent_in_an_order():
    make = Bodies(ACCOUNT, SPECS[EUR_USD])

    def flat(value: object):
        if isinstance(value, dict):
            for one in value.values():
                yield from flat(one)
        else:
            yield value

    assert all(isinstance(one, str) for one in flat(json.loads(make.market(Decimal(10)).body)))


def test_patience_with_a_stream_is_longer_than_its_heartbeats():
    """One client waits 2 s where a heartbeat comes each 5 s, and reconnects all the time."""
    assert ClientLimits().stream_silence_s >= 2 * 5.0


async def test_a_201_without_a_fill_is_told_as_it_is():
    """US accounts: equal trades with dependents are cancelled by the FIFO safeguard, with a 201."""

    async def say(peer, request: Request):
        body = filled(request)
        cancel = {
            **body.pop("orderFillTransaction"), "type": "ORDER_CANCEL",
            "reason": "FIFO_VIOLATION_SAFEGUARD_VIOLATION",
        }  # fmt: skip
        await peer.say(answer(201, body | {"orderCancelTransaction": cancel}))

    script = Script()
    script.answer = say
    async with serving(script), venue_at(script.url) as venue:
        outcome = await send(venue)
    assert isinstance(outcome, Answered)
    assert [t.type for t in outcome.transactions] == ["MARKET_ORDER", "ORDER_CANCEL"]


@pytest.mark.parametrize("given", [{}, {"bids": [], "asks": []}])
async def test_a_closed_market_has_prices_without_buckets(given):
    line = {
        "type": "PRICE", "instrument": "EUR_USD", "time": TIME, "tradeable": False,
        "closeoutBid": "1.1", "closeoutAsk": "1.2", "status": "non-tradeable", **given,
    }  # fmt: skip
    script = Script()
    script.answer = saying(answer(200, {"prices": [line], "time": TIME}))
    async with serving(script), venue_at(script.url) as venue:
        (tick,) = await venue.prices(ACCOUNT, [EUR_USD])
    assert isinstance(tick, Tick)
    assert (tick.bid, tick.tradeable) == (Decimal("1.1"), False)


async def test_a_thousand_candles_may_be_fewer():
    """Periods without a price have no candle; a page that brings nothing new ends it."""
    ohlc = {"o": "1.1", "h": "1.2", "l": "1.0", "c": "1.1"}
    stick = {"time": TIME, "volume": 3, "complete": True, "bid": ohlc, "ask": ohlc}
    told = {"instrument": "EUR_USD", "granularity": "D", "candles": [stick]}
    script = Script()
    script.answer = saying(answer(200, told))
    async with serving(script), venue_at(script.url) as venue:
        async with asyncio.timeout(2):
            assert len(await venue.candles(EUR_USD, "D", 1000)) == 1
    assert len(script.requests) == 2


async def test_rest_and_streams_may_live_on_hosts_of_their_own():
    rest, stream = Script(), Script()
    rest.answer = saying(answer(200, account()))
    stream.answer = saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    async with (
        serving(rest), serving(stream), venue_at(rest.url, stream_url=stream.url) as venue,
    ):  # fmt: skip
        assert (await venue.account(ACCOUNT)).id == ACCOUNT
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await venue.stream_prices(ACCOUNT, [EUR_USD], lambda _: None)
    assert [one.path.rpartition("/")[2][:6] for one in stream.requests] == ["stream"]
    assert len(rest.requests) == 1


# -- a token that is told back ---------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 404, 429, 502])
async def test_a_token_that_is_echoed_is_told_on_to_nobody(status):
    """Some proxies put the request's own headers into their errors (INV-18)."""
    echo = {"errorCode": f"X-{TOKEN}", "errorMessage": f"Authorization: Bearer {TOKEN} refused"}
    script = Script()
    script.answer = saying(answer(status, echo))
    async with serving(script), venue_at(script.url) as venue:
        outcome = await send(venue)
        assert TOKEN not in str(outcome)
        assert "refused" in str(outcome)
        with pytest.raises(VenueRefused) as caught:
            await venue.account(ACCOUNT)
        assert TOKEN not in f"{caught.value} {caught.value.code} {caught.value.message}"
        venue.use_token(ACCOUNT, "another-token")
        assert TOKEN not in str(await send(venue))
