"""What a benchmark gives back: quantiles of durations, rows, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

_HEAD = ("what", "n", "p50", "p99", "p99.9", "max", "against its floor", "must", "goal")


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Quantiles of durations, microseconds. A quantile with fewer than three values beyond it says
    little, so it is shown with a question mark.
    """

    n: int
    p50: float
    p99: float
    p999: float
    max: float


def spread(durations_ns: Iterable[int]) -> Spread | None:
    """None where nothing was measured."""
    ordered = sorted(durations_ns)
    if not ordered:
        return None

    def at(part: float) -> float:
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))] / 1000

    return Spread(n=len(ordered), p50=at(0.5), p99=at(0.99), p999=at(0.999), max=ordered[-1] / 1000)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. `value` is for what is no distribution. `must`, `goal`: SPEC 14's
    words; `must_met`, `goal_met` None where nothing was asked or nothing could be measured.
    """

    name: str
    spread: Spread | None = None
    value: str = ""
    floor: str = ""
    must: str = ""
    must_met: bool | None = None
    goal: str = ""
    goal_met: bool | None = None


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark's rows, and sentences that belong under them."""

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def us(value: float) -> str:
    """Microseconds as a person reads them."""
    if value >= 1_000_000:
        return f"{value / 1_000_000:.2f} s"
    if value >= 1_000:
        return f"{value / 1_000:.2f} ms"
    return f"{value:.0f} us" if value >= 10 else f"{value:.1f} us"


def _verdict(words: str, met: bool | None) -> str:
    if not words or met is None:
        return words
    return f"{words} {'yes' if met else 'MISSED'}"


def _cells(row: Row) -> tuple[str, ...]:
    figures = ("", row.value, "", "", "")
    if row.spread is not None:
        of = row.spread
        rare = "" if of.n >= 3_000 else "?"
        some = "" if of.n >= 300 else "?"
        figures = (
            f"{of.n:,}", us(of.p50), us(of.p99) + some, us(of.p999) + rare, us(of.max),
        )  # fmt: skip
    judged = (_verdict(row.must, row.must_met), _verdict(row.goal, row.goal_met))
    return (row.name, *figures, row.floor, *judged)


def table(sections: Sequence[Section]) -> str:
    """All sections under one head, columns as wide as they must be."""
    lines: list[tuple[str, ...] | str] = []
    for section in sections:
        lines.append(f"\n{section.title}")
        lines.extend(_cells(row) for row in section.rows)
        lines.extend(f"    {note}" for note in section.notes)
    cells = [line for line in lines if not isinstance(line, str)]
    widths = [max(len(each[i]) for each in (_HEAD, *cells)) for i in range(len(_HEAD))]
    return "\n".join(
        line if isinstance(line, str) else _line(line, widths) for line in (_HEAD, *lines)
    )


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = (
        text.rjust(width) if 1 <= i <= 5 else text.ljust(width)
        for i, (text, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(padded).rstrip()
