"""An engine on a script: a kernel that says what the test tells it, spies around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.kernel.audit import AuditChain
from orchestrator.kernel.engine import Step
from orchestrator.model.acts import Act, SendOrder
from orchestrator.model.errors import StoreError
from orchestrator.model.events import Event
from orchestrator.model.facts import Fact, OperatorActed
from orchestrator.model.journal import Record
from orchestrator.model.orders import GateQuestion, WriteKind, WriteRequest
from orchestrator.model.ports import AppendDone, WriteDone
from orchestrator.service.agent_manager import AgentManager
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.gate import Gate
from orchestrator.service.telemetry import Telemetry
from tests.unit.service.parts import A, HandClock


def fact(text: str) -> OperatorActed:
    return OperatorActed(actor="test", action="note", text=text)


def send(intent_id: str = "i1") -> SendOrder:
    return SendOrder(
        intent_id=intent_id,
        request=WriteRequest(
            kind=WriteKind.ORDER, account_id=A, body="{}", client_request_id=intent_id
        ),
    )


class _Quotes:
    def tick(self, _: object) -> None:
        return None


@dataclass
class ScriptedKernel:
    """`script` is asked for each event; what it says is also the whole state."""

    script: Callable[[Any], Step]
    log: list[tuple[str, Any]]
    epoch: int = 3
    storage_blocked: bool = False
    generation: int = 0
    objection: str | None = None
    quotes: _Quotes = field(default_factory=_Quotes)
    said: list[Fact] = field(default_factory=list)
    heard: list[Event] = field(default_factory=list)
    deep: int = 0

    def step(self, event: Event, _: int) -> Step:
        self.deep += 1
        assert self.deep == 1, "the kernel was re-entered"
        self.heard.append(event)
        step = self.script(event)
        self.said.extend(step.facts)
        self.deep -= 1
        return step

    def may_send(self, intent_id: str, _: int) -> str | None:
        self.log.append(("kernel asked", intent_id))
        return self.objection

    def intent(self, _: str) -> None:
        return None

    def snapshot(self) -> bytes:
        return b"%d" % len(self.said)


class SpyStore:
    """Keeps what is appended; `broken` is raised instead, `seen` are signals taken before."""

    def __init__(self, log: list[tuple[str, Any]]) -> None:
        self._log = log
        self.broken: Exception | None = None
        self.unreadable: Exception | None = None
        self.broken_snapshots: Exception | None = None
        self.rows: list[Record] = []
        self.facts: list[Fact] = []
        self.seen: set[str] = set()
        self.snapshots: list[tuple[int, bytes]] = []

    def append(self, records: Sequence[Record], facts: Sequence[Fact]) -> None:
        self._log.append(("append", tuple(facts)))
        if self.broken is not None:
            raise self.broken
        self.rows.extend(records)
        self.facts.extend(facts)
        self._log.append(("durable", tuple(facts)))

    def signal_seen(self, signal_id: str) -> bool:
        if self.unreadable is not None:
            raise self.unreadable
        return signal_id in self.seen

    def save_snapshot(self, seq: int, state: bytes) -> None:
        if self.broken_snapshots is not None:
            raise self.broken_snapshots
        self.snapshots.append((seq, state))

    def texts(self) -> list[str]:
        return [f.text for f in self.facts if isinstance(f, OperatorActed)]


class HandStore(SpyStore):
    """A store that works beside the loop: `answer` is when it comes back, and with what."""

    def __init__(self, log: list[tuple[str, Any]]) -> None:
        super().__init__(log)
        self.out: list[tuple[Sequence[Record], Sequence[Fact], AppendDone]] = []
        self.photos: list[tuple[int, bytes, AppendDone]] = []
        self.probes: list[AppendDone] = []
        self.refuses: StoreError | None = None
        self.append_s = 0.0

    def append(self, *_: object) -> None:
        raise AssertionError("the loop is never made to wait")

    def append_soon(
        self, records: Sequence[Record], facts: Sequence[Fact], done: AppendDone
    ) -> None:
        if self.refuses is not None:
            raise self.refuses
        assert not self.out, "one append at a time"
        self._log.append(("append", tuple(facts)))
        self.out.append((records, facts, done))

    def save_snapshot_soon(self, seq: int, state: bytes, done: AppendDone) -> None:
        self.photos.append((seq, state, done))

    def probe_soon(self, done: AppendDone) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.probes.append(done)

    def answer(self, problem: StoreError | None = None) -> None:
        """The append that is out ends."""
        records, facts, done = self.out.pop()
        if problem is None:
            self.rows.extend(records)
            self.facts.extend(facts)
            self._log.append(("durable", tuple(facts)))
        done(problem)

    def answer_all(self) -> None:
        """Until nothing is out any more."""
        while self.out:
            self.answer()


class SpyWriter:
    def __init__(self, log: list[tuple[str, Any]]) -> None:
        self._log = log
        self.taken: list[tuple[WriteRequest, GateQuestion, WriteDone]] = []

    def submit(self, request: WriteRequest, gate: GateQuestion, done: WriteDone) -> None:
        self._log.append(("submit", request.client_request_id or request.target))
        self.taken.append((request, gate, done))


class SpyBus:
    def __init__(self, log: list[tuple[str, Any]]) -> None:
        self._log = log
        self.published: list[tuple[Record, Fact]] = []

    def publish(self, record: Record, said: Fact) -> None:
        self._log.append(("publish", said))
        self.published.append((record, said))


class Bench:
    """`say(event type, *facts, acts=...)` writes the script; an unscripted event says nothing."""

    def __init__(self, folder: Any, store: type[SpyStore] = SpyStore) -> None:
        self.log: list[tuple[str, Any]] = []
        self._script: dict[type, Callable[[Any], Step]] = {}
        self.clock = HandClock()
        self.kernel = ScriptedKernel(self._step, self.log)
        self.store, self.writer, self.bus = (
            store(self.log), SpyWriter(self.log), SpyBus(self.log),
        )  # fmt: skip
        self.gate = Gate(folder)
        self.agents = AgentManager(self.clock)
        self.engine = ExecutionEngine(
            self.kernel, AuditChain("test"), self.store, self.bus, self.writer, self,
            self.agents, self.gate, self.clock, Telemetry(), node="n",
        )  # fmt: skip
        self.alerts: list[Any] = []
        self.liquidations: list[Any] = []
        self.stops: list[Any] = []
        self.engine.hooks.alert = self.alerts.append
        self.engine.hooks.liquidate = self.liquidations.append
        self.engine.hooks.stop = self.stops.append
        self.fallen: list[Exception] = []
        self.engine.hooks.broken = self.fallen.append

    def _step(self, event: Event) -> Step:
        made = self._script.get(type(event))
        return Step((), ()) if made is None else made(event)

    def script(self, kind: type, step: Callable[[Any], Step]) -> None:
        self._script[kind] = step

    def say(self, kind: type, *facts: Fact, acts: tuple[Act, ...] = ()) -> None:
        self._script[kind] = lambda _: Step(facts, acts)

    def names(self) -> list[str]:
        return [name for name, _ in self.log]

    def fail(self, text: str = "disk full") -> None:
        self.store.broken = StoreError(text)

    # The reader: every read is refused unless a test replaces it.
    async def account(self, account_id: str) -> Any:
        raise NotImplementedError(account_id)
