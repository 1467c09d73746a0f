"""The death of a process, as far as one process can play it: from now on nothing has an effect."""

from __future__ import annotations

import asyncio


class Killed(BaseException):
    """Raised where the process is killed; no `except Exception` may outlive it."""


class Death:
    """One life's end. Whoever touches the outside asks `check` first."""

    def __init__(self) -> None:
        self.why = ""
        self.over = asyncio.Event()

    @property
    def dead(self) -> bool:
        return bool(self.why)

    def check(self) -> None:
        if self.why:
            raise Killed(self.why)

    def come(self, why: str) -> None:
        """The process is gone; its tasks are cancelled by whoever waits for `over`."""
        if not self.why:
            self.why = why
            self.over.set()

    def strike(self, why: str) -> None:
        """As `come`, from within the process itself."""
        self.come(why)
        raise Killed(why)
