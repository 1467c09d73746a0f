"""Recorded ticks, files merged by time: "ms since midnight,bid,ask", UTC date in the name."""

from __future__ import annotations

import datetime as dt
import gzip
import heapq
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TextIO

import numpy as np

from orchestrator.model.errors import FeedError
from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName, InstrumentSpec, Price
from orchestrator.model.time import DAY_NS, HOUR_NS, NS_PER_MS, Instant
from orchestrator.paper.feeds.base import History
from orchestrator.paper.feeds.hours import HourFile, is_hour_file, read_whole
from orchestrator.paper.instruments import spec_of

_NAME = re.compile(r"^([A-Z0-9]+_[A-Z0-9]+)_([0-9]{8})\.csv(\.gz)?$")
_DAY_MS = DAY_NS // NS_PER_MS
_FIELDS = 3
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_LINES = re.compile(rb"(?:[0-9]{1,8},[0-9]+(?:\.[0-9]+)?,[0-9]+(?:\.[0-9]+)?\r?\n)*")
_PRICE_MAX = Decimal(1_000_000_000)


class _File:
    """One file, its instrument and its day; looked over when it is opened, read line by line."""

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
        text = read_whole(self.path)
        start = number = last_ms = 0
        while start < len(text):
            whole = _LINES.match(text, start)
            assert whole is not None  # it may be empty
            if whole.end() > start:
                last_ms = self._look_at(text[start : whole.end()], number, last_ms)
                number += text.count(b"\n", start, whole.end())
                start = whole.end()
            elif start < len(text):
                ends = text.find(b"\n", start) + 1 or len(text)
                number += 1
                line = text[start:ends].decode("ascii", "replace")
                _, last_ms = self._tick(line, number, last_ms)
                start = ends

    def _look_at(self, lines: bytes, before: int, last_ms: int) -> int:
        """Many regular lines at once: their times and prices. Returns the last time."""
        values = np.array(lines.replace(b"\n", b",").split(b",")[:-1], dtype=np.float64)
        at_ms, bid, ask = values.reshape(-1, _FIELDS).T
        wrong = np.diff(at_ms, prepend=last_ms) < 0
        wrong |= (at_ms >= _DAY_MS) | (bid > ask)
        wrong |= (bid < float(self.spec.tick)) | (ask >= float(_PRICE_MAX))
        if wrong.any():
            place = int(wrong.argmax())
            line = lines.split(b"\n")[place].decode("ascii")
            self._tick(line, before + place + 1, int(at_ms[place - 1]) if place else last_ms)
        return int(at_ms[-1])

    def ticks(self) -> Iterator[Tick]:
        """FeedError names the file and line of what cannot be read."""
        number, last_ms = 0, 0
        try:
            with self._open() as lines:
                for number, line in enumerate(lines, 1):  # named in errors below
                    tick, last_ms = self._tick(line, number, last_ms)
                    if tick is not None:
                        yield tick
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise FeedError(f"{self.path}: line {number + 1}: cannot be read: {error}") from error

    def _open(self) -> TextIO:
        if self.path.suffix == ".gz":
            return gzip.open(self.path, "rt", encoding="ascii", newline="\n")
        return self.path.open(encoding="ascii", newline="\n")

    def _tick(self, line: str, number: int, last_ms: int) -> tuple[Tick | None, int]:
        if not line.strip():
            return None, last_ms
        parts = line.rstrip("\r\n").split(",")
        why = self._objection(parts, last_ms)
        if why is not None:
            raise FeedError(f"{self.path}: line {number}: {why}: {line.strip()[:80]!r}")
        at_ms, step = int(parts[0]), self.spec.tick
        at_ns = self.midnight_ns + at_ms * NS_PER_MS
        return Tick(
            instrument=self.instrument,
            bid=Price(Decimal(parts[1]).quantize(step)),
            ask=Price(Decimal(parts[2]).quantize(step)),
            venue_ns=at_ns,
            seen_ns=at_ns,
        ), at_ms

    def _objection(self, parts: list[str], last_ms: int) -> str | None:
        if len(parts) != _FIELDS:
            return f"{len(parts)} fields instead of 3 (ms since midnight,bid,ask)"
        if not all(_NUMBER.fullmatch(part) for part in parts[1:]):
            return "not a number"
        bid, ask = Decimal(parts[1]), Decimal(parts[2])
        if not self.spec.tick <= bid <= ask < _PRICE_MAX:
            return "not a bid and an ask"
        return _objection_to_time(parts[0], last_ms)


def _objection_to_time(text: str, last_ms: int) -> str | None:
    if not (text.isascii() and text.isdecimal()):
        return "the time is not a whole number of milliseconds"
    if len(text) > len(str(_DAY_MS)) or int(text) >= _DAY_MS:
        return "the time is outside the day"
    return "earlier than the line before" if int(text) < last_ms else None


class ReplayFeed:
    """Ticks of all files by time; at equal times instruments go in the order they were given."""

    def __init__(self, paths: Iterable[Path]) -> None:
        given = [Path(p) for p in paths]
        self._hours = [HourFile(p) for p in given if is_hour_file(p)]
        files = [_File(p) for p in given if not is_hour_file(p)]
        if not files:
            raise FeedError("replay: no file of ticks given")
        self._refuse_doubles(files)
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

    def _refuse_doubles(self, files: Sequence[_File]) -> None:
        seen: set[tuple[InstrumentName, int]] = set()
        for file in files:
            if (file.instrument, file.midnight_ns) in seen:
                raise FeedError(f"{file.path}: the same instrument and day was given twice")
            seen.add((file.instrument, file.midnight_ns))
        hours: set[InstrumentName] = set()
        for one in self._hours:
            if one.instrument in hours:
                raise FeedError(f"{one.path}: hours of the same instrument were given twice")
            hours.add(one.instrument)

    @staticmethod
    def _of(name: InstrumentName, files: list[_File]) -> Iterator[Tick]:
        for file in files:
            if file.instrument == name:
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
