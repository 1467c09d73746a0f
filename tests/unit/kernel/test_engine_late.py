"""What comes late, twice or in the wrong order to the engine, and what stands there already."""

from __future__ import annotations

import msgspec

from orchestrator.kernel.engine import applying, losses, path, probing, scene, sending
from orchestrator.kernel.engine.state import State
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.orders.reading import Reading
from orchestrator.kernel.safety.board import SYSTEM
from orchestrator.model.acts import AskStage, CloseGate, FetchAccount
from orchestrator.model.events import (
    Drained,
    EmergencyStop,
    LoopSeen,
    Resume,
    SetOverride,
    SignalSeen,
    Started,
    StopTrading,
    StorageSeen,
    TripBreaker,
)
from orchestrator.model.facts import (
    AccountReconciled,
    AlertRaised,
    BreakerTripped,
    IntentMoved,
    IntentWritten,
    ModeChanged,
    OperatorActed,
    OverrideEnded,
    OverrideSet,
    OverrideUsed,
    RiskAdvised,
)
from orchestrator.model.limits import AccountLimits, AccountPlan, CheckLimits
from orchestrator.model.market import StreamBeat
from orchestrator.model.orders import Intent, IntentState, Reservation, Unknown
from orchestrator.model.outcomes import RiskAdvice
from orchestrator.model.safety import Effect, Scope
from orchestrator.model.time import HOUR_NS, NS_PER_S
from tests.unit.kernel.engine_bench import START, A, B, Bench, D, make_plan
from tests.unit.kernel.safety_makers import order_of


def turn_of(bench):
    return Turn(bench.kernel._world, bench.now)


def record_of(bench, account=A):
    return bench.kernel._world.state.accounts[account]


def filled(bench, **fields):
    bench.send_signal(accounts=(A,), **fields)
    (order,) = bench.orders()
    bench.fill(order)
    return order


# -- the venue's word ------------------------------------------------------------------


def test_an_old_snapshot_after_a_restart_is_asked_for_again():
    bench = Bench()
    old = bench.venue[A].seen()
    filled(bench)
    bench.start_life()
    bench.acts.clear()
    bench.feed(old)
    assert bench.done(FetchAccount) == [FetchAccount(account_id=A)]
    assert not bench.kernel.reconciled(A)


def test_a_difference_that_stays_is_said_once():
    bench = Bench()
    bench.venue[A].balance += D("0.0001")
    for _ in range(6):
        bench.feed(bench.venue[A].seen())
    assert len([f for f in bench.said(AccountReconciled) if f.differences]) == 1


def test_figures_of_the_venue_that_do_not_add_up_are_told():
    bench = Bench()
    bench.stream(A, bench.venue[A].add(type="ORDER_CANCEL", order_id="5"))
    told = [f.alert for f in bench.said(AlertRaised) if f.alert.key.startswith("ledger:")]
    assert [alert.subject for alert in told] == [A]
    assert "unknown order 5" in told[0].text


def test_a_heartbeat_level_with_us_does_not_close_a_gap_that_a_transaction_showed():
    bench = Bench()
    account = bench.venue[A]
    account.add(type="CLIENT_CONFIGURE")
    second = account.add(type="CLIENT_CONFIGURE")
    bench.stream(A, second)
    live = bench.kernel._world.live.account(A)
    assert live.behind_ns == bench.now
    bench.feed(
        StreamBeat(
            stream="transactions", account_id=A, venue_ns=bench.now, seen_ns=bench.now,
            last_transaction_id="10",
        )
    )  # fmt: skip
    assert live.behind_ns == bench.now
    bench.read(A, 10)
    assert live.behind_ns is None


def test_a_fill_that_names_only_its_order_settles_the_intent_behind_that_order():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    made = bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    nameless = msgspec.structs.replace(made[1], client_order_id=None)
    bench.stream(A, made[0], nameless, *made[2:])
    assert bench.said(IntentMoved)[-1].state is IntentState.FILLED
    assert bench.kernel.reservations(A) == ()


def test_an_order_whose_rest_is_cancelled_after_its_fill_stays_filled():
    bench = Bench()
    order = filled(bench)
    ended = bench.kernel._world.state.ended[order.intent_id]
    tx = bench.venue[A].add(
        type="ORDER_CANCEL", order_id=ended.order_id, client_order_id=order.intent_id, reason="ttl"
    )
    bench.stream(A, tx)
    assert ended.state is IntentState.FILLED
    assert bench.done(CloseGate) == []


def test_a_second_unknown_answer_changes_nothing():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    bench.finish(order.intent_id, Unknown(reason="cut"))
    said = len(bench.said(IntentMoved))
    bench.finish(order.intent_id, Unknown(reason="cut again"))
    assert len(bench.said(IntentMoved)) == said
    assert len(bench.kernel.reservations(A)) == 1


# -- what the journal keeps ------------------------------------------------------------


def test_what_is_all_too_old_is_all_forgotten():
    memory = {"a": 1, "b": 2}
    applying._forget(memory, lambda _: True, 5)
    assert memory == {}


def written(state, number):
    intent = Intent(
        intent_id=f"tso-{number}", proposal=order_of(strategy=f"s{number}"), body="{}",
        watermark=1, epoch=1, generation=1, checked_ns=1, expires_ns=2,
        reservation=Reservation(risk=D(1), notional=D(1), margin=D(1)),
    )  # fmt: skip
    applying.apply_fact(state, IntentWritten(intent=intent), START, CheckLimits())


def test_sizes_and_entries_are_kept_of_the_last_five_hundred_flows():
    state = State()
    for number in range(501):
        written(state, number)
    record = state.accounts["a"]
    assert (len(record.sizes), len(record.entries)) == (500, 500)
    assert not any(key.startswith("s0|") for key in (*record.sizes, *record.entries))
    assert record.day is None


def test_a_used_override_is_forgotten_once_its_time_is_over():
    state = State()
    limits = CheckLimits()

    def told(name, at):
        applying.apply_fact(state, OverrideSet(
            override_id=name, limit="risk_per_trade", scope=Scope.ACCOUNT, subject=A,
            value=D("0.03"), was=D("0.02"), loosens=True, actor="ann", role="admin", reason="r",
            until_ns=START + 60 * NS_PER_S, uses_max=1,
        ), at, limits)  # fmt: skip

    told("o1", START)
    applying.apply_fact(state, OverrideUsed(
        override_id="o1", limit="risk_per_trade", account_id=A, intent_id="i", signal_id="s",
        uses_left=0,
    ), START, limits)  # fmt: skip
    end = OverrideEnded(
        override_id="o1", limit="risk_per_trade", subject=A, actor="kernel", reason="used"
    )
    applying.apply_fact(state, end, START, limits)
    assert state.overrides["o1"].ended  # the order that used it is still to be checked at the gate
    told("o2", START + 61 * NS_PER_S)
    assert "o1" not in state.overrides


# -- breakers that stand already -------------------------------------------------------


def test_a_breaker_that_calms_down_and_is_then_tripped_by_hand_stays():
    bench = Bench()
    bench.feed(LoopSeen(lag_ms=5_000))
    bench.feed(LoopSeen(lag_ms=0))
    assert bench.kernel._world.live.calm_ns
    bench.kernel._world.state.board.get("S8").latched = True
    bench.wait(30)
    assert bench.kernel._world.state.board.get("S8") is not None
    assert "S8" not in " ".join(bench.kernel._world.live.calm_ns)


def losing():
    """Account A alone, 100,000 EUR_USD: 0.0001 is 10; limit 1,000 a day."""
    limits = AccountLimits(risk_per_trade=D("0.5"), max_daily_loss=D("0.01"))
    bench = Bench(make_plan(accounts=(AccountPlan(account_id=A, limits=limits),), total=limits))
    signal = bench.signal(stop_distance=D("0.00500"), target_distance=None)
    bench.answer(bench.feed(SignalSeen(signal=signal)), units=100_000)
    assert bench.fill_all() == 1
    bench.acts.clear()
    return bench


def trips(bench, breaker):
    return [f for f in bench.said(BreakerTripped) if f.breaker == breaker]


def test_the_same_scale_is_tripped_once_and_shown_among_what_tightens():
    bench = losing()
    for price in ("1.09510", "1.09500", "1.09490"):
        bench.now += 10_000_000
        bench.tick("EUR_USD", price)
    assert [f.scale for f in trips(bench, "A1")] == [D("0.5")]
    told = {t.by: t.scale for t in bench.kernel.tightenings(A, bench.now)}
    assert told["breaker A1"] == D("0.5")


def test_a_hand_does_not_weaken_what_flattens():
    bench = losing()
    for _ in range(2):
        bench.now += 10_000_000
        bench.tick("EUR_USD", "1.08900")
    (before,) = [f for f in trips(bench, "A1") if f.effect is Effect.FLATTEN]
    said = len(trips(bench, "A1"))
    bench.feed(TripBreaker(breaker="A1", subject=A, actor="ann", reason="me too"))
    assert len(trips(bench, "A1")) == said
    assert bench.kernel._world.state.board.get("A1", A).effect is Effect.FLATTEN
    assert before.subject == A


def test_a_total_drawdown_that_cannot_be_known_eases_nothing():
    bench = Bench()
    case = losses.Case("S2", Scope.SYSTEM, SYSTEM, Effect.STOP, False, D("0.2"))
    assert losses._fraction_now(turn_of(bench), case) == 0
    filled(bench)
    for trade in bench.kernel.books[A].trades.values():
        trade.instrument = "AUD_NZD"  # without a price
    bench.kernel._world.live.books_moved(A)
    assert losses._fraction_now(turn_of(bench), case) == D("0.2")
    for name in (A, B):
        record_of(bench, name).day = None  # not one account is counted
    assert losses._fraction_now(turn_of(bench), case) == D("0.2")


def test_lost_breakers_trip_all_but_those_that_stand():
    bench = Bench()
    bench.feed(TripBreaker(breaker="A3", subject=A, actor="ann", reason="mine"))
    bench.feed(Started(
        version="1", node="n", epoch=2, config_digest="d", unclean=True, breakers_lost="cut off",
    ))  # fmt: skip
    assert bench.kernel._world.state.board.get("A3", A).actor == "ann"
    assert bench.kernel._world.state.board.get("A3", B).evidence.endswith("cut off")


def test_a_stop_while_stopped_moves_no_mode_and_drained_means_nothing_then():
    bench = Bench()
    bench.feed(EmergencyStop(stop_id="x", actor="ann", reason="fear"))
    said = len(bench.said(ModeChanged))
    bench.feed(StopTrading(actor="ann"))
    bench.feed(Drained())
    assert (bench.kernel.mode, len(bench.said(ModeChanged))) == ("stopped", said)


def test_a_signal_for_an_account_without_money_known_asks_nobody():
    bench = Bench()
    record_of(bench).day = None
    signal = bench.signal(accounts=(A,))
    step = bench.feed(SignalSeen(signal=signal))
    assert not [act for act in step.acts if isinstance(act, AskStage)]
    assert bench.ends(signal.signal_id)[A].stage == path.GATE


def test_risk_that_wild_prices_had_scaled_is_whole_again_after_the_cool_down():
    bench = Bench()
    turn = turn_of(bench)
    probing.cool(turn, "M3", "wild", "EUR_USD", effect=Effect.SCALE)
    cooldown_s = bench.kernel._world.state.board.get("M3", "EUR_USD").cooldown_s
    bench.wait(cooldown_s - 1)
    assert bench.kernel._world.state.board.get("M3", "EUR_USD") is not None
    bench.wait(2)
    assert bench.kernel._world.state.board.get("M3", "EUR_USD") is None


def test_an_instrument_that_never_had_a_price_has_no_market():
    assert scene.market_of(Bench().kernel._world, "AUD_NZD") is None


def test_an_early_reset_never_ends_a_stop():
    bench = Bench()
    bench.kernel.apply(
        BreakerTripped(
            breaker="A3", scope=Scope.ACCOUNT, subject=A, effect=Effect.STOP, evidence="x"
        ),
        bench.now,
    )
    bench.feed(SetOverride(
        override_id="o", limit="A3", scope=Scope.ACCOUNT, subject=A, value=None, actor="ann",
        role="admin", reason="r", until_ns=None, uses_max=1,
    ))  # fmt: skip
    assert "ends by a resume only" in bench.said(OperatorActed)[-1].refused


def test_a_tightening_that_ends_in_the_past_is_refused():
    bench = Bench()
    bench.feed(SetOverride(
        override_id="o", limit="risk_per_trade", scope=Scope.ACCOUNT, subject=A,
        value=D("0.001"), actor="ann", role="operator", reason="r", until_ns=bench.now,
    ))  # fmt: skip
    assert "not in the future" in bench.said(OperatorActed)[-1].refused


# -- what must not happen, and what has gone -------------------------------------------


def test_a_step_that_no_order_can_take_closes_the_gate():
    bench = Bench()
    order = filled(bench)
    turn = turn_of(bench)
    ended = bench.kernel._world.state.ended[order.intent_id]
    sending.move(turn, ended, IntentState.PENDING, Reading(state=IntentState.PENDING))
    assert [act.actor for act in turn.acts if isinstance(act, CloseGate)] == ["S4"]
    assert ended.state is IntentState.FILLED


def test_an_order_whose_request_has_not_ended_is_never_proved_absent():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    bench.kernel._world.state.intents[order.intent_id].state = IntentState.UNKNOWN
    for _ in range(5):
        bench.now += 10 * NS_PER_S
        sending.after_read(turn_of(bench), A, 10)
    assert len(bench.kernel.reservations(A)) == 1


def test_the_silence_of_a_stage_ends_nothing_that_has_ended():
    bench = Bench()
    step = bench.feed_signal(accounts=(A,))
    (act,) = [act for act in step.acts if isinstance(act, AskStage)]
    ask = bench.kernel._world.live.paths.asks[act.ask_id]
    bench.kernel._world.state.signals.clear()
    turn = turn_of(bench)
    path.give_up_on(turn, ask)
    assert turn.facts == []


def test_a_disk_that_is_well_blocks_nothing():
    bench = Bench()
    assert bench.feed(StorageSeen(flush_ms=1, free_mb=100_000)).facts == ()


def test_a_resume_resets_what_had_stopped_and_no_other_breaker():
    bench = Bench()
    bench.feed(TripBreaker(breaker="A3", subject=A, actor="ann", reason="look"))
    bench.feed(EmergencyStop(stop_id="x", actor="ann", reason="fear"))
    bench.feed(Resume(stop_id="x", actor="bob", reason="calm again"))
    assert bench.kernel.stop_id is None
    assert bench.kernel._world.state.board.get("A3", A) is not None


def test_advice_that_is_over_makes_room_for_the_next():
    bench = Bench()
    for hour, source in ((0, "pattern_detection"), (2, "continuous_improvement")):
        until_ns = START + (hour + 1) * HOUR_NS
        advice = RiskAdvice(source=source, scale=D("0.5"), until_ns=until_ns, text="less")
        bench.kernel.apply(RiskAdvised(advice=advice), START + hour * HOUR_NS)
    (left,) = bench.kernel._world.state.advice.values()
    assert left.source == "continuous_improvement"
