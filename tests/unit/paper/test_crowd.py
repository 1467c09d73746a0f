"""Order and position books: whole, repeatable, around the price of their moment."""

from decimal import Decimal

import pytest

from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName, Price
from orchestrator.model.time import NS_PER_S, parse_time
from orchestrator.paper.candles import CandleStore
from orchestrator.paper.crowd import KINDS, book_of, has_books, price_at, snapshot_time
from orchestrator.paper.instruments import SPECS

D = Decimal
AT = parse_time("2024-03-12T12:20:00Z")
EUR_USD = SPECS[InstrumentName("EUR_USD")]


def told(store, at_ns, mid):
    price = Price(D(mid))
    store.on_tick(Tick(
        instrument=EUR_USD.name, bid=price, ask=price, venue_ns=at_ns, seen_ns=at_ns,
    ))  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "price"), [("EUR_USD", "1.10005"), ("USD_JPY", "150.003"), ("XAU_USD", "2350.125")]
)
def test_a_book_is_whole_and_the_same_each_time(kind, name, price):
    spec = SPECS[InstrumentName(name)]
    book = book_of(kind, spec, AT, D(price))
    assert book == book_of(kind, spec, AT, D(price))
    assert book != book_of(kind, spec, AT + 1200 * NS_PER_S, D(price))
    buckets = book["buckets"]
    shares = [b[side] for b in buckets for side in ("longCountPercent", "shortCountPercent")]
    assert sum(shares) == 100
    assert all(any(b[s] for s in ("longCountPercent", "shortCountPercent")) for b in buckets)
    width = book["bucketWidth"]
    prices = [b["price"] for b in buckets]
    assert prices == sorted(set(prices))
    assert all(p % width == 0 for p in prices)
    assert prices[0] < D(price) < prices[-1] + width
    assert len(buckets) > 50


def test_orders_gather_away_from_the_price_and_at_round_numbers():
    price, near, far, ends, others = D("1.10005"), [], [], [], []
    for number in range(40):
        for b in book_of("orderBook", EUR_USD, AT + number * 1200 * NS_PER_S, price)["buckets"]:
            share, away = b["longCountPercent"] + b["shortCountPercent"], abs(b["price"] - price)
            (near if away < D("0.0005") else far if away < D("0.005") else []).append(share)
            (ends if b["price"] % D("0.005") == 0 else others).append(share)
    assert sum(near) / len(near) < sum(far) / len(far)
    assert sum(ends) / len(ends) > 1.5 * float(sum(others) / len(others))


def test_a_snapshot_is_taken_each_twenty_minutes_at_the_price_before_it():
    assert snapshot_time(AT) == snapshot_time(AT + 1199 * NS_PER_S) == AT
    store = CandleStore()
    assert price_at(store, EUR_USD.name, AT) is None
    told(store, AT - 300 * NS_PER_S, "1.10000")
    told(store, AT - 200 * NS_PER_S, "1.20000")
    told(store, AT + 5 * NS_PER_S, "1.30000")
    assert price_at(store, EUR_USD.name, AT) == D("1.2")
    # The first snapshot of a market that has only just begun takes its first price.
    assert price_at(store, EUR_USD.name, AT - 600 * NS_PER_S) == D("1.1")
    assert price_at(store, EUR_USD.name, AT - 86_400 * NS_PER_S) is None


def test_only_the_venues_own_instruments_have_books():
    assert has_books(EUR_USD.name)
    assert not has_books(InstrumentName("ZAR_JPY"))
