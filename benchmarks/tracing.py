"""Where the time between a tick and its order goes: our parts, timed one by one.

The timers stand around calls of the parts and cost some microseconds themselves, so a traced run
is one of its own: it explains, and is never the figure.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeAlias

from benchmarks.house import House, Trigger
from orchestrator.model.signals import Role

Name: TypeAlias = str | Callable[..., str]


class Tracer:
    """Durations by part, of one order after the other; `ended` closes an order's account."""

    def __init__(self) -> None:
        self._open: dict[str, int] = defaultdict(int)
        self._began = 0
        self._depth = 0
        self._kept: dict[str, list[int]] = defaultdict(list)
        self._orders = 0

    def begin(self) -> None:
        self._open.clear()
        self._began = time.perf_counter_ns()

    def ended(self) -> None:
        """The gate has been asked; the bytes go out in the same breath."""
        if not self._began:
            return
        whole = time.perf_counter_ns() - self._began
        known = sum(self._open.values())
        self._orders += 1
        for name, took in (*self._open.items(), ("between them", whole - known), ("all", whole)):
            self._kept[name].append(took)
        self._began = 0

    def wrap(self, owner: object, method: str, name: Name) -> None:
        """Time a method of one object. Calls inside a timed call belong to the outer one."""
        inner = getattr(owner, method)

        def timed(*words: Any, **named: Any) -> Any:  # noqa: ANN401 -- as the method has it
            if self._depth:
                return inner(*words, **named)
            self._depth += 1
            began = time.perf_counter_ns()
            try:
                return inner(*words, **named)
            finally:
                self._depth -= 1
                text = name if isinstance(name, str) else name(*words)
                self._open[text] += time.perf_counter_ns() - began

        setattr(owner, method, timed)

    def medians(self) -> list[tuple[str, float]]:
        """(part, microseconds for an order), the dearest first; an absent part is 0."""
        found = [
            (name, statistics.median(took + [0] * (self._orders - len(took))) / 1000)
            for name, took in self._kept.items()
        ]
        return sorted(found, key=lambda each: -each[1])


def _kernel(event: object, *_: object) -> str:
    return f"kernel: {type(event).__name__}"


def _stage(role: Role, *_: object) -> str:
    return f"stage: {role.value}"


def _told(message: object, *_: object) -> str:
    return f"told: {type(message).__name__}"


def attach(house: House) -> Tracer:
    """Timers around what stands between a price and its order."""
    tracer, system = Tracer(), house.system
    engine, agents = system.engine, system.agents
    parts, journal = vars(engine), vars(vars(engine)["_journal"])
    tracer.wrap(system.kernel, "step", _kernel)
    tracer.wrap(agents, "ask", _stage)
    tracer.wrap(agents, "tell", _told)
    tracer.wrap(journal["_chain"], "link", "audit chain")
    tracer.wrap(journal["_store"], "append", "journal")
    tracer.wrap(parts["_store"], "signal_seen", "signal id looked up")
    tracer.wrap(parts["_bus"], "publish", "bus")
    tracer.wrap(system.telemetry, "saw", "telemetry of facts")
    tracer.wrap(system.telemetry, "tick", "telemetry of the tick")
    _bracket(house, tracer)
    return tracer


def _bracket(house: House, tracer: Tracer) -> None:
    """From the engine's hearing of the price to the gate's answer, after which the bytes leave."""
    engine, gate_asked = house.system.engine, house.system.kernel.may_send
    handle = engine.handle

    def heard(*events: Any) -> None:  # noqa: ANN401 -- any event
        if any(Trigger().hear(event) for event in events):
            tracer.begin()
        handle(*events)

    def asked(*words: Any) -> Any:  # noqa: ANN401 -- as the kernel has it
        answer = gate_asked(*words)
        tracer.ended()
        return answer

    engine.handle = heard
    vars(house.system.kernel)["may_send"] = asked
