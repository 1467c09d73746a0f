"""Patience with one seed: a run that never comes to its end is ended, and counts as failed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import cast

from orchestrator.research.simulate.verdict import Verdict
from orchestrator.service.seams import mono_ns

PATIENCE_S = 60.0  # a seed takes a tenth of a second; the rest is the machine's other work
_AGAIN_S = 1.0  # whoever swallowed the first alarm hears the next
_FRAMES = 3


class OutOfPatience(KeyboardInterrupt):
    """Like a Ctrl-C: the one exception that no event loop keeps for itself."""


def patiently(
    run: Callable[[int], Verdict], seed: int, kinds: tuple[str, ...], patience_s: float = PATIENCE_S
) -> Verdict:
    """`run(seed)`; when it raises, or takes longer than `patience_s` of the machine's time, a
    failed verdict with these kinds of faults.

    In the main thread only, where alarms arrive; elsewhere, and where there are none, it just runs.
    """
    try:
        with _alarm(patience_s):
            return run(seed)
    except OutOfPatience as exc:
        text = f"stuck: not at its end after {patience_s:g} s of the machine's time, at {exc}"
    except Exception as exc:  # noqa: BLE001 -- the others go on; what it was is the verdict
        text = f"broken: the run raised {_told(exc)}"
    return Verdict(
        seed=seed, kinds=kinds, violations=(text,), head="", market_s=0.0, lives=0, signals=0,
        orders=0, fills=0, stops=0, struck={},
    )  # fmt: skip


def _told(exc: BaseException) -> str:
    """The innermost cause of a group, and where it was raised."""
    while isinstance(exc, BaseExceptionGroup):
        exc = cast("BaseExceptionGroup[BaseException]", exc).exceptions[0]
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{type(exc).__name__}: {exc}, at {_where(trace.tb_frame if trace else None)}"


@contextmanager
def _alarm(patience_s: float) -> Generator[None]:
    """An alarm of our own for its time; whoever had set one before gets the rest of it back."""
    here = threading.current_thread() is threading.main_thread()
    if not (here and hasattr(signal, "setitimer")):
        yield
        return
    began = mono_ns()
    handler = signal.signal(signal.SIGALRM, _ring)
    before = signal.setitimer(signal.ITIMER_REAL, patience_s, _AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler)
        if before[0]:
            left_s = max(before[0] - (mono_ns() - began) / 1e9, 0.001)
            signal.setitimer(signal.ITIMER_REAL, left_s, before[1])


def _ring(_signal: int, frame: FrameType | None) -> None:
    raise OutOfPatience(_where(frame))


def _where(frame: FrameType | None) -> str:
    """The innermost calls, the innermost first."""
    calls: list[str] = []
    while frame is not None and len(calls) < _FRAMES:
        calls.append(f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(calls)
