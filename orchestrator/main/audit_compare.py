"""Two replays beside each other: whether they gave the same orders, and where they first differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import zip_longest
from pathlib import Path

from orchestrator.adapters.store.trail import TrailReader
from orchestrator.model.journal import Record
from orchestrator.model.time import format_time
from orchestrator.service.cli.trail import CompareReport

# What a run does to the world, and what became of each signal. Who had which opinion, how long
# that took, and when agents came and went, is left out.
KINDS = (
    "signal.accepted", "intent.written", "intent.moved", "transaction.applied", "trade.opened",
    "trade.closed", "signal.ended",
)  # fmt: skip
_JOURNAL = "orchestrator.db"
_TEXT_MAX = 700


def compare(one: Path, other: Path) -> CompareReport:
    """By their state folders. StoreError where there is no journal."""
    with closing(_open(one)) as mine, closing(_open(other)) as theirs:
        return _compare(_rows(mine), _rows(theirs), one, other)


def _open(folder: Path) -> TrailReader:
    return TrailReader(folder / _JOURNAL)


def _rows(trail: TrailReader) -> Iterator[Record]:
    last = trail.last()
    for record in trail.records(0, 0 if last is None else last.seq):
        if record.type in KINDS:
            yield record


def _compare(
    mine: Iterable[Record], theirs: Iterable[Record], one: Path, other: Path
) -> CompareReport:
    counts: Counter[str] = Counter()
    for mark, his in zip_longest(mine, theirs):
        if mark is None or his is None or _words(mark) != _words(his):
            text = (
                f"row {counts.total() + 1} of orders differs:\n{_told(mark, one)}\n"
                f"{_told(his, other)}"
            )
            return CompareReport(equal=False, text=text, rows=dict(counts))
        counts[mark.type] += 1
    return CompareReport(
        equal=True, text=f"equal: {counts.total()} rows of orders", rows=dict(counts)
    )


def _words(record: Record) -> tuple[object, ...]:
    return record.ts, record.type, record.subject, record.corr, record.data


def _told(record: Record | None, folder: Path) -> str:
    if record is None:
        return f"  {folder}: has no more rows"
    data = record.data.decode(errors="replace")[:_TEXT_MAX]
    return f"  {folder}: record {record.seq}, {format_time(record.ts)}, {record.type} {data}"
