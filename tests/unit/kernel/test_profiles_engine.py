"""Profiles at work: where P stands, the target and the days of A11, and what tightens risk."""

from __future__ import annotations

import pytest

from orchestrator.kernel.engine import Kernel
from orchestrator.model.acts import Liquidate
from orchestrator.model.events import ResetBreaker, SignalSeen
from orchestrator.model.facts import BreakerTripped, ChecksDecided, PeakRaised, ProfileTaken
from orchestrator.model.limits import AccountPlan
from orchestrator.model.outcomes import RiskAdvice
from orchestrator.model.profiles import Drawdown, Profile, Tide, Window
from orchestrator.model.safety import Effect
from orchestrator.model.time import HOUR_NS, NS_PER_S, parse_time
from tests.unit.kernel.engine_bench import A, B, Bench, D, make_plan

ALWAYS = Window(zone="UTC")


def bench_of(**rules) -> Bench:
    """Account A with a profile, B without."""
    profile = Profile(name="firm", **rules)
    accounts = (AccountPlan(account_id=A, profile=profile), AccountPlan(account_id=B))
    return Bench(make_plan(accounts=accounts))


def book(bench, amount):
    """Money that trading booked."""
    account = bench.venue[A]
    account.balance += D(amount)
    tx = account.add(type="DAILY_FINANCING", financing=D(amount), account_balance=account.balance)
    bench.stream(A, tx)


def move(bench, amount):
    """A transfer of funds, which is neither profit nor loss."""
    account = bench.venue[A]
    account.balance += D(amount)
    bench.stream(A, account.add(
        type="TRANSFER_FUNDS", amount=D(amount), account_balance=account.balance
    ))  # fmt: skip


def peak(bench):
    return bench.kernel.day_values(A).peak


def standing(bench, breaker="A11"):
    found = [f for f in bench.said(BreakerTripped) if f.breaker == breaker and f.subject == A]
    return found[-1] if found else None


def trade(bench, units=1_000):
    before = len(bench.orders())
    signal = bench.signal(accounts=(A,))
    bench.answer(bench.feed(SignalSeen(signal=signal)), units=units)
    bench.fill_all()
    return before


# -- P -----------------------------------------------------------------------------------


def test_the_trailing_peak_follows_the_highest_nav():
    bench = bench_of()
    assert peak(bench) == 100_000
    book(bench, 500)
    assert peak(bench) == 100_500
    book(bench, -300)
    assert peak(bench) == 100_500


def test_a_static_peak_stays_where_the_account_began_and_follows_transfers():
    bench = bench_of(drawdown=Drawdown.STATIC, start_balance=D(90_000))
    assert peak(bench) == 90_000
    book(bench, 5_000)
    assert peak(bench) == 90_000
    move(bench, 1_000)
    assert peak(bench) == 91_000
    assert bench_of(drawdown=Drawdown.STATIC).kernel.day_values(A).peak == 100_000


def test_an_end_of_day_peak_rises_only_when_a_trading_day_begins():
    bench = bench_of(drawdown=Drawdown.END_OF_DAY)
    book(bench, 5_000)
    assert peak(bench) == 100_000
    book(bench, -1_000)
    bench.now = parse_time("2026-11-18T22:00:01Z")  # 17:00 New York
    bench.tick_all()
    bench.hearts()
    bench.beat()
    assert peak(bench) == 104_000


def test_the_total_peak_counts_the_highest_nav_whatever_the_profiles_say():
    """S2 and C13's totals: a static P must not hide what all accounts together have lost."""
    bench = bench_of(drawdown=Drawdown.STATIC)
    book(bench, 20_000)
    assert peak(bench) == 100_000
    assert bench.said(PeakRaised)[-1].high == 120_000
    book(bench, -18_000)  # 100,000 and 55,000 of what was 175,000: 10.3 %
    assert [f for f in bench.said(BreakerTripped) if f.breaker == "S2"]


def test_a_profile_that_the_settings_change_is_taken_over_in_the_next_life():
    bench = bench_of(drawdown=Drawdown.STATIC, start_balance=D(95_000))
    book(bench, 3_000)
    profile = Profile(name="other")
    again = Kernel(make_plan(
        accounts=(AccountPlan(account_id=A, profile=profile), AccountPlan(account_id=B))
    ))  # fmt: skip
    for fact, at in bench.facts:
        again.apply(fact, at)
    assert again.day_values(A).peak == 95_000
    bench.kernel = again
    bench.start_life()
    bench.feed(bench.venue[A].seen())
    assert bench.said(ProfileTaken)[-1].profile == "other trailing"
    assert again.day_values(A).peak == 103_000  # the highest NAV is not forgotten
    before = len(bench.said(ProfileTaken))
    bench.start_life()
    bench.feed(bench.venue[A].seen())
    assert len(bench.said(ProfileTaken)) == before


# -- A11 ---------------------------------------------------------------------------------


def test_a_booked_target_blocks_until_a_person_resets_it_and_longer():
    bench = bench_of(profit_target=D("0.08"))
    book(bench, 7_999)
    assert standing(bench) is None
    book(bench, 1)
    tripped = standing(bench)
    assert (tripped.effect, tripped.latched) == (Effect.BLOCK, True)
    assert tripped.evidence == "target 108000.00 reached: NAV 108000.00"
    assert any("A11" in text for text in bench.kernel.account_blocks(A, bench.now))
    bench.feed(ResetBreaker(breaker="A11", subject=A, actor="ann", reason="go on"))
    assert bench.kernel.account_blocks(A, bench.now)  # it is reached still
    book(bench, -500)
    bench.feed(ResetBreaker(breaker="A11", subject=A, actor="ann", reason="go on"))
    assert not bench.kernel.account_blocks(A, bench.now)


def test_a_transfer_reaches_no_target():
    bench = bench_of(profit_target=D("0.08"))
    move(bench, 50_000)
    assert standing(bench) is None
    book(bench, 12_000)  # 8 % of 150,000
    assert standing(bench) is not None


def open_profit(bench):
    """A trade that stands 1 % in profit at 1.11110."""
    trade(bench, 90_000)
    bench.now += NS_PER_S


def test_an_open_profit_reaches_a_target_that_flattens_on_its_second_tick():
    bench = bench_of(profit_target=D("0.01"), on_target=Effect.FLATTEN)
    open_profit(bench)
    bench.tick("EUR_USD", "1.11200")
    assert standing(bench) is None  # one price is no witness
    bench.now += 1_000_000
    bench.tick("EUR_USD", "1.11201")
    assert (standing(bench).effect, standing(bench).latched) == (Effect.FLATTEN, True)
    (act,) = [a for a in bench.done(Liquidate) if a.stop_id == f"A11:{A}"]
    assert act.accounts == (A,)


def test_a_beat_is_no_witness_and_what_flattens_already_is_not_tripped_again():
    bench = bench_of(profit_target=D("0.01"), on_target=Effect.FLATTEN)
    open_profit(bench)
    bench.tick("EUR_USD", "1.11200")
    bench.beat()
    bench.beat()
    assert standing(bench) is None
    for _ in range(3):
        bench.now += 1_000_000
        bench.tick("EUR_USD", "1.11201")
    bench.beat()
    assert len([f for f in bench.said(BreakerTripped) if f.breaker == "A11"]) == 1


def test_a_single_price_closes_nothing():
    bench = bench_of(profit_target=D("0.01"), on_target=Effect.FLATTEN)
    open_profit(bench)
    bench.tick("EUR_USD", "1.11200")
    bench.now += 1_000_000
    bench.tick("EUR_USD", "1.10050")
    bench.now += 1_000_000
    bench.tick("EUR_USD", "1.11200")
    assert standing(bench) is None


def test_an_open_profit_does_not_reach_a_target_that_only_blocks():
    bench = bench_of(profit_target=D("0.01"))
    open_profit(bench)
    for _ in range(3):
        bench.now += 1_000_000
        bench.tick("EUR_USD", "1.11200")
    assert standing(bench) is None


def test_a_target_waits_for_its_trading_days_at_a_quarter_of_the_risk():
    bench = bench_of(profit_target=D("0.05"), days_min=2)
    trade(bench)
    book(bench, 6_000)
    assert standing(bench) is None
    view = bench.kernel.account_view(A, bench.now, "EUR_USD")
    assert view.risk_per_trade == D("0.02") / 4
    (why,) = [t for t in bench.kernel.tightenings(A, bench.now) if "trading days" in t.why]
    assert (why.by, why.why) == ("profile firm", "target reached on 1 of 2 trading days")
    bench.now += 24 * HOUR_NS
    bench.tick_all()
    bench.hearts()
    bench.feed(bench.venue[A].seen())
    bench.beat()
    assert standing(bench) is None  # a day without a trade is none
    bench.wait(40)
    trade(bench)
    bench.wait(2)
    assert standing(bench) is not None


def test_the_last_trading_day_ends_it():
    bench = bench_of(days_max=1)
    trade(bench)
    assert standing(bench) is None
    bench.now += 24 * HOUR_NS
    bench.tick_all()
    bench.hearts()
    bench.beat()
    bench.wait(1)
    assert standing(bench).evidence == "1 trading days are over, limit 1"


def test_outside_its_hours_a_profile_flattens_and_opens_again_with_them():
    hours = Window(from_s=14 * 3600, to_s=14 * 3600 + 60, zone="UTC")
    bench = bench_of(hours=(hours,), off_hours=Effect.FLATTEN)
    trade(bench)
    bench.wait(58)
    assert standing(bench) is None
    bench.wait(3)
    assert (standing(bench).effect, standing(bench).latched) == (Effect.FLATTEN, False)
    assert bench.done(Liquidate)
    bench.now += 24 * HOUR_NS - 60 * NS_PER_S
    bench.wait(1)
    assert not any("A11" in text for text in bench.kernel.account_blocks(A, bench.now))


def test_an_account_without_a_profile_never_trips_it():
    bench = Bench()
    book(bench, 90_000)
    assert standing(bench) is None


# -- what tightens -----------------------------------------------------------------------


def objections(bench, units, **fields):
    before = len(bench.said(ChecksDecided))
    signal = bench.signal(accounts=(A,), **fields)
    bench.answer(bench.feed(SignalSeen(signal=signal)), units=units)
    (decided,) = bench.said(ChecksDecided)[before:]
    return decided.objections


def test_a_schedule_and_a_regime_scale_the_risk_of_an_order():
    tide = Tide(window=ALWAYS, scale=D("0.5"), text="thin hours")
    bench = bench_of(tides=(tide,), regimes=(("volatile", D("0.5")),))
    # 500,000 units risk 1,050: over half of 2 %, which is 1,000
    assert objections(bench, 500_000)[0].startswith("C10")
    bench.wait(6)
    assert objections(bench, 470_000) == ()
    bench.wait(6)
    assert objections(bench, 470_000, regime="volatile")[0].startswith("C10")
    told = {(t.by, t.why, t.scale) for t in bench.kernel.tightenings(A, bench.now)}
    assert ("profile firm", "thin hours", D("0.5")) in told
    assert ("profile firm", "signals in regime volatile", D("0.5")) in told
    assert bench.kernel.tightenings(B, bench.now) == ()


def advice(bench, **changes):
    fields = {
        "source": "pattern_detection", "scale": D("0.5"), "until_ns": bench.now + HOUR_NS,
        "text": "many losses", "account_id": A,
    }  # fmt: skip
    return RiskAdvice(**{**fields, **changes})


def test_an_agent_may_advise_less_and_its_newer_word_replaces_the_older():
    bench = Bench()
    bench.feed(advice(bench))
    assert objections(bench, 500_000)[0].startswith("C10")
    (told,) = bench.kernel.tightenings(A, bench.now)
    assert (told.by, told.why, told.scale) == ("agent pattern_detection", "many losses", D("0.5"))
    bench.feed(advice(bench, scale=D("0.9")))
    (told,) = bench.kernel.tightenings(A, bench.now)
    assert told.scale == D("0.9")
    assert bench.kernel.tightenings(B, bench.now) == ()
    bench.now += HOUR_NS
    assert bench.kernel.tightenings(A, bench.now) == ()


def test_advice_survives_a_restart():
    bench = Bench()
    bench.feed(advice(bench))
    again = Kernel(bench.plan)
    for fact, at in bench.facts:
        again.apply(fact, at)
    assert again.snapshot() == bench.kernel.snapshot()
    assert len(again.tightenings(A, bench.now)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": D("1.01")}, {"scale": D("0.009")}, {"scale": D(0)},
        {"scale": D("-1")}, {"scale": D("NaN")},
        {"until_ns": 0}, {"until_ns": 10**20}, {"account_id": "nobody"},
        {"instrument": "XXX_YYY"}, {"source": ""}, {"strategy": "x" * 201},
    ],
)  # fmt: skip
def test_advice_that_is_nonsense_or_would_loosen_is_not_taken(changes):
    bench = Bench()
    bench.feed(advice(bench, **changes))
    assert bench.kernel.tightenings(A, bench.now) == ()


def test_the_same_advice_again_is_no_news():
    bench = Bench()
    bench.feed(advice(bench))
    before = len(bench.facts)
    for _ in range(20):
        bench.now += NS_PER_S
        bench.feed(advice(bench))
    assert len(bench.facts) == before
    bench.now += 60 * NS_PER_S
    bench.feed(advice(bench))
    assert len(bench.facts) == before + 1


def test_advice_is_bounded():
    bench = Bench()
    for number in range(201):
        bench.feed(advice(bench, strategy=f"s{number}"))
    assert len(bench.kernel.tightenings(A, bench.now)) == 200
