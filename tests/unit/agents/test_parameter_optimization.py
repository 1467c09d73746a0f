"""Sizing never risks more than allowed, whatever it is asked."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.agents.parameter_optimization import ParameterOptimization, _whole
from orchestrator.model.money import InstrumentName, InstrumentSpec, Side
from orchestrator.model.signals import AskSizing, Sizing
from tests.unit.agents.makers import (
    D,
    account,
    ask_sizing,
    held,
    history,
    quiet_tick,
    score,
    signal,
)


def size(ask: AskSizing, agent: ParameterOptimization | None = None) -> Sizing:
    (said,) = (agent or ParameterOptimization()).hear(ask)
    assert isinstance(said, Sizing)
    return said


def test_units_are_money_at_risk_over_the_loss_of_one_unit() -> None:
    """2 % of 10,000 = 200; one unit loses stop 0.00200 + spread 0.00005."""
    said = size(ask_sizing(account=account(headroom_units=D(10**9))))
    assert said.units == 97560  # 200 / 0.00205 = 97560.97
    assert said.risk == D("97560") * D("0.00205")
    assert said.stop_price == D("1.09805")  # ask less the distance
    assert said.target_price == D("1.10305")


def test_a_sale_starts_from_the_bid_and_has_negative_units() -> None:
    said = size(ask_sizing(signal=signal(side=Side.SELL)))
    assert said.units < 0
    assert said.stop_price == D("1.10200")
    assert said.target_price == D("1.09700")
    assert said.risk > 0


def test_risk_is_taken_of_the_smaller_of_balance_and_nav() -> None:
    said = size(ask_sizing(account=account(balance=D(10_000), nav=D(5_000))))
    assert said.units == 48780
    said = size(ask_sizing(account=account(balance=D(5_000), nav=D(10_000))))
    assert said.units == 48780


def test_a_quotient_that_was_rounded_up_does_not_exceed_the_allowance() -> None:
    """Twice 4.9 less the last of 28 digits, over 4.9, is 2: one too many by that digit."""
    unit_loss = D("4.9")
    money = (2 * unit_loss).next_minus()
    assert money / unit_loss == 2
    assert _whole(ask_sizing(), money / unit_loss, money, unit_loss) == 1


def test_weight_multiplies_risk() -> None:
    assert size(ask_sizing(weight=D("0.5"))).units == 48780


def test_headroom_caps_the_size() -> None:
    said = size(ask_sizing(account=account(headroom_units=D("1234.9"))))
    assert said.units == 1234
    assert "headroom" in " ".join(said.reasons)


def test_a_euro_account_pays_for_dollar_losses_at_the_loss_factor() -> None:
    """0.00205 USD cost 0.00205 x 0.909 EUR: more units for the same risk."""
    view = account(currency="EUR", loss_factor=D("0.909"), headroom_units=D(10**9))
    said = size(ask_sizing(account=view))
    assert said.units == 107327  # 200 / (0.00205 x 0.909) = 107327.8
    assert said.risk <= 200


def test_a_yen_pair_in_a_dollar_account() -> None:
    spec = InstrumentSpec(name=InstrumentName("USD_JPY"), pip_location=-2, display_precision=3)
    ask = ask_sizing(
        spec=spec,
        bid=D("102.000"),
        ask=D("102.010"),
        signal=signal(
            instrument=spec.name, stop_distance=D("0.2004"), target_distance=D("0.30061")
        ),
        account=account(loss_factor=1 / D(102), value_factor=1 / D(102)),
    )
    said = size(ask)
    assert said.stop_price == D("101.810")  # 101.8096 rounded toward the entry
    assert said.target_price == D("102.310")
    assert said.units == 97142  # 200 / ((0.200 + 0.010) / 102)


def test_a_fraction_of_kelly_caps_the_risk() -> None:
    """p = 0.45, b = 0.003 / 0.00205: Kelly 0.0742, a quarter of it 0.01854 of 10,000."""
    said = size(ask_sizing(score=score("0.45")))
    assert said.risk == pytest.approx(Decimal("185.4"), abs=1)
    assert "Kelly cap 0.0185" in said.reasons[0]


def test_a_win_rate_that_does_not_pay_gives_nothing() -> None:
    said = size(ask_sizing(score=score("0.35")))
    assert said.units == 0
    assert "Kelly" in said.reasons[0]


def test_without_a_target_there_is_no_kelly_cap_and_no_target_price() -> None:
    said = size(ask_sizing(signal=signal(target_distance=None), score=score("0.01")))
    assert said.units == 97560
    assert said.target_price is None


def wild_agent(move: float) -> ParameterOptimization:
    agent = ParameterOptimization()
    agent.hear(history([1.1 * (1 + (move if i % 2 else 0)) for i in range(200)]))
    return agent


def test_volatility_above_the_target_scales_risk_down() -> None:
    """Moves of 0.1 % a minute are 60 % a year: a third of the risk is left."""
    said = size(ask_sizing(), wild_agent(0.001))
    yearly = 0.001 * math.sqrt(252 * 1440)
    assert said.risk == pytest.approx(D(200 * 0.2 / yearly), rel=D("0.02"))
    assert "volatility" in said.reasons[0]


def test_volatility_scales_to_a_quarter_at_the_least_and_never_up() -> None:
    assert size(ask_sizing(), wild_agent(0.05)).risk == pytest.approx(D(50), abs=1)
    assert size(ask_sizing(), wild_agent(0.00001)).units == 97560


def test_live_ticks_go_on_where_history_ends() -> None:
    agent = wild_agent(0.00001)
    for minute in range(120):
        for second in (0, 30):
            agent.hear(quiet_tick(60 * minute + second, 1.1 * (1.001 if minute % 2 else 1)))
    assert size(ask_sizing(), agent).risk < 100


def test_less_than_the_minimum_declines_with_numbers() -> None:
    said = size(ask_sizing(account=account(balance=D("0.05"), nav=D("0.05"))))
    assert said.units == 0
    assert said.risk == 0
    assert "minimum of 1" in said.reasons[0]


def test_gold_is_sized_in_its_own_steps() -> None:
    spec = InstrumentSpec(
        name=InstrumentName("XAU_USD"),
        display_precision=3,
        trade_units_precision=2,
        minimum_trade_size=D("0.01"),
    )
    ask = ask_sizing(
        spec=spec,
        bid=D("1290.000"),
        ask=D("1290.500"),
        signal=signal(instrument=spec.name, stop_distance=D("7.3"), target_distance=D("15")),
        account=account(headroom_units=D(10**6)),
    )
    assert size(ask).units == D("25.64")  # 200 / 7.8 = 25.641


def test_the_venues_largest_position_counts_what_is_held() -> None:
    spec = InstrumentSpec(name=InstrumentName("EUR_USD"), maximum_position_size=D(5000))
    view = account(open_trades=(held(3000), held(9000, "GBP_USD"), held(-800)))
    assert size(ask_sizing(spec=spec, account=view)).units == 2000


def test_margin_available_caps_the_size() -> None:
    said = size(ask_sizing(account=account(margin_available=D(22))))
    assert said.units == 999  # 22 / (1.10005 x 0.02) = 999.95
    assert "margin" in " ".join(said.reasons)


NAN, INF = D("NaN"), D("Infinity")


@pytest.mark.parametrize(
    "ask",
    [
        ask_sizing(bid=NAN),
        ask_sizing(ask=INF),
        ask_sizing(bid=D("1.1"), ask=D("1.1")),
        ask_sizing(bid=D("1.2"), ask=D("1.1")),
        ask_sizing(bid=D("-1.1"), ask=D("1.1")),
        ask_sizing(weight=NAN),
        ask_sizing(weight=D(0)),
        ask_sizing(weight=D(2)),
        ask_sizing(score=score("NaN")),
        ask_sizing(score=score("1.5")),
        ask_sizing(signal=signal(stop_distance=D("-0.1"))),
        ask_sizing(signal=signal(stop_distance=D("sNaN"))),
        ask_sizing(signal=signal(stop_distance=D("5"))),  # the stop would be below zero
        ask_sizing(signal=signal(stop_distance=D("0.000001"))),  # ... or at the entry
        ask_sizing(signal=signal(target_distance=D("0"))),
        ask_sizing(signal=signal(side=Side.SELL, target_distance=D("5"))),
        ask_sizing(account=account(nav=NAN)),
        ask_sizing(account=account(nav=D(-5))),
        ask_sizing(account=account(balance=D(0))),
        ask_sizing(account=account(risk_per_trade=D(0))),
        ask_sizing(account=account(risk_per_trade=D(2))),
        ask_sizing(account=account(loss_factor=D(0))),
        ask_sizing(account=account(headroom_units=NAN)),
        ask_sizing(account=account(headroom_units=D(-100))),
        ask_sizing(account=account(margin_available=D(-100))),
    ],
)
def test_nonsense_declines_with_a_reason(ask: AskSizing) -> None:
    said = size(ask)
    assert said.units == 0
    assert said.reasons[0]


@settings(max_examples=200, deadline=None)
@given(
    side=st.sampled_from(Side),
    money=st.decimals("1", "1000000", places=4),
    risk=st.decimals("0.0001", "0.05", places=4),
    weight=st.decimals("0.01", "1", places=2),
    stop=st.decimals("0.00001", "0.2", places=7),
    target=st.none() | st.decimals("0.00001", "0.2", places=7),
    spread=st.decimals("0.00001", "0.01", places=5),
    kappa=st.decimals("0.0001", "200", places=9),
    headroom=st.decimals("0", "200000", places=3),
    digits=st.integers(0, 2),
    win=st.decimals("0", "1", places=6),
)
def test_no_size_exceeds_its_allowance(
    side, money, risk, weight, stop, target, spread, kappa, headroom, digits, win
) -> None:
    """Risk as C10 computes it, headroom, steps of units and prices, sides of stop and target."""
    spec = InstrumentSpec(name=InstrumentName("EUR_USD"), trade_units_precision=digits)
    bid = D("1.10000")
    ask = ask_sizing(
        spec=spec,
        bid=bid,
        ask=bid + spread,
        weight=weight,
        score=score(str(win)),
        signal=signal(side=side, stop_distance=stop, target_distance=target),
        account=account(
            balance=money,
            nav=money,
            risk_per_trade=risk,
            loss_factor=kappa,
            headroom_units=headroom,
        ),
    )
    said = size(ask)
    assert said.units.is_finite()
    if said.units == 0:
        assert said.reasons
        return
    sign = side.sign
    entry = ask.ask if side is Side.BUY else ask.bid
    loss = abs(said.units) * (abs(entry - said.stop_price) + spread) * kappa
    assert loss <= risk * weight * money
    assert said.risk == loss
    assert abs(said.units) <= headroom
    assert abs(said.units) >= spec.minimum_trade_size
    assert said.units * sign > 0
    assert said.units == spec.round_units_to_zero(said.units)
    assert 0 < (entry - said.stop_price) * sign <= stop
    assert said.stop_price == spec.round_price(said.stop_price)
    if said.target_price is not None:
        assert (said.target_price - entry) * sign > 0
        assert said.target_price == spec.round_price(said.target_price)
