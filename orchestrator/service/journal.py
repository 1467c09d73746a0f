"""The journal at work: facts linked into the chain and made durable, or kept in order till so."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import structlog

from orchestrator.kernel.audit import AuditChain
from orchestrator.kernel.engine import Kernel
from orchestrator.model.errors import StoreConflict, StoreError
from orchestrator.model.events import StorageTrouble
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record
from orchestrator.model.ports import Store
from orchestrator.model.time import NS_PER_MS, NS_PER_S, Instant
from orchestrator.service.seams import mono_ns
from orchestrator.service.telemetry import Telemetry

log = structlog.get_logger()

# With the store failing, so many facts wait in memory; beyond, the service ends, gate closed.
_UNSAVED_MAX = 20_000
_FLUSHES_MAX = 10_000
_FLUSH_WINDOW_NS = 10 * NS_PER_S
_SNAPSHOT_EVERY = 5_000


class Journal:
    """Everything that was said, in order. `troubles` are for the kernel to hear (breaker S5)."""

    def __init__(
        self, chain: AuditChain, store: Store, kernel: Kernel, telemetry: Telemetry, *, node: str
    ) -> None:
        self._chain = chain
        self._store = store
        self._kernel = kernel
        self._telemetry = telemetry
        self._node = node
        # Each with the instant at which the kernel took it over: a replay must take it over then.
        self._unsaved: list[tuple[Instant, Fact]] = []
        # Said beside a turn and promised to nobody: they go with whatever is written next.
        self._loose: list[tuple[Instant, Fact]] = []
        self._fresh: list[tuple[Record, Fact]] = []
        self._failing = False
        self._flushes: deque[tuple[int, int]] = deque(maxlen=_FLUSHES_MAX)  # began, took
        self._since_snapshot = 0
        self.seq = 0
        self.troubles: list[StorageTrouble] = []

    @property
    def durable(self) -> bool:
        """Whether everything that was said so far is written down (K4), but for what is kept."""
        return not (self._unsaved or self._failing)

    def flush_ms(self) -> int | None:
        """The 99th percentile of the writes of the last 10 s (S5); None when there were none."""
        since = mono_ns() - _FLUSH_WINDOW_NS
        took = sorted(took for began, took in self._flushes if began >= since)
        return took[(len(took) * 99 - 1) // 100] // NS_PER_MS if took else None

    def keep(self, fact: Fact, now: Instant) -> None:
        """Joins whatever is written next, which is at the latest the beat's own writing."""
        self._loose.append((now, fact))

    def write(self, facts: Sequence[Fact], now: Instant) -> bool:
        """Whether these, and all before them, are durable. StoreError when too many wait;
        StoreConflict for what the journal holds already: a bug, and no more orders (S4).
        """
        self._unsaved.extend(self._loose)
        self._loose.clear()
        self._unsaved.extend((now, fact) for fact in facts)
        if not self._failing:
            return self._write()
        if len(self._unsaved) > _UNSAVED_MAX:
            raise StoreError(f"{len(self._unsaved)} facts could not be written down")
        return False  # `retry` tries again, at the beat's pace

    def _write(self) -> bool:
        if not self._unsaved:
            return True
        began = mono_ns()
        times = [at for at, _ in self._unsaved]
        facts = [fact for _, fact in self._unsaved]
        records = self._chain.link(
            facts, ts=times, node=self._node, epoch=self._kernel.epoch
        )  # fmt: skip
        try:
            self._store.append(records, facts)
        except StoreConflict:
            raise  # no trouble of the store's that a retry could mend
        except StoreError as exc:
            log.warning("store.failed", reason=str(exc), waiting=len(self._unsaved))
            self._failing = True
            self.troubles.append(StorageTrouble(ok=False, reason=str(exc)))
            return False
        self._chain.advance(records)
        took_ns = mono_ns() - began
        self._flushes.append((began, took_ns))
        self._telemetry.took("journal", took_ns / 1000)
        self._fresh.extend(zip(records, facts, strict=True))
        self.seq = records[-1].seq
        self._since_snapshot += len(records)
        self._unsaved = []
        return True

    def wants_retry(self) -> bool:
        return bool(self._unsaved or self._loose or self._failing or self._kernel.storage_blocked)

    def retry(self) -> None:
        """Saves what waits, and probes a store that has failed by a real write."""
        self._failing = False
        self._unsaved.extend(self._loose)
        self._loose.clear()
        if self._write() and self._kernel.storage_blocked:
            self._probe()

    def _probe(self) -> None:
        try:
            self._store.save_snapshot(self.seq, self._kernel.snapshot())
        except StoreError as exc:
            self.troubles.append(StorageTrouble(ok=False, reason=str(exc)))
        else:
            self.troubles.append(StorageTrouble(ok=True))

    def snapshot(self, *, force: bool) -> None:
        """Save the kernel's state, so that a restart reads few facts. Failure is not trouble."""
        if self._unsaved or not (force or self._since_snapshot >= _SNAPSHOT_EVERY):
            return
        try:
            self._store.save_snapshot(self.seq, self._kernel.snapshot())
        except StoreError as exc:
            log.warning("snapshot.failed", reason=str(exc))
            return
        self._since_snapshot = 0

    def take_fresh(self) -> list[tuple[Record, Fact]]:
        """What has become durable since this was last asked."""
        fresh, self._fresh = self._fresh, []
        return fresh
