"""Links of a thread, heard in another: in order, when asked, and with the thread's failures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from orchestrator.model.links import AgentLink, LinkEnd, OpenLink
from orchestrator.service.real_time import RealTime, at_once


class Echo:
    """A host with one link, which sends back what it is sent, and is gone at "end"."""

    peer = None
    where = "remote"

    def __init__(self) -> None:
        self._end: LinkEnd | None = None
        self.thread = 0
        self.closed = threading.Event()

    async def run(self, opened: OpenLink) -> None:
        self.thread = threading.get_ident()
        self._end = opened(self)
        await asyncio.Event().wait()

    def send(self, line: bytes) -> bool:
        assert self._end is not None
        if line == b"end":
            return False
        self._end.took(line + b"!")
        return True

    def close(self) -> None:
        self.closed.set()
        if self._end is not None:
            self._end.gone("closed")


class Ear:
    """The other side, with what it heard and in which thread."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.threads: set[int] = set()
        self.link: AgentLink | None = None

    def opened(self, link: AgentLink) -> LinkEnd:
        self.link = link
        return self

    def took(self, line: bytes) -> None:
        self.threads.add(threading.get_ident())
        self.heard.append(line.decode())

    def gone(self, why: str) -> None:
        self.heard.append(f"gone: {why}")


@pytest.fixture
def real_time() -> Iterator[RealTime]:
    made = RealTime()
    yield made
    made.close()


def _until(real_time: RealTime, ear: Ear, count: int) -> None:
    for _ in range(200):
        if len(ear.heard) >= count and ear.link is not None:
            return
        real_time.work(0.1)
    raise AssertionError(f"heard only {ear.heard}")


def test_lines_cross_in_order_and_are_heard_in_the_thread_that_works(real_time: RealTime):
    echo, ear = Echo(), Ear()
    real_time.start(lambda: [echo], ear.opened)
    _until(real_time, ear, 0)
    assert ear.link is not None
    for number in range(500):
        assert ear.link.send(b"%d" % number)
    _until(real_time, ear, 500)
    assert ear.heard == [f"{number}!" for number in range(500)]
    assert ear.threads == {threading.get_ident()}
    assert echo.thread not in {0, threading.get_ident()}


def test_a_line_that_is_not_taken_closes_the_link_and_nothing_more_is_sent(real_time: RealTime):
    echo, ear = Echo(), Ear()
    real_time.start(lambda: [echo], ear.opened)
    _until(real_time, ear, 0)
    assert ear.link is not None
    assert ear.link.send(b"end")
    _until(real_time, ear, 1)
    assert ear.heard == ["gone: closed"]
    assert not ear.link.send(b"more")


def test_what_was_sent_last_goes_out_before_the_end():
    real_time, echo, ear = RealTime(), Echo(), Ear()
    real_time.start(lambda: [echo], ear.opened)
    _until(real_time, ear, 0)
    assert ear.link is not None
    ear.link.close()
    real_time.close()
    assert echo.closed.is_set()
    real_time.close()
    ear.link.send(b"into the void")


def test_the_failure_of_a_host_comes_out_of_work(real_time: RealTime):
    class Bad(Echo):
        async def run(self, opened: OpenLink) -> None:
            opened(self)
            raise OSError("the door is shut")

    real_time.start(lambda: [Bad()], Ear().opened)
    with pytest.raises(BaseExceptionGroup) as caught:
        _until(real_time, Ear(), 1)
    assert caught.group_contains(OSError, match="the door is shut")


def test_a_coroutine_that_never_suspends_is_run_at_once_and_another_is_refused():
    async def quick() -> int:
        return 7

    async def slow() -> None:
        await asyncio.sleep(0)

    assert at_once(quick()) == 7
    with pytest.raises(AssertionError, match="it suspends"):
        at_once(slow())
