"""Every pre-trade check just inside, at, and just outside its limit."""

from __future__ import annotations

from decimal import Decimal

import pytest

from orchestrator.kernel.safety.checks import ALL_CHECKS, evaluate, id_of
from orchestrator.kernel.safety.checks.c07_collar import bound_of
from orchestrator.kernel.safety.checks.c17_throttle import bucket_after
from orchestrator.model.limits import AccountLimits, BreakerLimits, CheckLimits
from orchestrator.model.money import InstrumentSpec, Side
from orchestrator.model.safety import SystemMode
from orchestrator.model.time import NS_PER_MS, NS_PER_S
from tests.unit.kernel.safety_makers import (
    NOW,
    D,
    funds_of,
    market_of,
    order_of,
    totals_of,
    view_of,
)

MS, S = NS_PER_MS, NS_PER_S
RISK = D(21)  # of the makers' order
SELL = {"side": Side.SELL, "units": D(-10_000), "stop_price": D("1.10200"), "target_price": None}


def objections(order=None, **changes):
    return evaluate(order or order_of(), view_of(**changes), ALL_CHECKS)


def ids(found):
    return [text.split()[0] for text in found]


def test_the_makers_order_passes_every_check():
    assert objections() == ()
    assert objections(order_of(**SELL)) == ()


def test_the_registry_is_c01_to_c20_in_order():
    assert [id_of(check) for check in ALL_CHECKS] == [f"C{number:02}" for number in range(1, 21)]


def test_an_empty_list_of_checks_refuses_to_work():
    with pytest.raises(ValueError, match="no pre-trade checks"):
        evaluate(order_of(), view_of(), ())


def test_all_checks_are_evaluated_and_the_first_objection_stands_first():
    found = objections(order_of(units=D(0)), mode=SystemMode.READY, session="closed")
    assert ids(found) == ["C01", "C02", "C09", "C18"]


# -- C01 -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "passes"), [(m, m in ("running", "draining")) for m in SystemMode]
)
def test_c01_only_a_running_or_draining_system_sends(mode, passes):
    assert ("C01" not in ids(objections(mode=mode))) is passes


@pytest.mark.parametrize(
    "changes",
    [
        {"blocks": ("A1 daily loss: 6 %",)},
        {"configured": False},
        {"live": True},
        {"account_seen_ns": None},
        {"account_seen_ns": NOW - 15 * S - 1},
    ],
)
def test_c01_refuses(changes):
    assert ids(objections(**changes)) == ["C01"]


def test_c01_account_data_may_be_15_s_old_and_live_may_be_allowed():
    assert objections(account_seen_ns=NOW - 15 * S) == ()
    assert objections(live=True, live_allowed=True) == ()


def test_c01_tells_every_reason_in_one_text():
    (text,) = objections(blocks=("account is disabled", "M1 stale prices: x"))
    assert text == "C01 account is disabled; M1 stale prices: x"


# -- C02 -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"units": D("NaN")}, {"units": D("Infinity")}, {"units": D(0)}, {"units": D(-10_000)},
        {"stop_price": D("NaN")}, {"stop_price": D(0)}, {"reference_price": D("-1")},
        {"target_price": D("Infinity")}, {"confidence": D("NaN")}, {"confidence": D("1.1")},
        {"score": D("-0.1")},
    ],
)  # fmt: skip
def test_c02_refuses_numbers_that_are_none(changes):
    assert "C02" in ids(objections(order_of(**changes)))


@pytest.mark.parametrize("special", ["NaN", "sNaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("name", ["units", "stop_price", "reference_price"])
def test_no_special_decimal_raises_out_of_the_checks(name, special):
    assert objections(order_of(**{name: D(special)}))


def test_c02_stop_and_target_stand_on_their_sides():
    assert "C02" in ids(objections(order_of(stop_price=D("1.10010"))))
    assert "C02" not in ids(objections(order_of(stop_price=D("1.10009"))))
    assert "C02" in ids(objections(order_of(target_price=D("1.10010"))))
    assert "C02" in ids(objections(order_of(**{**SELL, "stop_price": D("1.10000")})))
    assert "C02" in ids(objections(order_of(**{**SELL, "target_price": D("1.10000")})))
    assert objections(order_of(**{**SELL, "target_price": D("1.09999")})) == ()


def test_c02_instrument_must_be_known_priced_and_tradeable():
    assert "C02" in ids(objections(spec=None))
    assert "C02" in ids(objections(market=None))
    assert ids(objections(market=market_of(tradeable=False))) == ["C02"]


# -- C03, C04 --------------------------------------------------------------------------


def test_c03_time_to_live():
    born = {"created_ns": NOW - 10 * S}
    assert objections(order_of(**born, expires_ns=NOW)) == ()
    assert ids(objections(order_of(**born, expires_ns=NOW - 1))) == ["C03"]
    longest = CheckLimits().signal_ttl_ms_max * MS
    assert objections(order_of(created_ns=NOW, expires_ns=NOW + longest)) == ()
    assert ids(objections(order_of(created_ns=NOW, expires_ns=NOW + longest + 1))) == ["C03"]


def test_c03_from_the_future():
    later = {"expires_ns": NOW + 9 * S}
    assert objections(order_of(created_ns=NOW + S, **later)) == ()
    assert ids(objections(order_of(created_ns=NOW + S + 1, **later))) == ["C03"]


def test_c04_never_twice_and_no_like_one_within_10_s():
    assert ids(objections(seen_before=True)) == ["C04"]
    assert ids(objections(alike_ns=NOW - 10 * S + 1)) == ["C04"]
    assert objections(alike_ns=NOW - 10 * S) == ()


# -- C05 to C08 ------------------------------------------------------------------------


def test_c05_a_dead_stream_allows_5_s_a_living_one_60():
    dead = {"stream_ns": NOW - 7 * S - 1}
    for age, passes in ((5 * S, True), (5 * S + 1, False)):
        market = market_of(seen_ns=NOW - age, venue_ns=NOW - age, **dead)
        assert (objections(market=market) == ()) is passes
    for age, passes in ((60 * S, True), (60 * S + 1, False)):
        market = market_of(seen_ns=NOW - age, venue_ns=NOW - age)
        assert (objections(market=market) == ()) is passes


def test_c05_text_tells_the_numbers():
    old = market_of(seen_ns=NOW - 5_800_000_000, venue_ns=NOW - 5_800_000_000, stream_ns=0)
    assert objections(market=old) == ("C05 tick is 5.8 s old, limit 5 s",)


def test_c05_clocks_within_5_s_and_no_tick_from_the_future():
    assert objections(market=market_of(venue_ns=NOW - 5 * S)) == ()
    assert ids(objections(market=market_of(venue_ns=NOW - 5 * S - 1))) == ["C05"]
    ahead = NOW + S + 1
    assert ids(objections(market=market_of(seen_ns=ahead, venue_ns=ahead))) == ["C05"]


def test_c05_bid_below_ask():
    assert "C05" in ids(objections(market=market_of(bid=D("1.10010"))))


def test_c06_spread_against_its_median():
    for spread, passes in ((D("0.00040"), True), (D("0.00041"), False)):
        market = market_of(ask=D("1.10000") + spread)
        order = order_of(stop_price=D("1.09000"), units=D(1_000))
        assert (objections(order, market=market) == ()) is passes
    unknown = market_of(ask=D("1.10041"), median_spread=None)
    assert objections(order_of(stop_price=D("1.09000"), units=D(1_000)), market=unknown) == ()


def test_c06_spread_against_the_stop():
    for distance, passes in ((D("0.00040"), True), (D("0.00039"), False)):
        order = order_of(stop_price=D("1.10010") - distance)
        assert ("C06" not in ids(objections(order))) is passes


def test_c06_spread_against_the_cap_of_its_instrument():
    capped = BreakerLimits(spread_caps={"EUR_USD": D("0.00009")})
    assert ids(objections(breakers=capped)) == ["C06"]
    assert objections(breakers=BreakerLimits(spread_caps={"EUR_USD": D("0.00010")})) == ()
    assert objections(breakers=BreakerLimits(spread_caps={"GBP_USD": D("0.00001")})) == ()


def test_c07_reference_within_1_percent_of_mid():
    mid = D("1.10005")
    edge = order_of(reference_price=mid * D("1.01"))
    assert objections(edge) == ()
    assert ids(objections(order_of(reference_price=mid * D("1.0101")))) == ["C07"]
    assert ids(objections(order_of(reference_price=mid * D("0.9899")))) == ["C07"]


def test_c07_bound_is_three_spreads_or_five_hundredths_of_a_percent():
    spec, limits = InstrumentSpec(name="EUR_USD"), CheckLimits()
    tight = market_of(ask=D("1.10001"))
    assert bound_of(Side.BUY, tight, spec, limits) == D("1.10056")  # 1.10001 x 1.0005, cut
    assert bound_of(Side.SELL, tight, spec, limits) == D("1.09945")
    wide = market_of(ask=D("1.10050"))
    assert bound_of(Side.BUY, wide, spec, limits) == D("1.10200")
    assert bound_of(Side.SELL, wide, spec, limits) == D("1.09850")


def test_c08_stop_is_at_least_two_spreads_away():
    wide = market_of(ask=D("1.10010"), median_spread=None)
    near = order_of(stop_price=D("1.09990"))
    assert "C08" not in ids(objections(near, market=wide))
    assert "C08" in ids(objections(order_of(stop_price=D("1.09991")), market=wide))


def test_c08_stop_is_at_most_5_percent_away_and_on_the_grid():
    price = D("1.10010")
    far = {"units": D(100), "target_price": None}
    edge = (price * D("0.95")).quantize(D("0.00001"), rounding="ROUND_UP")
    assert objections(order_of(stop_price=edge, **far)) == ()
    assert ids(objections(order_of(stop_price=edge - D("0.00001"), **far))) == ["C08"]
    assert ids(objections(order_of(stop_price=D("1.098101")))) == ["C08"]


# -- C09 -------------------------------------------------------------------------------


def test_c09_venue_rules():
    spec = InstrumentSpec(
        name="EUR_USD", minimum_trade_size=D(10), maximum_order_units=D(20_000),
        maximum_position_size=D(25_000),
    )  # fmt: skip
    assert "C09" in ids(objections(order_of(units=D("100.5"))))
    assert objections(order_of(units=D(10)), spec=spec) == ()
    assert ids(objections(order_of(units=D(9)), spec=spec)) == ["C09"]
    assert objections(order_of(units=D(20_000)), spec=spec) == ()
    assert ids(objections(order_of(units=D(20_001)), spec=spec)) == ["C09"]
    assert objections(spec=spec, position_units=D(15_000)) == ()
    assert ids(objections(spec=spec, position_units=D(15_001))) == ["C09"]
    assert objections(position_units=D(10**9)) == ()  # a maximum of 0 is none


def test_c09_notional_against_nav_and_the_ceiling():
    small = funds_of(nav=D("1100.10"), balance=D(100_000))
    loose = {"limits": AccountLimits(risk_per_trade=D(1), max_drawdown=D(1)),
             "checks": CheckLimits(margin_used_max=D(1))}  # fmt: skip
    assert "C09" not in ids(objections(funds=small, **loose))
    assert "C09" in ids(objections(funds=funds_of(nav=D("1100.09")), **loose))
    huge = CheckLimits(order_notional_max=D("11001"))
    assert objections(checks=huge) == ()
    assert ids(objections(checks=CheckLimits(order_notional_max=D("11000.99")))) == ["C09"]


def test_c09_size_against_the_usual():
    assert objections(median_units=D(2_000)) == ()
    assert ids(objections(median_units=D(1_999))) == ["C09"]


# -- C10 to C14 ------------------------------------------------------------------------


def at_limit(amount):
    """The limit itself passes; a ten-thousandth of a unit below it refuses."""
    return amount, amount - D("0.0001")


def test_c10_risk_per_trade_of_the_smaller_of_balance_and_nav():
    enough, short = at_limit(RISK / D("0.02"))
    for name in ("balance", "nav"):
        others = {"equity_start": enough, "peak": enough}
        assert "C10" not in ids(objections(funds=funds_of(**{name: enough}, **others)))
        assert "C10" in ids(objections(funds=funds_of(**{name: short}, **others)))


def test_c10_scale_shrinks_the_risk():
    enough = RISK / D("0.02") * 4
    assert objections(scale=D("0.25"), funds=funds_of(balance=enough)) == ()
    assert ids(objections(scale=D("0.24"), funds=funds_of(balance=enough))) == ["C10"]


def test_c11_count_per_account_and_in_total():
    assert objections(funds=funds_of(open_count=2), totals=totals_of(open_count=5)) == ()
    assert ids(objections(funds=funds_of(open_count=3))) == ["C11"]
    assert ids(objections(totals=totals_of(open_count=6))) == ["C11"]


def test_c12_daily_loss_counts_what_is_lost_open_and_wanted():
    lost = D(100_000) * D("0.06") - RISK
    for part, passes in ((lost, True), (lost + D("0.0001"), False)):
        assert ("C12" not in ids(objections(funds=funds_of(open_risk=part)))) is passes
        down = funds_of(nav=D(100_000) - part)
        assert ("C12" not in ids(objections(funds=down))) is passes


def test_c12_total_loss_in_the_reporting_currency():
    lost = D(200_000) * D("0.06") - RISK * 2
    assert objections(totals=totals_of(rate=D(2), day_loss=lost)) == ()
    over = totals_of(rate=D(2), open_risk=D("0.0001"), day_loss=lost)
    assert ids(objections(totals=over)) == ["C12"]


def test_c13_drawdown_counts_from_the_peak():
    fallen = D(110_000) * D("0.10") - RISK
    edge = {"peak": D(110_000), "equity_start": D(110_000) - fallen}
    assert objections(funds=funds_of(nav=D(110_000) - fallen, **edge)) == ()
    over = funds_of(nav=D(110_000) - fallen, open_risk=D("0.0001"), **edge)
    assert ids(objections(funds=over)) == ["C13"]


def test_c13_total_drawdown():
    fallen = D(200_000) * D("0.10") - RISK
    assert objections(totals=totals_of(nav=D(200_000) - fallen)) == ()
    assert ids(objections(totals=totals_of(nav=D(200_000) - fallen - D("0.0001")))) == ["C13"]


def test_c14_margin_with_what_is_reserved():
    needed = D(10_000) * D("1.10010") * D("0.02")
    for name in ("margin_used", "margin_reserved"):
        enough = D(50_000) - needed
        assert objections(funds=funds_of(**{name: enough})) == ()
        assert ids(objections(funds=funds_of(**{name: enough + D("0.0001")}))) == ["C14"]


def test_c14_margin_available_even_where_the_share_is_looser():
    whole = CheckLimits(margin_used_max=D(2))
    needed = D(10_000) * D("1.10010") * D("0.02")
    assert objections(checks=whole, funds=funds_of(margin_used=D(100_000) - needed)) == ()
    over = funds_of(margin_used=D(100_000) - needed + D("0.0001"))
    assert ids(objections(checks=whole, funds=over)) == ["C14"]


@pytest.mark.parametrize("unknown", ["funds", "factors", "totals"])
def test_what_is_unknown_refuses(unknown):
    refused = ids(objections(**{unknown: None}))
    assert set(refused) <= {"C09", "C10", "C11", "C12", "C13", "C14", "C15"}
    assert {"C12", "C13", "C15"} <= set(refused)


# -- C17, C18 --------------------------------------------------------------------------


def test_c17_bucket_gives_five_at_once_then_two_a_second():
    checks, bucket, now = CheckLimits(), 0, NOW
    for _ in range(5):
        assert objections(bucket_ns=bucket) == ()
        bucket = bucket_after(bucket, now, checks)
    assert ids(objections(bucket_ns=bucket)) == ["C17"]
    order = order_of(created_ns=NOW, expires_ns=NOW + 10 * S)
    later = {"now": NOW + S // 2, "account_seen_ns": NOW, "bucket_ns": bucket}
    assert objections(order, **later) == ()
    assert ids(objections(order, **{**later, "now": NOW + S // 2 - 1})) == ["C17"]


@pytest.mark.parametrize(
    ("name", "limit"), [("orders_last_minute", 60), ("orders_last_minute_total", 120)]
)
def test_c17_orders_in_a_minute(name, limit):
    assert objections(**{name: limit - 1}) == ()
    assert ids(objections(**{name: limit})) == ["C17"]


def test_c17_one_order_of_a_strategy_and_instrument_in_5_s():
    assert ids(objections(strategy_order_ns=NOW - 5 * S + 1)) == ["C17"]
    assert objections(strategy_order_ns=NOW - 5 * S) == ()


@pytest.mark.parametrize("session", ["quiet", "closed"])
def test_c18_refuses_outside_the_open_session(session):
    assert ids(objections(session=session)) == ["C18"]


def test_risk_scales_with_the_loss_factor():
    from orchestrator.model.conversion import Factors

    dear = Factors(Decimal(1), Decimal(100), Decimal(1))
    assert ids(objections(factors=dear)) == ["C10"]
