"""The simulator earns its keep: each bug planted here, one at a time, is found in a few seeds."""

from collections.abc import Callable, Iterable

import msgspec
import pytest

from orchestrator.kernel.engine import path, scene
from orchestrator.kernel.engine.kernel import Kernel
from orchestrator.kernel.ledger.door import Admission, Door
from orchestrator.kernel.orders import reading
from orchestrator.model.orders import IntentState
from orchestrator.research.simulate import KINDS, shrink, simulate
from orchestrator.research.simulate.store import SimGate
from orchestrator.service.journal import Journal

_SEEDS = 50


# After a stop accounts probe (E3): orders that wait while the next stop comes are rare.
_RARE = range(40, 140)


def _found(invariants: set[str], kinds: tuple[str, ...], seeds: Iterable[int] = range(_SEEDS)):
    """The first seed's verdict in which one of these invariants is violated."""
    assert set(kinds) <= set(KINDS)
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
        return True

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


@pytest.mark.parametrize(
    ("plant", "kinds", "invariants"),
    [
        (_send_before_it_is_durable, (), {"INV-03"}),
        (_take_a_time_out_for_a_failure, ("answer_lost",), {"S4", "K3"}),
        (_forget_what_is_in_flight, (), {"INV-04"}),
        (_stop_without_closing_the_gate, ("op_emergency",), {"INV-07"}),
        (_ask_the_gate_before_the_limiter_only, ("op_emergency", "slow_sending"), {"INV-01"}),
        (_take_a_transaction_twice, ("log_double",), {"INV-05"}),
        (_send_orders_without_a_stop, (), {"INV-09"}),
        (_never_give_up_the_search, ("request_lost",), {"settling"}),
        (_write_everything_at_the_instant_of_writing, ("store_fails",), {"replay"}),
    ],
)
def test_a_planted_bug_is_found(
    monkeypatch,
    plant: Callable[[pytest.MonkeyPatch], None],
    kinds: tuple[str, ...],
    invariants: set[str],
):
    plant(monkeypatch)
    seeds = _RARE if plant is _ask_the_gate_before_the_limiter_only else range(_SEEDS)
    assert _found(invariants, kinds, seeds)


def test_a_failing_seed_shrinks_to_the_fault_that_it_needs(monkeypatch):
    _take_a_time_out_for_a_failure(monkeypatch)
    failed = _found({"S4", "K3"}, ("answer_lost", "log_double", "op_accounts"))
    assert shrink(failed).kinds == ("answer_lost",)
