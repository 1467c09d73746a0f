"""The journal on PostgreSQL: what a durable append costs, beside a bare commit on the same server.

The floor is asyncpg alone: one prepared INSERT of rows of 340 bytes, committed with
synchronous_commit=on. 'Far' is the same through a wire on which each answer is a millisecond late.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.figures import Row, Section, spread
from orchestrator.adapters.store.loop_thread import LoopThread
from orchestrator.adapters.store.postgres import PostgresStore
from orchestrator.adapters.store.postgres_connection import driver
from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.kernel.audit import AuditChain
from orchestrator.model.errors import StoreError
from orchestrator.model.facts import ChecksDecided, Fact, IntentWritten, SignalAccepted
from orchestrator.model.journal import Record
from orchestrator.model.money import AccountId, InstrumentName, Price, Units
from orchestrator.model.orders import Intent, Reservation
from orchestrator.model.signals import Proposal, Side, Signal
from tests.servers.postgres import PostgresServer, in_thread
from tests.servers.wire import Wire
from tests.unit.adapters.store import samples

_COUNT, _WARM = 1_500, 50
_ROW = b"x" * 340
_ACCOUNT = AccountId("101-001-1000001-001")
_EUR_USD = InstrumentName("EUR_USD")
_PATHS = 4  # signals whose whole way goes together, 12 facts each: what a busy service appends
_ROWS = _PATHS * 12
_LATE_S = 0.001

Batch = tuple[Sequence[Record], Sequence[Fact]]


def run(quick: bool) -> Section:
    """On a server of its own, flushing to the disk, which ends with this."""
    count = _COUNT // 4 if quick else _COUNT
    with (
        tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as name,
        PostgresServer("fsync=on", "shared_buffers=64MB") as server,
        Wire(server.port, answer_late_s=_LATE_S) as wire,
    ):
        rows = list(_near(server.create(), count))
        far = server.create().replace(f":{server.port}/", f":{wire.port}/")
        rows += _appends(far, count // 4, "far, ")
        sqlite = SqliteStore(Path(name) / "orchestrator.db", installation_id="bench")
        beside = [_took(lambda b=b: sqlite.append(*b)) for b in _orders(None, count)][_WARM:]
        sqlite.close()
    late = f"{_LATE_S * 1e3:g} ms"
    return Section(
        title="Journal on PostgreSQL",
        rows=(*rows, Row(name="SQLite, flushed: a signal's way", spread=spread(beside))),
        notes=(
            "ours and its floor by turns; server, service and disk on this machine, over TCP",
            f"'far': through a wire on which each answer is {late} late",
        ),
    )


def _near(url: str, count: int) -> Iterator[Row]:
    yield from _appends(url, count, "")
    with closing(PostgresStore(url)) as store:
        soon, held = in_thread(lambda: _soon(store, _orders(store.last_record(), count)))
        yield Row(name="append_soon: a signal's way, until it is told", spread=spread(soon))
        yield Row(name="append_soon: how long it holds the loop", spread=spread(held))
        seen = [_took(lambda n=n: store.signal_seen(f"signal {n}")) for n in range(count)]
        yield Row(name="signal_seen", spread=spread(seen))


def _appends(url: str, count: int, where: str) -> Iterator[Row]:
    with closing(PostgresStore(url, installation_id="bench")) as store, closing(_Bare(url)) as bare:
        yield from _beside(bare, store, _notes(count), 1, f"{where}append: one record")
        way = _orders(store.last_record(), count)
        yield from _beside(bare, store, way, 3, f"{where}append: a signal's way to its intent")
        many = _paths(store.last_record(), count // 4)
        what = f"{where}append: {_ROWS} facts of {_PATHS} signals"
        yield from _beside(bare, store, many, _ROWS, what)


def _beside(
    bare: _Bare, store: PostgresStore, batches: Iterator[Batch], rows: int, what: str
) -> Iterator[Row]:
    """By turns, so that what else the machine does is the same for both."""
    took: list[int] = []
    floors: list[int] = []
    for batch in batches:
        floors.append(bare.insert(rows))
        took.append(_took(lambda b=batch: store.append(*b)))
    found, floor = spread(took[_WARM:]), spread(floors[_WARM:])
    assert found is not None
    assert floor is not None
    noun = "row" if rows == 1 else "rows"
    yield Row(name=f"  floor: bare asyncpg, {rows} {noun} in one insert", spread=floor)
    rate = f", {rows / found.p50 * 1e6:,.0f} facts/s" if rows == _ROWS else ""
    yield Row(name=what, spread=found, floor=f"{found.p50 / floor.p50:.1f} x its p50{rate}")


class _Bare:
    """Inserts rows of 340 bytes, each call one commit."""

    def __init__(self, url: str) -> None:
        self._thread = LoopThread("bare")
        self._next = 0
        self._insert = self._thread.call(lambda: self._prepared(url), 30)

    async def _prepared(self, url: str) -> Callable[..., Awaitable[object]]:
        connection: Any = await driver().connect(url, ssl=False)
        await connection.execute("CREATE TABLE bare (id BIGINT PRIMARY KEY, data BYTEA NOT NULL)")
        await connection.execute("SET synchronous_commit = on")
        insert = await connection.prepare(
            "INSERT INTO bare SELECT * FROM unnest(CAST($1 AS BIGINT[]), CAST($2 AS BYTEA[]))"
        )
        return insert.fetch

    def insert(self, rows: int) -> int:
        """How long it took."""
        given = list(range(self._next, self._next + rows)), [_ROW] * rows
        self._next += rows

        async def work() -> int:
            began = time.perf_counter_ns()
            await self._insert(*given)
            return time.perf_counter_ns() - began

        return self._thread.call(work, 30)

    def close(self) -> None:
        self._thread.close()


def _paths(last: Record | None, count: int) -> Iterator[Batch]:
    for number in range(count + _WARM):
        facts: list[Fact] = []
        for part in range(number * _PATHS, (number + 1) * _PATHS):
            facts += samples.path(f"path {part}", 10 * part + 1)
        records = samples.chained(facts, last)
        last = records[-1]
        yield records, facts


def _notes(count: int) -> Iterator[Batch]:
    chain = AuditChain("bench")
    for number in range(count + _WARM):
        yield _linked(chain, [_checks(f"note {number}")])


def _orders(last: Record | None, count: int) -> Iterator[Batch]:
    """What one turn of the kernel writes down before an order may leave."""
    chain = AuditChain("bench", last)
    for number in range(chain.seq, chain.seq + count + _WARM):
        signal = Signal(
            signal_id=f"signal {number}", strategy="trend", instrument=_EUR_USD, side=Side.BUY,
            reference_price=Price(Decimal("1.1")), stop_distance=Decimal("0.002"),
            confidence=Decimal("0.6"), created_ns=1,
        )  # fmt: skip
        yield _linked(
            chain,
            [
                SignalAccepted(signal=signal, accounts=(_ACCOUNT,)), _checks(signal.signal_id),
                IntentWritten(intent=_intent(signal)),
            ],
        )  # fmt: skip


def _checks(signal_id: str) -> Fact:
    return ChecksDecided(
        signal_id=signal_id, account_id=_ACCOUNT, passed=True, objections=(),
        checks=tuple(f"C{n:02d}" for n in range(1, 21)),
    )  # fmt: skip


def _intent(signal: Signal) -> Intent:
    return Intent(
        intent_id=f"tso-{signal.signal_id}", body='{"order":{}}', watermark=5, epoch=1,
        generation=3, checked_ns=1, expires_ns=2,
        proposal=Proposal(
            signal_id=signal.signal_id, account_id=_ACCOUNT, leg="1", strategy="trend",
            regime="trend_up", instrument=_EUR_USD, side=Side.BUY, units=Units(Decimal(1000)),
            reference_price=signal.reference_price, stop_price=Price(Decimal("1.098")),
            target_price=None, confidence=Decimal("0.6"), score=Decimal("0.7"), created_ns=1,
            expires_ns=2,
        ),
        reservation=Reservation(risk=Decimal(2), notional=Decimal(1100), margin=Decimal(22)),
    )  # fmt: skip


def _linked(chain: AuditChain, facts: list[Fact]) -> Batch:
    records = list(chain.link(facts, ts=1, node="bench", epoch=1))
    chain.advance(records)
    return records, facts


def _took(work: Callable[[], object]) -> int:
    began = time.perf_counter_ns()
    work()
    return time.perf_counter_ns() - began


async def _soon(store: PostgresStore, batches: Iterator[Batch]) -> tuple[list[int], list[int]]:
    """Until `done`, and what of it was in the loop's own thread."""
    took: list[int] = []
    held: list[int] = []
    loop = asyncio.get_running_loop()
    for records, facts in batches:
        answered: asyncio.Future[StoreError | None] = loop.create_future()
        began = time.perf_counter_ns()
        store.append_soon(records, facts, answered.set_result)
        held.append(time.perf_counter_ns() - began)
        error = await answered
        took.append(time.perf_counter_ns() - began)
        assert error is None, error
    return took[_WARM:], held[_WARM:]
