"""The simulator earns its keep: each bug planted here, one at a time, is found in a few seeds."""

from collections.abc import Callable, Iterable

import msgspec
import pytest

from orchestrator.adapters.oanda import answers
from orchestrator.kernel.engine import (
    accounts,
    losses,
    operators,
    path,
    prices,
    profiling,
    reducing,
    scene,
    turn,
)
from orchestrator.kernel.engine.kernel import Kernel
from orchestrator.kernel.ledger.door import Admission, Door
from orchestrator.kernel.orders import reading
from orchestrator.kernel.safety import checks, overrides
from orchestrator.kernel.safety.board import Board
from orchestrator.kernel.safety.reducing import Reducible
from orchestrator.model.acts import SendOrder
from orchestrator.model.facts import BreakerTripped, OverrideSet, PeakRaised
from orchestrator.model.money import ONE, ZERO
from orchestrator.model.orders import IntentState, WriteKind, WriteRequest
from orchestrator.model.reducing import ReductionState
from orchestrator.research.simulate import EVERY, shrink, simulate
from orchestrator.research.simulate.store import SimGate, SimStore
from orchestrator.service import liquidation
from orchestrator.service.earlier_lives import EarlierLives
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.gate import Gate
from orchestrator.service.journal import Journal, Written
from orchestrator.service.resume_desk import ResumeDesk
from orchestrator.service.supervisor import System

_SEEDS = 50


# After a stop accounts probe (E3): orders that wait while the next stop comes are rare.
_RARE = range(40, 140)
# A stop that falls into the moment in which a resume is written down is rarer still.
_RARER = range(10, 110)


def _found(invariants: set[str], kinds: tuple[str, ...], seeds: Iterable[int] = range(_SEEDS)):
    """The first seed's verdict in which one of these invariants is violated."""
    assert set(kinds) <= set(EVERY)
    for seed in seeds:
        verdict = simulate(seed, kinds=kinds, storm_s=60.0)
        if any(line.split(":")[0] in invariants for line in verdict.violations):
            return verdict
    pytest.fail(f"{_SEEDS} seeds did not violate {invariants}")


def _send_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    """Facts are written down at the next beat, and sent for at once."""

    def write(self, facts, now):
        for fact in facts:
            self.keep(fact, now)
        return Written.DURABLE

    patch.setattr(Journal, "write", write)


def _take_a_time_out_for_a_failure(patch: pytest.MonkeyPatch) -> None:
    def rejected(reason: str) -> reading.Reading:
        return reading.Reading(state=IntentState.REJECTED, reason=reason)

    patch.setattr(reading, "_unknown", rejected)


def _forget_what_is_in_flight(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scene, "reservations", lambda *_, **__: iter(()))


def _stop_without_closing_the_gate(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimGate, "close", lambda *_: None)


def _ask_the_gate_before_the_limiter_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimGate, "closed", property(lambda *_: False))
    patch.setattr(Kernel, "may_send", lambda *_: None)


def _take_a_transaction_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Door, "admit", lambda *a, **_: Admission(in_order=tuple(a[2])))


def _send_orders_without_a_stop(patch: pytest.MonkeyPatch) -> None:
    whole = path.order_request

    def bare(*args):
        request = whole(*args)
        body = msgspec.json.decode(request.body)
        del body["order"]["stopLossOnFill"]
        return msgspec.structs.replace(request, body=msgspec.json.encode(body).decode())

    patch.setattr(path, "order_request", bare)


def _never_give_up_the_search(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reading.Settling, "is_absent", lambda *_: False)


def _write_everything_at_the_instant_of_writing(patch: pytest.MonkeyPatch) -> None:
    retry = Journal.retry

    def late(self):
        now = self._unsaved[-1][0] if self._unsaved else 0
        self._unsaved = [(now, fact) for _, fact in self._unsaved]
        retry(self)

    patch.setattr(Journal, "retry", late)


def _latch_first_and_close_the_gate_after_it(patch: pytest.MonkeyPatch) -> None:
    """With a disk that takes no latch, the gate is never closed."""
    close, latch = SimGate.close, SimGate.latch

    def latch_then_close(self, wanted):
        latch(self, wanted)
        if not wanted.accounts:
            close(self)

    patch.setattr(SimGate, "close", lambda *_: None)
    patch.setattr(SimGate, "latch", latch_then_close)


def _move_the_watermark_before_applying(patch: pytest.MonkeyPatch) -> None:
    """Of several transactions at once only the last is applied; the others count as seen."""
    admit = Door.admit

    def hasty(*args):
        admission = admit(*args)
        return msgspec.structs.replace(admission, in_order=admission.in_order[-1:])

    patch.setattr(Door, "admit", hasty)


def _free_the_reservation_of_what_is_unknown(patch: pytest.MonkeyPatch) -> None:
    every = scene.reservations

    def known(*args):
        return (each for each in every(*args) if each.state is not IntentState.UNKNOWN)

    patch.setattr(scene, "reservations", known)


def _trade_on_where_an_order_is_unknown(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scene, "_unknown", lambda *_: ())


def _forget_breakers_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    apply = Kernel.apply

    def forgetful(self, fact, at):
        if not isinstance(fact, BreakerTripped):
            apply(self, fact, at)

    patch.setattr(Kernel, "apply", forgetful)


def _begin_each_life_with_the_same_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimStore, "next_epoch", lambda *_: 1)


def _close_by_an_order_of_the_other_side(patch: pytest.MonkeyPatch) -> None:
    """Twice as large as the trade, as when the close is sent once more after a time-out."""
    closes, flipped = liquidation._closes, set()

    def flip(account):
        new = [trade for trade in account.trades if trade.id not in flipped]
        flipped.update(trade.id for trade in new)
        return [
            WriteRequest(
                kind=WriteKind.ORDER, account_id=account.id,
                body=msgspec.json.encode({"order": {
                    "type": "MARKET", "instrument": trade.instrument, "timeInForce": "FOK",
                    "units": str(-2 * trade.current_units), "positionFill": "DEFAULT",
                }}).decode(),
            )
            for trade in new
        ] or closes(account)  # fmt: skip

    patch.setattr(liquidation, "_closes", flip)


def _lose_the_start_of_the_day_at_the_roll(patch: pytest.MonkeyPatch) -> None:
    begin = losses.begin_day

    def lost(turn, account_id, equity):
        record = turn.world.record(account_id)
        begin(turn, account_id, equity if record.day is None else ZERO)

    patch.setattr(losses, "begin_day", lost)


def _keep_the_ids_of_signals_in_memory_only(patch: pytest.MonkeyPatch) -> None:
    recover = EarlierLives.recover

    def forgetful(self):
        recover(self)
        self._kernel._world.state.seen.clear()

    patch.setattr(SimStore, "signal_seen", lambda *_: False)
    patch.setattr(EarlierLives, "recover", forgetful)


def _clear_the_stop_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    """A new process begins with an open gate."""
    begin = SimGate.__init__

    def fresh(self, world, death):
        begin(self, world, death)
        Gate.reopen(self, getattr(self.read_latch(), "stop_id", ""))

    patch.setattr(SimGate, "__init__", fresh)
    patch.setattr(EarlierLives, "standing_stop", lambda *_: None)


def _look_at_losses_never(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(losses, "_weigh", lambda *_: None)


def _trust_prices_of_any_age(patch: pytest.MonkeyPatch) -> None:
    blind = tuple(check for check in checks.ALL_CHECKS if "c05" not in check.__name__)
    patch.setattr(path, "ALL_CHECKS", blind)
    patch.setattr(prices, "m1_stale", lambda *_: None)


def _leave_trades_without_a_stop_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accounts, "_keep_protected", lambda *_: None)


def _let_a_person_go_unnamed(patch: pytest.MonkeyPatch) -> None:
    acted = operators._acted
    patch.setattr(
        operators, "_acted", lambda turn, _, *rest, **more: acted(turn, "", *rest, **more)
    )


def _ignore_the_size_of_probing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Board, "scale", lambda *_: ONE)


def _let_several_orders_probe(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scene, "busy", lambda *_: ())


# -- over a store that commits beside the loop ---------------------------------------------------


def _act_before_the_store_has_answered(patch: pytest.MonkeyPatch) -> None:
    write = Journal.write

    def hasty(self, facts, now):
        written = write(self, facts, now)
        return Written.DURABLE if written is Written.LATER else written

    patch.setattr(Journal, "write", hasty)


def _lose_patience_with_orders_too(patch: pytest.MonkeyPatch) -> None:
    def lose(self):
        if self._journal.out_ms >= 200:
            for held in self._held._held:
                for act in held.acts:
                    self._perform(act, durable=True)
                held.acts.clear()

    patch.setattr(ExecutionEngine, "_lose_patience", lose)


def _let_two_appends_be_out(patch: pytest.MonkeyPatch) -> None:
    begin = Journal._begin

    def hasty(self, store):
        self._out = None
        begin(self, store)

    patch.setattr(Journal, "_begin", hasty)


def _forget_what_the_store_refused(patch: pytest.MonkeyPatch) -> None:
    """Its records are gone, and the kernel that has taken them over lives on."""
    failed = Journal._failed

    def forgetful(self, exc):
        failed(self, exc)
        self._unsaved.clear()
        self._again = None

    patch.setattr(Journal, "_failed", forgetful)


def _take_a_failure_for_certain(patch: pytest.MonkeyPatch) -> None:
    """What came back as failed is written anew behind what is said meanwhile."""
    failed = Journal._failed

    def reordered(self, exc):
        failed(self, exc)
        self._unsaved.reverse()

    patch.setattr(Journal, "_failed", reordered)
    patch.setattr(Journal, "_again", property(lambda _: None, lambda *_: None), raising=False)


def _promise_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    async def hasty(*_):
        return True

    patch.setattr(ExecutionEngine, "settled", hasty)


def _resume_over_a_stop_that_came_meanwhile(patch: pytest.MonkeyPatch) -> None:
    reopen = ResumeDesk._reopen

    async def blind(self, done, _):
        return await reopen(self, done, self._safety.raised)

    patch.setattr(ResumeDesk, "_reopen", blind)


def _send_a_part_again_after_a_time_out(patch: pytest.MonkeyPatch) -> None:
    """A close by hand whose outcome is unknown is asked once more, as if it were idempotent."""
    look_for, may_send = reducing.look_for, reducing.may_send

    def again(turn, name):
        look_for(turn, name)
        record = turn.state.reductions.get(name)
        if record is not None and record.state is ReductionState.UNKNOWN:
            turn.do(SendOrder(intent_id=name, request=record.reduction.request))

    def willing(turn, record):
        unknown = record.state is ReductionState.UNKNOWN
        return None if unknown else may_send(turn, record)

    patch.setattr(reducing, "look_for", again)
    patch.setattr(reducing, "may_send", willing)


def _close_beside_what_is_being_closed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reducible, "closing", lambda *_: ZERO)
    patch.setattr(Reducible, "closing_trade", lambda *_: ZERO)


def _let_a_stop_be_loosened_by_hand(patch: pytest.MonkeyPatch) -> None:
    rest = tuple(check for check in checks.REDUCING_CHECKS if "c22" not in check.__name__)
    patch.setattr(reducing, "REDUCING_CHECKS", rest)


def _let_a_person_close_in_a_stop(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reducing, "_halts", lambda *_: ())


def _let_an_operator_loosen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(overrides, "_loosening", lambda *_, **__: ())


def _forget_overrides_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    apply = Kernel.apply

    def forgetful(self, fact, at):
        if not isinstance(fact, OverrideSet):
            apply(self, fact, at)

    patch.setattr(Kernel, "apply", forgetful)


def _let_every_peak_trail(patch: pytest.MonkeyPatch) -> None:
    def trail(turn, account_id, day, nav):
        high = day.new_peak(nav)
        if high is not None:
            turn.say(PeakRaised(account_id=account_id, peak=high, high=high))

    patch.setattr(profiling, "raise_peak", trail)


def _ignore_what_was_tightened(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(turn, "moved", lambda base, _: base)


def _take_forgotten_orders_for_a_strangers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accounts, "a8_nameless", lambda *_: None)


def _begin_at_the_epoch_of_the_copy(patch: pytest.MonkeyPatch) -> None:
    async def contented(*_):
        return None

    patch.setattr(System, "_outgrow", contented)


def _tell_what_a_proxy_echoes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(answers, "_hidden", lambda text, _: text)


_PLANTED = [
    # what was planted, the faults that bring it out, what says so
    (_send_before_it_is_durable, (), {"INV-03"}),
    (_take_a_time_out_for_a_failure, ("answer_lost",), {"S4", "K3"}),
    (_forget_what_is_in_flight, (), {"INV-04"}),
    (_stop_without_closing_the_gate, ("op_emergency",), {"INV-07"}),
    (_ask_the_gate_before_the_limiter_only, ("op_emergency", "slow_sending"), {"INV-01"}),
    (_take_a_transaction_twice, ("log_double",), {"INV-05"}),
    (_send_orders_without_a_stop, (), {"INV-09"}),
    (_never_give_up_the_search, ("request_lost",), {"settling"}),
    (_write_everything_at_the_instant_of_writing, ("store_fails",), {"replay"}),
    (_latch_first_and_close_the_gate_after_it, ("op_emergency", "latch_fails"), {"INV-07"}),
    (_move_the_watermark_before_applying, (), {"INV-05"}),
    (_free_the_reservation_of_what_is_unknown, ("request_lost",), {"INV-04"}),
    (_trade_on_where_an_order_is_unknown, ("request_lost",), {"INV-08"}),
    (_forget_breakers_at_a_restart, ("op_breakers", "crash"), {"INV-07"}),
    (_begin_each_life_with_the_same_epoch, ("crash",), {"INV-13"}),
    (_close_by_an_order_of_the_other_side, ("op_emergency",), {"INV-01"}),
    (_lose_the_start_of_the_day_at_the_roll, (), {"B4"}),
    (_keep_the_ids_of_signals_in_memory_only, ("crash",), {"desk"}),
    (_clear_the_stop_at_a_restart, ("op_emergency", "crash_in_stop"), {"INV-07"}),
    (_look_at_losses_never, ("tight_limits", "wild_market"), {"INV-16"}),
    (_trust_prices_of_any_age, ("prices_gap",), {"INV-08"}),
    (_leave_trades_without_a_stop_alone, ("stranger",), {"settling"}),
    (_ignore_the_size_of_probing, ("op_emergency",), {"INV-04"}),
    (_let_several_orders_probe, ("op_emergency", "slow_sending"), {"B2"}),
    (_let_a_person_go_unnamed, ("op_accounts",), {"INV-19"}),
    (_act_before_the_store_has_answered, ("commit_soon",), {"INV-03"}),
    (_lose_patience_with_orders_too, ("commit_soon", "commit_slow"), {"INV-03"}),
    (_let_two_appends_be_out, ("commit_soon",), {"K4"}),
    (_forget_what_the_store_refused, ("commit_soon", "commit_fails"), {"replay", "INV-05"}),
    (_take_a_failure_for_certain, ("commit_soon", "commit_doubt"), {"R1"}),
    (_promise_before_it_is_durable, ("commit_soon",), {"INV-15"}),
    (
        _resume_over_a_stop_that_came_meanwhile,
        ("commit_soon", "commit_slow", "op_emergency", "op_races"),
        {"INV-01", "INV-07"},
    ),
    (_send_a_part_again_after_a_time_out, ("op_reduce", "answer_lost"), {"INV-02"}),
    (_close_beside_what_is_being_closed, ("op_reduce", "request_lost"), {"INV-10"}),
    (_let_a_stop_be_loosened_by_hand, ("op_reduce",), {"INV-10"}),
    (_let_a_person_close_in_a_stop, ("op_reduce", "op_emergency_account"), {"INV-01"}),
    (_let_an_operator_loosen, ("op_overrides",), {"B5"}),
    (_forget_overrides_at_a_restart, ("op_overrides", "crash"), {"INV-07"}),
    (_let_every_peak_trail, ("profiles", "wild_market"), {"B4"}),
    (_tell_what_a_proxy_echoes, ("echoes", "http_5xx", "reads_fail"), {"INV-18"}),
    (_take_forgotten_orders_for_a_strangers, ("older_store",), {"R6"}),
    (_begin_at_the_epoch_of_the_copy, ("older_store",), {"R6"}),
    (_ignore_what_was_tightened, ("op_overrides",), {"INV-04"}),
]

# Where what brings a bug out is rare, the search begins near a seed that has it.
_FROM = {
    _ask_the_gate_before_the_limiter_only: _RARE,
    _resume_over_a_stop_that_came_meanwhile: _RARER,
    _close_beside_what_is_being_closed: range(25, 75),
}


@pytest.mark.parametrize(
    ("plant", "kinds", "invariants"), _PLANTED, ids=[plant.__name__[1:] for plant, *_ in _PLANTED]
)
def test_a_planted_bug_is_found(
    monkeypatch,
    plant: Callable[[pytest.MonkeyPatch], None],
    kinds: tuple[str, ...],
    invariants: set[str],
):
    plant(monkeypatch)
    assert _found(invariants, kinds, _FROM.get(plant, range(_SEEDS)))


def test_a_failing_seed_shrinks_to_the_fault_that_it_needs(monkeypatch):
    _take_a_time_out_for_a_failure(monkeypatch)
    failed = _found({"S4", "K3"}, ("answer_lost", "log_double", "op_accounts"))
    assert shrink(failed).kinds == ("answer_lost",)
