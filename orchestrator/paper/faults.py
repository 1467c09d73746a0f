"""Troubles on demand: what a client must live with, told by POST /control/faults."""

from __future__ import annotations

import msgspec

WAITING_MAX = 1000


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Meets the next `times` requests whose method and path fit (`path`: a part of it; empty: any).

    `drop` "before" resets the connection without doing anything, "after" does it and then resets.
    `status` answers with that error and does nothing. `delay_ms` does it and answers later.
    """

    method: str = ""
    path: str = ""
    times: int = 1
    drop: str = ""
    status: int = 0
    delay_ms: int = 0

    def objection(self) -> str | None:
        """The field that makes no sense, if any."""
        if self.drop not in {"", "before", "after"}:
            return "drop"
        if self.status and not 400 <= self.status <= 599:  # noqa: PLR2004  # HTTP's errors
            return "status"
        if not 0 <= self.delay_ms <= 600_000:  # noqa: PLR2004  # ten minutes
            return "delay_ms"
        return None if 0 < self.times <= 10**9 else "times"


class Faults:
    """What waits to happen, oldest first."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def add(self, fault: Fault) -> bool:
        """False when too many wait."""
        if len(self.waiting) >= WAITING_MAX:
            return False
        self.waiting.append(fault)
        return True

    def take(self, method: str, path: str) -> Fault | None:
        """The first that fits this request; it is used up by one. /control is never met."""
        if path.startswith("/control"):
            return None
        for index, fault in enumerate(self.waiting):
            if fault.method in {"", method} and fault.path in path:
                left = fault.times - 1
                self.waiting[index : index + 1] = (
                    [msgspec.structs.replace(fault, times=left)] if left else []
                )
                return fault
        return None
