"""Headroom is what the checks leave, to the last step: it passes them, one step more does not.

Goal: whatever an account holds and may lose, the size that sizing is offered is the largest that
C09 to C15 let through, and the check that is said to bind is one that refuses a step more.
Method: hypothesis draws an account, its market and its limits; the checks themselves judge.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.kernel.safety.checks import ALL_CHECKS, evaluate, id_of
from orchestrator.kernel.safety.exposure import Leg, exposed
from orchestrator.kernel.safety.headroom import headroom
from orchestrator.model.conversion import Factors
from orchestrator.model.limits import AccountLimits, CheckLimits
from orchestrator.model.money import InstrumentSpec, Side
from tests.unit.kernel.safety_makers import (
    D,
    funds_of,
    market_of,
    order_of,
    totals_of,
    view_of,
)

BOUNDING = tuple(c for c in ALL_CHECKS if id_of(c) in {f"C{n:02}" for n in range(9, 16)})
SHARE = st.integers(0, 100).map(lambda n: D(n) / 100)
ORDERLY = settings(max_examples=300, deadline=None, database=None)


def money(low, high):
    return st.integers(low, high).map(lambda n: D(n) / 4)


@st.composite
def scenes(draw):
    nav = draw(money(40, 4_000_000))
    kappa = draw(st.sampled_from([D(1), D("1.1"), 1 / D("1.1"), 1 / D("150.005")]))
    names = st.sampled_from(["EUR_USD", "GBP_USD", "EUR_GBP", "USD_JPY"])
    legs = [
        Leg(draw(names), draw(st.integers(-600, 600)) * nav / 100, draw(st.booleans()))
        for _ in range(draw(st.integers(0, 4)))
    ]
    hedging = draw(st.booleans())
    sums = exposed(legs, hedging=hedging)
    spec = InstrumentSpec(
        name="EUR_USD", trade_units_precision=draw(st.sampled_from([0, 1])),
        maximum_order_units=draw(st.sampled_from([D(100_000_000), D(5_000)])),
        maximum_position_size=draw(st.sampled_from([D(0), D(70_000)])),
    )  # fmt: skip
    view = view_of(
        spec=spec, market=market_of(), factors=Factors(kappa, kappa, kappa),
        funds=funds_of(
            balance=nav, nav=nav, equity_start=nav * (1 + draw(SHARE) / 20),
            peak=nav * (1 + draw(SHARE) / 10), open_risk=nav * draw(SHARE) / 30,
            margin_used=nav * draw(SHARE) / 2, margin_reserved=nav * draw(SHARE) / 10,
            open_count=draw(st.integers(0, 3)),
        ),
        totals=totals_of(
            rate=draw(st.sampled_from([D(1), D("1.1"), D("0.0066")])),
            open_risk=draw(money(0, 20_000)), day_loss=draw(money(0, 20_000)),
            nav=D(200_000) - draw(money(0, 40_000)), open_count=draw(st.integers(0, 7)),
        ),
        limits=AccountLimits(risk_per_trade=draw(st.sampled_from([D("0.02"), D("0.005")]))),
        checks=CheckLimits(
            order_notional_max=draw(st.sampled_from([D(1_000_000), D(11_001)])),
            notional_nav_max=draw(st.sampled_from([D(10), D("0.7")])),
        ),
        scale=draw(st.sampled_from([D(1), D("0.25")])),
        margin_rate=draw(st.sampled_from([D("0.02"), D("0.5")])),
        median_units=draw(st.sampled_from([None, D(300), D("1000.5")])),
        position_units=D(draw(st.integers(-60_000, 60_000))), exposed=sums,
        gross_total=sums.gross + draw(money(0, 8_000_000)), hedging=hedging,
    )  # fmt: skip
    return view, draw(st.sampled_from([Side.BUY, Side.SELL])), draw(st.integers(1, 400))


def ask(view, side, units, distance):
    price = view.market.ask if side is Side.BUY else view.market.bid
    order = order_of(
        side=side, units=units * side.sign, stop_price=price - side.sign * distance,
        target_price=None,
    )  # fmt: skip
    return [text[:3] for text in evaluate(order, view, BOUNDING)]


@given(scenes())
@ORDERLY
def test_headroom_passes_the_checks_and_a_step_more_does_not(scene):
    view, side, points = scene
    distance = D(points) / 10_000
    found = headroom(view, view.spec, side, distance)
    step = D(1).scaleb(-view.spec.trade_units_precision)
    if found.units:
        assert ask(view, side, found.units, distance) == []
        assert found.binds in ask(view, side, found.units + step, distance)
    else:
        smallest = view.spec.minimum_trade_size
        assert found.binds in ask(view, side, smallest, distance)


def test_what_is_unknown_leaves_nothing():
    for name in ("market", "factors", "funds", "totals", "exposed", "gross_total"):
        view = view_of(**{name: None})
        assert headroom(view, InstrumentSpec(name="EUR_USD"), Side.BUY, D("0.002")).units == 0


def test_each_check_binds_somewhere():
    """Guards the law above against scenes in which one limit hides all others."""
    spec = InstrumentSpec(name="EUR_USD")
    heavy = exposed([Leg("EUR_USD", D(990_000), flying=False)])
    for changes, said in (
        ({}, "C09"),
        ({"scale": D("0.01")}, "C10"),
        ({"funds": funds_of(open_count=3)}, "C11"),
        ({"funds": funds_of(open_risk=D("5999.9"))}, "C12"),
        ({"funds": funds_of(open_risk=D(5_940), peak=D(104_456))}, "C13"),
        ({"funds": funds_of(margin_used=D("49999"))}, "C14"),
        ({"exposed": heavy, "gross_total": D(990_000)}, "C15"),
    ):
        checks = CheckLimits(order_notional_max=D(50_000))
        found = headroom(view_of(checks=checks, **changes), spec, Side.BUY, D("0.002"))
        assert found.binds == said
