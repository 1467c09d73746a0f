"""A bar on standard error for commands that take a while."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Self, TypeVar

T = TypeVar("T")

_TOLD_EVERY = 5_000


class Bar:  # the terminal's library is only loaded for a command
    """Shown where standard error is a terminal, and nobody asked for quiet."""

    def __init__(self, what: str, total: int, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn(),
            console=Console(stderr=True), disable=quiet or not sys.stderr.isatty(),
        )  # fmt: skip
        self._task = self._bar.add_task(what, total=max(total, 1))

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def at(self, done: int, total: int | None = None) -> None:
        self._bar.update(self._task, completed=done, total=total)

    def over(self, things: Iterable[T]) -> Iterator[T]:
        for count, thing in enumerate(things, 1):
            yield thing
            if count % _TOLD_EVERY == 0:
                self.at(count)
