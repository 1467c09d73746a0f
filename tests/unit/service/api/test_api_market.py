"""Prices and candles over HTTP: pages that neither part nor repeat what is there."""

from __future__ import annotations

from decimal import Decimal

import pytest

from orchestrator.model.errors import StoreError
from orchestrator.model.market import Candle, Tick
from orchestrator.model.time import MINUTE_NS, format_time, parse_time

START = parse_time("2014-05-08T10:00:00Z")


def tick(at_ns: int, bid: str = "1.10000") -> Tick:
    return Tick(
        instrument="EUR_USD", bid=Decimal(bid), ask=Decimal("1.2"), venue_ns=at_ns, seen_ns=at_ns
    )


def candle(start_ns: int, granularity: str = "M1") -> Candle:
    one = Decimal("1.10000")
    return Candle(
        instrument="EUR_USD", granularity=granularity, start_ns=start_ns, volume=3, complete=True,
        bid_o=one, bid_h=one, bid_l=one, bid_c=one, ask_o=one, ask_h=one, ask_l=one, ask_c=one,
    )  # fmt: skip


async def pages(api, path: str, **asked) -> list[list[dict]]:
    found, cursor = [], None
    for _ in range(50):
        query = asked | ({"cursor": cursor} if cursor else {})
        answer = await api.get(path, params=query)
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["items"])
        cursor = answer.json()["next"]
        if cursor is None:
            return found
    raise AssertionError("pages without end")


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 9])
async def test_pages_of_ticks_make_up_the_whole_and_part_no_instant(api, desk, limit):
    """Four ticks bear the same stamp: a cursor of nanoseconds cannot stand between them."""
    stamps = [0, 1, 2, 2, 2, 2, 3, 4]
    desk.market_store.all_ticks = [
        tick(START + stamp, f"1.1000{place}") for place, stamp in enumerate(stamps)
    ]
    found = await pages(api, "/ticks", instrument="EUR_USD", limit=limit)
    assert [item["bid"] for page in found for item in page] == [f"1.1000{n}" for n in range(8)]


async def test_ticks_are_of_a_span(api, desk):
    desk.market_store.all_ticks = [tick(START + n * MINUTE_NS) for n in range(5)]
    query = {
        "instrument": "EUR_USD", "since": format_time(START + MINUTE_NS),
        "until": format_time(START + 3 * MINUTE_NS),
    }  # fmt: skip
    (page,) = await pages(api, "/ticks", **query)
    assert [item["venue_at"] for item in page] == [
        "2014-05-08T10:01:00.000000Z", "2014-05-08T10:02:00.000000Z",
    ]  # fmt: skip
    assert await pages(api, "/ticks", instrument="USD_JPY") == [[]]


async def test_candles_are_of_one_granularity(api, desk):
    desk.market_store.all_candles = [
        *(candle(START + n * MINUTE_NS) for n in range(5)), candle(START, "H1")
    ]  # fmt: skip
    found = await pages(api, "/candles", instrument="EUR_USD", limit=2)
    assert [len(page) for page in found] == [2, 2, 1]
    starts = [item["start_at"] for page in found for item in page]
    assert starts == sorted(set(starts))
    (page,) = await pages(api, "/candles", instrument="EUR_USD", granularity="H1")
    assert [item["granularity"] for item in page] == ["H1"]


async def test_what_is_stored_is_listed_by_instrument(api, desk):
    desk.market_store.names = ["EUR_USD", "GBP_USD", "USD_JPY"]
    found = await pages(api, "/market-data", limit=2)
    assert [[item["instrument"] for item in page] for page in found] == [
        ["EUR_USD", "GBP_USD"], ["USD_JPY"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        {}, {"instrument": "eur/usd"}, {"instrument": "EUR_USD", "since": "yesterday"},
        {"instrument": "EUR_USD", "since": "2014-05-08T10:00:00"},
        {"instrument": "EUR_USD", "limit": "0"}, {"instrument": "EUR_USD", "limit": "1001"},
        {"instrument": "EUR_USD", "cursor": "x"}, {"instrument": "EUR_USD", "cursor": "9" * 40},
        {"instrument": "EUR_USD", "cursor": "-1"}, {"instrument": "EUR_USD", "what": "1"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/ticks", "/candles"])
async def test_a_question_without_form_is_refused(api, path, query):
    assert (await api.get(path, params=query)).status_code == 422


async def test_a_store_that_cannot_be_read_is_a_503_that_says_so(api, desk):
    def broken(*_):
        raise StoreError("TIMESCALE_URL: nobody answers")

    desk.market_store.ticks = broken
    answer = await api.get("/ticks", params={"instrument": "EUR_USD"})
    assert answer.status_code == 503
    assert "TIMESCALE" not in answer.text


async def test_prices_are_for_who_has_the_token(stranger):
    for path in ("/ticks", "/candles", "/market-data"):
        assert (await stranger.get(path, params={"instrument": "EUR_USD"})).status_code == 401
