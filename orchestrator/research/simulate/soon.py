"""A store that commits beside the loop, as PostgreSQL across a network: slow, silent, in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.model.errors import StoreConflict, StoreError
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record
from orchestrator.model.ports import AppendDone
from orchestrator.research.simulate.death import Death
from orchestrator.research.simulate.store import SimStore
from orchestrator.research.simulate.world import World

_TAKES_S = (0.0003, 0.012)
_SLOW_S = (0.1, 3.0)
_LATE_S = (0.05, 2.0)
_SILENT_S = 10.0  # so long the store waits itself
_PROBE_S = 2.5


class _Out(NamedTuple):
    """An append on its way."""

    records: tuple[Record, ...]
    facts: tuple[Fact, ...]
    done: AppendDone


class SoonSimStore(SimStore):
    """Meets `SoonStore` over the same SQLite; the fates decide when a batch stands, and is told."""

    def __init__(self, world: World, death: Death) -> None:
        self._under_way: _Out | None = None
        self._began_s = self._took_s = 0.0
        super().__init__(world, death)

    def append_soon(
        self, records: Sequence[Record], facts: Sequence[Fact], done: AppendDone
    ) -> None:
        self._death.check()
        if self._under_way is not None:
            self._world.judge.blame("K4", f"two appends are out at record {records[0].seq}")
        out = self._under_way = _Out(tuple(records), tuple(facts), done)
        self._began_s = self._world.now_s
        takes_s = self._takes_s()
        if takes_s >= _SILENT_S:
            silent = StoreError(f"no answer within {_SILENT_S:.0f} s")
            self._world.loop.call_later(_SILENT_S, self._answer, out, silent)
        else:
            self._world.loop.call_later(takes_s, self._land, out)
        if self._world.fates.strikes("crash_in_commit"):
            after_s = self._world.fates.dice("crash_in_commit").uniform(0.0, 2 * takes_s)
            self._world.loop.call_later(after_s, self._death.come, "killed with a commit out")

    @property
    def append_s(self) -> float:
        return self._took_s if self._under_way is None else self._world.now_s - self._began_s

    def _takes_s(self) -> float:
        fates, now_s = self._world.fates, self._world.now_s
        if fates.inside("commit_hangs", now_s):
            ends = [end for begin, end in fates.windows("commit_hangs") if begin <= now_s < end]
            return max(ends) - now_s
        if fates.strikes("commit_slow"):
            return fates.dice("commit_slow").uniform(*_SLOW_S)
        return fates.dice("commit_soon").uniform(*_TAKES_S)

    def _land(self, out: _Out) -> None:
        if self._death.dead or self._under_way is not out:
            return
        fates, problem = self._world.fates, None
        after_s = fates.dice("commit_soon").uniform(*_TAKES_S)
        if fates.strikes("commit_fails"):
            self._answer(out, StoreError("the connection was lost"))
            return
        try:
            self.append(*self._new(out))
        except StoreError as exc:
            problem = exc
        if fates.strikes("commit_doubt"):
            problem = problem or StoreError("the connection was lost in the commit")
        elif fates.strikes("commit_late"):
            after_s = fates.dice("commit_late").uniform(*_LATE_S)
        self._world.loop.call_later(after_s, self._answer, out, problem)

    def _new(self, out: _Out) -> tuple[Sequence[Record], Sequence[Fact]]:
        """Without what stands already, of a batch whose failure was only told."""
        head = self.last_record()
        known = 0 if head is None else head.seq - out.records[0].seq + 1
        if head is not None and known > 0 and out.records[known - 1].hash != head.hash:
            raise StoreConflict(f"another record {head.seq} stands")
        return out.records[max(known, 0) :], out.facts[max(known, 0) :]

    def _answer(self, out: _Out, problem: StoreError | None) -> None:
        if not self._death.dead and self._under_way is out:
            self._took_s, self._under_way = self.append_s, None
            self._world.tell(f"the store says {problem or 'durable'} of {out.records[-1].seq}")
            out.done(problem)

    def _dawdle(self) -> None:
        """Nobody's loop waits."""

    def save_snapshot_soon(self, seq: int, state: bytes, done: AppendDone) -> None:
        self._death.check()

        def save() -> None:
            if self._death.dead:
                return
            problem = None
            try:
                self.save_snapshot(seq, state)
            except StoreError as exc:
                problem = exc
            done(problem)

        self._world.loop.call_later(self._takes_s(), save)

    def probe_soon(self, done: AppendDone) -> None:
        self._death.check()
        gone = self._world.fates.inside("commit_hangs", self._world.now_s)
        problem = StoreError(f"no answer within {_PROBE_S:g} s") if gone else None

        def answer() -> None:
            if not self._death.dead:
                done(problem)

        self._world.loop.call_later(_PROBE_S if gone else _TAKES_S[0], answer)

    def hear_the_rest(self) -> None:
        """What was out at the end was given to a server, which lives on: it may stand, or not."""
        out, self._under_way = self._under_way, None
        if out is not None and self._world.fates.dice("crash_in_commit").random() < 1 / 2:
            with suppress(StoreError):  # then it does not stand, and nobody is left to be told
                SqliteStore.append(self, *self._new(out))
        super().hear_the_rest()


def store_of(world: World, death: Death) -> SimStore:
    """The store of the life that begins."""
    kind = SoonSimStore if "commit_soon" in world.fates.kinds else SimStore
    return kind(world, death)
