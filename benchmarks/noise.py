"""What the machine itself does to every figure: late timers, gaps in a busy loop."""

from __future__ import annotations

import asyncio
import time

import uvloop

from benchmarks.figures import Row, Section, spread

_TIMER_S = 0.002
_GAP_NS = 20_000  # a shorter pause of a spinning loop is the loop's own


def run(quick: bool) -> Section:
    seconds = 0.5 if quick else 2.0
    late = uvloop.run(_lateness(seconds))
    gaps, share = _gaps(seconds)
    rows = (
        Row(name="timer: how late a 2-ms sleep ends", spread=spread(late)),
        Row(name="spin: pauses over 20 us", spread=spread(gaps)),
    )
    note = (
        f"A busy loop was away from its core for {share:.1%} of the time: nothing below is better."
    )
    return Section(title="Noise of this machine during this run", rows=rows, notes=(note,))


async def _lateness(seconds: float) -> list[int]:
    late: list[int] = []
    until = time.monotonic_ns() + int(seconds * 1e9)
    while time.monotonic_ns() < until:
        began = time.monotonic_ns()
        await asyncio.sleep(_TIMER_S)
        late.append(time.monotonic_ns() - began - int(_TIMER_S * 1e9))
    return late


def _gaps(seconds: float) -> tuple[list[int], float]:
    found: list[int] = []
    began = last = time.monotonic_ns()
    until = began + int(seconds * 1e9)
    while last < until:
        now = time.monotonic_ns()
        if now - last > _GAP_NS:
            found.append(now - last)
        last = now
    return found, sum(found) / (last - began)
