"""The driver's own thread: hands over, waits with a bound, ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from orchestrator.adapters.store.loop_thread import LoopThread
from orchestrator.model.errors import StoreError


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    made = LoopThread("driver")
    yield made
    made.close()


async def answer() -> str:
    return threading.current_thread().name


async def never() -> None:
    await asyncio.Event().wait()


def test_work_is_done_in_the_thread(thread: LoopThread) -> None:
    assert thread.call(answer, 10) == "driver"


def test_what_never_ends_is_given_up(thread: LoopThread) -> None:
    with pytest.raises(StoreError, match=r"did not answer within 0\.1 s"):
        thread.call(never, 0.1)
    assert thread.call(answer, 10) == "driver"


def test_an_error_of_the_work_is_the_callers(thread: LoopThread) -> None:
    async def breaks() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        thread.call(breaks, 10)


def test_the_end_cancels_what_runs(thread: LoopThread) -> None:
    thread.call(answer, 10)
    waiting = thread.start(never)
    thread.close()
    thread.close()
    assert waiting.cancelled()
    assert "driver" not in {each.name for each in threading.enumerate()}
    with pytest.raises(StoreError, match="closed"):
        thread.call(answer, 1)
