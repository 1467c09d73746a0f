"""The trading day at its edges: daylight saving, the roll, transfers, and a start at the roll."""

from __future__ import annotations

from decimal import Decimal

import pytest

from orchestrator.model.events import SignalSeen
from orchestrator.model.facts import BreakerTripped, DayStarted
from orchestrator.model.limits import AccountLimits, AccountPlan
from orchestrator.model.time import HOUR_NS, NS_PER_S, fx_session, parse_time, trading_day
from tests.unit.kernel.engine_bench import A, Bench, D, make_plan

TIGHT = AccountLimits(risk_per_trade=D("0.5"), max_daily_loss=D("0.01"), max_drawdown=D("0.9"))


def bench_at(text, **plan):
    given = {"calendar": "fx", "accounts": (AccountPlan(account_id=A, limits=TIGHT),)}
    bench = Bench(make_plan(total=TIGHT, **{**given, **plan}), begin=False)
    bench.now = parse_time(text)
    bench.begin()
    return bench


@pytest.mark.parametrize(
    ("inside", "name", "start", "hours"),
    [
        ("2026-03-08T12:00:00Z", "2026-03-08", "2026-03-07T22:00:00Z", 23),  # clocks go forward
        ("2026-03-09T12:00:00Z", "2026-03-09", "2026-03-08T21:00:00Z", 24),
        ("2026-11-01T12:00:00Z", "2026-11-01", "2026-10-31T21:00:00Z", 25),  # and back
        ("2026-11-02T12:00:00Z", "2026-11-02", "2026-11-01T22:00:00Z", 24),
    ],
)
def test_a_trading_day_is_as_long_as_new_yorks_clocks_make_it(inside, name, start, hours):
    day, begins, ends = trading_day(parse_time(inside))
    assert (day, begins) == (name, parse_time(start))
    assert ends - begins == hours * HOUR_NS


@pytest.mark.parametrize(
    ("roll", "day"),
    [("2026-03-09T21:00:00Z", "2026-03-10"), ("2026-11-02T22:00:00Z", "2026-11-03")],
)
def test_the_day_begins_at_five_in_new_york_in_summer_and_in_winter(roll, day):
    bench = bench_at("2026-03-06T12:00:00Z" if "03-" in roll else "2026-10-30T12:00:00Z")
    bench.now = parse_time(roll) - 2 * NS_PER_S
    bench.tick_all()
    bench.hearts()
    bench.wait(1)
    assert bench.kernel.day_values(A).day != day
    bench.wait(1)
    assert bench.kernel.day_values(A).day == day


def test_the_closed_hours_follow_daylight_saving_within_a_week():
    assert fx_session(parse_time("2026-03-06T21:30:00Z")) == "open"  # Friday 16:30 in winter
    assert fx_session(parse_time("2026-03-08T21:10:00Z")) == "quiet"  # Sunday 17:10 in summer
    assert fx_session(parse_time("2026-11-01T21:30:00Z")) == "closed"  # Sunday 16:30 in winter


@pytest.mark.parametrize("late_s", [-60, 60])
def test_a_transfer_around_the_roll_is_no_loss_on_either_side(late_s):
    bench = bench_at("2026-11-18T21:00:00Z")
    bench.now = parse_time("2026-11-18T22:00:00Z") + min(late_s, 0) * NS_PER_S
    bench.tick_all()
    bench.hearts()
    bench.beat()
    bench.now += max(late_s, 0) * NS_PER_S
    account = bench.venue[A]
    account.balance -= 50_000
    paid = account.add(type="TRANSFER_FUNDS", amount=D(-50_000), account_balance=account.balance)
    bench.stream(A, paid)
    bench.now = parse_time("2026-11-18T22:20:00Z")
    bench.tick_all()
    bench.hearts()
    bench.wait(2)
    values = bench.kernel.day_values(A)
    assert (values.day, values.equity_start, values.peak) == ("2026-11-19", 50_000, 50_000)
    assert values.loss == 0
    assert "A1" not in {fact.breaker for fact in bench.said(BreakerTripped)}


def losing_trade(bench):
    signal = bench.signal(stop_distance=D("0.00500"), target_distance=None)
    bench.answer(bench.feed(SignalSeen(signal=signal)), units=100_000)
    assert bench.fill_all() == 1


@pytest.mark.parametrize("minute", [56, 69])
def test_a_start_within_the_roll_values_nothing_at_its_wide_spread(minute):
    bench = bench_at("2026-11-18T21:00:00Z")
    losing_trade(bench)
    bench.now = parse_time("2026-11-18T21:00:00Z") + minute * 60 * NS_PER_S
    bench.start_life(unclean=True)
    bench.feed(bench.venue[A].seen(nav=D("98500")))  # by the venue, at the roll's spread
    bench.serve_reads()
    for _ in range(3):
        bench.now += NS_PER_S
        bench.hearts()
        bench.tick("EUR_USD", "1.08500", "1.11500")  # mid 1.1: at the bid 1,500 are lost
        bench.beat()
    assert "A1" not in {fact.breaker for fact in bench.said(BreakerTripped)}
    assert bench.kernel.nav(A) > D("99980")


def test_a_day_that_began_while_we_were_away_is_not_begun_at_the_rolls_spread():
    bench = bench_at("2026-11-18T21:00:00Z")
    losing_trade(bench)
    bench.now = parse_time("2026-11-18T22:01:00Z")
    bench.start_life(unclean=True)
    bench.feed(bench.venue[A].seen(nav=D("98500")))
    assert bench.said(DayStarted)[-1].equity == Decimal(100_000)  # the balance is higher
