"""What a test wants to know of a service's store: read from a copy, by the product's own reader."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.kernel.audit import Broken, verify
from orchestrator.kernel.engine import Kernel
from orchestrator.main.audit import Trail
from orchestrator.main.parts import kernel_plan
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record
from orchestrator.settings import load_settings


class StoreCopy:
    """What a test wants to know of a store."""

    def __init__(self, store: SqliteStore, path: Path, environment: Mapping[str, str]) -> None:
        self._store = store
        self._path = path
        self._environment = environment

    def kernel(self, calendar: str) -> Kernel:
        """The kernel as a restart would find it: the last snapshot, and every fact after it."""
        settings = load_settings(env=self._environment, env_file=None)
        kernel = Kernel(kernel_plan(settings, calendar))
        saved, seq = self._store.load_snapshot(), 0
        if saved is not None:
            seq, state = saved
            kernel.restore(state)
        for record, fact in self._store.facts_after(seq):
            kernel.apply(fact, record.ts)
        return kernel

    def facts(self) -> list[tuple[Record, Fact]]:
        return list(self._store.facts_after(0))

    def broken(self) -> Broken | None:
        """Where the audit chain does not hold; None when it does."""
        return verify((r for r, _ in self._store.facts_after(0)), self._store.installation_id())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self._path)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


def first_difference(one: Path, other: Path) -> str:
    """Where the orders of two replays differ, by the product's own command; "" for nowhere."""
    report = Trail().compare(one, other)
    return "" if report.equal else report.text
