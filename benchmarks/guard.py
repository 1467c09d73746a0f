"""A frozen service: how soon its guard closes the gate, kills it, and no position is left."""

from __future__ import annotations

import signal
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Row, Section, spread
from orchestrator.research.crash_sweep.process import Service
from orchestrator.research.crash_sweep.scenes import Story, begin, open_trades
from orchestrator.research.waiting import eventually

_WITHIN_S = 60.0


def measure(rounds: int) -> Section:
    """So many frozen services, each on a folder of its own."""
    found = [_round() for _ in range(rounds)]
    held, killed, flat = ([each[i] for each in found] for i in range(3))
    rows = (
        Row(name="frozen -> the guard holds the gate", spread=spread(held), must="2 s and a look",
            must_met=max(held) < 2_500_000_000),
        Row(name="frozen with a stop and positions -> killed", spread=spread(killed)),
        Row(name="  killed -> nothing is open any more", spread=spread(flat), must="< 10 s",
            must_met=max(flat) < 10_000_000_000),
    )  # fmt: skip
    return Section(title="Guard: a service whose loop does not turn (SIGSTOP)", rows=rows)


def _round() -> tuple[int, int, int]:
    with tempfile.TemporaryDirectory(prefix="tso-bench-") as name:
        service = Service(Path(name), LOG_LEVEL="error")
        try:
            begin(service, Story(promised=[]))
            return _frozen(service)
        finally:
            service.clear_away()


def _frozen(service: Service) -> tuple[int, int, int]:
    began = time.monotonic_ns()
    service.send(signal.SIGSTOP)
    gate = service.state / "gate"
    eventually("held", lambda: gate.read_bytes()[1], _WITHIN_S)
    held = time.monotonic_ns() - began
    with gate.open("r+b") as word:
        word.write(b"\x01")  # as the local command does
    eventually("killed", lambda: service.dead, _WITHIN_S)
    killed = time.monotonic_ns()
    eventually("flat", lambda: _nothing_open(service), _WITHIN_S)
    return held, killed - began, time.monotonic_ns() - killed


def _nothing_open(service: Service) -> bool:
    try:
        return open_trades(service) == 0
    except OSError:
        return False
