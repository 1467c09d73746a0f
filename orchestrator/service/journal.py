"""The journal at work: facts linked into the chain and made durable, or kept in order till so.

A store that only appends is waited for, in the loop's thread. One that also appends "soon" works
beside the loop: one append is out at a time, what is said meanwhile goes together with the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import NamedTuple

import structlog

from orchestrator.kernel.audit import AuditChain
from orchestrator.kernel.engine import Kernel
from orchestrator.model.errors import StoreConflict, StoreError, StoreFenced
from orchestrator.model.events import StorageTrouble
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record
from orchestrator.model.ports import SoonStore, Store
from orchestrator.model.time import NS_PER_MS, NS_PER_S, Instant
from orchestrator.service.seams import mono_ns
from orchestrator.service.telemetry import Telemetry

log = structlog.get_logger()

# With the store failing, so many facts wait in memory; beyond, the service ends, gate closed.
_UNSAVED_MAX = 20_000
# So many go into one append beside the loop: more would hold up the loop that links them.
_GROUP_MAX = 500
_FLUSHES_MAX = 10_000
_FLUSH_WINDOW_NS = 10 * NS_PER_S
_SNAPSHOT_EVERY = 5_000


class Written(Enum):
    """What became of facts that were to be written."""

    DURABLE = "durable"
    LATER = "later"  # `returned` is called when it is known
    FAILED = "failed"  # they wait, in order, for the store to work again


class _Out(NamedTuple):
    """An append that the store works on."""

    records: tuple[Record, ...]
    facts: Sequence[Fact]
    began_ns: Instant


class _Photo(NamedTuple):
    """The kernel's state after record `seq`, to be saved once that one is durable."""

    seq: int
    state: bytes


class Journal:
    """Everything that was said, in order. `troubles` are for the kernel to hear (breaker S5).

    `said` and `saved` count the facts of this life: a fact is durable once `saved` has reached what
    `said` was after it. `returned` is called from the loop, each time an append has come back.
    `broken` is why this journal goes on no more: a conflict, or another node's lead.
    """

    def __init__(
        self, chain: AuditChain, store: Store, kernel: Kernel, telemetry: Telemetry,
        returned: Callable[[], None], *, node: str,
    ) -> None:  # fmt: skip
        self._chain = chain
        self._store = store
        self._soon = store if isinstance(store, SoonStore) else None
        self._kernel = kernel
        self._telemetry = telemetry
        self._returned = returned
        self._node = node
        # Each with the instant at which the kernel took it over: a replay must take it over then.
        self._unsaved: list[tuple[Instant, Fact]] = []
        # Said beside a turn and promised to nobody: they go with whatever is written next.
        self._loose: list[tuple[Instant, Fact]] = []
        self._fresh: list[tuple[Record, Fact]] = []
        self._failing = False
        self._out: _Out | None = None
        self._again: _Out | None = None  # came back as failed: it is tried again just as it was
        self._photo: _Photo | None = None
        self._photo_out = False
        self._probing = False
        self._asked = False
        self._heard = False  # whether the store has done something since the last look
        # The kernel's generation after so many facts, where it has moved and is not durable yet.
        self._moves: deque[tuple[int, int]] = deque()
        self._flushes: deque[tuple[int, int]] = deque(maxlen=_FLUSHES_MAX)  # began, took
        self._since_snapshot = 0
        self.generation = kernel.generation  # the kernel's, as far as it is durable
        self.said = 0
        self.saved = 0
        self.seq = 0
        self.troubles: list[StorageTrouble] = []
        self.broken: StoreError | None = None

    def recovered(self, seq: int) -> None:
        """Where the journal ends after recovery; the kernel has heard all of it."""
        self.seq, self.generation = seq, self._kernel.generation

    # -- how it stands ----------------------------------------------------------------------------

    @property
    def durable(self) -> bool:
        """Whether everything that was said so far is written down (K4), but for what is kept."""
        return not (self._unsaved or self._failing)

    @property
    def failing(self) -> bool:
        """Whether the last write failed: what is said now waits for the beat's next try."""
        return self._failing

    @property
    def idle(self) -> bool:
        """Whether the store works on nothing of ours."""
        return self._out is None and not self._photo_out

    @property
    def out_ms(self) -> int:
        """For how long the store has been working on the append that is out; 0: none is."""
        if self._out is None or self._soon is None:
            return 0
        return round(self._soon.append_s * 1000)

    def flush_ms(self) -> int | None:
        """The 99th percentile of the writes of the last 10 s (S5); None when there were none.

        A write that is out for longer than that counts as it is: nobody waits for its end to know.
        """
        since = mono_ns() - _FLUSH_WINDOW_NS
        took = sorted(took for began, took in self._flushes if began >= since)
        if not took and self._out is None:
            return None
        p99 = took[(len(took) * 99 - 1) // 100] // NS_PER_MS if took else 0
        return max(p99, self.out_ms)

    # -- writing ----------------------------------------------------------------------------------

    def keep(self, fact: Fact, now: Instant) -> None:
        """Joins whatever is written next, which is at the latest the beat's own writing."""
        self._loose.append((now, fact))

    def write(self, facts: Sequence[Fact], now: Instant) -> Written:
        """What became of these and of all before them. StoreError when too many wait;
        StoreConflict for what the journal holds already: a bug, and no more orders (S4).
        """
        if self.broken is not None:
            return self._refuse()
        self._say([*self._loose, *((now, fact) for fact in facts)])
        self._loose.clear()
        if (self._failing or self._out is not None) and len(self._unsaved) > _UNSAVED_MAX:
            raise StoreError(f"{len(self._unsaved)} facts could not be written down")
        if self._failing:
            return Written.FAILED  # `retry` tries again, at the beat's pace
        if self._soon is None:
            return Written.DURABLE if self._write() else Written.FAILED
        self._begin(self._soon)
        if self._failing:
            return Written.FAILED
        return Written.LATER if self._unsaved else Written.DURABLE

    def _refuse(self) -> Written:
        if isinstance(self.broken, StoreFenced):
            return Written.FAILED  # whoever leads now writes the journal
        assert self.broken is not None, "asked before"
        raise self.broken

    def _say(self, facts: Sequence[tuple[Instant, Fact]]) -> None:
        self._unsaved.extend(facts)
        self.said += len(facts)
        known = self._moves[-1][1] if self._moves else self.generation
        if self._kernel.generation != known:
            self._moves.append((self.said, self._kernel.generation))

    def _write(self) -> bool:
        """In the loop's own thread."""
        if not self._unsaved:
            self._landed(())
            return True
        out = self._linked(self._unsaved)
        try:
            self._store.append(out.records, out.facts)
        except StoreConflict:
            raise  # no trouble of the store's that a retry could mend
        except StoreError as exc:
            self._failed(exc)
            return False
        self._arrived(out, mono_ns() - out.began_ns)
        return True

    def _linked(self, entries: Sequence[tuple[Instant, Fact]]) -> _Out:
        began = mono_ns()
        facts = [fact for _, fact in entries]
        records = self._chain.link(
            facts, ts=[at for at, _ in entries], node=self._node, epoch=self._kernel.epoch
        )
        return _Out(records, facts, began)

    def _failed(self, exc: StoreError) -> None:
        log.warning("store.failed", reason=str(exc), waiting=len(self._unsaved))
        self._failing = True
        self.troubles.append(StorageTrouble(ok=False, reason=str(exc)))

    def _arrived(self, out: _Out, took_ns: int) -> None:
        records = out.records
        self._heard = True
        self._chain.advance(records)
        self._flushes.append((out.began_ns, took_ns))
        self._telemetry.took("journal", took_ns / 1000)
        self._fresh.extend(zip(records, out.facts, strict=True))
        self.seq = records[-1].seq
        self._since_snapshot += len(records)
        del self._unsaved[: len(records)]
        self._landed(records)

    def _landed(self, records: Sequence[Record]) -> None:
        self._failing = False
        self.saved += len(records)
        while self._moves and self._moves[0][0] <= self.saved:
            self.generation = self._moves.popleft()[1]

    # -- writing beside the loop ------------------------------------------------------------------

    def _begin(self, store: SoonStore) -> None:
        """Hand over what waits, unless the store is at work: then it goes with the next append."""
        if self._out is not None or not self._unsaved:
            return
        out = self._again or self._linked(self._unsaved[:_GROUP_MAX])
        out = self._out = out._replace(began_ns=mono_ns())
        try:
            store.append_soon(out.records, out.facts, partial(self._came_back, store, out))
        except StoreError as exc:
            self._out, self._again = None, out
            self._take_up(exc)

    def _came_back(self, store: SoonStore, out: _Out, problem: StoreError | None) -> None:
        if self._out is not out:
            log.error("store.answered_twice", seq=out.records[-1].seq)
            return
        self._out, self._again = None, None
        if problem is None:
            self._arrived(out, round(store.append_s * NS_PER_S))
            self._prove()
            self._save_photo(store)
            self._begin(store)
        else:
            # A store that was killed in its commit cannot know; it knows these records again.
            self._again = out
            self._take_up(problem)
        self._returned()

    def _take_up(self, problem: StoreError) -> None:
        if isinstance(problem, (StoreConflict, StoreFenced)):
            self.broken, self._failing = problem, True
            log.error("store.broken", reason=str(problem), waiting=len(self._unsaved))
            return
        self._probing = False
        self._failed(problem)

    def _prove(self) -> None:
        """A write that was asked for as a proof has succeeded (S5)."""
        if self._probing:
            self._probing = False
            self.troubles.append(StorageTrouble(ok=True))

    # -- trying again -----------------------------------------------------------------------------

    def wants_retry(self) -> bool:
        if self.broken is not None:
            return False
        return bool(self._unsaved or self._loose or self._failing or self._kernel.storage_blocked)

    def retry(self) -> None:
        """Saves what waits, and probes a store that has failed by a real write."""
        self._say(self._loose)
        self._loose.clear()
        if self._soon is not None:
            self._retry_soon(self._soon)
            return
        self._failing = False
        if self._write() and self._kernel.storage_blocked:
            self._probe()

    def _retry_soon(self, store: SoonStore) -> None:
        self._probing = self._kernel.storage_blocked
        if self._unsaved:
            self._begin(store)
        elif self._probing:
            self._photo = self._photo or _Photo(self.seq, self._kernel.snapshot())
            self._save_photo(store)

    def _probe(self) -> None:
        try:
            self._store.save_snapshot(self.seq, self._kernel.snapshot())
        except StoreError as exc:
            self.troubles.append(StorageTrouble(ok=False, reason=str(exc)))
        else:
            self.troubles.append(StorageTrouble(ok=True))

    # -- a store that nothing is written to -------------------------------------------------------

    def look(self) -> None:
        """Asks a store beside the loop that was not heard since the last look whether it is there:
        otherwise its end would be noticed by the next order (S5). Not while one that has failed is
        tried anyway.
        """
        heard, self._heard = self._heard, False
        tried = self._failing or self._kernel.storage_blocked or self.broken is not None
        if self._soon is None or heard or tried or self._asked or not self.idle:
            return
        self._asked = True
        try:
            self._soon.probe_soon(self._answered)
        except StoreError as exc:
            self._hear_answer(exc)

    def _answered(self, problem: StoreError | None) -> None:
        self._hear_answer(problem)
        if problem is not None:
            self._returned()

    def _hear_answer(self, problem: StoreError | None) -> None:
        """Facts are not held back for it: the next write finds out for itself."""
        self._asked = False
        if isinstance(problem, StoreFenced):
            self._take_up(problem)
        elif problem is not None:
            log.warning("store.silent", reason=str(problem))
            self.troubles.append(StorageTrouble(ok=False, reason=str(problem)))

    # -- snapshots --------------------------------------------------------------------------------

    def snapshot(self, *, force: bool) -> None:
        """Save the kernel's state, so that a restart reads few facts. Failure is not trouble."""
        if not (force or self._since_snapshot >= _SNAPSHOT_EVERY):
            return
        if self._soon is not None:
            self._snapshot_soon(self._soon)
        elif not self._unsaved:
            self._snapshot()

    def _snapshot(self) -> None:
        try:
            self._store.save_snapshot(self.seq, self._kernel.snapshot())
        except StoreError as exc:
            log.warning("snapshot.failed", reason=str(exc))
            return
        self._since_snapshot = 0

    def _snapshot_soon(self, store: SoonStore) -> None:
        """Of the kernel as it is now: under load there is always something that is still out."""
        if self._photo is None and self.broken is None:
            self._photo = _Photo(self.seq + len(self._unsaved), self._kernel.snapshot())
            self._since_snapshot = 0
            self._save_photo(store)

    def _save_photo(self, store: SoonStore) -> None:
        photo = self._photo
        if photo is None or self._photo_out or photo.seq > self.seq:
            return
        self._photo_out = True
        try:
            store.save_snapshot_soon(photo.seq, photo.state, self._photo_saved)
        except StoreError as exc:
            self._photo_ended(exc)

    def _photo_saved(self, problem: StoreError | None) -> None:
        self._photo_ended(problem)
        self._returned()

    def _photo_ended(self, problem: StoreError | None) -> None:
        self._photo, self._photo_out = None, False
        if problem is None:
            self._prove()
            return
        log.warning("snapshot.failed", reason=str(problem))
        if isinstance(problem, StoreFenced):
            self._take_up(problem)
        elif self._probing:
            self._probing = False
            self.troubles.append(StorageTrouble(ok=False, reason=str(problem)))

    def take_fresh(self) -> list[tuple[Record, Fact]]:
        """What has become durable since this was last asked."""
        fresh, self._fresh = self._fresh, []
        return fresh
