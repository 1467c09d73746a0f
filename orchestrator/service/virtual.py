"""A virtual-time event loop: time passes only when nothing is ready (DESIGN, decision 8).

The real service, agents, store and paper venue run on it in one thread; the same inputs and seed
give the same run. Real sockets and threads do not belong on it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from orchestrator.model.time import NS_PER_S
from orchestrator.service.seams import mono_ns

T = TypeVar("T")


# So many turns at one instant are a loop without a pause: time would never go on again.
_TURNS_AT_AN_INSTANT_MAX = 1_000_000
_CREDIT_NS = NS_PER_S // 10
_GRAIN_NS = 1_000_000  # shorter waits are put together
_SLICE_S = 0.05


class Stalled(RuntimeError):
    """This loop would wait for ever, or turn for ever at one instant."""


class _VirtualSelector(selectors.SelectSelector):
    """Instead of waiting for sockets, moves the loop's time on."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._turns = 0
        self.pause: Callable[[float], None] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            ready = super().select(0)
            if not ready:
                raise Stalled("nothing is ready and no timer is set")
            return ready
        if timeout > 0:
            if self.pause is not None:
                self.pause(timeout)
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

    def pause_by(self, pause: Callable[[float], None] | None) -> None:
        """Called before each jump with its length in virtual seconds; returns when it may be."""
        self._virtual.pause = pause


class Pace:
    """Keeps virtual time from running faster than `speed`; who fell behind does not run after.

    `wait` waits in real seconds. `hurry`: from now on nothing is waited for.
    """

    def __init__(
        self, speed: float, wait: Callable[[float], None], hurry: Callable[[], bool]
    ) -> None:
        self._speed = speed
        self._wait = wait
        self._hurry = hurry
        self._due_ns = mono_ns()

    def __call__(self, virtual_s: float) -> None:
        now = mono_ns()
        self._due_ns = max(self._due_ns, now - _CREDIT_NS) + int(virtual_s / self._speed * NS_PER_S)
        while self._due_ns - now > _GRAIN_NS and not self._hurry():
            self._wait(min((self._due_ns - now) / NS_PER_S, _SLICE_S))
            now = mono_ns()


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on a virtual-time loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
