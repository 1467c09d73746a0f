"""What the checks are shown of the accounts: sums over currencies, the last minute, itself."""

from __future__ import annotations

from decimal import Decimal

import pytest

from orchestrator.kernel.engine import scene
from orchestrator.kernel.engine.state import Recent
from orchestrator.model.facts import RiskAdvised
from orchestrator.model.money import ONE, Side
from orchestrator.model.outcomes import RiskAdvice
from orchestrator.model.time import HOUR_NS, MINUTE_NS, NS_PER_S
from tests.unit.kernel.engine_bench import A, B, Bench

D = Decimal


def world_of(bench: Bench):
    return bench.kernel._world


def view_of(bench: Bench, name: str, own: str = ""):
    return scene.view_of(world_of(bench), bench.intent(name).proposal, bench.now, name, own)


@pytest.fixture
def trading() -> Bench:
    """Both accounts hold a trade, and prices have gone against it."""
    bench = Bench()
    bench.send_signal()
    assert bench.fill_all() == 2
    bench.wait(30)
    bench.prices["EUR_USD"] = D("1.09900")
    bench.tick_all()
    return bench


# -- all accounts together -------------------------------------------------------------------------


def test_totals_are_sums_in_the_reporting_currency(trading: Bench):
    world = world_of(trading)
    rate = scene.rate_of(world, B)
    assert D("1.098") < rate < D("1.101"), "euros, told in dollars"
    here, there = scene.funds_of(world, A), scene.funds_of(world, B)
    totals = scene.totals_of(world, A)
    assert min(here.day_loss, there.day_loss, here.open_risk, there.open_risk) > 0
    assert totals.rate == 1
    assert totals.nav == here.nav + there.nav * rate
    assert totals.equity_start == here.equity_start + there.equity_start * rate
    assert totals.day_loss == here.day_loss + there.day_loss * rate
    assert totals.open_risk == here.open_risk + there.open_risk * rate
    assert totals.peak == here.peak + there.peak * rate
    assert (totals.open_count, totals.accounts) == (2, 2)
    assert scene.totals_of(world, B).rate == rate


def test_gross_exposure_is_summed_in_the_reporting_currency(trading: Bench):
    world = world_of(trading)
    here, there = scene.exposed_of(world, A, ""), scene.exposed_of(world, B, "")
    assert min(here.gross, there.gross) > 0
    assert scene.gross_total(world) == here.gross + there.gross * scene.rate_of(world, B)


def test_the_highest_nav_counts_for_the_total_peak_however_an_account_measures_its_own():
    bench = Bench()
    world = world_of(bench)
    world.state.accounts[A].day.high = D(123_456)
    funds = scene.funds_of(world, A)
    assert scene.highest_of(world, A, funds) == 123_456
    world.state.accounts[A].day = None
    assert scene.highest_of(world, A, funds) == funds.peak


# -- an order that is checked again ----------------------------------------------------------------


def test_an_order_that_is_checked_again_does_not_stand_in_its_own_way(trading: Bench):
    signal = trading.send_signal(instrument="GBP_USD", reference_price=D("1.30010"))
    name = trading.name(signal, A)
    others, again = view_of(trading, name), view_of(trading, name, own=name)
    assert (others.seen_before, again.seen_before) == (True, False)
    units = trading.intent(name).proposal.units
    assert others.position_units - again.position_units == units
    # Both accounts have one of it, and one that was filled half a minute ago.
    assert (others.orders_last_minute, again.orders_last_minute) == (2, 1)
    assert (others.orders_last_minute_total, again.orders_last_minute_total) == (4, 3)
    assert (others.orders_today, again.orders_today) == (2, 1)
    assert others.funds.open_count - again.funds.open_count == 1
    assert others.totals.open_count - again.totals.open_count == 1
    assert others.bucket_ns > again.bucket_ns
    assert again.bucket_ns <= trading.now < others.bucket_ns
    gross = others.exposed.gross - again.exposed.gross
    assert gross > 0
    assert others.gross_total - again.gross_total == gross
    assert others.currency_book != again.currency_book
    assert others.alike_ns == others.strategy_order_ns == trading.now
    assert again.alike_ns is again.strategy_order_ns is None


def test_checks_see_the_venue_the_rules_and_the_hour(trading: Bench):
    signal = trading.send_signal(instrument="GBP_USD", reference_price=D("1.30010"))
    view = view_of(trading, trading.name(signal, A))
    plan = trading.plan
    assert view.configured
    assert (view.live, view.live_allowed) == (plan.live, plan.live_allowed)
    assert view.session is not None
    assert view.profile == plan.accounts[0].profile
    assert view.hedging is False
    strange = scene.view_of(
        world_of(trading),
        # As an order of an account that nobody has configured.
        _of(trading.intent(trading.name(signal, A)).proposal, "101-001-9-999"),
        trading.now, "x",
    )  # fmt: skip
    assert not strange.configured
    assert strange.blocks == ("account 101-001-9-999 is not configured",)
    assert strange.factors is None
    assert strange.margin_rate == ONE


def _of(proposal, account_id: str):
    import msgspec

    return msgspec.structs.replace(proposal, account_id=account_id)


# -- the last minute, and the usual size -----------------------------------------------------------


def test_the_last_minute_ends_a_minute_ago():
    bench = Bench()
    record, now = world_of(bench).state.accounts[A], bench.now
    record.recent = [
        Recent(at_ns=now - age, intent_id=f"i{age}", strategy="s", instrument="EUR_USD",
               side=Side.BUY)
        for age in (0, MINUTE_NS - 1, MINUTE_NS, MINUTE_NS + 1)
    ]  # fmt: skip
    assert scene._last_minute(record, now, "") == 2
    assert scene._last_minute(record, now, "i0") == 1
    assert scene._last_minute(record, now, "another") == 2


@pytest.mark.parametrize(
    ("sizes", "median"),
    [
        (range(1, 9), None),
        ((90, 10, 80, 20, 70, 30, 60, 40, 50), D(50)),
        ((100, 10, 90, 20, 80, 30, 70, 40, 61, 50), D("55.5")),
    ],
)
def test_the_usual_size_is_the_median_from_nine_orders_on(sizes, median):
    bench = Bench()
    record = world_of(bench).state.accounts[A]
    record.sizes["s|EUR_USD"] = [D(size) for size in sizes]
    assert scene._median(record, "s", "EUR_USD") == median
    assert scene._median(record, "other", "EUR_USD") is None


def test_an_orders_size_is_shown_beside_the_usual_one():
    bench = Bench()
    signal = bench.send_signal()
    proposal = bench.intent(bench.name(signal, A)).proposal
    key = f"{proposal.strategy}|{proposal.instrument}"
    world_of(bench).state.accounts[A].sizes[key] = [D(7)] * 9
    assert view_of(bench, bench.name(signal, A)).median_units == 7


# -- the gate's question ---------------------------------------------------------------------------


def test_an_order_may_be_sent_to_the_last_moment_of_its_life_and_not_later():
    bench = Bench()
    signal = bench.send_signal(ttl_ms=1_000)
    name = bench.name(signal, A)
    expires = bench.intent(name).expires_ns
    for _ in range(20):  # prices go on; the order's decision is made again where it is old
        if expires - bench.now <= NS_PER_S:
            break
        bench.wait(1)
    assert bench.kernel.may_send(name, min(expires, bench.now)) is None
    if expires > bench.now:
        bench.now = expires
        bench.tick_all()
    assert bench.kernel.may_send(name, expires) is None
    assert bench.kernel.may_send(name, expires + 1) == "its time to live is over"


def test_the_gate_asks_for_what_waits_only():
    bench = Bench()
    signal = bench.send_signal()
    name = bench.name(signal, A)
    assert bench.kernel.may_send(name, bench.now) is None
    bench.fill_all()
    assert bench.kernel.may_send(name, bench.now) == f"intent {name} is not waiting to be sent"


# -- advice ----------------------------------------------------------------------------------------


def advise(bench: Bench, **changes) -> bool:
    """Whether it is taken."""
    fields = {
        "source": "patterns", "scale": D("0.5"), "until_ns": bench.now + HOUR_NS, "text": "less",
    }  # fmt: skip
    step = bench.feed(RiskAdvice(**{**fields, **changes}))
    return any(isinstance(fact, RiskAdvised) for fact in step.facts)


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({"scale": D("0.01")}, True), ({"scale": D("0.0099")}, False), ({"scale": ONE}, True),
        ({"scale": D("1.0001")}, False), ({"scale": D("NaN")}, False),
        ({"source": "x"}, True), ({"source": ""}, False), ({"source": "x" * 200}, True),
        ({"source": "x" * 201}, False), ({"strategy": "x" * 200}, True),
        ({"strategy": "x" * 201}, False), ({"account_id": A}, True), ({"account_id": "z"}, False),
        ({"instrument": "EUR_USD"}, True), ({"instrument": "ZZZ_USD"}, False),
    ],
)  # fmt: skip
def test_advice_is_taken_within_its_bounds(changes, taken):
    assert advise(Bench(), **changes) is taken


def test_advice_lasts_a_day_at_most_and_is_not_for_the_past():
    bench = Bench()
    assert advise(bench, source="a", until_ns=bench.now + 24 * HOUR_NS)
    assert not advise(bench, source="b", until_ns=bench.now + 24 * HOUR_NS + 1)
    assert advise(bench, source="c", until_ns=bench.now + 1)
    assert not advise(bench, source="d", until_ns=bench.now)


def test_the_same_advice_is_news_again_when_it_lasts_a_minute_longer():
    bench = Bench()
    until = bench.now + HOUR_NS
    assert advise(bench, until_ns=until)
    assert not advise(bench, until_ns=until + MINUTE_NS - 1)
    assert not advise(bench, until_ns=until - MINUTE_NS + 1)
    assert advise(bench, until_ns=until + MINUTE_NS)
    assert advise(bench, until_ns=until)
    assert advise(bench, until_ns=until + 1, scale=D("0.4"))


def test_two_hundred_pieces_of_advice_stand_at_most_and_each_may_be_renewed():
    bench = Bench()
    for number in range(200):
        assert advise(bench, source=f"s{number}", until_ns=bench.now + HOUR_NS)
    assert not advise(bench, source="one more")
    assert advise(bench, source="s7", scale=D("0.3"))
    bench.now += HOUR_NS
    assert advise(bench, source="one more"), "those that are over make room"


def test_the_text_of_advice_is_cut():
    bench = Bench()
    assert advise(bench, text="y" * 201)
    [said] = bench.said(RiskAdvised)
    assert said.advice.text == "y" * 200
