"""A virtual-time event loop: time passes only when nothing is ready (DESIGN, decision 8).

The real service, agents, store and paper venue run on it in one thread; the same inputs and seed
give the same run. Real sockets and threads do not belong on it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


# So many turns at one instant are a loop without a pause: time would never go on again.
_TURNS_AT_AN_INSTANT_MAX = 1_000_000


class Stalled(RuntimeError):
    """This loop would wait for ever, or turn for ever at one instant."""


class _VirtualSelector(selectors.SelectSelector):
    """Instead of waiting for sockets, moves the loop's time on."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            ready = super().select(0)
            if not ready:
                raise Stalled("nothing is ready and no timer is set")
            return ready
        if timeout > 0:
            self.now_s += timeout
            self._turns = 0
            return []
        self._turns += 1
        if self._turns > _TURNS_AT_AN_INSTANT_MAX:
            turns, self._turns = self._turns, 0  # what is cancelled now needs turns, too
            raise Stalled(f"{turns} turns of the loop at one instant")
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and jumps to the next timer when nothing else is to be done."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual.now_s


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on a virtual-time loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
