"""The virtual-time loop, and the seams of the outside under it: no machine's clock, no chance."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import contextmanager

from orchestrator.model.time import NS_PER_S, Instant
from orchestrator.research.simulate.fates import dice_of
from orchestrator.service import seams
from orchestrator.service.virtual import VirtualLoop


class SimLoop(VirtualLoop):
    """A virtual-time loop that can be blocked, as a hanging call blocks a real one.

    `wall_off_s`: how far somebody has set the machine's wall clock off.
    """

    wall_off_s = 0.0

    def block(self, seconds: float) -> None:
        """Time passes, and nobody gets a turn."""
        self._virtual.now_s += seconds


class _Time:
    """Stands where the seam has the machine's clocks: wall and monotonic both follow the loop."""

    def __init__(self, loop: SimLoop, start_ns: Instant) -> None:
        self._loop = loop
        self._start_ns = start_ns

    def time_ns(self) -> int:
        return self._start_ns + self.monotonic_ns() + round(self._loop.wall_off_s * NS_PER_S)

    def monotonic_ns(self) -> int:
        return round(self._loop.time() * NS_PER_S)

    def process_time(self) -> float:
        return self._loop.time()


class _Chance:
    """Stands where the seam has the machine's randomness."""

    def __init__(self, seed: int) -> None:
        self._dice = dice_of(seed, "ids")

    def urandom(self, count: int) -> bytes:
        return self._dice.randbytes(count)


@contextmanager
def seeded_seams(loop: SimLoop, start_ns: Instant, seed: int) -> Generator[None]:
    """Within, times and ids of the whole service come from the loop and the seed (K10)."""
    _put(time=_Time(loop, start_ns), os=_Chance(seed))
    try:
        yield
    finally:
        _put(time=time, os=os)


def _put(**modules: object) -> None:
    """The functions of the seam look these up at each call, whoever imported the functions."""
    for name, module in modules.items():
        setattr(seams, name, module)
