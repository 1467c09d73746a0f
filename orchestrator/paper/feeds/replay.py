"""Recorded ticks, files merged by time: "ms since midnight,bid,ask", UTC date in the name."""

from __future__ import annotations

import datetime as dt
import gzip
import heapq
import re
import zlib
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TextIO

from orchestrator.model.errors import FeedError
from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName, InstrumentSpec, Price
from orchestrator.model.time import DAY_NS, HOUR_NS, NS_PER_MS, Instant
from orchestrator.paper.feeds.base import History
from orchestrator.paper.feeds.hours import HourFile, is_hour_file
from orchestrator.paper.instruments import spec_of

_NAME = re.compile(r"^([A-Z0-9]+_[A-Z0-9]+)_(\d{8})\.csv(\.gz)?$")
_DAY_MS = DAY_NS // NS_PER_MS
_FIELDS = 3
_LINES = re.compile(rb"(?:\d+,\d+(?:\.\d+)?,\d+(?:\.\d+)?\r?\n)*")


class _File:
    """One file, its instrument and its day; read line by line."""

    def __init__(self, path: Path) -> None:
        match = _NAME.match(path.name)
        if match is None:
            raise FeedError(f"{path}: the name must be INSTRUMENT_YYYYMMDD.csv or .csv.gz")
        self.path = path
        self.instrument = InstrumentName(match[1])
        try:
            day = dt.datetime.strptime(match[2], "%Y%m%d").replace(tzinfo=dt.UTC)
        except ValueError as error:
            raise FeedError(f"{path}: {match[2]} in the name is not a date") from error
        self.midnight_ns = round(day.timestamp()) * 1_000_000_000
        self.spec: InstrumentSpec = spec_of(self.instrument)
        self._look_over()

    def _look_over(self) -> None:
        """Find what cannot be read before the first price is told, not in the middle of a run."""
        try:
            data = self.path.read_bytes()
            text = gzip.decompress(data) if self.path.suffix == ".gz" else data
        except (OSError, EOFError, zlib.error) as error:
            raise FeedError(f"{self.path}: cannot be read: {error}") from error
        start = 0
        while start < len(text):
            whole = _LINES.match(text, start)
            assert whole is not None  # it may be empty
            start = whole.end()
            if start < len(text):
                number = text.count(b"\n", 0, start) + 1
                line = text[start : text.find(b"\n", start) + 1 or len(text)]
                self._tick(line.decode("ascii", "replace"), number, 0)
                start += len(line)

    def ticks(self) -> Iterator[Tick]:
        """FeedError names the file and line of what cannot be read."""
        number, last_ms = 0, 0
        try:
            with self._open() as lines:
                for number, line in enumerate(lines, 1):  # named in errors below
                    tick, last_ms = self._tick(line, number, last_ms)
                    if tick is not None:
                        yield tick
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise FeedError(f"{self.path}: line {number + 1}: cannot be read: {error}") from error

    def _open(self) -> TextIO:
        if self.path.suffix == ".gz":
            return gzip.open(self.path, "rt", encoding="ascii")
        return self.path.open(encoding="ascii")

    def _tick(self, line: str, number: int, last_ms: int) -> tuple[Tick | None, int]:
        if not line.strip():
            return None, last_ms
        parts = line.rstrip("\r\n").split(",")
        try:
            if len(parts) != _FIELDS:
                raise ValueError(f"{len(parts)} fields instead of 3 (ms since midnight,bid,ask)")  # noqa: TRY301
            at_ms = int(parts[0])
            bid, ask = Decimal(parts[1]), Decimal(parts[2])
            self._check(at_ms, last_ms, bid, ask)
        except (ValueError, InvalidOperation) as error:
            why = "not a number" if isinstance(error, InvalidOperation) else error
            shown = line.strip()[:80]
            raise FeedError(f"{self.path}: line {number}: {why}: {shown!r}") from error
        at_ns = self.midnight_ns + at_ms * NS_PER_MS
        step = self.spec.tick
        return Tick(
            instrument=self.instrument,
            bid=Price(bid.quantize(step)),
            ask=Price(ask.quantize(step)),
            venue_ns=at_ns,
            seen_ns=at_ns,
        ), at_ms

    @staticmethod
    def _check(at_ms: int, last_ms: int, bid: Decimal, ask: Decimal) -> None:
        if not 0 <= at_ms < _DAY_MS:
            raise ValueError("the time is outside the day")
        if at_ms < last_ms:
            raise ValueError("earlier than the line before")
        if not (bid.is_finite() and ask.is_finite() and 0 < bid <= ask):
            raise ValueError("not a bid and an ask")


class ReplayFeed:
    """Ticks of all files by time; at equal times instruments go in the order they were given."""

    def __init__(self, paths: Iterable[Path]) -> None:
        given = [Path(p) for p in paths]
        self._hours = [HourFile(p) for p in given if is_hour_file(p)]
        files = [_File(p) for p in given if not is_hour_file(p)]
        if not files:
            raise FeedError("replay: no file of ticks given")
        names = dict.fromkeys(file.instrument for file in files)
        files.sort(key=lambda file: file.midnight_ns)
        self.instruments: tuple[InstrumentName, ...] = tuple(names)
        self._merged = heapq.merge(
            *(self._of(name, files) for name in names), key=lambda tick: tick.venue_ns
        )
        first = next(self._merged, None)
        if first is None:
            raise FeedError(f"{files[0].path}: holds no tick")
        self._next: Tick | None = first
        self.start_ns: Instant = first.venue_ns

    @staticmethod
    def _of(name: InstrumentName, files: list[_File]) -> Iterator[Tick]:
        seen: set[int] = set()
        for file in files:
            if file.instrument != name:
                continue
            if file.midnight_ns in seen:
                raise FeedError(f"{file.path}: the same instrument and day was given twice")
            seen.add(file.midnight_ns)
            yield from file.ticks()

    def history(self) -> Iterable[History]:
        """Hours from before the first tick, where a file of them was given."""
        for file in self._hours:
            yield file.instrument, HOUR_NS, file.bars(self.start_ns)

    def next_ns(self) -> Instant | None:
        return None if self._next is None else self._next.venue_ns

    def due(self, now: Instant) -> list[Tick]:
        """FeedError when a file turns out to be unreadable."""
        ticks: list[Tick] = []
        tick = self._next
        while tick is not None and tick.venue_ns <= now:
            ticks.append(tick)
            tick = next(self._merged, None)
        self._next = tick
        return ticks
