"""Recorded hours as history for a replay: "YYYYMMDD HH:MM, bid o,h,l,c,size, ask o,h,l,c,size"."""

from __future__ import annotations

import datetime as dt
import re
import zlib
from decimal import Decimal
from pathlib import Path

from orchestrator.model.errors import FeedError
from orchestrator.model.money import InstrumentName
from orchestrator.model.time import HOUR_NS, NS_PER_S, Instant
from orchestrator.paper.candles import Bar
from orchestrator.paper.instruments import spec_of

_NAME = re.compile(r"^([A-Z0-9]+_[A-Z0-9]+)_([0-9]{4})_([0-9]{4})\.csv(\.gz)?$")
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]+)?")
_GZIP = 31  # the format, for zlib
_FIELDS = 11
_VOLUME = 100  # the recordings carry no number of prices


def read_whole(path: Path) -> bytes:
    """A file's text, unzipped where it is zipped. FeedError tells how far a cut archive reaches."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FeedError(f"{path}: cannot be read: {error}") from error
    if path.suffix != ".gz":
        return data
    text, left, why = b"", data, ""
    while left and not why:
        archive = zlib.decompressobj(wbits=_GZIP)
        try:
            text += archive.decompress(left)
        except zlib.error as error:
            why = str(error)
        else:
            why = "" if archive.eof else "the archive is cut"
        left = archive.unused_data.lstrip(b"\0")
    if why:
        number = text.count(b"\n") + 1
        raise FeedError(f"{path}: line {number}: cannot be read: {why}")
    return text


def is_hour_file(path: Path) -> bool:
    """INSTRUMENT_FROM_TO.csv[.gz], years; a file of ticks has a date instead."""
    return _NAME.match(path.name) is not None


class HourFile:
    """H1 candles of one instrument; read when the replay's first tick is known."""

    def __init__(self, path: Path) -> None:
        match = _NAME.match(path.name)
        if match is None:
            raise FeedError(f"{path}: the name must be INSTRUMENT_FROM_TO.csv or .csv.gz")
        self.path = path
        self.instrument = InstrumentName(match[1])
        self._step = spec_of(self.instrument).tick

    def bars(self, before_ns: Instant) -> list[Bar]:
        """Hours that ended before that time. FeedError names the line that cannot be read."""
        made: list[Bar] = []
        for number, line in enumerate(self._lines(), 1):
            bar = self._bar(line, number)
            if made and bar.start_ns <= made[-1].start_ns:
                raise self._error(number, "not later than the line before", line)
            if len(made) == 1 and bar.start_ns - made[0].start_ns >= 20 * HOUR_NS:
                raise self._error(number, "the lines are days, not hours", line)
            if bar.start_ns + HOUR_NS > before_ns:
                break
            made.append(bar)
        return made

    def _lines(self) -> list[str]:
        text = read_whole(self.path)
        lines = text.decode("ascii", "replace").splitlines()
        if not lines:
            raise FeedError(f"{self.path}: holds no hour")
        return lines

    def _error(self, number: int, why: str, line: str) -> FeedError:
        return FeedError(f"{self.path}: line {number}: {why}: {line[:80]!r}")

    def _bar(self, line: str, number: int) -> Bar:
        parts = line.split(",")
        if len(parts) != _FIELDS:
            raise self._error(number, f"{len(parts)} fields instead of {_FIELDS}", line)
        if not all(_NUMBER.fullmatch(part) for part in (*parts[1:5], *parts[6:10])):
            raise self._error(number, "not a time and prices", line)
        try:
            moment = dt.datetime.strptime(parts[0], "%Y%m%d %H:%M").replace(tzinfo=dt.UTC)
        except ValueError as error:
            raise self._error(number, "not a time and prices", line) from error
        bid = [Decimal(text).quantize(self._step) for text in parts[1:5]]
        ask = [Decimal(text).quantize(self._step) for text in parts[6:10]]
        if not all(0 < low <= high for low, high in zip(bid, ask, strict=True)):
            raise self._error(number, "not a bid and an ask", line)
        if not all(p[2] <= min(p[0], p[3]) and max(p[0], p[3]) <= p[1] for p in (bid, ask)):
            raise self._error(number, "the high and the low do not hold the others", line)
        mid = [(low + high) / 2 for low, high in zip(bid, ask, strict=True)]
        return Bar(round(moment.timestamp()) * NS_PER_S, _VOLUME, bid, ask, mid)
