"""The real store and the real gate, which may fail, and end with their process."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.model.errors import StoreError
from orchestrator.model.market import Candle, MarketCondition, MarketSpan, Tick
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.time import Instant
from orchestrator.research.simulate.death import Death
from orchestrator.research.simulate.world import INSTALLATION, World
from orchestrator.service.gate import Gate, Latch

if TYPE_CHECKING:
    from orchestrator.model.facts import Fact
    from orchestrator.model.journal import Record


_READS_FAIL = 0.3
_SLOW_S = (0.05, 1.0)


class SimStore(SqliteStore):
    """SQLite itself; in front of each write stand the fates, behind it the judge."""

    def __init__(self, world: World, death: Death) -> None:
        self._world = world
        self._death = death
        super().__init__(
            world.folder / "orchestrator.db", sync="normal", checkpoint_s=0,
            installation_id=INSTALLATION,
        )  # fmt: skip

    def _fail(self, what: str) -> None:
        self._death.check()
        if self._world.inside("store_fails"):
            raise StoreError(f"disk full ({what})")

    def _maybe_die(self, when: str) -> None:
        if self._world.fates.strikes("crash_at_write"):
            self._death.strike(f"killed {when} a write")

    def append(self, records: Sequence[Record], facts: Sequence[Fact]) -> None:
        self._fail("append")
        self._maybe_die("before")
        self._dawdle()
        super().append(records, facts)
        self._world.judge.durable(records, facts)
        self._maybe_die("after")

    def _dawdle(self) -> None:
        """The loop waits for the disk."""
        if self._world.fates.strikes("store_slow"):
            self._world.loop.block(self._world.fates.dice("store_slow").uniform(*_SLOW_S))

    def hear_the_rest(self) -> None:
        """What was committed right before the end, so that nobody was told of it."""
        rest = list(self.facts_after(self._world.judge.standing.last_seq))
        self._world.judge.durable([record for record, _ in rest], [fact for _, fact in rest])

    def _append(
        self, db: sqlite3.Connection, records: Sequence[Record], facts: Sequence[Fact]
    ) -> None:
        """The database may do it, or not, and report a failure all the same."""
        doubtful = self._world.fates.strikes("store_doubt")
        if not doubtful or self._world.fates.dice("store_doubt").random() < 1 / 2:
            super()._append(db, records, facts)
        if doubtful:
            raise sqlite3.OperationalError("disk I/O error")

    def save_snapshot(self, seq: int, state: bytes) -> None:
        self._fail("snapshot")
        self._maybe_die("before")
        super().save_snapshot(seq, state)

    def next_epoch(self, above: int = 0) -> int:
        self._fail("epoch")
        return super().next_epoch(above)

    def signal_seen(self, signal_id: str) -> bool:
        # A disk that cannot be written can mostly be read.
        if self._world.fates.dice("store_fails").random() < _READS_FAIL:
            self._fail("signal")
        return super().signal_seen(signal_id)


class SimGate(Gate):
    """The word and the latch of the state folder."""

    def __init__(self, world: World, death: Death) -> None:
        self._world = world
        self._death = death
        super().__init__(world.folder)

    def close(self) -> None:
        self._death.check()
        super().close()

    def latch(self, latch: Latch) -> None:
        self._death.check()
        if self._world.inside("latch_fails"):
            raise OSError("no space left on device")
        self._maybe_die("before")
        super().latch(latch)
        self._maybe_die("after")

    def reopen(self, stop_id: str) -> bool:
        self._death.check()
        self._maybe_die("before")
        reopened = super().reopen(stop_id)
        self._maybe_die("after")
        return reopened

    def _maybe_die(self, when: str) -> None:
        if self._world.fates.strikes("crash_at_write"):
            self._death.strike(f"killed {when} a write of the latch")


class NoMarketStore:
    """Meets `MarketData`: what was quoted is not what is judged."""

    def write_ticks(self, ticks: Sequence[Tick]) -> None:
        """Forgotten."""

    def write_candles(self, candles: Sequence[Candle]) -> None:
        """Forgotten."""

    def write_outcomes(self, outcomes: Sequence[TradeOutcome]) -> None:
        """Forgotten."""

    def condition(self) -> MarketCondition:
        """Well, always."""
        return MarketCondition()

    def ticks(
        self, instrument: str, since_ns: Instant, until_ns: Instant, limit: int = 100_000
    ) -> list[Tick]:
        """None are kept."""
        del instrument, since_ns, until_ns, limit
        return []

    def candles(
        self,
        instrument: str,
        granularity: str,
        since_ns: Instant,
        until_ns: Instant,
        limit: int = 100_000,
    ) -> list[Candle]:
        """None are kept."""
        del instrument, granularity, since_ns, until_ns, limit
        return []

    def outcomes(self, since_ns: Instant = 0, limit: int = 100_000) -> list[TradeOutcome]:
        """None are kept."""
        del since_ns, limit
        return []

    def spans(self) -> list[MarketSpan]:
        """Of nothing."""
        return []

    def close(self) -> None:
        """Nothing is open."""
