"""What the engine makes of accounts that it does not know, or not yet: nothing, safely."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.kernel.engine import (
    Kernel,
    accounts,
    exposing,
    leverage,
    losses,
    profiling,
    scene,
    tightening,
)
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.safety.view import reservation_of
from orchestrator.model.acts import CloseGate, FetchTransactions
from orchestrator.model.events import (
    AuditTrouble,
    CredentialsSeen,
    EnableAccount,
    ResetBreaker,
    RoleHealth,
    SpecsSeen,
    StopTrading,
    TransactionsSeen,
)
from orchestrator.model.facts import (
    AccountSwitched,
    BreakerTripped,
    ModeChanged,
    OperatorActed,
    SpecsLearned,
)
from orchestrator.model.market import StreamBeat, StreamDown, StreamUp
from orchestrator.model.signals import Role
from tests.unit.kernel.engine_bench import SPECS, START, A, B, Bench, D, FakeAccount, make_plan
from tests.unit.kernel.safety_makers import order_of, view_of

NOBODY = "101-001-9-999"


def turn_of(bench):
    return Turn(bench.kernel._world, bench.now)


def half_known():
    """A is known; B has told neither its rules nor its books."""
    bench = Bench(begin=False)
    bench.known = lambda: [bench.venue[A]]
    bench.begin(run=False)
    del bench.known
    return bench


@pytest.mark.parametrize(
    "event",
    [
        SpecsSeen(account_id=NOBODY, specs=SPECS),
        FakeAccount(NOBODY, "USD", D(1)).seen(),
        TransactionsSeen(
            account_id=NOBODY, transactions=(), last_transaction_id=5, source="stream"
        ),
        StreamBeat(
            stream="transactions", account_id=NOBODY, venue_ns=START, seen_ns=START,
            last_transaction_id="99",
        ),
        StreamUp(stream="transactions", account_id=NOBODY, seen_ns=START),
        CredentialsSeen(account_id=NOBODY, ok=False, reason="401"),
    ],
    ids=lambda event: type(event).__name__,
)  # fmt: skip
def test_what_is_told_of_a_strange_account_changes_nothing(event):
    bench = Bench()
    before = bench.kernel.snapshot()
    step = bench.feed(event)
    assert (step.facts, step.acts) == ((), ())
    assert bench.kernel.snapshot() == before


def test_a_strange_account_is_blocked_and_has_no_figures():
    kernel, now = Bench().kernel, START
    assert kernel.account_blocks(NOBODY, now) == (f"account {NOBODY} is not configured",)
    assert kernel.account_view(NOBODY, now) is None
    assert kernel.margin_used(NOBODY) is None
    assert kernel.day_values(NOBODY) is None
    assert kernel.nav(NOBODY) is None
    assert kernel.exposures(NOBODY) == ()
    assert not kernel.enabled(NOBODY)
    assert not kernel.reconciled(NOBODY)
    world = kernel._world
    wish = scene.Wish(instrument="EUR_USD", side="buy", stop_distance=D("0.002"))
    assert scene.room_of(world, NOBODY, wish).units == 0
    assert scene.rate_of(world, NOBODY) is None
    assert scene.totals_of(world, NOBODY) is None
    assert exposing.exposed_of(world, NOBODY) is None
    assert exposing.currency_book(world, NOBODY) is None
    assert tightening.scale_of(world, NOBODY, "EUR_USD") == 1
    assert kernel.limits_of(NOBODY) == kernel.plan.total
    with pytest.raises(KeyError):
        kernel.account_plan(NOBODY)


def test_of_a_strange_account_nothing_is_judged():
    bench = Bench()
    turn = turn_of(bench)
    losses.judge_account(turn, NOBODY, D(1), losses.Witness(sure=True))
    leverage.judge_margin(turn, NOBODY, D(1))
    leverage.judge_margins(turn, (NOBODY,))
    profiling.take(turn, NOBODY)
    assert profiling.still(turn, NOBODY) is None
    accounts.on_stream_up(turn, NOBODY)
    assert (turn.facts, turn.acts) == ([], [])


def test_an_account_whose_books_are_not_there_yet_takes_no_transactions_and_no_signal():
    bench = half_known()
    step = bench.feed(
        TransactionsSeen(account_id=B, transactions=(), last_transaction_id=5, source="stream")
    )
    assert step.facts == ()
    bench.feed(StreamUp(stream="transactions", account_id=B, seen_ns=bench.now))
    assert [act for act in bench.done(FetchTransactions) if act.account_id == B] == []
    signal = bench.send_signal(accounts=(B,))
    assert "not reconciled" in bench.ends(signal.signal_id)[B].reason
    assert bench.kernel.account_view(B, bench.now, "EUR_USD") is None
    assert bench.kernel.margin_used(B) is None


def test_a_heartbeat_before_the_books_are_there_only_shows_that_the_stream_lives():
    bench = half_known()
    beat = StreamBeat(
        stream="transactions", account_id=B, venue_ns=bench.now, seen_ns=bench.now,
        last_transaction_id="99",
    )  # fmt: skip
    assert bench.feed(beat).acts == ()
    live = bench.kernel._world.live.account(B)
    assert (live.heard_ns, live.ahead) == (bench.now, None)


@pytest.mark.parametrize("told", [None, "", "x", "²", "-5"])
def test_a_heartbeat_whose_number_is_none_is_never_ahead(told):
    bench = Bench()
    for _ in range(4):
        bench.now += 1_000_000_000
        beat = StreamBeat(
            stream="transactions", account_id=A, venue_ns=bench.now, seen_ns=bench.now,
            last_transaction_id=told,
        )  # fmt: skip
        assert bench.feed(beat).acts == ()
        assert bench.kernel._world.live.account(A).ahead is None


def test_a_stream_that_comes_back_has_its_gap_read_and_one_that_goes_is_only_noted():
    bench = Bench()
    before = bench.kernel.snapshot()
    assert (
        bench.feed(
            StreamDown(stream="transactions", account_id=A, seen_ns=bench.now, reason="cut")
        ).acts
        == ()
    )
    assert bench.kernel.snapshot() == before
    step = bench.feed(StreamUp(stream="transactions", account_id=A, seen_ns=bench.now))
    assert step.acts == (FetchTransactions(account_id=A, since=10),)


def test_nothing_is_called_unknown_before_the_service_has_started():
    bench = Bench(begin=False)
    bench.now += 100_000_000_000
    bench.beat()
    assert "A7" not in {fact.breaker for fact in bench.said(BreakerTripped)}


def test_rules_told_again_are_not_said_again():
    bench = Bench()
    said = len(bench.said(SpecsLearned))
    bench.feed(SpecsSeen(account_id=A, specs=SPECS))
    assert len(bench.said(SpecsLearned)) == said


def test_a_reservation_needs_a_price_and_its_conversion():
    assert reservation_of(order_of(), view_of()) is not None
    assert reservation_of(order_of(), view_of(market=None)) is None
    assert reservation_of(order_of(), view_of(factors=None)) is None


def test_a_stop_before_anything_runs_keeps_the_mode_and_takes_back_the_wish():
    bench = Bench(begin=False)
    bench.begin(run=False)
    bench.feed(StopTrading(actor="ann"))
    assert (bench.kernel.mode, bench.kernel.wanted_running) == ("ready", False)
    assert bench.said(ModeChanged)[-1].reason != "drained"


def test_a_switch_that_is_there_already_is_written_down_and_changes_nothing():
    bench = Bench()
    bench.feed(EnableAccount(account_id=A, enabled=True, actor="ann"))
    assert bench.said(AccountSwitched) == []
    assert bench.said(OperatorActed)[-1].action == "enable"


def test_a_role_that_no_signal_passes_blocks_nothing():
    bench = Bench()
    step = bench.feed(RoleHealth(role=Role.PATTERN_DETECTION, healthy=False, reason="gone"))
    assert step.facts == ()


def test_a_breaker_that_does_not_exist_cannot_be_reset():
    bench = Bench()
    bench.feed(ResetBreaker(breaker="Z9", subject=A, actor="ann", reason="?"))
    assert "no such breaker" in bench.said(OperatorActed)[-1].refused


def test_a_trail_that_is_broken_blocks_audit_once():
    bench = Bench()
    assert not bench.kernel.audit_blocked
    for _ in range(2):
        bench.feed(AuditTrouble(ok=False, reason="record 5"))
    assert bench.kernel.audit_blocked
    assert [f.breaker for f in bench.said(BreakerTripped)].count("S12") == 1


def test_an_event_that_is_none_stops_trading():
    bench = Bench()
    step = bench.kernel.step("not an event", bench.now)
    assert [act.actor for act in step.acts if isinstance(act, CloseGate)] == ["S4"]


def test_a_snapshot_of_another_shape_is_refused():
    kernel = Kernel(make_plan())
    data = msgspec.json.decode(kernel.snapshot())
    data["shape"] = "0" * 16
    with pytest.raises(ValueError, match="another version"):
        kernel.restore(msgspec.json.encode(data))


def test_the_views_show_the_plan_as_it_stands():
    bench = Bench()
    kernel = bench.kernel
    assert kernel.account_ids == (A, B)
    assert kernel.instruments == ("EUR_USD", "GBP_USD", "USD_JPY")
    assert kernel.known_instruments() == {"EUR_USD", "GBP_USD", "USD_JPY"}
    assert kernel.plan is bench.plan
    assert kernel.account_plan(B) is bench.plan.accounts[1]
    assert kernel.in_force(A).limits == kernel.limits_of(A)
    assert kernel.epoch == 1
    assert kernel.enabled(A)
    assert kernel.standing_stop is None
    assert kernel.refused_accounts() == ()
    assert kernel.day_values(A).nav == 100_000
    assert kernel.margin_used(A) == 0
    bench.feed(CredentialsSeen(account_id=B, ok=False, reason="401"))
    assert kernel.refused_accounts() == (B,)
    signal = bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    assert kernel.intent(order.intent_id).proposal.signal_id == signal.signal_id
    assert kernel.intent("tso-none") is None


def test_the_gate_asks_for_the_mode_too():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    bench.kernel.apply(
        ModeChanged(mode="ready", wanted_running=False, actor="x", reason="x"), bench.now
    )
    assert bench.kernel.may_send(order.intent_id, bench.now) == "system is ready"
