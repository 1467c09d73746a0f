"""What trips for one account, or by all accounts' books: A3 to A9, S3, S4, S10, and their ends."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.kernel.safety.breakers.a6_margin import a6_margin
from orchestrator.kernel.safety.breakers.s3_exposure import s3_correlation, s3_gross
from orchestrator.model.acts import CloseGate, Liquidate, SendAlert
from orchestrator.model.events import ResetBreaker
from orchestrator.model.facts import BreakerReset, BreakerTripped, OperatorActed
from orchestrator.model.limits import AccountLimits, AccountPlan, BreakerLimits, CheckLimits
from orchestrator.model.orders import Answered, Rejected, Unknown
from orchestrator.model.safety import BreakerState, Effect, Severity
from orchestrator.model.time import HOUR_NS, NS_PER_S
from orchestrator.model.venue import ClientExtensions as Ext
from orchestrator.model.venue import TradeOpen, TradeReduce
from tests.unit.kernel.engine_bench import A, B, Bench, D, make_plan

LIMITS = BreakerLimits()
LOOSE = CheckLimits(
    strategy_interval_s=0, orders_per_s=D(1_000), orders_burst=1_000, orders_per_min=10_000,
    duplicate_window_s=0, notional_nav_max=D(50), order_notional_max=D(10**9),
    instrument_exposure_max=D(50), currency_exposure_max=D(50), gross_exposure_max=D(50),
)  # fmt: skip


MANY = AccountLimits(max_concurrent_trades=100, risk_per_trade=D("0.01"))


def trips(bench, breaker, subject=A):
    return [f for f in bench.said(BreakerTripped) if (f.breaker, f.subject) == (breaker, subject)]


def alerts(bench):
    return {act.alert.key: act.alert for act in bench.done(SendAlert)}


def state(bench, breaker, subject=A):
    found = {(v.breaker, v.subject): v for v in bench.kernel.breakers(bench.now)}
    return found[breaker, subject].state


def reset(bench, breaker, subject=A, **fields):
    bench.feed(ResetBreaker(breaker=breaker, subject=subject, actor="ann", reason="seen", **fields))
    return bench.said(OperatorActed)[-1].refused


def trade(bench, account=A, **fields):
    bench.send_signal(accounts=(account,), **fields)
    assert bench.fill_all() == 1
    return next(reversed(bench.venue[account].trades))


def close(bench, trade_id, pl, account=A):
    """By its stop, at a loss or a gain."""
    bench.stream(account, *bench.venue[account].close(trade_id, D("1.1"), D(pl)))


# -- A3: losing run --------------------------------------------------------------------


def lose(bench, times, pl="-1", apart_s=950):
    for _ in range(times):
        bench.rest(apart_s)
        close(bench, trade(bench), pl)


def test_five_losing_trades_in_a_row_block_their_account_for_an_hour():
    bench = Bench()
    lose(bench, 4)
    assert trips(bench, "A3") == []
    lose(bench, 1)
    (trip,) = trips(bench, "A3")
    assert (trip.cooldown_s, trip.evidence) == (3_600, "5 losing trades in a row, limit 5")
    assert alerts(bench)[f"breaker:A3:{A}"].severity is Severity.WARNING
    assert "A3" in bench.kernel.account_blocks(A, bench.now)[0]
    assert bench.kernel.account_blocks(B, bench.now) == ()


def test_a_winner_ends_the_run():
    bench = Bench()
    lose(bench, 4)
    lose(bench, 1, pl="1")
    lose(bench, 4)
    assert trips(bench, "A3") == []


def test_three_stop_outs_in_half_an_hour_block_and_over_a_longer_time_they_do_not():
    bench = Bench()
    lose(bench, 2, apart_s=60)
    assert trips(bench, "A3") == []
    lose(bench, 1, apart_s=60)
    assert "3 stop-outs in 1800 s" in trips(bench, "A3")[0].evidence
    slow = Bench()
    lose(slow, 4, apart_s=910)
    assert trips(slow, "A3") == []


def test_one_more_loss_while_it_probes_trips_it_again():
    bench = Bench()
    lose(bench, 5)
    bench.rest(3_600)
    assert state(bench, "A3") is BreakerState.PROBING
    bench.wait(12)
    close(bench, trade(bench), "-1")
    assert "6 losing trades" in trips(bench, "A3")[-1].evidence
    assert trips(bench, "A3")[-1].cooldown_s == 3_600  # no cool-down is shortened to 30 min


def test_an_operators_reset_begins_the_run_anew():
    bench = Bench()
    lose(bench, 5)
    assert reset(bench, "A3") == ""
    lose(bench, 4)
    assert len(trips(bench, "A3")) == 1


def test_the_run_survives_a_crash():
    bench = Bench()
    lose(bench, 4)
    bench.start_life(unclean=True)
    bench.serve_reads()
    bench.wait(15)
    lose(bench, 1)
    assert trips(bench, "A3")


def test_a_trade_closed_in_parts_counts_once_by_all_its_parts():
    bench = Bench()
    account = bench.venue[A]
    for _ in range(6):
        bench.wait(15)
        trade_id = trade(bench)
        account.balance += 5
        part = account.add(
            type="ORDER_FILL", instrument="EUR_USD", price=D("1.1"), units=D(-400), pl=D(5),
            financing=D(0), commission=D(0), account_balance=account.balance, reason="MARKET_ORDER",
            trade_reduced=TradeReduce(trade_id=trade_id, units=D(-400), realized_pl=D(5)),
        )  # fmt: skip
        bench.stream(A, part)
        account.trades[trade_id] = msgspec.structs.replace(
            account.trades[trade_id], current_units=D(600)
        )
        close(bench, trade_id, "-2")  # three are left of it
    assert trips(bench, "A3") == []


def test_foreign_trades_are_no_losing_run_of_ours():
    bench = Bench()
    account = bench.venue[A]
    for number in range(6):
        bench.stream(A, *foreign_fill(account, str(900 + number)))
        account.balance -= 1
        closed = account.add(
            type="ORDER_FILL", instrument="EUR_USD", price=D("1.1"), units=D(-500), pl=D(-1),
            financing=D(0), commission=D(0), account_balance=account.balance,
            trades_closed=(
                TradeReduce(trade_id=str(900 + number), units=D(-500), realized_pl=D(-1)),
            ),
        )  # fmt: skip
        bench.stream(A, closed)
    assert trips(bench, "A3") == []


# -- A4, S4: rates ---------------------------------------------------------------------


def test_ten_orders_of_an_account_in_ten_seconds_latch_it_and_the_tenth_does_not_leave():
    bench = Bench(make_plan(checks=LOOSE, accounts=many_trades(), total=MANY))
    for number in range(10):
        bench.now += 800_000_000
        bench.tick_all()
        bench.hearts()
        bench.send_signal(accounts=(A,), strategy=f"s{number}")
    orders = bench.orders()
    assert len(orders) == 10
    (trip,) = trips(bench, "A4")
    assert trip.latched
    assert "10 orders in 10 s" in trip.evidence
    assert "A4" in (bench.kernel.may_send(orders[-1].intent_id, bench.now) or "")
    assert bench.kernel.account_blocks(B, bench.now) == ()


def test_nine_orders_in_ten_seconds_are_no_repetition():
    bench = Bench(make_plan(checks=LOOSE, accounts=many_trades(), total=MANY))
    for number in range(20):
        bench.now += 1_120_000_000
        bench.tick_all()
        bench.hearts()
        bench.send_signal(accounts=(A,), strategy=f"s{number}")
    assert trips(bench, "A4") == []


def many_trades():
    return tuple(AccountPlan(account_id=a, limits=MANY) for a in (A, B))


def test_twenty_entries_of_one_strategy_and_instrument_in_an_hour_latch():
    bench = Bench()
    for number in range(20):
        bench.wait(12)
        close(bench, trade(bench, strategy=f"other{number}"), "1")
        bench.wait(12)
        close(bench, trade(bench, strategy="trend"), "1")
    (trip,) = trips(bench, "A4")
    assert trip.evidence == "20 entries of trend on EUR_USD in an hour, limit 20"


def test_a_repetition_is_reset_only_when_its_hour_is_less_busy():
    bench = Bench()
    for _ in range(20):
        bench.wait(12)
        close(bench, trade(bench, strategy="trend"), "1")
    assert "A4 still holds: 20 entries of trend" in reset(bench, "A4")
    bench.now += 3_600 * NS_PER_S
    bench.wait(12)
    assert reset(bench, "A4") == ""
    assert not any("A4" in text for text in bench.kernel.account_blocks(A, bench.now))


def test_orders_beyond_twice_the_systems_rate_stop_everything():
    checks = msgspec.structs.replace(LOOSE, orders_per_min_total=12)  # 2 in 10 s; twice: 4
    bench = Bench(make_plan(checks=checks, accounts=many_trades(), total=MANY))
    for number in range(4):
        bench.send_signal(accounts=(A,), strategy=f"s{number}")
    assert bench.done(CloseGate) == []
    bench.send_signal(accounts=(A,), strategy="last")
    (act,) = bench.done(CloseGate)
    assert "5 orders in 10 s, twice the system's limit is 4" in act.reason
    assert trips(bench, "S4", "system")[0].effect is Effect.STOP


def test_a_second_order_of_an_intent_that_rests_stops_everything():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    account, names = bench.venue[A], Ext(id=order.intent_id)
    made = [
        account.add(type="LIMIT_ORDER", instrument="EUR_USD", units=D(1_000), price=D("1.0"),
                    client_extensions=names, reason="CLIENT_ORDER")
        for _ in range(2)
    ]  # fmt: skip
    bench.stream(A, made[0])
    assert bench.done(CloseGate) == []
    bench.stream(A, made[1])
    (act,) = bench.done(CloseGate)
    assert f"has orders {made[0].id} and {made[1].id}" in act.reason


# -- A5: rejects -----------------------------------------------------------------------


def refuse(bench, times, apart_s=11):
    for number in range(times):
        bench.wait(apart_s)
        bench.send_signal(accounts=(A,))
        (order,) = bench.orders()
        if number % 2:
            bench.finish(order.intent_id, Rejected(status=400, code="X", message="no"))
            continue
        made = bench.venue[A].cancel(bench.intent(order.intent_id), "INSUFFICIENT_MARGIN")
        last = made[-1].number
        bench.finish(
            order.intent_id, Answered(status=201, transactions=made, last_transaction_id=last)
        )


def test_five_rejections_in_a_minute_block_for_a_minute():
    bench = Bench()
    refuse(bench, 4)
    assert trips(bench, "A5") == []
    refuse(bench, 1)
    (trip,) = trips(bench, "A5")
    assert trip.evidence == "5 rejections in 60 s, limit 5: INSUFFICIENT_MARGIN"
    assert f"breaker:A5:{A}" in alerts(bench)
    bench.wait(60)
    assert state(bench, "A5") is BreakerState.PROBING


def test_five_rejections_in_a_longer_time_block_nothing():
    bench = Bench()
    refuse(bench, 10, apart_s=16)
    assert trips(bench, "A5") == []


def test_while_it_probes_the_first_rejection_trips_it_for_twice_as_long():
    bench = Bench()
    refuse(bench, 5)
    bench.wait(120)
    assert state(bench, "A5") is BreakerState.PROBING
    refuse(bench, 1)
    assert trips(bench, "A5")[-1].cooldown_s == 120


# -- A6: margin ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("margin", "nav", "effect"),
    [
        ("0", "0", None),
        ("49.99", "100", None),
        ("50", "100", Effect.BLOCK),
        ("159.99", "100", Effect.BLOCK),
        ("160", "100", Effect.FLATTEN),
        ("1", "0", Effect.FLATTEN),
        ("1", "-5", Effect.FLATTEN),
    ],
)
def test_a6_blocks_from_half_of_nav_and_flattens_from_a_closeout_percent_of_eighty(
    margin, nav, effect
):
    found = a6_margin(D(margin), D(nav), LIMITS)
    assert (found and found[0]) == effect


def test_a_fall_that_makes_the_margin_too_much_blocks_then_flattens_then_ends():
    given = AccountLimits(risk_per_trade=D("0.9"), max_daily_loss=D("0.99"), max_drawdown=D("0.99"))
    plan = make_plan(
        accounts=(AccountPlan(account_id=A, limits=given),),
        total=given,
        checks=LOOSE,
        breakers=BreakerLimits(gross_nav_max=D(50)),
    )
    bench = Bench(plan)
    bench.answer(
        bench.feed_signal(stop_distance=D("0.04"), target_distance=None), units=D(2_000_000)
    )
    assert bench.fill_all() == 1  # margin 44,000 of 100,000
    assert trips(bench, "A6") == []
    fall(bench, "1.0930")  # -14,200: 43,720 of 85,800
    assert [f.effect for f in trips(bench, "A6")] == [Effect.BLOCK]
    fall(bench, "1.0630")
    assert trips(bench, "A6")[-1].effect is Effect.FLATTEN
    assert f"A6:{A}" in {act.stop_id for act in bench.done(Liquidate)}
    assert alerts(bench)[f"breaker:A6:{A}"].severity is Severity.CRITICAL
    bench.prices["EUR_USD"] = D("1.0630")
    (trade_id,) = bench.kernel.books[A].trades
    close(bench, trade_id, "-10")
    bench.wait(59)
    assert state(bench, "A6") is BreakerState.TRIPPED
    bench.wait(1)
    assert state(bench, "A6") is BreakerState.ARMED


def fall(bench, price):
    bench.now += NS_PER_S
    bench.tick("EUR_USD", price)


def test_the_venues_own_closeout_percent_flattens():
    bench = Bench()
    seen = bench.venue[A].seen()
    account = msgspec.structs.replace(
        seen.account, nav=D(100_000), margin_closeout_percent=D("0.8")
    )
    bench.feed(msgspec.structs.replace(seen, account=account))
    assert trips(bench, "A6")[-1].effect is Effect.FLATTEN


# -- A8: divergence --------------------------------------------------------------------


def test_a_trade_without_a_stop_for_five_seconds_latches_until_it_is_gone():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    bench.fill(order, stop=False)
    bench.wait(5)
    assert trips(bench, "A8") == []
    bench.wait(1)
    (trip,) = trips(bench, "A8")
    assert "no stop" in trip.evidence
    assert trip.latched
    assert "A8 still holds" in reset(bench, "A8")
    (trade_id,) = bench.venue[A].trades
    account = bench.venue[A]
    bench.stream(A, account.add(
        type="ORDER_FILL", instrument="EUR_USD", price=D("1.1"), units=D(-1_000), pl=D(0),
        financing=D(0), commission=D(0), account_balance=account.balance,
        trades_closed=(TradeReduce(trade_id=trade_id, units=D(-1_000), realized_pl=D(0)),),
    ))  # fmt: skip
    del account.trades[trade_id]
    bench.wait(1)
    assert reset(bench, "A8") == ""
    assert bench.kernel.account_blocks(A, bench.now) == ()


def test_an_order_that_was_thought_absent_latches():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    intent = bench.intent(order.intent_id)
    bench.finish(order.intent_id, Unknown(reason="time-out"))
    for _ in range(12):
        bench.wait(1)
        bench.serve_reads()
    assert trips(bench, "A8") == []
    bench.stream(A, *bench.venue[A].fill(intent, D("1.1001")))
    (trip,) = trips(bench, "A8")
    assert "late order" in trip.evidence
    assert alerts(bench)[f"breaker:A8:{A}"].severity is Severity.CRITICAL


def test_an_order_in_our_form_without_an_intent_latches():
    bench = Bench()
    bench.stream(A, *foreign_fill(bench.venue[A], name="tso-" + "0" * 32))
    assert "no intent of ours explains it" in trips(bench, "A8")[0].evidence


# -- A9: foreign -----------------------------------------------------------------------


def foreign_fill(account, trade_id="99", name=None):
    """Somebody bought 500 EUR_USD by hand."""
    names = None if name is None else Ext(id=name)
    made = account.add(
        type="MARKET_ORDER", instrument="EUR_USD", units=D(500), reason="CLIENT_ORDER",
        client_extensions=names,
    )  # fmt: skip
    fill = account.add(
        type="ORDER_FILL", order_id=made.id, instrument="EUR_USD", units=D(500), price=D("1.1"),
        pl=D(0), financing=D(0), commission=D(0), account_balance=account.balance,
        trade_opened=TradeOpen(trade_id=trade_id, units=D(500), price=D("1.1")),
    )  # fmt: skip
    return made, fill


def exclusive():
    return make_plan(
        accounts=(AccountPlan(account_id=A, exclusive=True), AccountPlan(account_id=B))
    )


def test_a_foreign_trade_on_an_account_of_ours_alone_blocks_until_it_is_gone():
    bench = Bench(exclusive())
    account = bench.venue[A]
    bench.stream(A, *foreign_fill(account))
    assert "A9" in bench.kernel.account_blocks(A, bench.now)[0]
    assert f"breaker:A9:{A}" in alerts(bench)
    bench.wait(100)
    assert bench.kernel.account_blocks(A, bench.now)
    bench.stream(A, account.add(
        type="ORDER_FILL", instrument="EUR_USD", price=D("1.1"), units=D(-500), pl=D(0),
        financing=D(0), commission=D(0), account_balance=account.balance,
        trades_closed=(TradeReduce(trade_id="99", units=D(-500), realized_pl=D(0)),),
    ))  # fmt: skip
    bench.wait(1)
    assert bench.kernel.account_blocks(A, bench.now) == ()


def test_elsewhere_a_foreign_trade_is_only_told_and_counted():
    bench = Bench(exclusive())
    bench.stream(B, *foreign_fill(bench.venue[B]))
    assert bench.kernel.account_blocks(B, bench.now) == ()
    assert any(key.startswith("foreign:") for key in alerts(bench))


def test_an_operator_may_accept_what_is_foreign_and_the_next_one_blocks_again():
    bench = Bench(exclusive())
    bench.stream(A, *foreign_fill(bench.venue[A]))
    assert reset(bench, "A9") == ""
    bench.wait(5)
    assert bench.kernel.account_blocks(A, bench.now) == ()
    bench.stream(A, *foreign_fill(bench.venue[A], "199"))
    assert bench.kernel.account_blocks(A, bench.now)


# -- S3: exposure ----------------------------------------------------------------------


def test_s3_gross_against_fifteen_times_all_navs():
    assert s3_gross(D(1_500), D(100), LIMITS) is None
    assert "over 15 x NAV" in s3_gross(D("1500.01"), D(100), LIMITS)
    assert s3_gross(D(0), D(-1), LIMITS) is None
    assert s3_gross(D(1), D(0), LIMITS)


def test_too_much_in_all_blocks_everywhere_until_a_minute_after_it_is_less():
    breakers = BreakerLimits(gross_nav_max=D("0.5"))
    bench = Bench(make_plan(breakers=breakers, checks=LOOSE))
    bench.answer(bench.feed_signal(accounts=(A,), stop_distance=D("0.01")), units=D(100_000))
    assert bench.fill_all() == 1
    assert "S3" in bench.kernel.account_blocks(B, bench.now)[0]
    assert "breaker:S3:system" in alerts(bench)
    (trade_id,) = bench.kernel.books[A].trades
    close(bench, trade_id, "1")
    bench.wait(59)
    assert bench.kernel.account_blocks(B, bench.now)
    bench.wait(1)
    assert bench.kernel.account_blocks(B, bench.now) == ()


def returns(sign=1, hours=100):
    return {hour: D(sign * (-1) ** hour * (1 + hour % 7)) / 1_000 for hour in range(hours)}


def test_s3_correlation_needs_a_hundred_hours_and_more_than_nine_tenths():
    assert s3_correlation(returns(), returns(), LIMITS) == pytest.approx(1.0)
    assert s3_correlation(returns(hours=99), returns(hours=99), LIMITS) is None
    assert s3_correlation(returns(), returns(-1), LIMITS) is None
    assert s3_correlation(returns(), dict.fromkeys(range(100), D(0)), LIMITS) is None
    shifted = {hour + 1: value for hour, value in returns().items()}
    assert s3_correlation(returns(), shifted, LIMITS) is None


def test_two_accounts_whose_returns_are_one_block_everything():
    bench = Bench(make_plan(breakers=BreakerLimits(returns_points_min=5)))
    for hour in range(6):
        for name in (A, B):
            account = bench.venue[name]
            amount = D((-1) ** hour * (hour + 1))
            account.balance += amount
            bench.stream(name, account.add(
                type="DAILY_FINANCING", financing=amount, account_balance=account.balance,
            ))  # fmt: skip
        bench.now += HOUR_NS
        bench.wait(1)
    (trip,) = trips(bench, "S3", "system")
    assert f"returns of {A} and {B} correlate" in trip.evidence


# -- S10: crash loop -------------------------------------------------------------------


def test_three_unclean_starts_in_ten_minutes_latch():
    bench = Bench()
    for _ in range(2):
        bench.now += 299 * NS_PER_S
        bench.start_life(unclean=True)
    assert trips(bench, "S10", "system") == []
    bench.now += 2 * NS_PER_S
    bench.start_life(unclean=True)
    (trip,) = trips(bench, "S10", "system")
    assert trip.latched
    bench.serve_reads()
    bench.wait(700)
    assert any("S10" in text for text in bench.kernel.account_blocks(A, bench.now))
    assert reset(bench, "S10", "system") == ""


def test_clean_starts_and_rare_crashes_are_no_loop():
    bench = Bench()
    for number in range(9):
        bench.now += 301 * NS_PER_S
        bench.start_life(unclean=number % 2 == 0)
    assert trips(bench, "S10", "system") == []


# -- B3: what cannot be read -----------------------------------------------------------


def test_breakers_whose_state_is_lost_are_all_tripped_and_end_each_by_its_own_rule():
    bench = Bench(begin=False)
    from orchestrator.model.events import Started

    bench.feed(
        Started(
            version="1", node="n", epoch=1, config_digest="d", unclean=True, breakers_lost="cut"
        )
    )
    views = [v for v in bench.kernel.breakers(bench.now) if v.breaker != "E3"]
    armed = [v for v in views if v.state is BreakerState.ARMED]
    assert [
        v.breaker for v in armed if v.breaker not in ("S5", "S6", "S7", "S8", "S9", "S11")
    ] == []
    assert {v.breaker for v in views if v.state is BreakerState.LATCHED} == {
        "A11", "A2", "A4", "A8", "S2", "S4", "S10", "S12",
    }  # fmt: skip
    assert alerts(bench)["breakers:lost"].severity is Severity.CRITICAL


def test_all_reset_reasons_are_told():
    bench = Bench(exclusive())
    bench.stream(A, *foreign_fill(bench.venue[A]))
    reset(bench, "A9")
    ended = [f for f in bench.said(BreakerReset) if f.breaker == "A9"]
    assert [(f.actor, f.reason) for f in ended] == [("ann", "seen")]
