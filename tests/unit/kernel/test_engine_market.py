"""What prices and time do to the engine: bad ticks, staleness, spreads, losses, days, sessions."""

from __future__ import annotations

import pytest

from orchestrator.model.acts import CloseGate, FetchAccount, Liquidate
from orchestrator.model.events import AccountSeen, ResetBreaker, TripBreaker
from orchestrator.model.facts import (
    BreakerReset,
    BreakerTripped,
    DayStarted,
    PeakRaised,
    TickDropped,
)
from orchestrator.model.limits import AccountLimits, AccountPlan
from orchestrator.model.market import StreamBeat
from orchestrator.model.orders import NotSent
from orchestrator.model.safety import Effect
from orchestrator.model.time import NS_PER_S, parse_time
from orchestrator.model.venue import Transaction
from tests.unit.kernel.engine_bench import A, B, Bench, D, FakeAccount, make_plan

MS = 1_000_000


def blocked(bench, instrument="EUR_USD", account=A):
    """Texts of what blocks an instrument, through a signal's fate at the gate."""
    signal = bench.send_signal(instrument=instrument, accounts=(account,))
    end = bench.ends(signal.signal_id).get(account)
    for order in bench.orders():
        bench.finish(order.intent_id, NotSent(reason="a test", by_gate=True))
    return end.reason if end is not None and end.stage == "gate" else ""


# -- ticks -----------------------------------------------------------------------------


def test_a_bad_tick_is_dropped_and_values_nothing():
    bench = Bench()
    good = bench.kernel.quotes.tick("EUR_USD")
    bench.tick("EUR_USD", "NaN", "1.1")
    assert bench.kernel.quotes.tick("EUR_USD") is good
    assert bench.kernel.ticks_dropped == 1
    (fact,) = bench.said(TickDropped)
    assert "not finite" in fact.reason


def test_dropped_ticks_are_said_once_a_second():
    bench = Bench()
    for _ in range(50):
        bench.now += 10 * MS
        bench.tick("EUR_USD", "0", "1")
    assert bench.kernel.ticks_dropped == 50
    assert len(bench.said(TickDropped)) == 1


def test_three_bad_ticks_in_ten_seconds_block_the_instrument_for_a_minute():
    bench = Bench()
    for _ in range(2):
        bench.now += NS_PER_S
        bench.tick("EUR_USD", "5", "6")
    assert blocked(bench) == ""
    bench.now += NS_PER_S
    bench.tick("EUR_USD", "5", "6")
    assert "M5" in blocked(bench)
    assert blocked(bench, "GBP_USD") == ""
    bench.wait(59)
    assert "M5" in blocked(bench)
    bench.wait(1)
    assert blocked(bench) == ""


def test_a_foreign_instrument_is_ignored():
    bench = Bench()
    assert bench.tick("XAU_USD", "2000").facts == ()
    assert bench.kernel.quotes.tick("XAU_USD") is None


def test_a_blown_out_spread_blocks_for_a_minute_and_until_it_is_normal():
    bench = Bench()
    bench.wait(310)
    bench.tick("EUR_USD", "1.10000", "1.10041")
    assert "M2" in blocked(bench)
    for _ in range(70):
        bench.now += NS_PER_S
        bench.tick("EUR_USD", "1.10000", "1.10050")
        bench.hearts()
        bench.beat()
    assert "M2" in blocked(bench)
    bench.wait(1)
    assert "M2" not in blocked(bench)


def test_prices_that_stop_are_stale_and_need_ten_good_seconds():
    bench = Bench()
    bench.wait(7, alive=False)
    assert "M1" not in blocked(bench)
    bench.wait(1, alive=False)
    assert "M1" in blocked(bench)
    bench.wait(10)
    assert "M1" in blocked(bench)
    bench.wait(1)
    assert "M1" not in blocked(bench)
    assert "M7" in blocked(bench)  # three were stale at once
    bench.wait(60)
    assert blocked(bench) == ""


def test_a_living_stream_keeps_a_quiet_price_for_a_minute():
    bench = Bench()
    for second in range(62):
        bench.now += NS_PER_S
        bench.tick("GBP_USD", "1.3")
        bench.hearts()
        bench.feed(StreamBeat(stream="prices", account_id=A, venue_ns=bench.now, seen_ns=bench.now))
        bench.beat()
        assert ("M1" in blocked(bench)) is (second >= 60), second


def test_a_price_that_is_not_tradeable_is_refused_until_it_is():
    bench = Bench()
    bench.tick("EUR_USD", "1.1", tradeable=False)
    assert "M6 halted: the venue says that it is not tradeable" in blocked(bench)
    assert blocked(bench, "GBP_USD") == ""
    bench.tick("EUR_USD", "1.1")
    assert blocked(bench) == ""


# -- losses ----------------------------------------------------------------------------


def losing(units=100_000, **limits):
    """Account A alone holds a trade of ours that loses 10 for each 0.0001 EUR_USD falls."""
    given = AccountLimits(risk_per_trade=D("0.5"), **limits)
    plan = make_plan(accounts=(AccountPlan(account_id=A, limits=given),), total=given)
    bench = Bench(plan)
    signal = bench.signal(stop_distance=D("0.00500"), target_distance=None)
    from orchestrator.model.events import SignalSeen

    step = bench.feed(SignalSeen(signal=signal))
    bench.answer(step, units=units)
    assert bench.fill_all() == 1
    bench.acts.clear()
    return bench


def fall(bench, price):
    """EUR_USD falls to a bid, in steps no tick of which is bad, without a beat."""
    bench.now += 10 * MS
    return bench.tick("EUR_USD", price)


def tripped(bench, breaker):
    return [(f.effect, f.scale) for f in bench.said(BreakerTripped) if f.breaker == breaker]


def test_a_peak_is_said_in_steps():
    bench = losing()
    fall(bench, "1.10015")  # +0.5: below 0.01 %
    assert bench.said(PeakRaised) == []
    fall(bench, "1.10040")
    (fact,) = bench.said(PeakRaised)
    assert fact.peak == D("100030")
    fall(bench, "1.10041")
    assert len(bench.said(PeakRaised)) == 1


def test_half_and_three_quarters_of_a_limit_make_risk_smaller():
    bench = losing(max_daily_loss=D("0.01"))  # of 100,000: 1,000
    fall(bench, "1.09510")  # -500
    assert tripped(bench, "A1") == [(Effect.SCALE, D("0.5"))]
    fall(bench, "1.09260")  # -750
    assert tripped(bench, "A1")[-1] == (Effect.SCALE, D("0.25"))
    assert bench.kernel.account_view(A, bench.now).risk_per_trade == D("0.5") * D("0.0625")
    fall(bench, "1.09900")  # better again: the day keeps its scale
    assert len(tripped(bench, "A1")) == 2
    assert bench.kernel.account_blocks(A, bench.now) == ()


def test_a_daily_loss_blocks_at_once_and_flattens_on_the_second_tick():
    bench = losing(max_daily_loss=D("0.01"), max_drawdown=D("0.9"))
    fall(bench, "1.09010")  # -1,000: exactly the limit
    assert tripped(bench, "A1")[-1] == (Effect.BLOCK, None)
    assert "A1" in bench.kernel.account_blocks(A, bench.now)[0]
    assert bench.done(Liquidate) == []
    assert bench.done(FetchAccount)
    fall(bench, "1.09009")
    assert tripped(bench, "A1")[-1] == (Effect.FLATTEN, None)
    assert {act.stop_id for act in bench.done(Liquidate)} == {f"A1:{A}", "S1:system"}


def test_just_below_the_limit_nothing_blocks():
    bench = losing(max_daily_loss=D("0.01"))
    fall(bench, "1.09011")
    assert bench.kernel.account_blocks(A, bench.now) == ()


def test_a_crossing_that_the_next_price_refutes_is_taken_back():
    bench = losing(max_daily_loss=D("0.01"))
    fall(bench, "1.09010")
    fall(bench, "1.09900")
    assert bench.kernel.account_blocks(A, bench.now) == ()
    assert any("refuted" in f.reason for f in bench.said(BreakerReset))
    assert bench.done(Liquidate) == []


def test_another_instruments_tick_is_no_witness():
    bench = losing(max_daily_loss=D("0.01"))
    bench.send_signal(instrument="GBP_USD", reference_price=D("1.3"))
    assert bench.fill_all() == 1  # so that GBP_USD moves the account too
    fall(bench, "1.09000")
    for _ in range(5):
        bench.now += 10 * MS
        bench.tick("GBP_USD", "1.3")
    assert bench.done(Liquidate) == []
    assert bench.kernel.account_blocks(A, bench.now)


def test_without_a_witness_it_stays_blocked_and_a_later_crossing_asks_again():
    bench = losing(max_daily_loss=D("0.01"))
    fall(bench, "1.09010")
    bench.now += 2 * NS_PER_S
    bench.acts.clear()
    fall(bench, "1.09005")  # too late to confirm the first: a new second begins
    assert bench.done(Liquidate) == []
    assert bench.done(FetchAccount)
    bench.now += 2 * NS_PER_S
    fall(bench, "1.09900")  # too late to refute
    assert bench.kernel.account_blocks(A, bench.now)


def test_the_venues_own_nav_is_witness_enough():
    bench = losing(max_daily_loss=D("0.01"))
    fall(bench, "1.09010")
    bench.now += 5 * NS_PER_S
    bench.feed(bench.venue[A].seen(nav=D("99001")))
    assert bench.done(Liquidate) == []
    bench.feed(bench.venue[A].seen(nav=D("99000")))
    assert f"A1:{A}" in {act.stop_id for act in bench.done(Liquidate)}


def test_the_venues_nav_alone_blocks_and_asks_again():
    bench = losing(max_daily_loss=D("0.01"))
    bench.feed(bench.venue[A].seen(nav=D("99000")))
    assert tripped(bench, "A1") == [(Effect.BLOCK, None)]
    assert bench.done(Liquidate) == []
    assert bench.done(FetchAccount)
    bench.feed(bench.venue[A].seen(nav=D("99000")))
    assert f"A1:{A}" in {act.stop_id for act in bench.done(Liquidate)}


def test_the_venues_nav_at_the_roll_trips_nothing():
    bench = Bench(make_plan(calendar="fx"))
    bench.now = parse_time("2026-11-18T21:56:00Z")
    bench.hearts()
    bench.beat()
    bench.feed(bench.venue[A].seen(nav=D("90000")))
    assert tripped(bench, "A1") == []
    bench.now = parse_time("2026-11-18T22:10:00Z")
    bench.beat()
    bench.feed(bench.venue[A].seen(nav=D("90000")))
    assert tripped(bench, "A1") == [(Effect.BLOCK, None)]


def test_a_drawdown_latches_until_a_person_rebases_it():
    bench = losing(max_daily_loss=D("0.9"), max_drawdown=D("0.01"))
    fall(bench, "1.09010")
    fall(bench, "1.09010")
    assert tripped(bench, "A2")[-1] == (Effect.FLATTEN, None)
    assert [act.actor for act in bench.done(CloseGate)] == ["S2"]
    bench.feed(ResetBreaker(breaker="A2", subject=A, actor="ann", reason="new money", rebase=True))
    fall(bench, "1.09009")
    fall(bench, "1.09009")
    assert not any("A2" in text for text in bench.kernel.account_blocks(A, bench.now))
    assert bench.kernel.day_values(A).peak == D("99000")


def test_a_drawdowns_scale_ends_when_it_has_eased():
    bench = losing(max_daily_loss=D("0.9"), max_drawdown=D("0.01"))
    fall(bench, "1.09510")  # -500
    assert tripped(bench, "A2") == [(Effect.SCALE, D("0.5"))]
    fall(bench, "1.09540")  # -470: above nine tenths of the level
    assert bench.kernel.account_view(A, bench.now).risk_per_trade < D("0.5")
    fall(bench, "1.09570")  # -440
    assert bench.kernel.account_view(A, bench.now).risk_per_trade == D("0.5")


def test_a_loss_that_the_venue_has_booked_needs_no_second_witness():
    bench = losing(max_daily_loss=D("0.01"), max_drawdown=D("0.9"))
    (trade_id,) = bench.kernel.books[A].trades
    bench.stream(A, *bench.venue[A].close(trade_id, D("1.09"), D("-1000")))
    assert tripped(bench, "A1")[-1] == (Effect.FLATTEN, None)


def test_two_accounts_together_trip_the_totals():
    given = AccountLimits(risk_per_trade=D("0.5"), max_daily_loss=D("0.5"), max_drawdown=D("0.9"))
    total = AccountLimits(max_daily_loss=D("0.01"), max_drawdown=D("0.9"))
    accounts = tuple(AccountPlan(account_id=a, limits=given) for a in (A, B))
    bench = Bench(make_plan(accounts=accounts, total=total))
    # 100,000 USD and 50,000 EUR at 1.10005 are 155,002.5: one percent is 1,550.
    for account, loss in ((A, D("-800")), (B, D("-700"))):
        bench.venue[account].balance += loss
        bench.stream(account, transfer_free_loss(bench.venue[account], loss))
    assert tripped(bench, "A1") == []
    assert tripped(bench, "S1")[-1][0] is Effect.FLATTEN
    assert bench.done(Liquidate)[0].accounts == (A, B)


def transfer_free_loss(account: FakeAccount, loss) -> Transaction:
    return account.add(type="DAILY_FINANCING", financing=loss, account_balance=account.balance)


def test_money_taken_out_is_no_loss():
    bench = losing(max_daily_loss=D("0.01"))
    account = bench.venue[A]
    account.balance -= 50_000
    bench.stream(
        A, account.add(type="TRANSFER_FUNDS", amount=D(-50_000), account_balance=account.balance)
    )
    assert bench.kernel.account_blocks(A, bench.now) == ()
    values = bench.kernel.day_values(A)
    assert (values.equity_start, values.peak) == (50_000, 50_000)


def test_a_read_of_before_a_withdrawal_raises_no_peak():
    """Else the money that was taken out would look like a drawdown, and all would be closed."""
    bench = Bench()
    account = bench.venue[A]
    stale = account.seen(nav=account.balance)
    account.balance -= D(50_000)
    bench.stream(
        A, account.add(type="TRANSFER_FUNDS", amount=D(-50_000), account_balance=account.balance)
    )
    bench.feed(stale)
    bench.wait(3)
    assert bench.kernel.day_values(A).peak == D(50_000)
    assert not [b for b in bench.kernel.breakers(bench.now) if b.breaker == "A2" and b.evidence]


def test_flattening_goes_on_until_flat():
    bench = losing(max_daily_loss=D("0.01"), max_drawdown=D("0.9"))
    fall(bench, "1.09010")
    fall(bench, "1.09009")
    bench.prices["EUR_USD"] = D("1.09009")
    bench.acts.clear()
    bench.wait(31)
    assert f"A1:{A}" in {act.stop_id for act in bench.done(Liquidate)}
    (trade_id,) = bench.kernel.books[A].trades
    bench.stream(A, *bench.venue[A].close(trade_id, D("1.09009"), D("-1001")))
    bench.acts.clear()
    bench.wait(31)
    assert bench.done(Liquidate) == []


def test_a_breaker_tripped_by_hand_still_flattens_when_the_loss_comes():
    bench = losing(max_daily_loss=D("0.01"), max_drawdown=D("0.9"))
    bench.feed(TripBreaker(breaker="A1", subject=A, actor="ann"))
    fall(bench, "1.09010")
    fall(bench, "1.09009")
    assert f"A1:{A}" in {act.stop_id for act in bench.done(Liquidate)}


def test_a_hand_tripped_breaker_is_not_refuted_by_a_price():
    bench = losing(max_daily_loss=D("0.01"))
    bench.feed(TripBreaker(breaker="A1", subject=A, actor="ann"))
    fall(bench, "1.09010")
    fall(bench, "1.09900")
    assert bench.kernel.account_blocks(A, bench.now)


# -- days and sessions -----------------------------------------------------------------


def test_a_new_trading_day_begins_with_the_nav_and_ends_the_daily_breakers():
    bench = losing(max_daily_loss=D("0.01"), max_drawdown=D("0.9"))
    (trade_id,) = bench.kernel.books[A].trades
    bench.stream(A, *bench.venue[A].close(trade_id, D("1.09"), D("-1000")))
    assert bench.kernel.account_blocks(A, bench.now)
    bench.now = parse_time("2026-11-18T21:59:58Z")
    bench.tick_all()
    bench.hearts()
    bench.wait(1)
    assert bench.kernel.day_values(A).day == "2026-11-18"
    bench.wait(2)
    values = bench.kernel.day_values(A)
    assert (values.day, values.equity_start) == ("2026-11-19", D("99000"))
    assert values.peak == D("100000")
    bench.wait(12)
    assert bench.kernel.account_blocks(A, bench.now) == ()


def test_a_day_that_began_while_we_were_away_begins_with_the_higher_of_balance_and_nav():
    bench = losing()
    bench.now += 24 * 3600 * NS_PER_S
    bench.start_life()
    bench.feed(bench.venue[A].seen(nav=D("90000")))
    assert bench.said(DayStarted)[-1].equity == D("100000")


def test_the_fx_session_blocks_before_the_close_and_opens_after():
    bench = Bench(make_plan(calendar="fx"))
    bench.now = parse_time("2026-11-18T21:44:50Z")
    bench.tick_all()
    bench.hearts()
    bench.wait(9)
    assert "T1" not in blocked(bench)
    bench.wait(1)
    assert "T1" in blocked(bench)
    assert "quiet" in blocked(bench)
    bench.wait(1790)
    assert "T1" in blocked(bench)
    bench.wait(20)
    assert blocked(bench) == ""


def test_the_rolls_wide_spread_moves_no_loss_breaker():
    given = AccountLimits(risk_per_trade=D("0.5"), max_daily_loss=D("0.01"), max_drawdown=D("0.9"))
    plan = make_plan(
        accounts=(AccountPlan(account_id=A, limits=given),), total=given, calendar="fx"
    )
    bench = Bench(plan)
    from orchestrator.model.events import SignalSeen

    signal = bench.signal(stop_distance=D("0.00500"), target_distance=None)
    bench.answer(bench.feed(SignalSeen(signal=signal)), units=100_000)
    bench.fill_all()
    bench.wait(310)  # a median is known
    bench.now = parse_time("2026-11-18T21:55:00Z")
    bench.hearts()
    bench.beat()
    for _ in range(3):
        bench.now += 100 * MS
        bench.tick("EUR_USD", "1.08500", "1.11500")  # mid 1.1, thirty times its spread
    assert tripped(bench, "A1") == []
    bench.now = parse_time("2026-11-18T22:00:00Z")
    bench.beat()
    assert bench.kernel.day_values(A).equity_start == D("99985")  # not at the wide spread
    bench.now = parse_time("2026-11-18T22:11:00Z")
    bench.hearts()
    bench.beat()
    for _ in range(2):
        bench.now += 100 * MS
        bench.tick("EUR_USD", "1.08500", "1.11500")
    assert tripped(bench, "A1")[-1][0] is Effect.FLATTEN


@pytest.mark.parametrize("count", [0, 1])
def test_an_open_trade_that_cannot_be_valued_is_unknown(count):
    bench = Bench(begin=False)
    bench.start_life()
    account = bench.venue[B]
    from orchestrator.model.venue import Trade

    if count:
        account.trades["5"] = Trade(
            id="5", instrument="USD_JPY", price=D("150"), initial_units=D(100),
            current_units=D(100),
        )  # fmt: skip
    for known in bench.known():
        bench.feed(AccountSeen(account=known.seen().account))
    for _ in range(12):
        bench.now += NS_PER_S
        bench.tick("GBP_USD", "1.3")
        bench.hearts()
        bench.beat()
    texts = bench.kernel.account_blocks(B, bench.now)
    assert any("conversion rate" in text for text in texts) is bool(count)
    bench.tick("USD_JPY", "150")
    bench.tick("EUR_USD", "1.1")
    bench.beat()
    assert not any("conversion rate" in t for t in bench.kernel.account_blocks(B, bench.now))


def _with_a_rate_that_is_not_traded() -> Bench:
    """EUR_USD is known to the venue, converts for B (EUR), and is not among our instruments."""
    bench = Bench(make_plan(instruments=("GBP_USD",)), begin=False)
    bench.prices = {"GBP_USD": D("1.30000")}
    bench.begin()
    return bench


def test_without_a_rate_into_its_money_an_account_takes_nothing_and_says_why():
    bench = _with_a_rate_that_is_not_traded()
    signal = bench.send_signal(instrument="GBP_USD", reference_price=D("1.30010"))
    reason = bench.ends(signal.signal_id)[B].reason
    assert "no price converts USD into the account's EUR" in reason
    # Nor does A, whose share of the totals cannot be told without B's.
    assert bench.orders() == []


def test_a_rate_that_is_not_traded_converts():
    bench = _with_a_rate_that_is_not_traded()
    bench.tick("EUR_USD", "1.1")
    bench.send_signal(instrument="GBP_USD", reference_price=D("1.30010"))
    assert {order.request.account_id for order in bench.orders()} == {A, B}


def test_a_senseless_rate_values_nothing_and_a_stranger_is_not_kept():
    bench = _with_a_rate_that_is_not_traded()
    bench.tick("EUR_USD", "NaN", "1.1")
    bench.tick("EUR_USD", "1.2", "1.1")
    bench.tick("XXX_USD", "1.1")
    assert bench.kernel.quotes.tick("EUR_USD") is None
    assert bench.kernel.quotes.tick("XXX_USD") is None


def test_a_rate_moves_the_accounts_that_it_values():
    bench = _with_a_rate_that_is_not_traded()
    bench.tick("EUR_USD", "1.1")
    bench.send_signal(instrument="GBP_USD", reference_price=D("1.30010"))
    assert bench.fill_all() == 2
    bench.tick("GBP_USD", "1.29900")
    before = bench.kernel.day_values(B).nav
    bench.tick("EUR_USD", "1.09")
    assert bench.kernel.day_values(B).nav < before
