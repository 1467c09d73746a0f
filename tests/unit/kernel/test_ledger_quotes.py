"""The last good price is kept; what is no price is not."""

from decimal import Decimal

import pytest

from orchestrator.kernel.ledger.quotes import Quotes
from orchestrator.model.conversion import SAME
from tests.unit.kernel.ledger_makers import quotes, tick


def test_the_last_tick_counts():
    found = Quotes()
    assert found.bid_ask("EUR_USD") is None
    assert found.seen_ns("EUR_USD") is None
    found.put(tick(seen_ns=7))
    found.put(tick(bid="1.2", ask="1.3", seen_ns=8))
    assert found.bid_ask("EUR_USD") == (Decimal("1.2"), Decimal("1.3"))
    assert found.seen_ns("EUR_USD") == 8
    assert found.tick("EUR_USD").ask == Decimal("1.3")


@pytest.mark.parametrize(
    ("bid", "ask"),
    [
        ("NaN", "1.1"), ("1.1", "NaN"), ("sNaN", "1.1"), ("1.1", "Infinity"), ("-Infinity", "1"),
        ("0", "1.1"), ("-1", "1.1"), ("1.1", "1.1"), ("1.2", "1.1"), ("1.1", "1e9"),
    ],
)  # fmt: skip
def test_what_is_no_price_is_not_kept(bid, ask):
    found = quotes(EUR_USD=("1.1", "1.2"))
    assert found.put(tick(bid=bid, ask=ask)) is False
    assert found.bid_ask("EUR_USD") == (Decimal("1.1"), Decimal("1.2"))


def test_conversion_follows_the_ticks():
    found = quotes(GBP_USD=("1.25", "1.26"))
    assert found.factors("GBP", "USD").gain == Decimal("1.25")
    assert found.factors("USD", "USD") == SAME
    assert found.factors("JPY", "USD") is None
    found.put(tick("GBP_USD", "1.30", "1.31"))
    assert found.factors("GBP", "USD").gain == Decimal("1.30")
    found.put(tick("USD_JPY", "150", "151"))
    assert found.factors("JPY", "USD").loss == 1 / Decimal(150)
