"""Real sockets beside a virtual-time loop: a thread with a loop of its own; lines cross in queues.

What links bring waits in one inbox, in order, until `work` is called in the virtual loop's thread.
So nobody there is ever called from another thread, and nothing happens unless somebody waits.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from orchestrator.model.links import AgentLink, LinkEnd, LinkHost, OpenLink, Peer, ProcessLinks

T = TypeVar("T")

LoopFactory = Callable[[], asyncio.AbstractEventLoop] | None

_START_S = 10.0
_END_S = 5.0
_LAST_WORDS_S = 0.1


class RealTime:
    """The thread. Begun by `start`, ended by `close`; a host's failure comes out of `work`."""

    def __init__(self, loop_factory: LoopFactory = None) -> None:
        self._factory = loop_factory
        self._in: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._out: deque[tuple[AgentLink, bytes | None]] = deque()
        self._woken = False
        self._began = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._open: OpenLink | None = None
        self._thread: threading.Thread | None = None

    # -- in the thread of whoever owns it -------------------------------------------------------

    def start(self, hosts: Callable[[], Sequence[LinkHost]], opened: OpenLink) -> None:
        """`hosts` are made in the thread; `opened` and its ends are called by `work` only."""
        self._open = opened
        self._thread = threading.Thread(target=self._run, args=(hosts,), name="links", daemon=True)
        self._thread.start()
        if not self._began.wait(_START_S):
            raise TimeoutError("the thread of agents' links does not begin")

    def work(self, wait_s: float = 0.0) -> bool:
        """Hear what has come, in order; waits at most so long for the first. Whether any had."""
        try:
            item = self._in.get(timeout=wait_s) if wait_s > 0 else self._in.get_nowait()
        except queue.Empty:
            return False
        while True:
            item()
            try:
                item = self._in.get_nowait()
            except queue.Empty:
                return True

    def ask(self, what: Coroutine[Any, Any, T], within_s: float = _START_S) -> T:
        """What a coroutine gives that runs in the thread's loop."""
        assert self._loop is not None, "it was started"
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(within_s)

    def pairs(self, links: ProcessLinks) -> ProcessLinks:
        """The same, with their ends in the thread."""
        return _Pairs(self, links)

    def close(self) -> None:
        """What was sent goes out; then all links end. Idempotent."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = None
        try:
            loop.call_soon_threadsafe(self._end)
        except RuntimeError:
            return  # it ended before
        thread.join(_END_S)

    def send(self, link: AgentLink, line: bytes | None) -> None:
        """A line for a link of the thread's; None closes it. In order."""
        loop = self._loop
        if loop is None:
            return
        self._out.append((link, line))
        if not self._woken:
            self._woken = True
            try:
                loop.call_soon_threadsafe(self._flush)
            except RuntimeError:
                self._loop = None  # it has ended; why, comes out of `work`

    # -- in the thread --------------------------------------------------------------------------

    def _run(self, hosts: Callable[[], Sequence[LinkHost]]) -> None:
        try:
            with asyncio.Runner(loop_factory=self._factory) as runner:
                runner.run(self._serve(hosts))
        except BaseException as exc:  # noqa: BLE001 -- supervisor: told to whoever waits
            self._in.put(partial(_raise, exc))
        finally:
            self._began.set()

    async def _serve(self, hosts: Callable[[], Sequence[LinkHost]]) -> None:
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._began.set()
        async with asyncio.TaskGroup() as tasks:
            serving = [tasks.create_task(host.run(self.opened), name="door") for host in hosts()]
            await self._over.wait()
            await asyncio.sleep(_LAST_WORDS_S)
            for each in serving:
                each.cancel()

    def _end(self) -> None:
        self._flush()
        if self._over is not None:
            self._over.set()

    def _flush(self) -> None:
        self._woken = False
        while self._out:
            link, line = self._out.popleft()
            # Who does not take a line has lost it: the link's end tells the other side.
            if line is None or not link.send(line):
                link.close()

    def opened(self, link: AgentLink) -> LinkEnd:
        """A link came up there."""
        near = _Near(self, link)
        self._in.put(partial(self._meet, near))
        return _Far(self._in, near)

    def _meet(self, near: _Near) -> None:
        assert self._open is not None, "it was started"
        near.end = self._open(near)


class _Near:
    """A link as the virtual loop's side has it."""

    def __init__(self, real_time: RealTime, link: AgentLink) -> None:
        self._real_time = real_time
        self._link = link
        self._peer, self._where = link.peer, link.where
        self._gone = False
        self.end: LinkEnd | None = None

    @property
    def peer(self) -> Peer | None:
        return self._peer

    @property
    def where(self) -> str:
        return self._where

    def send(self, line: bytes) -> bool:
        if not self._gone:
            self._real_time.send(self._link, line)
        return not self._gone

    def close(self) -> None:
        self._real_time.send(self._link, None)

    def took(self, line: bytes) -> None:
        if self.end is not None:
            self.end.took(line)

    def gone(self, why: str) -> None:
        self._gone = True
        end, self.end = self.end, None
        if end is not None:
            end.gone(why)


class _Far:
    """Hears a link in the thread, and passes on what comes."""

    def __init__(self, inbox: queue.SimpleQueue[Callable[[], None]], near: _Near) -> None:
        self._in = inbox
        self._near = near

    def took(self, line: bytes) -> None:
        self._in.put(partial(self._near.took, line))

    def gone(self, why: str) -> None:
        self._in.put(partial(self._near.gone, why))


class _Pairs:
    """`ProcessLinks` whose ends live in the thread; `pair` never suspends."""

    def __init__(self, real_time: RealTime, links: ProcessLinks) -> None:
        self._real_time = real_time
        self._links = links

    async def pair(self, peer: Peer, opened: OpenLink) -> int:
        _ = opened  # the one that was given to `start`
        return self._real_time.ask(self._links.pair(peer, self._real_time.opened))


def at_once(what: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        what.send(None)
    except StopIteration as ended:
        return ended.value
    what.close()
    raise AssertionError("it suspends, and nobody is there to wake it")


def _raise(exc: BaseException) -> None:
    raise exc
