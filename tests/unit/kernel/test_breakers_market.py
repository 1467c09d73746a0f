"""What the market and the clock trip: M2's cap, M3, M4, M6, M7, T2, T3, T4, and their ends."""

from __future__ import annotations

import pytest

from orchestrator.kernel.safety.breakers.m3_volatility import Volatility, m3_volatility
from orchestrator.kernel.safety.breakers.m4_gap import Band, m4_gap
from orchestrator.kernel.safety.breakers.m7_market_wide import m7_market_wide
from orchestrator.kernel.safety.breakers.t2_weekend import t2_weekend
from orchestrator.model.acts import Liquidate, SendAlert
from orchestrator.model.events import TripBreaker
from orchestrator.model.facts import BreakerTripped
from orchestrator.model.limits import AccountPlan, BreakerLimits
from orchestrator.model.market import StreamUp
from orchestrator.model.profiles import Profile, Span, Window
from orchestrator.model.safety import BreakerState, Effect, Severity
from orchestrator.model.time import MINUTE_NS, NS_PER_S, parse_time
from tests.unit.kernel.engine_bench import A, B, Bench, D, make_plan

LIMITS = BreakerLimits()
MS = 1_000_000


def trips(bench, breaker, subject="EUR_USD"):
    return [f for f in bench.said(BreakerTripped) if (f.breaker, f.subject) == (breaker, subject)]


def state(bench, breaker, subject="EUR_USD"):
    found = {(v.breaker, v.subject): v for v in bench.kernel.breakers(bench.now)}
    return found[breaker, subject].state


def alerts(bench):
    return {act.alert.key: act.alert for act in bench.done(SendAlert)}


def step(bench, bid, name="EUR_USD", ms=200, ask=None):
    bench.now += ms * MS
    bench.tick(name, bid, ask)


# -- M2: the cap -----------------------------------------------------------------------


def test_a_spread_over_its_cap_blocks_whatever_its_median_is():
    bench = Bench(make_plan(breakers=BreakerLimits(spread_caps={"EUR_USD": D("0.00012")})))
    step(bench, "1.10000", ask="1.10012")
    assert trips(bench, "M2") == []
    step(bench, "1.10000", ask="1.10013")
    assert "over its cap 0.00012" in trips(bench, "M2")[0].evidence
    assert "breaker:M2:EUR_USD" in alerts(bench)


# -- M3: volatility --------------------------------------------------------------------


def moved(minutes, size=0.0001, price=1.1):
    """A market that moves by so much each minute."""
    seen = Volatility()
    for minute in range(minutes):
        price *= 1 + size * (-1) ** minute
        seen.minute_over(D(repr(price)), minute * MINUTE_NS)
    return seen


def test_m3_says_nothing_in_its_first_hour_or_of_a_market_at_rest():
    assert moved(60).ratio is None
    assert moved(61).ratio == pytest.approx(1.0, abs=0.01)
    assert moved(200, size=0).ratio is None


def test_m3_scales_over_four_medians_and_blocks_over_eight():
    assert m3_volatility(moved(100), LIMITS) is None
    seen, price = moved(100), 1.1
    found = []
    for minute in range(100, 130):
        price *= 1 + 0.0012 * (-1) ** minute
        seen.minute_over(D(repr(price)), minute * MINUTE_NS)
        level = m3_volatility(seen, LIMITS)
        found.append(level and level[0])
    assert found[0] is None
    assert found[-1] is Effect.BLOCK
    assert found.index(Effect.SCALE) < found.index(Effect.BLOCK)
    assert seen.ratio > 8


def test_m3_a_pause_is_no_move_and_memory_is_a_day():
    seen = moved(100)
    seen.minute_over(D("1.5"), 200 * MINUTE_NS)
    assert seen.ratio == pytest.approx(1.0, abs=0.01)
    assert len(moved(1_600)._ordered) == 1_440


def wild(bench, minutes):
    for _ in range(minutes):
        price = bench.prices["EUR_USD"]
        bench.prices["EUR_USD"] = D("1.10000") if price > D("1.1") else D("1.10110")
        bench.rest(60)


def test_a_wild_market_makes_orders_small_then_blocks_then_probes():
    bench = Bench()
    for minute in range(70):
        bench.prices["EUR_USD"] = D("1.10000") + D("0.00005") * (minute % 2)
        bench.rest(60)
    assert trips(bench, "M3") == []
    whole = bench.kernel.account_view(A, bench.now, "EUR_USD").risk_per_trade
    wild(bench, 3)
    assert [f.effect for f in trips(bench, "M3")] == [Effect.SCALE]
    assert alerts(bench)["breaker:M3:EUR_USD"].severity is Severity.INFO
    assert bench.kernel.account_view(A, bench.now, "EUR_USD").risk_per_trade == whole / 2
    wild(bench, 15)
    assert trips(bench, "M3")[-1].effect is Effect.BLOCK
    assert any("M3" in text for text in bench.kernel._world.state.board.blocks(A, "EUR_USD"))
    bench.rest(3_600)
    assert state(bench, "M3") in (BreakerState.PROBING, BreakerState.ARMED)


# -- M4: gaps and flashes --------------------------------------------------------------


def test_m4_a_jump_is_more_than_ten_spreads_and_more_than_three_tenths_of_a_percent():
    assert m4_gap(D("0.0033"), D("1.1"), D("0.0001"), LIMITS) is None
    assert m4_gap(D("0.00331"), D("1.1"), D("0.0001"), LIMITS)
    assert m4_gap(D("0.00331"), D("1.1"), D("0.0004"), LIMITS) is None
    assert m4_gap(D("0.0041"), D("1.1"), D("0.0004"), LIMITS)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_jump_blocks_for_five_minutes_and_then_probes(sign):
    bench = Bench()
    step(bench, D("1.1") + sign * D("0.0033"))
    assert trips(bench, "M4") == []
    step(bench, D("1.1") + sign * D("0.0067"))
    (trip,) = trips(bench, "M4")
    assert "a jump of 0.0034" in trip.evidence
    assert trip.cooldown_s == 300
    assert "breaker:M4:EUR_USD" in alerts(bench)
    bench.prices["EUR_USD"] = D("1.1") + sign * D("0.0067")
    bench.wait(299)
    assert state(bench, "M4") is BreakerState.TRIPPED
    bench.wait(1)
    assert state(bench, "M4") is BreakerState.PROBING


@pytest.mark.parametrize("sign", [1, -1])
def test_a_price_that_runs_away_by_small_steps_within_a_minute_is_a_flash(sign):
    bench = Bench()
    for number in range(1, 125):
        step(bench, D("1.1") + sign * D("0.00009") * number, ms=400)  # less than a spread each
    (trip,) = trips(bench, "M4")
    assert "1.00 % or more off a price of the last minute" in trip.evidence


def test_the_same_way_in_twice_the_time_is_none():
    bench = Bench()
    for number in range(1, 150):
        step(bench, D("1.1") + D("0.00009") * number, ms=1_000)
    assert trips(bench, "M4") == []


def test_after_a_pause_of_minutes_the_old_band_is_forgotten():
    band = Band(LIMITS)
    for second in range(30):
        band.is_near(D("1.1"), D("1.1001"), second * NS_PER_S)
        band.add(D("1.1"))
    assert not band.is_near(D("1.2"), D("1.2001"), 30 * NS_PER_S)
    assert band.ran_away(D("1.2"))
    assert not band.is_near(D("1.2"), D("1.2001"), 200 * NS_PER_S)
    assert not band.ran_away(D("1.2"))
    band.add(D("1.2"))
    assert band.is_near(D("1.2"), D("1.2001"), 201 * NS_PER_S)


def test_a_tick_that_is_five_percent_off_is_still_dropped_and_trips_no_flash():
    bench = Bench()
    step(bench, "1.16000")
    assert bench.kernel.ticks_dropped == 1
    assert trips(bench, "M4") == []


# -- M6, M7 ----------------------------------------------------------------------------


def test_a_halt_of_an_earlier_life_ends_with_the_first_good_price():
    bench = Bench()
    bench.tick("EUR_USD", "1.1", tradeable=False)
    assert "breaker:M6:EUR_USD" in alerts(bench)
    from orchestrator.kernel.engine import Kernel

    copy = Kernel(bench.plan)
    for fact, at in bench.facts:
        copy.apply(fact, at)
    bench.kernel = copy
    bench.start_life(unclean=True)
    assert state(bench, "M6") is BreakerState.TRIPPED
    bench.tick("EUR_USD", "1.1")
    assert state(bench, "M6") is BreakerState.ARMED


def test_m7_counts_instruments():
    assert m7_market_wide(["a", "a", "b"], LIMITS) is None
    assert m7_market_wide(["c", "a", "b"], LIMITS) == "a, b, c are tripped at once, limit 3"


def test_three_instruments_in_trouble_block_everything_until_a_minute_after():
    bench = Bench()
    bench.tick("EUR_USD", "1.1", tradeable=False)
    bench.tick("GBP_USD", "1.3", tradeable=False)
    bench.feed(TripBreaker(breaker="M4", subject="USD_JPY", actor="ann"))
    assert state(bench, "M7", "system") is BreakerState.ARMED  # what a person trips is no market
    bench.tick("USD_JPY", "150", tradeable=False)
    assert state(bench, "M7", "system") is BreakerState.TRIPPED
    assert "breaker:M7:system" in alerts(bench)
    bench.tick("GBP_USD", "1.3")
    bench.wait(59)
    assert state(bench, "M7", "system") is BreakerState.TRIPPED
    bench.wait(2)
    assert state(bench, "M7", "system") is BreakerState.ARMED


# -- T2: weekend -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "plain", "flat"),
    [
        ("2026-11-20T20:59:59Z", None, None),  # Friday 15:59:59 New York
        ("2026-11-20T21:00:00Z", Effect.BLOCK, Effect.BLOCK),
        ("2026-11-20T21:30:00Z", Effect.BLOCK, Effect.FLATTEN),
        ("2026-11-21T12:00:00Z", Effect.BLOCK, Effect.FLATTEN),
        ("2026-11-22T22:14:59Z", Effect.BLOCK, Effect.FLATTEN),
        ("2026-11-22T22:15:00Z", None, None),  # Sunday 17:15
        ("2026-07-17T20:00:00Z", Effect.BLOCK, Effect.BLOCK),  # summer time
        ("2026-11-19T22:00:00Z", None, None),  # a Thursday
    ],
)
def test_t2_keeps_new_yorks_weekend(at, plain, flat):
    for expected, wanted in ((plain, False), (flat, True)):
        found = t2_weekend("fx", parse_time(at), LIMITS, flat=wanted)
        assert (found and found[0]) == expected
        assert t2_weekend("always", parse_time(at), LIMITS, flat=wanted) is None


def test_before_the_weekend_all_block_and_the_account_that_wants_it_is_flattened():
    accounts = (
        AccountPlan(account_id=A, profile=Profile(name="p", weekend_flat=True)),
        AccountPlan(account_id=B),
    )
    bench = Bench(make_plan(accounts=accounts, calendar="fx"))
    bench.now = parse_time("2026-11-20T20:59:20Z")
    bench.tick_all()
    bench.tick_all()
    bench.hearts()
    bench.wait(38)
    bench.send_signal(accounts=(A,))
    assert bench.fill_all() == 1
    bench.wait(2)
    for account in (A, B):
        assert any("T2" in text for text in bench.kernel.account_blocks(account, bench.now))
    assert bench.done(Liquidate) == []
    assert alerts(bench)[f"breaker:T2:{A}"].severity is Severity.INFO
    bench.rest(1_790)
    assert bench.done(Liquidate) == []
    bench.wait(10)
    assert {act.accounts for act in bench.done(Liquidate)} == {(A,)}
    bench.now = parse_time("2026-11-22T22:14:50Z")
    bench.tick_all()
    bench.tick_all()
    bench.hearts()
    bench.wait(9)
    assert state(bench, "T2", A) is BreakerState.TRIPPED
    bench.wait(1)
    assert state(bench, "T2", A) is BreakerState.ARMED


# -- T3: hours, news, holidays ---------------------------------------------------------


def test_an_accounts_hours_and_news_block_it_alone():
    start = Bench().now
    news = Span(from_ns=start + 10 * NS_PER_S, to_ns=start + 20 * NS_PER_S, text="rates")
    accounts = (
        AccountPlan(account_id=A, profile=Profile(name="p", news=(news,))),
        AccountPlan(account_id=B),
    )
    bench = Bench(make_plan(accounts=accounts))
    bench.wait(9)
    assert bench.kernel.account_blocks(A, bench.now) == ()
    bench.wait(1)
    assert bench.kernel.account_blocks(A, bench.now) == ("T3 windows: rates",)
    assert f"breaker:T3:{A}" in alerts(bench)
    assert bench.kernel.account_blocks(B, bench.now) == ()
    bench.wait(10)
    assert bench.kernel.account_blocks(A, bench.now) == ()


def test_outside_its_hours_an_account_may_have_to_be_flat():
    midnight = Window(days=(0, 1, 2, 3, 4, 5, 6), from_s=0, to_s=60, zone="UTC")
    profile = Profile(name="p", hours=(midnight,), off_hours=Effect.FLATTEN)
    bench = Bench(make_plan(accounts=(AccountPlan(account_id=A, profile=profile),)))
    assert trips(bench, "T3", A)[0].effect is Effect.FLATTEN
    assert f"T3:{A}" in {act.stop_id for act in bench.done(Liquidate)}


def test_a_window_of_everybody_blocks_all_or_its_currencies():
    start = Bench().now
    end = start + 100 * NS_PER_S
    holiday = Span(from_ns=start + 50 * NS_PER_S, to_ns=end, text="New Year")
    yen = Span(from_ns=start, to_ns=end, text="Bank of Japan", currencies=("JPY",))
    bench = Bench(make_plan(windows=(holiday, yen)))
    board = bench.kernel._world.state.board
    assert board.blocks(A, "EUR_USD") == ()
    assert board.blocks(B, "USD_JPY") == ("T3 windows: Bank of Japan",)
    bench.wait(50)
    assert board.blocks(B, "EUR_USD") == ("T3 windows: New Year",)
    bench.wait(50)
    assert board.blocks(B, "USD_JPY") == ()


# -- T4: warm-up -----------------------------------------------------------------------


def test_after_a_start_an_instrument_waits_for_two_fresh_prices():
    bench = Bench(begin=False)
    bench.start_life()
    assert state(bench, "T4") is BreakerState.TRIPPED
    assert alerts(bench)["breaker:T4"].text.endswith("EUR_USD, GBP_USD, USD_JPY")
    old = bench.now - 6 * NS_PER_S
    bench.tick("EUR_USD", "1.1", venue_ns=old)
    bench.tick("EUR_USD", "1.1", venue_ns=old)
    bench.tick("EUR_USD", "1.1")
    assert state(bench, "T4") is BreakerState.TRIPPED
    bench.tick("EUR_USD", "1.1")
    assert state(bench, "T4") is BreakerState.ARMED
    assert state(bench, "T4", "GBP_USD") is BreakerState.TRIPPED


def reconnect(bench):
    bench.feed(StreamUp(stream="prices", account_id=A, seen_ns=bench.now))


def test_after_a_reconnect_it_waits_again():
    bench = Bench()
    bench.now += 5 * NS_PER_S
    reconnect(bench)
    assert state(bench, "T4") is BreakerState.TRIPPED
    bench.tick_all()
    bench.tick_all()
    assert state(bench, "T4") is BreakerState.ARMED


@pytest.mark.parametrize("told", [True, False])
def test_after_an_outage_of_more_than_a_minute_it_waits_half_a_minute_more(told):
    bench = Bench()
    bench.now += 61 * NS_PER_S
    if told:
        reconnect(bench)
        reconnect(bench)  # a second one makes the outage no shorter
    bench.tick_all()
    bench.tick_all()
    bench.tick_all()
    bench.wait(29)
    assert state(bench, "T4") is BreakerState.TRIPPED
    bench.wait(1)
    assert state(bench, "T4") is BreakerState.ARMED
