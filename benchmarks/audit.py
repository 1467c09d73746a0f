"""The audit trail: how fast a chain verifies, beside reading and hashing alone; checkpoints."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from benchmarks.figures import Row, Section, spread
from orchestrator.adapters.store.archive import read_lines, write_lines
from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.adapters.store.trail import TrailReader
from orchestrator.adapters.trail.book import CheckpointFile
from orchestrator.kernel.audit import AuditChain, Links, first_prev
from orchestrator.model.checkpoint import Checkpoint
from orchestrator.model.facts import ChecksDecided, Fact
from orchestrator.model.money import AccountId
from orchestrator.model.time import NS_PER_S

_RECORDS = 100_000
_BATCH = 500
_MUST = 50_000
_CHECKPOINTS = 400


def run(quick: bool) -> Section:
    """Records of the size that a trading service writes most."""
    count = _RECORDS // 4 if quick else _RECORDS
    with tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as name:
        folder = Path(name)
        path = folder / "orchestrator.db"
        _fill(path, count)
        floor = _rate(count, lambda: _read_and_hash(path))
        store = _rate(count, lambda: _verify_store(path))
        export = folder / "trail.jsonl"
        with closing(TrailReader(path)) as trail:
            write_lines(export, trail.records())
        lines = _rate(count, lambda: _verify_export(export))
        made = _checkpoints(folder, _CHECKPOINTS // (4 if quick else 1))
    return Section(
        title="Audit trail",
        rows=(
            Row(name="floor: read and SHA-256 alone", value=f"{floor:,.0f}/s"),
            _row("audit verify, the store", store, floor),
            _row("audit verify --jsonl", lines, floor),
            Row(name="a checkpoint: signed, appended, flushed", spread=spread(made)),
        ),
        notes=(f"{count:,} records; one process, no progress bar",),
    )


def _row(name: str, rate: float, floor: float) -> Row:
    return Row(
        name=name, value=f"{rate:,.0f}/s", floor=f"{floor / rate:.1f} x its time",
        must=f">= {_MUST:,}/s", must_met=rate >= _MUST,
    )  # fmt: skip


def _fill(path: Path, count: int) -> None:
    store = SqliteStore(path, sync="normal", checkpoint_s=0, installation_id="bench")
    chain = AuditChain("bench")
    for start in range(0, count, _BATCH):
        facts: list[Fact] = [
            ChecksDecided(
                signal_id=f"signal-{number}", account_id=AccountId("101-001-1000001-001"),
                passed=True, checks=tuple(f"C{n:02d}" for n in range(1, 21)), objections=(),
            )
            for number in range(start, start + _BATCH)
        ]  # fmt: skip
        records = chain.link(facts, ts=start, node="bench", epoch=1)
        store.append(records, facts)
        chain.advance(records)
    store.close()


def _rate(count: int, work: Callable[[], int]) -> float:
    """The best of three: what else the machine does is not meant."""
    best = 0.0
    for _ in range(3):
        began = time.perf_counter()
        assert work() == count, "not all records were seen"
        best = max(best, count / (time.perf_counter() - began))
    return best


def _read_and_hash(path: Path) -> int:
    seen = 0
    with closing(sqlite3.connect(path)) as db:
        for (data,) in db.execute("SELECT CAST(data AS BLOB) FROM journal ORDER BY seq"):
            hashlib.sha256(data).digest()
            seen += 1
    return seen


def _verify_store(path: Path) -> int:
    links = Links(first_prev("bench"))
    with closing(TrailReader(path)) as trail:
        for record in trail.records():
            assert links.take(record) is None
    return links.seq - 1


def _verify_export(path: Path) -> int:
    links = Links(first_prev("bench"))
    for record in read_lines(path):
        assert links.take(record) is None
    return links.seq - 1


def _checkpoints(folder: Path, count: int) -> list[int]:
    book = CheckpointFile(folder)
    checkpoint = Checkpoint(origin="bench", seq=1, head="00" * 32, at_ns=NS_PER_S, why="asked")
    book.write(checkpoint)  # makes the key
    took: list[int] = []
    for _ in range(count):
        began = time.perf_counter_ns()
        book.write(checkpoint)
        took.append(time.perf_counter_ns() - began)
    return took
