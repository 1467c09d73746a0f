"""Breakers at their very edges, and the evidence that people read, word for word."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from orchestrator.kernel.safety.breakers.a6_margin import a6_margin
from orchestrator.kernel.safety.breakers.a7_unknown import Knowledge, a7_unknown
from orchestrator.kernel.safety.breakers.a8_divergence import a8_differs
from orchestrator.kernel.safety.breakers.a9_foreign import a9_foreign
from orchestrator.kernel.safety.breakers.a10_credentials import a10_credentials
from orchestrator.kernel.safety.breakers.m2_spread import SpreadRing, m2_spread
from orchestrator.kernel.safety.breakers.m3_volatility import Volatility, m3_volatility
from orchestrator.kernel.safety.breakers.m4_gap import Band
from orchestrator.kernel.safety.breakers.m5_bad_ticks import defect
from orchestrator.model.limits import BreakerLimits
from orchestrator.model.market import Tick
from orchestrator.model.safety import Effect
from orchestrator.model.time import MINUTE_NS, NS_PER_S

D = Decimal
LIMITS = BreakerLimits()
SEVEN = tuple("abcdefg")


# -- evidence --------------------------------------------------------------------------------------


def test_five_differences_are_named_and_the_others_are_not():
    assert a8_differs(SEVEN) == "differs from the venue: a; b; c; d; e"
    assert a8_differs(()) is None
    known = Knowledge(
        reconciled=False, differences=SEVEN, unknown_since_ns=None, behind_ns=None, heard_ns=0,
        valued=True,
    )  # fmt: skip
    assert a7_unknown(known, 0, LIMITS) == "differs from the venue: a; b; c; d; e"


def test_five_foreign_trades_and_orders_are_named():
    assert a9_foreign(SEVEN, SEVEN) == "foreign trades a, b, c, d, e, orders a, b, c, d, e"
    assert a9_foreign((), ("o",)) == "foreign trades -, orders o"
    assert a9_foreign(("t",), ()) == "foreign trades t, orders -"
    assert a9_foreign((), ()) is None


def test_refused_credentials_are_told_with_or_without_a_reason():
    assert a10_credentials(ok=True, reason="x") is None
    assert a10_credentials(ok=False, reason="") == (
        "the venue refused our credentials: no reason given"
    )
    assert a10_credentials(ok=False, reason="expired") == (
        "the venue refused our credentials: expired"
    )


def test_margin_is_told_as_the_venue_counts_it():
    flatten, text = a6_margin(D(160), D(100), LIMITS)
    assert (flatten, text) == (Effect.FLATTEN, "margin closeout percent 80.00 %, limit 80.00 %")
    block, text = a6_margin(D(50), D(100), LIMITS)
    assert (block, text) == (Effect.BLOCK, "margin used is 50.00 % of NAV, limit 50.00 %")
    assert a6_margin(D("49.99"), D(100), LIMITS) is None
    assert a6_margin(D(1), D(0), LIMITS) == (
        Effect.FLATTEN, "margin 1 is used, and the NAV is 0",
    )  # fmt: skip
    assert a6_margin(D("0.1"), D(1), LIMITS) is None, "a NAV of one is a NAV"
    assert a6_margin(D(0), D(0), LIMITS) is None


# -- ticks -----------------------------------------------------------------------------------------


def tick(bid: str, ask: str, at_ns: int = NS_PER_S) -> Tick:
    return Tick(instrument="EUR_USD", bid=D(bid), ask=D(ask), venue_ns=at_ns, seen_ns=at_ns)


@pytest.mark.parametrize(
    ("bid", "ask", "wrong"),
    [
        ("0.5", "0.5001", None), ("1", "1.0001", None), ("0", "1", "0/1 is not above zero"),
        ("-1", "0", "-1/0 is not above zero"), ("-2", "-1", "-2/-1 is not above zero"),
        ("NaN", "1", "NaN/1 is not finite"), ("1", "Infinity", "1/Infinity is not finite"),
        ("1", "1", "bid 1 is not below ask 1"), ("1.1", "1", "bid 1.1 is not below ask 1"),
    ],
)  # fmt: skip
def test_what_is_no_price_by_itself(bid: str, ask: str, wrong: str | None):
    assert defect(tick(bid, ask), None, LIMITS) == wrong


def test_a_band_of_no_price_yet_is_near_nothing():
    band = Band(LIMITS)
    assert band.near is False
    assert not band.is_near(D(1), D("1.1"), NS_PER_S)
    assert not band.ran_away(D(1))


# -- spreads ---------------------------------------------------------------------------------------


def test_the_usual_spread_is_the_median_of_samples_ten_seconds_apart():
    ring = SpreadRing()
    for number in range(29):
        ring.add(D(number + 1), number * 10 * NS_PER_S)
        ring.add(D(99), number * 10 * NS_PER_S + 1)  # not due: no sample
    assert ring.median is None
    ring.add(D(30), 290 * NS_PER_S)
    assert ring.median == 16  # of 1 to 30, the upper middle
    assert (ring.smallest, ring.suspect) == (1, 16)


def test_a_spread_at_the_limit_is_fine():
    ring = SpreadRing(cap=D(50))
    for number in range(30):
        ring.add(D(10), number * 10 * NS_PER_S)
    assert ring.suspect == 10
    assert m2_spread(LIMITS.spread_factor * 10, ring, LIMITS) is None
    assert m2_spread(LIMITS.spread_factor * 10 + 1, ring, LIMITS) == (
        f"spread {LIMITS.spread_factor * 10 + 1} is over {LIMITS.spread_factor} x its median 10"
    )
    assert m2_spread(D(50), SpreadRing(cap=D(50)), LIMITS) is None
    assert m2_spread(D(51), ring, LIMITS) == "spread 51 is over its cap 50"


def test_a_cap_below_the_usual_spread_is_what_counts():
    ring = SpreadRing(cap=D(5))
    for number in range(30):
        ring.add(D(10), number * 10 * NS_PER_S)
    assert ring.suspect == 5


# -- volatility ------------------------------------------------------------------------------------


def wild(times: float, *, calm_minutes: int = 100, pause: int = 1) -> Volatility:
    """Minutes of 0.01 %, then one whose move is as many times that, after `pause` minutes."""
    made, price = Volatility(), 1.0
    for minute in range(calm_minutes):
        price *= math.exp(0.0001)
        made.minute_over(D(str(price)), minute * MINUTE_NS)
    price *= math.exp(0.0001 * times)
    made.minute_over(D(str(price)), (calm_minutes - 1 + pause) * MINUTE_NS)
    return made


def test_the_ratio_is_of_the_average_over_its_median():
    assert wild(1).ratio == pytest.approx(1, rel=1e-6)
    assert wild(31).ratio == pytest.approx(0.9 + 0.1 * 31, rel=1e-6)


def test_a_move_over_several_minutes_counts_by_the_root_of_their_number():
    assert wild(31, pause=4).ratio == pytest.approx(0.9 + 0.1 * 31 / 2, rel=1e-6)
    assert wild(31, pause=5).ratio == pytest.approx(0.9 + 0.1 * 31 / math.sqrt(5), rel=1e-6)


def test_after_a_longer_pause_and_in_the_same_minute_a_move_says_nothing():
    assert wild(31, pause=6).ratio == pytest.approx(1, rel=1e-6)
    assert wild(31, pause=0).ratio == pytest.approx(1, rel=1e-6)


def test_prices_below_one_are_prices():
    made, price = Volatility(), 0.5
    for minute in range(100):
        price *= math.exp(0.0001)
        made.minute_over(D(str(price)), minute * MINUTE_NS)
    assert made.ratio == pytest.approx(1, rel=1e-6)


def test_volatility_scales_above_four_and_blocks_above_eight():
    assert m3_volatility(wild(1), LIMITS) is None
    effect, text = m3_volatility(wild(42), LIMITS)
    assert (effect, text) == (
        Effect.SCALE,
        f"one-minute returns are 5.1 x their 24 h median, over {LIMITS.volatility_scale_at}",
    )
    effect, text = m3_volatility(wild(82), LIMITS)
    assert (effect, text) == (
        Effect.BLOCK,
        f"one-minute returns are 9.1 x their 24 h median, limit {LIMITS.volatility_block_at}",
    )
