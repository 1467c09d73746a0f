"""The journal on PostgreSQL: what a durable append costs, beside a bare commit on the same server.

The floor is asyncpg alone: one prepared INSERT of 340 bytes, committed with synchronous_commit=on.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.figures import Row, Section, Spread, spread
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

_COUNT, _WARM = 3_000, 200
_ROW = b"x" * 340
_ACCOUNT = AccountId("101-001-1000001-001")
_EUR_USD = InstrumentName("EUR_USD")

Batch = tuple[list[Record], list[Fact]]


def run(quick: bool) -> Section:
    """On a server of its own, flushing to the disk, which ends with this."""
    count = _COUNT // 4 if quick else _COUNT
    with (
        tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as name,
        PostgresServer("fsync=on", "shared_buffers=64MB") as server,
    ):
        floor = spread(in_thread(lambda: _bare(server.create(), count)))
        assert floor is not None
        store = PostgresStore(server.create(), installation_id="bench")
        chain = AuditChain("bench")
        one = _timed(_notes(chain, count), store.append)
        order = _timed(_orders(chain, count), store.append)
        soon, held = in_thread(lambda: _soon(store, _orders(chain, count, "soon")))
        seen = [_took(lambda n=n: store.signal_seen(f"signal {n}")) for n in range(count)]
        store.close()
        sqlite = SqliteStore(Path(name) / "orchestrator.db", installation_id="bench")
        beside = _timed(_orders(AuditChain("bench"), count), sqlite.append)
        sqlite.close()
    return Section(
        title="Journal on PostgreSQL",
        rows=(
            Row(name="floor: bare asyncpg, one row committed", spread=floor),
            _row("append: one record", one, floor),
            _row("append: a signal's way to its intent", order, floor),
            _row("append_soon: the same, until it is told", soon, floor),
            Row(name="append_soon: how long it holds the loop", spread=spread(held)),
            Row(name="signal_seen", spread=spread(seen)),
            Row(name="SQLite, flushed: the same append", spread=spread(beside)),
        ),
        notes=("server, service and disk on this machine, over TCP",),
    )


def _row(name: str, took: Sequence[int], floor: Spread) -> Row:
    found = spread(took)
    assert found is not None
    return Row(name=name, spread=found, floor=f"{found.p50 / floor.p50:.1f} x its p50")


async def _bare(url: str, count: int) -> list[int]:
    connection: Any = await driver().connect(url, ssl=False)
    await connection.execute("CREATE TABLE bare (id BIGINT PRIMARY KEY, data BYTEA NOT NULL)")
    await connection.execute("SET synchronous_commit = on")
    insert = await connection.prepare("INSERT INTO bare VALUES ($1, $2)")
    took: list[int] = []
    for number in range(count + _WARM):
        began = time.perf_counter_ns()
        await insert.fetch(number, _ROW)
        took.append(time.perf_counter_ns() - began)
    await connection.close()
    return took[_WARM:]


def _notes(chain: AuditChain, count: int) -> Iterator[Batch]:
    for number in range(count + _WARM):
        yield _linked(chain, [_checks(f"note {number}")])


def _orders(chain: AuditChain, count: int, name: str = "signal") -> Iterator[Batch]:
    """What one turn of the kernel writes down before an order may leave."""
    for number in range(count + _WARM):
        signal = Signal(
            signal_id=f"{name} {number}", strategy="trend", instrument=_EUR_USD, side=Side.BUY,
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


def _timed(
    batches: Iterator[Batch], append: Callable[[list[Record], list[Fact]], None]
) -> list[int]:
    took = [_took(lambda b=batch: append(*b)) for batch in batches]
    return took[_WARM:]


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
