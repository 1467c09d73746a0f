"""The emergency stop: the gate first, the latch for ever, an answer soon, work until flat."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.model.acts import CloseGate, Liquidate
from orchestrator.model.events import EmergencyStop
from orchestrator.model.facts import AlertRaised
from orchestrator.model.safety import AccountReceipt, StopState
from orchestrator.service.gate import Gate, Latch
from orchestrator.service.nest import NestClosed
from orchestrator.service.safety_monitor import SafetyMonitor
from orchestrator.service.seams import mono_ns
from tests.unit.service.parts import START_NS, A, B, until
from tests.unit.service.test_liquidation import Shop


class Hooks:
    liquidate = stop = alert = None


class FakeEngine:
    """Hears what the monitor says; acts on a stop as the kernel would, by asking to liquidate."""

    def __init__(self, gate: Gate) -> None:
        self.hooks = Hooks()
        self.kernel = SimpleNamespace(in_flight=tuple)
        self.heard: list[tuple[object, bool]] = []
        self.noted: list[object] = []
        self.last_first_byte_at = None
        self._gate = gate
        self.trouble: Exception | None = None

    def handle(self, event: object) -> None:
        self.heard.append((event, self._gate.closed))
        if self.trouble is not None:
            raise self.trouble
        if isinstance(event, EmergencyStop) and event.liquidate:
            self.hooks.liquidate(
                Liquidate(stop_id=event.stop_id, accounts=event.accounts or (A, B), reason="stop")
            )

    def note(self, fact: object) -> None:
        self.noted.append(fact)

    def venue_said(self, *_: object) -> None:
        pass

    def may_reduce(self) -> str | None:
        return None

    def stops(self) -> list[EmergencyStop]:
        return [e for e, _ in self.heard if isinstance(e, EmergencyStop)]


class QuickClock:
    """The machine's clock, where a wait of a second takes `second` seconds."""

    speed = 1.0
    second = 0.01

    def now(self) -> int:
        return START_NS

    def mono_ns(self) -> int:
        return mono_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.second)


class Desk:
    def __init__(self, folder: Path, *, threads: bool = True) -> None:
        self.gate = Gate(folder)
        self.engine = FakeEngine(self.gate)
        self.shop = Shop()
        self.clock = QuickClock()
        self.monitor = SafetyMonitor(
            self.engine, self.gate, self.shop, self.shop, self.clock, seed=1, threads=threads
        )  # fmt: skip

    def run(self, story) -> None:
        async def main() -> None:
            async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
                self.monitor.attach(tasks)
                await story()
                self.shop.away = {A: None, B: None}

        asyncio.run(main())

    async def until(self, state: StopState) -> None:
        await until(lambda: _state(self.monitor) is state)


def _state(monitor: SafetyMonitor) -> StopState | None:
    found = monitor.receipt()
    return None if found is None else found.state


WAITS_FOR_THE_LATCH = "orchestrator.service.safety_monitor._LATCH_WAIT_S"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A disk that is well is waited for, however busy the machine is."""
    monkeypatch.setattr(WAITS_FOR_THE_LATCH, 10.0)
    return Desk(tmp_path)


def _slow_disk(monkeypatch) -> threading.Event:
    """The latch cannot be written until the event is set."""
    freed = threading.Event()
    real = Gate.latch

    def slow(self: Gate, latch: Latch) -> None:
        freed.wait(5)
        real(self, latch)

    monkeypatch.setattr(Gate, "latch", slow)
    monkeypatch.setattr(WAITS_FOR_THE_LATCH, 0.06)
    return freed


def test_the_gate_is_closed_before_anything_else_happens(desk):
    async def story() -> None:
        receipt = await desk.monitor.emergency_stop("anna", "test")
        assert receipt.persisted
        assert not receipt.already_stopped
        await desk.until(StopState.FLAT)

    desk.run(story)
    assert desk.gate.closed
    assert all(closed for _, closed in desk.engine.heard)


def test_the_gate_is_closed_even_when_the_engine_is_broken(desk):
    desk.engine.trouble = RuntimeError("bug")

    async def story() -> None:
        with pytest.raises(RuntimeError):
            await desk.monitor.emergency_stop("anna", "test")
        await asyncio.sleep(0.1)
        assert desk.gate.closed
        assert desk.monitor.stopped
        assert desk.gate.read_latch() is not None

    desk.run(story)


def test_the_latch_says_who_and_why_and_survives(desk, tmp_path):
    async def story() -> None:
        receipt = await desk.monitor.emergency_stop("anna", "too wild", liquidate=False)
        while (latch := Gate(tmp_path).read_latch()) is None:  # noqa: ASYNC110 -- a thread writes it
            await asyncio.sleep(0.01)
        assert (latch.stop_id, latch.actor, latch.reason) == (receipt.stop_id, "anna", "too wild")
        assert receipt.state is StopState.STOPPED
        assert desk.shop.reads == []

    desk.run(story)


def test_the_answer_does_not_wait_for_a_disk_that_hangs(desk, monkeypatch):
    freed = _slow_disk(monkeypatch)

    async def story() -> None:
        try:
            async with asyncio.timeout(2):
                receipt = await desk.monitor.emergency_stop("anna", "test")
        finally:
            freed.set()
        assert not receipt.persisted
        assert desk.gate.closed
        await until(lambda: desk.monitor.receipt().persisted)
        assert desk.gate.read_latch().stop_id == receipt.stop_id

    desk.run(story)


def test_a_latch_that_cannot_be_written_is_said_alerted_and_retried(desk, monkeypatch):
    real, failures = Gate.latch, [OSError(28, "no space left")] * 4

    def full(self: Gate, latch: Latch) -> None:
        if failures:
            raise failures.pop()
        real(self, latch)

    monkeypatch.setattr(Gate, "latch", full)

    async def story() -> None:
        receipt = await desk.monitor.emergency_stop("anna", "test", liquidate=False)
        await until(lambda: not (failures))
        await asyncio.sleep(0.1)
        assert desk.monitor.receipt().persisted
        assert desk.gate.read_latch().stop_id == receipt.stop_id

    desk.run(story)
    assert [n.alert.key for n in desk.engine.noted if isinstance(n, AlertRaised)] == ["latch"] * 4


def test_in_virtual_time_a_failing_latch_is_said_and_written_later_too(tmp_path, monkeypatch):
    desk = Desk(tmp_path, threads=False)

    def full(*_: object) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(Gate, "latch", full)

    async def story() -> None:
        receipt = await desk.monitor.emergency_stop("anna", "test", liquidate=False)
        assert not receipt.persisted
        assert desk.gate.closed
        monkeypatch.undo()
        await asyncio.sleep(2.5)
        standing = desk.monitor.receipt()
        assert standing is not None
        assert standing.persisted

    desk.run(story)


def test_a_repeat_keeps_the_stops_id_its_author_and_its_first_instant(desk):
    async def story() -> None:
        first = await desk.monitor.emergency_stop("anna", "one", liquidate=False)
        again = await desk.monitor.emergency_stop("bert", "two", liquidate=False)
        assert again.already_stopped
        assert (again.stop_id, again.actor, again.reason, again.gate_closed_at) == (
            first.stop_id, "anna", "one", first.gate_closed_at,
        )  # fmt: skip

    desk.run(story)


def test_a_repeat_may_add_liquidation_and_never_takes_it_away(desk):
    async def story() -> None:
        await desk.monitor.emergency_stop("anna", "one", liquidate=False)
        added = await desk.monitor.emergency_stop("bert", "two", liquidate=True)
        assert added.liquidate
        taken = await desk.monitor.emergency_stop("carl", "three", liquidate=False)
        assert taken.liquidate
        assert desk.gate.read_latch().liquidate

    desk.run(story)


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ((A,), (B,), (A, B)),
        ((A,), (A,), (A,)),
        ((A,), (), ()),
        ((), (A,), ()),
        ((A, B), (A,), (A, B)),
    ],
)
def test_a_repeat_may_add_accounts_and_never_takes_them_away(desk, first, second, both):
    async def story() -> None:
        await desk.monitor.emergency_stop("anna", "one", accounts=first, liquidate=False)
        await desk.monitor.emergency_stop("bert", "two", accounts=second, liquidate=False)
        latch = desk.gate.read_latch()
        assert latch.accounts == both
        assert desk.engine.stops()[-1].accounts == both
        assert desk.gate.closed is (both == ())

    desk.run(story)


def test_a_stop_of_one_account_leaves_the_word_open_and_liquidates_that_one(desk):
    desk.shop.open(A, "5", "EUR_USD", 100)
    desk.shop.open(B, "6", "EUR_USD", 100)

    async def story() -> None:
        receipt = await desk.monitor.emergency_stop("anna", "one", accounts=(A,))
        assert desk.monitor.gate_is_open
        assert desk.monitor.stopped
        assert receipt.persisted
        await desk.until(StopState.FLAT)
        assert desk.shop.trades == {A: {}, B: {"6": ("EUR_USD", 100)}}

    desk.run(story)


def test_what_a_repeat_adds_is_not_called_persisted_before_it_is(desk, monkeypatch):
    async def story() -> None:
        first = await desk.monitor.emergency_stop("anna", "one", liquidate=False)
        assert first.persisted
        freed = _slow_disk(monkeypatch)
        try:
            second = await desk.monitor.emergency_stop("bert", "two", liquidate=True)
            assert not second.persisted
        finally:
            freed.set()

    desk.run(story)


def test_a_retried_write_never_puts_an_older_latch_back(desk, monkeypatch):
    real, failures = Gate.latch, [OSError(28, "no space left")]

    def full_once(self: Gate, latch: Latch) -> None:
        if failures:
            raise failures.pop()
        real(self, latch)

    monkeypatch.setattr(Gate, "latch", full_once)
    desk.clock.second = 0.2

    async def story() -> None:
        await desk.monitor.emergency_stop("anna", "one", accounts=(A,), liquidate=False)
        await desk.monitor.emergency_stop("bert", "all", liquidate=True)
        await asyncio.sleep(0.3)
        latch = desk.gate.read_latch()
        assert latch.accounts == ()
        assert latch.liquidate

    desk.run(story)


def test_a_slow_write_that_ends_late_does_not_put_an_older_latch_back(desk, monkeypatch):
    freed, real, begun = threading.Event(), Gate.latch, []

    def first_is_slow(self: Gate, latch: Latch) -> None:
        begun.append(latch)
        if len(begun) == 1:
            freed.wait(5)
        real(self, latch)

    monkeypatch.setattr(Gate, "latch", first_is_slow)
    monkeypatch.setattr(WAITS_FOR_THE_LATCH, 0.06)

    async def story() -> None:
        try:
            await desk.monitor.emergency_stop("anna", "one", accounts=(A,), liquidate=False)
            await desk.monitor.emergency_stop("bert", "all", liquidate=True)
        finally:
            freed.set()
        await asyncio.sleep(0.3)
        latch = desk.gate.read_latch()
        assert latch.accounts == ()
        assert latch.liquidate
        assert desk.monitor.receipt().persisted

    desk.run(story)


def test_a_stop_while_the_service_ends_is_latched_all_the_same(desk):
    """Its tasks take no more work by then; the next life finds the latch, and liquidates."""

    class Closing:
        def create_task(self, work, *, name):
            work.close()
            raise NestClosed(name)

    async def story() -> None:
        desk.monitor.attach(Closing())
        receipt = await desk.monitor.emergency_stop("anna", "now", liquidate=True)
        assert desk.gate.closed
        assert receipt.persisted
        assert desk.gate.read_latch().stop_id == receipt.stop_id

    desk.run(story)


def test_a_latch_does_not_come_back_after_the_resume(desk, monkeypatch):
    real, failures = Gate.latch, [OSError(28, "no space left")] * 3

    def full(self: Gate, latch: Latch) -> None:
        if failures:
            raise failures.pop()
        real(self, latch)

    monkeypatch.setattr(Gate, "latch", full)
    desk.clock.second = 0.2

    async def story() -> None:
        await desk.monitor.emergency_stop("anna", "one", liquidate=False)
        desk.monitor.reopened()
        failures.clear()
        await asyncio.sleep(0.3)
        assert desk.gate.read_latch() is None
        assert not desk.gate.closed

    desk.run(story)


def test_a_resume_that_cannot_remove_the_latch_leaves_everything_stopped(desk, monkeypatch):
    def broken(_gate: Gate, _stop_id: str) -> None:
        raise OSError(5, "input/output error")

    async def story() -> None:
        await desk.monitor.emergency_stop("anna", "one", liquidate=False)
        with monkeypatch.context() as patch:
            patch.setattr(Gate, "reopen", broken)
            with pytest.raises(OSError, match="input/output"):
                desk.monitor.reopened()
        assert desk.monitor.stopped
        assert desk.gate.closed
        desk.monitor.reopened()
        assert not desk.monitor.stopped
        assert desk.monitor.receipt() is None

    desk.run(story)


def test_the_kernels_own_stop_closes_the_gate_at_once_and_becomes_a_full_one(desk):
    async def story() -> None:
        desk.engine.hooks.stop(CloseGate(actor="S4", reason="an assertion failed"))
        assert desk.gate.closed
        await desk.until(StopState.FLAT)
        assert desk.monitor.receipt().actor == "S4"

    desk.run(story)


@pytest.mark.parametrize("with_latch", [True, False])
def test_a_gate_closed_from_outside_becomes_a_full_stop(desk, tmp_path, with_latch):
    desk.shop.open(A, "5", "EUR_USD", 100)
    theirs = Latch(stop_id="stop-cli", actor="local:0", reason="now", liquidate=True, closed_ns=7)

    async def story() -> None:
        watching = asyncio.get_running_loop().create_task(desk.monitor.watch_gate())
        await asyncio.sleep(0.01)
        other = Gate(tmp_path)
        if with_latch:
            other.latch(theirs)
        other.close()
        await desk.until(StopState.FLAT)
        watching.cancel()
        receipt = desk.monitor.receipt()
        assert receipt.persisted
        if with_latch:
            assert (receipt.stop_id, receipt.actor) == ("stop-cli", "local:0")
        assert desk.gate.read_latch().stop_id == receipt.stop_id

    desk.run(story)
    assert desk.shop.trades[A] == {}


def test_a_gate_that_the_guard_holds_is_no_stop(desk, tmp_path):
    async def story() -> None:
        watching = asyncio.get_running_loop().create_task(desk.monitor.watch_gate())
        Gate(tmp_path).hold()
        await asyncio.sleep(0.5)
        watching.cancel()
        assert not desk.monitor.gate_is_open
        assert not desk.monitor.stopped
        assert desk.gate.read_latch() is None

    desk.run(story)


def test_a_word_closed_from_outside_widens_a_stop_of_one_account(desk, tmp_path):
    async def story() -> None:
        watching = asyncio.get_running_loop().create_task(desk.monitor.watch_gate())
        await desk.monitor.emergency_stop("anna", "one", accounts=(A,), liquidate=False)
        Gate(tmp_path).close()
        await until(lambda: not (desk.gate.read_latch().accounts))
        watching.cancel()
        assert desk.engine.stops()[-1].accounts == ()

    desk.run(story)


def test_the_watch_is_idle_while_nothing_changes(desk):
    async def story() -> None:
        watching = asyncio.get_running_loop().create_task(desk.monitor.watch_gate())
        await desk.monitor.emergency_stop("anna", "one", liquidate=False)
        heard = len(desk.engine.heard)
        await asyncio.sleep(0.05)
        watching.cancel()
        assert len(desk.engine.heard) == heard

    desk.run(story)


def test_an_earlier_lifes_latch_keeps_the_gate_closed_and_liquidation_goes_on(desk):
    desk.shop.open(B, "6", "EUR_USD", 100)
    old = Latch(stop_id="stop-old", actor="anna", reason="x", liquidate=True, closed_ns=1)

    async def story() -> None:
        desk.monitor.found_at_start(old)
        assert desk.gate.closed
        assert desk.engine.heard == []
        desk.monitor.continue_at_start()
        await desk.until(StopState.FLAT)
        assert desk.monitor.receipt().stop_id == "stop-old"
        assert (await desk.monitor.emergency_stop("bert", "y")).stop_id == "stop-old"

    desk.run(story)
    assert desk.shop.trades[B] == {}


def test_an_earlier_lifes_stop_of_one_account_leaves_the_word_as_it_was(desk):
    async def story() -> None:
        desk.monitor.found_at_start(
            Latch(stop_id="s", actor="a", reason="x", liquidate=False, closed_ns=1, accounts=(A,))
        )
        assert not desk.gate.closed
        assert desk.monitor.stopped

    desk.run(story)


def test_one_account_is_flattened_by_one_task_at_a_time(desk):
    desk.shop.open(A, "5", "EUR_USD", 100)

    async def story() -> None:
        act = Liquidate(stop_id="A1:x", accounts=(A,), reason="loss")
        desk.engine.hooks.liquidate(act)
        desk.engine.hooks.liquidate(act)
        await desk.monitor.emergency_stop("anna", "one", accounts=(A,))
        await desk.until(StopState.FLAT)

    desk.run(story)
    assert len(desk.shop.written) == 1
    reads = [at for at, _ in desk.shop.reads]
    assert len(reads) <= 5


def test_flat_is_not_said_while_a_breakers_flattening_is_still_at_work(desk):
    """The stop finds one account in work already: its trouble counts in the stop's state."""
    desk.shop.open(A, "5", "EUR_USD", 100)
    desk.shop.halted = True

    async def story() -> None:
        desk.engine.hooks.liquidate(Liquidate(stop_id="A1:x", accounts=(A,), reason="loss"))
        await asyncio.sleep(0.05)
        await desk.monitor.emergency_stop("anna", "all")
        await asyncio.sleep(0.1)
        early = desk.monitor.receipt().state
        desk.shop.halted = False
        await until(lambda: not (desk.monitor.flattening))
        assert early is not StopState.FLAT

    desk.run(story)


def test_a_stops_receipt_does_not_count_what_an_earlier_flattening_did(desk):
    desk.shop.open(A, "5", "EUR_USD", 100)

    async def story() -> None:
        desk.engine.hooks.liquidate(Liquidate(stop_id="A1:x", accounts=(A,), reason="loss"))
        await until(lambda: not (desk.shop.trades[A] or A in desk.monitor._flattening))
        desk.shop.open(A, "7", "EUR_USD", 100)
        await desk.monitor.emergency_stop("anna", "next week", accounts=(A,))
        await desk.until(StopState.FLAT)
        (receipt,) = desk.monitor.receipt().accounts
        assert receipt.trades_closed == ("7",)

    desk.run(story)


def test_the_stops_state_is_that_of_its_worst_account(desk):
    async def story() -> None:
        receipt = await desk.monitor.emergency_stop("anna", "one", liquidate=True)
        for states, worst in (
            ((StopState.FLAT, StopState.FLAT), StopState.FLAT),
            ((StopState.FLAT, StopState.LIQUIDATING), StopState.LIQUIDATING),
            ((StopState.WAITING_MARKET, StopState.LIQUIDATING), StopState.WAITING_MARKET),
            ((StopState.WAITING_MARKET, StopState.NOT_FLAT), StopState.NOT_FLAT),
        ):
            for account, state in zip((A, B), states, strict=True):
                desk.monitor._account_changed(
                    receipt.stop_id, AccountReceipt(account_id=account), state
                )
            assert desk.monitor.receipt().state is worst

    desk.run(story)


def test_an_account_that_is_not_flat_for_long_is_alerted(desk):
    desk.monitor._takes_long(A, 61.3, "the venue: HTTP 503")
    (note,) = desk.engine.noted
    assert isinstance(note, AlertRaised)
    assert A in note.alert.title
    assert "503" in note.alert.text
