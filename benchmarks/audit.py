"""The audit trail: how fast a chain verifies, beside reading and hashing alone; checkpoints."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.figures import Row, Section, spread
from orchestrator.adapters.store.archive import read_lines, write_lines
from orchestrator.adapters.store.postgres import PostgresStore
from orchestrator.adapters.store.postgres_connection import driver
from orchestrator.adapters.store.postgres_trail import PostgresTrail
from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.adapters.store.trail import TrailReader, TrailSource
from orchestrator.adapters.trail.book import CheckpointFile
from orchestrator.kernel.audit import AuditChain, Links, first_prev
from orchestrator.model.checkpoint import Checkpoint
from orchestrator.model.facts import ChecksDecided, Fact
from orchestrator.model.money import AccountId
from orchestrator.model.time import NS_PER_S
from tests.servers.postgres import PostgresServer, in_thread

_RECORDS = 100_000
_BATCH = 500
_MUST = 50_000
_CHECKPOINTS = 400
_TURNS = 4
_ROWS = """SELECT seq, ts, node, epoch, type, subject, corr, actor, convert_to(data, 'UTF8'), prev,
hash FROM journal WHERE seq > $1 ORDER BY seq LIMIT 2000"""


def run(quick: bool) -> Section:
    """Records of the size that a trading service writes most."""
    count = _RECORDS // 4 if quick else _RECORDS
    with tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as name:
        folder = Path(name)
        rows = [*_on_sqlite(folder, count), *_on_postgres(count)]
        made = _checkpoints(folder, _CHECKPOINTS // (4 if quick else 1))
    return Section(
        title="Audit trail",
        rows=(*rows, Row(name="a checkpoint: signed, appended, flushed", spread=spread(made))),
        notes=(
            f"{count:,} records; by turns with the floor, the best of {_TURNS}; no progress bar",
        ),
    )


def _on_sqlite(folder: Path, count: int) -> Iterator[Row]:
    path, export = folder / "orchestrator.db", folder / "trail.jsonl"
    _fill(SqliteStore(path, sync="normal", checkpoint_s=0, installation_id="bench"), count)
    with closing(TrailReader(path)) as trail:
        write_lines(export, trail.records())
    floor, store, lines = _rates(
        count, lambda: _read_and_hash(path), lambda: _verified(TrailReader(path)),
        lambda: _verify_export(export),
    )  # fmt: skip
    yield Row(name="floor: SQLite, read and SHA-256 alone", value=f"{floor:,.0f}/s")
    yield _row("audit verify, SQLite", store, floor)
    yield _row("audit verify --jsonl", lines, floor)


def _on_postgres(count: int) -> Iterator[Row]:
    with PostgresServer() as server:
        url = server.create()
        _fill(PostgresStore(url, installation_id="bench"), count)
        floor, store = _rates(
            count, lambda: in_thread(lambda: _fetch_and_hash(url)),
            lambda: _verified(PostgresTrail(lambda: url)),
        )  # fmt: skip
    yield Row(name="floor: PostgreSQL, fetch and SHA-256 alone", value=f"{floor:,.0f}/s")
    yield _row("audit verify, PostgreSQL", store, floor)


def _row(name: str, rate: float, floor: float) -> Row:
    return Row(
        name=name, value=f"{rate:,.0f}/s", floor=f"{floor / rate:.1f} x its time",
        must=f">= {_MUST:,}/s", must_met=rate >= _MUST,
    )  # fmt: skip


def _fill(store: SqliteStore | PostgresStore, count: int) -> None:
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


def _rates(count: int, *works: Callable[[], int]) -> list[float]:
    """The best of some turns of each: what else the machine does is not meant."""
    best = [0.0] * len(works)
    for _ in range(_TURNS):
        for at, work in enumerate(works):
            began = time.perf_counter()
            assert work() == count, "not all records were seen"
            best[at] = max(best[at], count / (time.perf_counter() - began))
    return best


def _read_and_hash(path: Path) -> int:
    seen = 0
    with closing(sqlite3.connect(path)) as db:
        for (data,) in db.execute("SELECT CAST(data AS BLOB) FROM journal ORDER BY seq"):
            hashlib.sha256(data).digest()
            seen += 1
    return seen


async def _fetch_and_hash(url: str) -> int:
    connection: Any = await driver().connect(url, ssl=False)
    seen = 0
    while rows := await connection.fetch(_ROWS, seen):
        for row in rows:
            hashlib.sha256(row[8]).digest()
        seen = rows[-1][0]
    await connection.close()
    return seen


def _verified(source: TrailSource) -> int:
    links = Links(first_prev("bench"))
    with closing(source) as trail:
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
