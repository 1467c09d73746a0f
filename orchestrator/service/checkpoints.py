"""Checkpoints of the audit trail: made when they are due, compared at the start (SAFETY D4).

Signing and flushing are done in a thread, beside the path of orders. A book that says something
else than the store, or that cannot be written although the store can, is trouble: breaker S12.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import structlog

from orchestrator.kernel.audit import AuditChain
from orchestrator.model.checkpoint import Checkpoint
from orchestrator.model.errors import StoreError
from orchestrator.model.journal import RecordFilter
from orchestrator.model.ports import CheckpointBook, Clock, Store
from orchestrator.model.safety import Alert, Severity
from orchestrator.model.time import NS_PER_S, Instant
from orchestrator.service.seams import wall_ns

log = structlog.get_logger()

T = TypeVar("T")

RECORDS = 1_000
EVERY_S = 60.0
_LOOK_S = 1.0
_DAY_S = 24 * 3600.0
# A disk that is full fails the store as well: S5 blocks, and room heals it. Only a book that fails
# for so long beside a store that writes is trouble of the trail's own.
_PATIENCE_S = 60.0
ACCEPTED = "breaker S12 was reset by a person; see the record before this checkpoint"

TroubleHook = Callable[[str], None]  # "": the trail is good again
ToldHook = Callable[[Checkpoint], None]


class Hooks:
    """What the checkpoints ask of and tell their neighbours; set by the wiring.

    `blocked`: whether S12 stands. `storing`: whether the store writes. `stop_id`: of a stop.
    """

    def __init__(
        self, *, trouble: TroubleHook, told: ToldHook, blocked: Callable[[], bool],
        storing: Callable[[], bool], stop_id: Callable[[], str | None],
    ) -> None:  # fmt: skip
        self.trouble = trouble
        self.told = told
        self.blocked = blocked
        self.storing = storing
        self.stop_id = stop_id


class Checkpoints:
    """`threads` false (a virtual-time loop): written in the loop's own thread."""

    def __init__(
        self, book: CheckpointBook, chain: AuditChain, clock: Clock, hooks: Hooks, *, origin: str,
        threads: bool = True,
    ) -> None:  # fmt: skip
        self._book = book
        self._chain = chain
        self._clock = clock
        self._hooks = hooks
        self._origin = origin
        self._threads = threads
        self._one_at_a_time = asyncio.Lock()
        self._seq = 0  # of the last checkpoint
        self._made_ns = clock.mono_ns()
        self._told_ns = clock.mono_ns() - int(_DAY_S * NS_PER_S)
        self._failing_ns = 0
        self._troubled = False
        self._stop_id: str | None = None
        self.disagreement = ""
        self.latest: Checkpoint | None = None

    # -- at the start ---------------------------------------------------------------------------

    def compare(self, store: Store) -> None:
        """The newest checkpoint against the store: a trail that was cut or rewritten is found."""
        try:
            self.latest = self._book.latest()
            if self.latest is not None:
                self._seq = self.latest.seq
                self.disagreement = disagreement(self.latest, store, self._origin)
        except (OSError, ValueError, StoreError) as exc:
            self.disagreement = f"the checkpoints cannot be read: {exc}"
        if self.disagreement:
            self._hooks.trouble(self.disagreement)

    async def _check_signature(self) -> None:
        latest = self.latest
        if latest is None or self.disagreement:
            return
        try:
            wrong = await self._in_thread(lambda: self._book.objection(latest))
        except (OSError, ValueError) as exc:
            wrong = str(exc)
        if wrong:
            self.disagreement = f"checkpoint {latest.seq}: {wrong}"
            self._hooks.trouble(self.disagreement)

    # -- running --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Runs until cancelled."""
        await self._clock.sleep(_LOOK_S)
        await self._check_signature()
        while True:
            await self._clock.sleep(_LOOK_S)
            why = self._due()
            if why:
                await self.make(why)

    def _due(self) -> str:
        new = self._chain.seq - self._seq
        if self.disagreement:
            return "" if self._hooks.blocked() else "accepted"
        stop_id = self._hooks.stop_id()
        if stop_id != self._stop_id:
            self._stop_id = stop_id
            if stop_id is not None and new:
                return "stop"
        if new >= RECORDS:
            return "records"
        return "time" if new and self._age_s(self._made_ns) >= EVERY_S else ""

    def _age_s(self, since_ns: int) -> float:
        return (self._clock.mono_ns() - since_ns) / NS_PER_S

    async def make(self, why: str) -> Checkpoint | None:
        """Of the trail as it is durable now; None when it could not be written."""
        async with self._one_at_a_time:
            wanted = self._wanted(why)
            if wanted is None:
                return None
            try:
                made = await self._in_thread(lambda: self._book.write(wanted))
            except (OSError, ValueError) as exc:
                self._failed(exc)
                return None
            self._made(made)
            return made

    def at_end(self) -> None:
        """The last of this life; failure is no trouble any more, the next start goes on."""
        wanted = self._wanted("shutdown")
        if wanted is None or self._chain.seq == self._seq:
            return
        try:
            self._made(self._book.write(wanted))
        except (OSError, ValueError) as exc:
            log.warning("checkpoint.failed", reason=str(exc))

    def _wanted(self, why: str) -> Checkpoint | None:
        if self.disagreement and self._hooks.blocked():
            return None  # a new checkpoint would cover up what the old ones know
        return Checkpoint(
            origin=self._origin, seq=self._chain.seq, head=self._chain.head.hex(),
            at_ns=wall_ns(), why=why, accepted=ACCEPTED if self.disagreement else "",
        )  # fmt: skip

    def _made(self, made: Checkpoint) -> None:
        log.debug("checkpoint.made", seq=made.seq, why=made.why)
        if self._troubled:
            self._troubled = False
            self._hooks.trouble("")
        self.latest, self.disagreement = made, ""
        self._seq, self._made_ns, self._failing_ns = made.seq, self._clock.mono_ns(), 0
        if made.why in ("stop", "shutdown", "asked") or self._age_s(self._told_ns) >= _DAY_S:
            self._told_ns = self._clock.mono_ns()
            self._hooks.told(made)

    def _failed(self, exc: Exception) -> None:
        log.warning("checkpoint.failed", reason=str(exc))
        if not self._hooks.storing() or not self._failing_ns:
            self._failing_ns = self._clock.mono_ns()
        elif self._age_s(self._failing_ns) >= _PATIENCE_S:
            self._failing_ns, self._troubled = 0, True
            self._hooks.trouble(f"no checkpoint could be written for {_PATIENCE_S:.0f} s: {exc}")

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work) if self._threads else work()


def disagreement(checkpoint: Checkpoint, store: Store, origin: str) -> str:
    """What the store lacks, or has otherwise than the checkpoint says; "" when they agree."""
    seq = checkpoint.seq
    if checkpoint.origin != origin:
        return f"checkpoint {seq} is of another installation ({checkpoint.origin})"
    pruned_to, pruned_hash = store.trail_start()
    if seq < pruned_to or seq == 0:
        return ""
    if seq == pruned_to:
        found = pruned_hash
    else:
        wanted = RecordFilter(after_seq=seq - 1, before_seq=seq + 1, ascending=True, limit=1)
        records = store.records(wanted)
        if not records:
            last = store.last_record()
            return (
                f"the store ends at record {0 if last is None else last.seq}, and a checkpoint"
                f" knows of {seq}: it was cut, or restored from an older copy"
            )
        found = records[0].hash
    if found.hex() != checkpoint.head:
        return f"record {seq} is not what its checkpoint says: the trail was rewritten"
    return ""


def checkpoint_alert(checkpoint: Checkpoint, now: Instant) -> Alert:
    """A checkpoint on its way to a person: whoever holds it can prove a later cut."""
    return Alert(
        key=f"checkpoint:{checkpoint.seq}", severity=Severity.INFO, title="Audit checkpoint",
        text=checkpoint.line().decode(), at_ns=now,
    )  # fmt: skip
