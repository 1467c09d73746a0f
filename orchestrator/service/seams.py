"""Where the outside's time and chance come in: the only file that may read clocks or dice."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import secrets
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from orchestrator.model.ports import VenueClock
from orchestrator.model.time import NS_PER_S, Instant

_AWAKE_OR_NOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def wall_ns() -> Instant:
    """UTC by the machine's wall clock, nanoseconds; for records and receipts only."""
    return time.time_ns()


def mono_ns() -> int:
    """The machine's monotonic clock, nanoseconds; for ages, time-outs and latencies."""
    return time.monotonic_ns()


def lease_ns() -> int:
    """Monotonic, and counts the time in which the machine was suspended, where it can (H2)."""
    return time.clock_gettime_ns(_AWAKE_OR_NOT)


def block_s(seconds: float) -> None:
    """Hold up the thread that calls, as a slow disk would; for armed failpoints only."""
    time.sleep(seconds)


def die() -> NoReturn:
    """`kill -9` of this very process: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody outlives SIGKILL")


def end_family(pid_file: str) -> None:
    """`kill -9` of the process whose id begins that file, and of its children: a server's death.

    OSError, ValueError when there is no such file or no id in it.
    """
    first = int(Path(pid_file).read_text().split(maxsplit=1)[0])
    family = [first, *children_of(first)]
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def children_of(pid: int) -> list[int]:
    """Processes that it has started and that live; [] where that is not to be known."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(word) for word in found]


def cpu_s() -> float:
    """Processor seconds that this process has used."""
    return time.process_time()


def new_id(prefix: str) -> str:
    """A fresh id, 16 hex digits of chance behind `prefix`."""
    return f"{prefix}-{os.urandom(8).hex()}"


def new_token() -> str:
    """A fresh bearer token, 256 bit."""
    return secrets.token_urlsafe(32)


def dice(seed: int) -> random.Random:
    """A seeded source of chance, for jitter."""
    return random.Random(seed)


def rss_mb_of(pid: int) -> int | None:
    """Resident memory of a process; None when that cannot be known."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000


def limit_this_process(memory_mb: int, nice: int) -> None:
    """Bounds of memory, of one file's length and of open files; lower priority. For ever."""
    for what, wanted in (
        (resource.RLIMIT_DATA, memory_mb * 1_000_000), (resource.RLIMIT_FSIZE, 16_000_000),
        (resource.RLIMIT_NOFILE, 256), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        _, most = resource.getrlimit(what)
        limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(what, (limit, limit))
    os.nice(nice)


class Machine:
    """What this process holds of the machine, as Linux tells it; None where it does not."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def wall_ns(self) -> Instant:
        return time.time_ns()

    def rss_mb(self) -> int | None:
        return rss_mb_of(os.getpid())

    def files(self) -> tuple[int, int] | None:
        """Open file descriptors, and how many may be open."""
        try:
            return len(os.listdir("/proc/self/fd")), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        except OSError:
            return None

    def free_mb(self) -> int | None:
        """Room for an ordinary user on the disk of the state folder."""
        try:
            told = os.statvfs(self._folder)
        except OSError:
            return None
        return told.f_bavail * told.f_frsize // 1_000_000


class SystemClock:
    """Market time where the venue has no clock of its own: UTC, carried on by the monotonic clock.

    The wall clock is read once, so that its later jumps open nothing (SAFETY K7).
    """

    def __init__(self) -> None:
        self._base = time.time_ns() - time.monotonic_ns()

    def now(self) -> Instant:
        return self._base + time.monotonic_ns()

    def mono_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @property
    def speed(self) -> float:
        """Market seconds per machine second."""
        return 1.0


class FollowingClock:
    """The paper venue's market clock as this process follows it (DESIGN, decision 12)."""

    def __init__(self, told: VenueClock) -> None:
        self._anchor_mono = time.monotonic_ns()
        self._anchor = told.now_ns
        self._speed = told.speed
        self._last = told.now_ns

    def follow(self, told: VenueClock) -> None:
        """Take a newer reading; market time never goes back here, it waits."""
        self._anchor_mono = time.monotonic_ns()
        self._anchor = told.now_ns
        self._speed = told.speed

    def now(self) -> Instant:
        elapsed = time.monotonic_ns() - self._anchor_mono
        if self._speed != 1.0:
            elapsed = int(elapsed * self._speed)
        self._last = max(self._last, self._anchor + elapsed)
        return self._last

    def mono_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @property
    def speed(self) -> float:
        return self._speed


class VirtualClock:
    """A virtual-time loop's clock: machine time is the loop's, market time the venue's."""

    def __init__(self, market_now: Callable[[], Instant], loop: asyncio.AbstractEventLoop) -> None:
        self._market_now = market_now
        self._loop = loop

    def now(self) -> Instant:
        return self._market_now()

    def mono_ns(self) -> int:
        return round(self._loop.time() * NS_PER_S)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @property
    def speed(self) -> float:
        return 1.0
