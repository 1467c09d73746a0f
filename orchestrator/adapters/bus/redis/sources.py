"""Whose word a message is: an agent speaks on a stream of its own, and in its own name (X8)."""

from __future__ import annotations

from collections.abc import Awaitable

import structlog

from orchestrator.adapters.bus.redis.alarms import Alarm
from orchestrator.adapters.bus.redis.entries import Entry, Handle
from orchestrator.adapters.bus.redis.names import Names

log = structlog.get_logger()


class FromItsSource:
    """A `Handle` before another one: what speaks in another's name is dropped, with an alert."""

    def __init__(self, names: Names, handle: Handle, alarm: Alarm) -> None:
        self._names = names
        self._handle = handle
        self._alarm = alarm
        self.forged = 0

    def __call__(self, entry: Entry) -> Awaitable[None] | None:
        owner = self._names.source_of(entry.stream)
        if owner and entry.source == owner:
            return self._handle(entry)
        self.forged += 1
        log.warning("bus.forged", stream=entry.stream, source=entry.source[:80])
        self._alarm(
            f"A message on {entry.stream} speaks in another's name",
            f"it says to be from {entry.source[:80]!r}; it was dropped",
        )
        return None
