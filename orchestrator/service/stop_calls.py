"""Emergency stops that nodes call out to each other, the quickest of the ways (SAFETY 5.2).

It may be lost: the board of stops, the latch and the lease tell the same later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from orchestrator.service.gate import Gate, Latch

log = structlog.get_logger()

_KNOWN_MAX = 200

TakeUp = Callable[[Latch], None]


class StopCaller(Protocol):
    """How a call reaches the other nodes."""

    def broadcast(self, data: bytes) -> None:
        """Never blocks, never raises."""
        ...

    def on_stop(self, heard: Callable[[bytes], None]) -> None: ...


def to_nobody(_: Latch) -> None:
    """Where there is no line to other nodes."""


class StopCalls:
    """Each stop is called out once by a node that did not hear it before: calls come to rest."""

    def __init__(self, line: StopCaller, gate: Gate) -> None:
        self._line = line
        self._gate = gate
        self._take_up: TakeUp | None = None
        self._known: deque[tuple[object, ...]] = deque(maxlen=_KNOWN_MAX)
        line.on_stop(self.heard)

    def hear_by(self, take_up: TakeUp | None) -> None:
        """Who takes up what is heard from now on; None: the gate is closed, and found so."""
        self._take_up = take_up

    def call_out(self, latch: Latch) -> None:
        """After this node's own gate."""
        if self._is_new(latch):
            self._line.broadcast(msgspec.json.encode(latch))

    def heard(self, data: bytes) -> None:
        """MsgspecError, ValueError for what is no stop; nothing else can come this way (E2)."""
        latch = _read(data)
        if not (latch.stop_id and len(latch.stop_id) <= 64 and latch.closed_ns > 0):  # noqa: PLR2004
            raise ValueError("it is no emergency stop")
        if not self._is_new(latch):
            return
        log.warning("stop.heard", stop=latch.stop_id, actor=latch.actor)
        if not latch.accounts:
            self._gate.close()
        if self._take_up is not None:
            self._take_up(latch)

    def _is_new(self, latch: Latch) -> bool:
        key = (latch.stop_id, latch.liquidate, latch.accounts)
        if key in self._known:
            return False
        self._known.append(key)
        return True


_read = msgspec.json.Decoder(Latch).decode
