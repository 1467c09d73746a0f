"""What is promised over a store beside the loop: the gate's lean, answers, snapshots, the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from orchestrator.kernel.engine import Step
from orchestrator.model.errors import StoreError
from orchestrator.model.events import (
    Noted,
    StartTrading,
    StopTrading,
)
from tests.unit.service.engine_parts import HandStore, fact, send
from tests.unit.service.soon_parts import START, STOP, HandBench


@pytest.fixture
def bench(tmp_path):
    return HandBench(tmp_path, HandStore)


# -- the gate -------------------------------------------------------------------------------


def test_an_order_does_not_lean_on_a_change_that_is_not_written_down(bench):
    """A reset that a crash would take back has opened nothing (INV-07)."""
    bench.say(StartTrading, fact("intent"), acts=(send(),))
    bench.engine.handle(START)
    bench.store.answer()
    _, gate, _ = bench.writer.taken[0]
    assert gate() is None

    def reset(_: object) -> Step:
        bench.kernel.generation += 1
        return Step((fact("reset"),), ())

    bench.script(StopTrading, reset)
    bench.engine.handle(STOP)
    assert "not written down" in gate()
    bench.store.answer()
    assert gate() is None


def test_the_generation_is_durable_with_the_last_fact_of_its_turn(bench):
    def moves(event: Noted) -> Step:
        bench.kernel.generation += 1
        return Step((fact(event.text),), ())

    bench.script(Noted, moves)
    for text in "abc":
        bench.engine.handle(Noted(actor="a", action="x", text=text))
    assert bench.engine._journal.generation == 0
    bench.store.answer()
    assert bench.engine._journal.generation == 1
    bench.store.answer()
    assert bench.engine._journal.generation == 3


def _run(story: Callable[[asyncio.TaskGroup], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.TaskGroup() as tasks:
            await story(tasks)

    asyncio.run(within())


# -- promises -------------------------------------------------------------------------------


def test_a_promise_waits_for_its_own_facts_and_for_no_later_ones(bench):
    async def story(tasks: asyncio.TaskGroup) -> None:
        bench.noted("mine")
        promise = tasks.create_task(bench.engine.settled(30.0))
        await asyncio.sleep(0)
        bench.noted("later")
        assert not promise.done()
        bench.store.answer()
        assert await promise
        assert not bench.engine.durable
        assert len(bench.engine._promises) == 0

    _run(story)


def test_a_promise_is_broken_when_the_store_fails_and_when_it_is_silent(bench):
    async def story(tasks: asyncio.TaskGroup) -> None:
        bench.noted("a")
        promise = tasks.create_task(bench.engine.settled(30.0))
        await asyncio.sleep(0)
        bench.store.answer(StoreError("away"))
        assert not await promise
        bench.engine.retry_commit()
        bench.store.answer()
        bench.noted("b")
        assert not await bench.engine.settled(0.01)
        assert len(bench.engine._promises) == 0
        bench.store.answer()
        assert await bench.engine.settled(0.01)

    _run(story)


def test_somebody_who_goes_away_leaves_nothing_behind(bench):
    async def story(tasks: asyncio.TaskGroup) -> None:
        bench.noted("a")
        promise = tasks.create_task(bench.engine.settled(30.0))
        await asyncio.sleep(0)
        promise.cancel()
        with pytest.raises(asyncio.CancelledError):
            await promise
        assert len(bench.engine._promises) == 0
        bench.store.answer()
        assert bench.said() == ["a"]

    _run(story)


def test_a_new_epoch_is_fetched_beside_the_loop(bench):
    threads: list[str] = []

    def next_epoch(above: int = 0) -> int:
        threads.append(threading.current_thread().name)
        return above + 1

    bench.store.next_epoch = next_epoch
    assert asyncio.run(bench.engine.new_epoch(6)) == 7
    assert threads != [threading.current_thread().name]


# -- snapshots ------------------------------------------------------------------------------


def test_a_snapshot_is_of_the_moment_it_was_wanted_and_saved_once_its_facts_are(bench):
    bench.noted("a", "b")
    bench.engine.maybe_snapshot(force=True)
    bench.noted("c")
    assert bench.store.photos == []
    bench.store.answer()
    assert bench.store.photos == []
    bench.store.answer()
    ((seq, state, done),) = bench.store.photos
    assert (seq, state) == (2, b"2")
    done(None)
    bench.engine.maybe_snapshot()
    assert len(bench.store.photos) == 1


def test_one_snapshot_at_a_time_and_a_failed_one_is_no_trouble(bench):
    bench.noted("a")
    bench.store.answer()
    bench.engine.maybe_snapshot(force=True)
    bench.engine.maybe_snapshot(force=True)
    assert len(bench.store.photos) == 1
    bench.store.photos.pop()[2](StoreError("full"))
    assert bench.engine.storing
    bench.engine.maybe_snapshot(force=True)
    assert len(bench.store.photos) == 1


def test_at_the_end_what_is_in_hand_is_waited_for(bench):
    async def story(tasks: asyncio.TaskGroup) -> None:
        bench.noted("a")
        bench.engine.maybe_snapshot(force=True)
        away = tasks.create_task(bench.engine.put_away(30.0))
        await asyncio.sleep(0)
        bench.store.answer()
        await asyncio.sleep(0)
        assert not away.done()
        bench.store.photos.pop()[2](None)
        assert await away

    _run(story)
