"""Troubles on demand: what a client must live with, told by POST /control/faults."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from orchestrator.paper.call import Answer, refused

WAITING_MAX = 1000
_TIMES_MAX = 10**9
_MILLISECONDS_MAX = 600_000  # ten minutes
_HEARTBEAT = b'{"type":"HEARTBEAT"'

_WORDS = {
    "drop": frozenset({"", "before", "after"}),
    "when": frozenset({"before", "after"}),
    "body": frozenset({"", "cut", "garbage", "empty", "html"}),
    "stream": frozenset({"", "silence", "drop", "double", "swap", "disconnect"}),
}
_TEXTS = {
    401: "Insufficient authorization to perform request.",
    429: "The rate of requests is too high",
    504: "Timeout waiting for response.",
}
MAINTENANCE = b"<html><body><h1>The system is down for maintenance</h1></body></html>\n"


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Meets requests that fit all of operation, method, path (a part of it) and account.

    Of those, the ones from the `nth` on, each with the `probability`, `times` of them. What
    happens: `delay_ms` ("before" or "after" the effect), `status` instead of the effect or after
    it, `drop` of the connection before or after it, a `body` that is no use, reads that lag
    `stale` transactions behind. `stream` meets lines of a stream instead of requests.
    """

    operation: str = ""
    method: str = ""
    path: str = ""
    account: str = ""
    nth: int = 1
    times: int = 1
    probability: float = 1.0
    when: str = "before"
    drop: str = ""
    status: int = 0
    delay_ms: int = 0
    body: str = ""
    stale: int = 0
    stream: str = ""
    silence_ms: int = 0

    def objection(self) -> str | None:
        """The field that makes no sense, if any."""
        for name, allowed in _WORDS.items():
            if getattr(self, name) not in allowed:
                return name
        ranges = (
            ("status", 400 if self.status else 0, 599), ("delay_ms", 0, _MILLISECONDS_MAX),
            ("silence_ms", 0, _MILLISECONDS_MAX), ("times", 1, _TIMES_MAX),
            ("nth", 1, _TIMES_MAX), ("stale", 0, _TIMES_MAX), ("probability", 0, 1),
        )  # fmt: skip
        return next((n for n, low, high in ranges if not low <= getattr(self, n) <= high), None)

    def fits(self, operation: str, method: str, path: str) -> bool:
        return (
            self.operation in {"", operation}
            and self.method in {"", method}
            and self.path in path
            and (not self.account or f"/accounts/{self.account}" in path)
        )

    def answer(self) -> Answer:
        """The error that was asked for."""
        text = _TEXTS.get(self.status, "A fault that was asked for")
        told = refused(self.status, text)
        again = "Retry-After: 1\r\n" if self.status == 429 else ""  # noqa: PLR2004
        return Answer(told.status, told.body, again)


class Waiting:
    """A fault that was asked for: how many requests fitted, and how many it met."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.fitted = 0
        self.met = 0

    def meets(self, dice: random.Random) -> bool:
        """Whether the request that fits now is met."""
        self.fitted += 1
        if self.fitted < self.fault.nth:
            return False
        if self.fault.probability < 1 and dice.random() >= self.fault.probability:
            return False
        self.met += 1
        return True

    @property
    def used_up(self) -> bool:
        return self.met >= self.fault.times


class Faults:
    """What waits to happen, oldest first; the dice are seeded, and begin anew with `clear`."""

    def __init__(self, seed: int = 1) -> None:
        self._seed = seed
        self._dice = random.Random(seed)
        self.waiting: list[Waiting] = []
        self.on_streams = False
        self.cleared = 0

    def add(self, fault: Fault) -> bool:
        """False when too many wait."""
        if len(self.waiting) >= WAITING_MAX:
            return False
        self.waiting.append(Waiting(fault))
        self.on_streams = self.on_streams or bool(fault.stream)
        return True

    def clear(self) -> None:
        """Nothing waits any more, and silent streams speak again."""
        self.cleared += 1
        self.waiting.clear()
        self.on_streams = False
        self._dice = random.Random(self._seed)

    def shown(self) -> Sequence[dict[str, object]]:
        """What waits, with how often it fitted and met."""
        return [
            msgspec.to_builtins(w.fault) | {"fitted": w.fitted, "met": w.met} for w in self.waiting
        ]

    def take(self, operation: str, method: str, path: str) -> Fault | None:
        """The first that meets this request; /control is never met."""
        return self._take(operation, method, path, stream=False)

    def take_line(self, operation: str, path: str, line: bytes) -> Fault | None:
        """The first that meets this line of a stream; heartbeats are not counted."""
        if line.startswith(_HEARTBEAT):
            return None
        return self._take(operation, "GET", path, stream=True)

    def _take(self, operation: str, method: str, path: str, *, stream: bool) -> Fault | None:
        if path.startswith("/control"):
            return None
        for waiting in self.waiting:
            fault = waiting.fault
            if bool(fault.stream) is not stream or not fault.fits(operation, method, path):
                continue
            if waiting.meets(self._dice):
                if waiting.used_up:
                    self.waiting.remove(waiting)
                    self.on_streams = any(w.fault.stream for w in self.waiting)
                return fault
        return None


def spoilt(rendered: bytes, how: str) -> bytes:
    """A whole answer with a body that is cut, senseless or missing; its head is kept true."""
    head, _, body = rendered.partition(b"\r\n\r\n")
    match how:
        case "cut":  # the head promises more than comes
            return head + b"\r\n\r\n" + body[: len(body) // 2]
        case "garbage":
            body = b'{"orderFillTransaction":{"id":\xff' + body[::-1]
        case "html":
            body = MAINTENANCE
        case _:
            body = b""
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body)]) + b"\r\n\r\n" + body


class Disturbance:
    """One stream's lines as its client gets them: some lost, doubled, swapped, or none at all."""

    def __init__(self, faults: Faults, operation: str, path: str) -> None:
        self._faults = faults
        self._operation = operation
        self._path = path
        self._held = b""  # waits for the line after it
        self._silent_until_s: float | None = None
        self._cleared = faults.cleared

    def lines(self, text: bytes, now_s: float) -> bytes | None:
        """What is sent of these lines; None when the stream is cut here."""
        if self._cleared != self._faults.cleared:
            self._cleared, self._silent_until_s = self._faults.cleared, None
        sent: list[bytes] = []
        for line in text.splitlines(keepends=True):
            fault = self._faults.take_line(self._operation, self._path, line)
            if fault is not None and fault.stream == "disconnect":
                return None
            if fault is not None and fault.stream == "silence":
                forever = fault.silence_ms == 0
                self._silent_until_s = now_s + (1e9 if forever else fault.silence_ms / 1000)
            if self._silent_until_s is not None:
                if now_s < self._silent_until_s:
                    continue
                self._silent_until_s = None
            sent += self._told(line, fault.stream if fault is not None else "")
        return b"".join(sent)

    @property
    def idle(self) -> bool:
        """Nothing of it is left: lines may pass unlooked-at."""
        return not self._held and self._silent_until_s is None

    def _told(self, line: bytes, what: str) -> list[bytes]:
        if what == "drop":
            return []
        if what == "swap" and not self._held:
            self._held = line
            return []
        held, self._held = self._held, b""
        again = [line] if what == "double" else []
        return [line, *again, held] if held else [line, *again]
