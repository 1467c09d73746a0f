"""What a person should hear of the broker; a flood of the same is told once in a while, counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# (title, text) for a person.
Alarm = Callable[[str, str], None]

HOLD_S = 10.0
_TITLES_MAX = 200


class Alarms:
    """Passes on each title at most once in `HOLD_S`: what is told is written down durably."""

    def __init__(self, out: Alarm) -> None:
        self._out = out
        self._held: dict[str, tuple[float, int]] = {}  # until when, and how many meanwhile

    def __call__(self, title: str, text: str) -> None:
        now = asyncio.get_running_loop().time()
        until, count = self._held.get(title, (0.0, 0))
        if now < until:
            self._held[title] = (until, count + 1)
            return
        if title not in self._held and len(self._held) >= _TITLES_MAX:
            self._held.pop(next(iter(self._held)))
        self._held[title] = (now + HOLD_S, 0)
        self._out(title, f"{text} (and {count} more before it)" if count else text)
