"""A progress bar for a replay: how much of the recording has been played."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from orchestrator.model.time import format_time
from orchestrator.paper.market import Market

_EVERY_S = 30.0  # of market time


class Progress:
    """Counts the ticks first (quick: lines of the files), then follows the market's count."""

    def __init__(self, files: Sequence[Path], market: Market, *, quiet: bool) -> None:
        self._market = market
        self._quiet = quiet
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("ticks"), TimeRemainingColumn(), console=Console(stderr=True),
            disable=quiet,
        )  # fmt: skip
        self._task = self._bar.add_task("replay", total=None if quiet else _lines(files))

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._show()
        self._bar.stop()

    def _show(self) -> None:
        when = format_time(self._market.time.now())[:16].replace("T", " ")
        self._bar.update(self._task, completed=self._market.ticks, description=when)

    async def run(self) -> None:
        """Runs until cancelled, on market time."""
        while not self._quiet:
            await asyncio.sleep(_EVERY_S)
            self._show()


def _lines(files: Sequence[Path]) -> int:
    import gzip

    total = 0
    for file in files:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
            total += sum(chunk.count(b"\n") for chunk in iter(lambda: lines.read(1 << 20), b""))
    return total
