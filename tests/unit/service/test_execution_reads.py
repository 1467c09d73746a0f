"""The kernel's host: reads of the venue asked once, each at its time; one instant a decision."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.kernel.engine import Step
from orchestrator.model.acts import (
    FetchAccount,
    FetchTransactions,
)
from orchestrator.model.errors import VenueSilent
from orchestrator.model.events import (
    ReadFailed,
    StartTrading,
    TransactionsSeen,
)
from orchestrator.model.orders import Answered, Unknown
from orchestrator.model.time import MINUTE_NS
from orchestrator.service.virtual import run_virtual
from tests.unit.service.engine_parts import Bench, fact
from tests.unit.service.parts import START_NS, A, Watcher

START = StartTrading(actor="anna")


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


# -- reads ------------------------------------------------------------------------------------


class Reader:
    def __init__(self) -> None:
        self.asked: list[object] = []
        self.trouble: Exception | None = None
        self.held = asyncio.Event()

    async def transactions_since(self, _, since):
        self.asked.append(since)
        await self.held.wait()
        if self.trouble is not None:
            raise self.trouble
        return (), since + 5

    async def account(self, account_id):
        self.asked.append(account_id)
        await self.held.wait()
        raise VenueSilent("no answer")


def _with_reader(bench: Bench, story) -> None:
    async def main() -> None:
        reader = bench.engine._reads._reader = Reader()
        async with asyncio.TaskGroup() as tasks:
            bench.engine.attach(tasks)
            await story(reader)

    run_virtual(main())


def _fetch(since: int, after_ms: int = 0) -> FetchTransactions:
    return FetchTransactions(account_id=A, since=since, after_ms=after_ms)


def test_a_read_comes_back_as_complete_up_to_what_the_venue_said(bench):
    async def story(reader: Reader) -> None:
        reader.held.set()
        bench.engine.fetch(_fetch(7))

    _with_reader(bench, story)
    (seen,) = bench.kernel.heard
    assert isinstance(seen, TransactionsSeen)
    assert (seen.source, seen.complete_to, seen.last_transaction_id) == ("gap_fill", 12, 12)


def test_a_read_that_is_covered_by_one_under_way_is_not_asked_twice(bench):
    async def story(reader: Reader) -> None:
        for since in (7, 7, 9, 3):
            bench.engine.fetch(_fetch(since))
        await asyncio.sleep(0.01)
        assert reader.asked == [7, 3]
        reader.held.set()
        await asyncio.sleep(0.01)
        bench.engine.fetch(_fetch(9))
        await asyncio.sleep(0.01)
        assert reader.asked == [7, 3, 9]

    _with_reader(bench, story)


def test_a_failed_read_is_said_and_may_be_asked_again(bench):
    async def story(reader: Reader) -> None:
        reader.held.set()
        reader.trouble = VenueSilent("cut")
        bench.engine.fetch(_fetch(7))
        await asyncio.sleep(0.01)
        bench.say(StartTrading, acts=(FetchAccount(account_id=A),))
        bench.engine.handle(START)
        await asyncio.sleep(0.01)
        bench.engine.fetch(_fetch(7))

    _with_reader(bench, story)
    failed = [e for e in bench.kernel.heard if isinstance(e, ReadFailed)]
    assert [e.reason for e in failed] == ["cut", "no answer", "cut"]


def test_a_read_that_only_waits_its_turn_does_not_hold_up_one_that_is_due_now(bench):
    async def story(reader: Reader) -> None:
        reader.held.set()
        bench.engine.fetch(_fetch(7, after_ms=5_000))
        await asyncio.sleep(0.1)
        bench.engine.fetch(_fetch(7))
        await asyncio.sleep(0.1)
        assert reader.asked == [7]

    _with_reader(bench, story)


def test_after_the_close_no_read_is_begun(bench):
    async def story(reader: Reader) -> None:
        bench.engine.close()
        bench.engine.fetch(_fetch(7))
        await asyncio.sleep(0.1)
        assert reader.asked == []

    _with_reader(bench, story)


# -- time -------------------------------------------------------------------------------------


def test_what_is_decided_and_what_is_recorded_carry_one_instant(bench):
    def slow(_: object) -> Step:
        bench.clock.on(1.0)
        return Step((fact("a"),), ())

    bench.script(StartTrading, slow)
    began = bench.clock.now()
    bench.engine.handle(START)
    assert bench.store.rows[0].ts == began
    assert START_NS < began < START_NS + 60 * MINUTE_NS
    assert (bench.store.rows[0].epoch, bench.store.rows[0].node) == (3, "n")


def test_an_answers_transactions_go_through_the_one_door(bench):
    from orchestrator.model.venue import Transaction

    made = Transaction(id="9", type="ORDER_CANCEL", account_id=A)
    bench.engine.venue_said(A, Answered(status=200, transactions=(made,), last_transaction_id=9))
    bench.engine.venue_said(A, Unknown(reason="cut"))
    (seen,) = bench.kernel.heard
    assert isinstance(seen, TransactionsSeen)
    assert (seen.transactions, seen.source, seen.complete_to) == ((made,), "answer", 0)


def test_a_crash_loop_is_an_alert_and_an_orderly_end_is_none(bench):
    agent_id = bench.agents.register(Watcher)
    bench.agents.bring_up(())
    seat = bench.agents._seats[agent_id]
    bench.agents.move(seat, "stopped", "crash loop: ended by signal 9")
    assert [alert.title for alert in bench.alerts] == [f"Agent {agent_id} is stopped"]
    bench.agents.move(seat, "stopped", "shutdown")
    assert len(bench.alerts) == 1
