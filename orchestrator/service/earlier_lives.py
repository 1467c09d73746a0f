"""What earlier lives left: the journal and its snapshot, the breakers, a stop that stands."""

from __future__ import annotations

import msgspec
import structlog

from orchestrator.kernel.audit import Links
from orchestrator.kernel.engine import Kernel
from orchestrator.model.facts import Fact, ModeChanged, OperatorActed
from orchestrator.model.journal import Record, RecordFilter
from orchestrator.model.ports import Store
from orchestrator.model.safety import SystemMode
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.gate import Gate, Latch
from orchestrator.service.safety_monitor import SafetyMonitor
from orchestrator.service.seams import new_id, wall_ns

log = structlog.get_logger()

# Where a system never ran, so few records of modes and of people tell it.
_DECISIONS = ("mode.changed", "operator.acted")
_DECISIONS_LOOK = 200


class EarlierLives:
    """Read once, at the start of a life: `recover` first."""

    def __init__(
        self, kernel: Kernel, engine: ExecutionEngine, store: Store, gate: Gate,
        safety: SafetyMonitor,
    ) -> None:  # fmt: skip
        self._kernel = kernel
        self._engine = engine
        self._store = store
        self._gate = gate
        self._safety = safety
        self._recovered_from = 0  # the record up to which a snapshot told everything

    def recover(self) -> str:
        """The kernel's durable state: the last snapshot, then every fact after it.

        What is read is verified on the way (R1): where the chain breaks, or "". A last record that
        a crash had torn was never committed, and is cut by the store itself.
        """
        saved = self._store.load_snapshot()
        seq = 0
        if saved is not None:
            seq, state = saved
            seq = self._restore(seq, state)
        self._recovered_from = seq
        broken = ""
        links: Links | None = None
        for record, fact in self._store.facts_after(seq):
            links = links or self._links_from(record)
            self._kernel.apply(fact, record.ts)
            wrong = links.take(record) if not broken else None
            broken = f"record {wrong.seq} {wrong.what}" if wrong else broken
            seq = record.seq
        self._engine.recovered(seq)
        return broken

    def _links_from(self, first: Record) -> Links:
        """After the record before, where the store still has it."""
        before = first.seq - 1
        wanted = RecordFilter(after_seq=before - 1, before_seq=first.seq, ascending=True, limit=1)
        found = self._store.records(wanted) if before else []
        if found:
            return Links(found[0].hash, first.seq)
        return Links(first.prev, first.seq)

    def _restore(self, seq: int, state: bytes) -> int:
        """A snapshot that cannot be read only costs time: the whole journal is read instead."""
        try:
            self._kernel.restore(state)
        except ValueError as exc:
            log.warning("snapshot.unreadable", reason=str(exc))
            return 0
        return seq

    def breakers_lost(self) -> str:
        """B3: whether what the breakers were stands in no snapshot and no record any more."""
        if self._recovered_from:
            return ""
        found = self._store.records(RecordFilter(ascending=True, limit=1))
        if not found or found[0].seq == 1:
            return ""
        return f"records before {found[0].seq} are pruned, and no snapshot can be read"

    def never_ran(self) -> bool:
        """Whether every life so far was cut off before it traded, and nobody decided otherwise.

        A first start that was killed in its first second is still to come. Where the journal's
        beginning is pruned there was more than that.
        """
        if self._store.trail_start()[0]:
            return False
        told = self._store.records(
            RecordFilter(types=_DECISIONS, ascending=True, limit=_DECISIONS_LOOK)
        )
        facts = [msgspec.json.decode(record.data, type=Fact) for record in told]
        return len(told) < _DECISIONS_LOOK and not any(map(_decides, facts))

    def standing_stop(self) -> Latch | None:
        """The stop of an earlier life, by its latch, the journal or the word: any will do."""
        found, standing = self._gate.read_latch(), self._kernel.standing_stop
        latch = found
        if standing is not None:
            latch = Latch(
                stop_id=standing.stop_id, actor=standing.actor, reason=standing.reason,
                liquidate=standing.liquidate or (found is not None and found.liquidate),
                closed_ns=standing.at_ns if found is None else found.closed_ns,
                accounts=_wider(standing.accounts, None if found is None else found.accounts),
            )  # fmt: skip
        elif found is None and self._gate.stopped:
            # Whoever closed the word was cut off before the latch (SAFETY 5.3).
            latch = Latch(
                stop_id=new_id("stop"), actor="unknown", reason="the gate was found closed",
                liquidate=True, closed_ns=wall_ns(),
            )  # fmt: skip
        if latch is not None and latch.accounts and self._gate.stopped:
            # The word is closed by a stop of everything only; it may have been cut off before more.
            latch = msgspec.structs.replace(latch, accounts=())
        if latch is not None:
            self._safety.found_at_start(latch, persisted=latch == found)
        return latch


def _decides(fact: Fact) -> bool:
    """Whether with this the system ran, or somebody said that it should, or should not."""
    if isinstance(fact, ModeChanged):
        return fact.mode in (SystemMode.RUNNING, SystemMode.DRAINING, SystemMode.STOPPED)
    return isinstance(fact, OperatorActed) and fact.action in ("start", "stop", "resume")


def _wider(one: tuple[str, ...], other: tuple[str, ...] | None) -> tuple[str, ...]:
    """The accounts of both; empty means all, and all is widest."""
    if other is None:
        return one
    return tuple(dict.fromkeys((*one, *other))) if one and other else ()
