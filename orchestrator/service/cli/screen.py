"""What a person sees: lines and tables that fit the terminal, coloured only where it is wanted."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from orchestrator.service.cli.texts import clean

_CODES = {"good": "32", "bad": "31;1", "warn": "33", "dim": "2", "bold": "1"}
_GAP = "  "
_FOLDED_MIN = 24
_WIDTH_MAX = 10_000  # of what is not a terminal: never folded


class Cell(NamedTuple):
    text: str
    style: str = ""


class Column(NamedTuple):
    """`drop`: left out of narrow terminals, the highest first; 0 never. `fold`: may be wrapped."""

    name: str
    right: bool = False
    drop: int = 0
    fold: bool = False


Row: TypeAlias = Sequence[str | Cell]


def signed_style(amount: Decimal | None) -> str:
    """Red below zero, green above."""
    if amount is None or not amount.is_finite() or amount == 0:
        return ""
    return "good" if amount > 0 else "bad"


class Screen:
    """Standard output, for a person."""

    def __init__(self, *, width: int, colour: bool) -> None:
        self.width = width
        self.colour = colour

    def line(self, text: str = "", style: str = "") -> None:
        print(self._painted(text, style))

    def pairs(self, rows: Sequence[tuple[str, str | Cell]]) -> None:
        """`label  value`, long values wrapped under themselves."""
        labels = max((len(label) for label, _ in rows), default=0)
        for label, value in rows:
            cell = _cell(value)
            parts = self._wrapped(cell.text, self.width - labels - 2 * len(_GAP))
            print(f"{_GAP}{label:<{labels}}{_GAP}{self._painted(parts[0], cell.style)}")
            for part in parts[1:]:
                print(f"{_GAP}{'':<{labels}}{_GAP}{self._painted(part, cell.style)}")

    def hanging(self, head: str, text: str, style: str = "", *, head_style: str = "") -> None:
        """`text` beside `head`; where it is long, its lines stand under one another."""
        parts = self._wrapped(text, self.width - len(head))
        print(self._painted(head, head_style) + self._painted(parts[0], style))
        for part in parts[1:]:
            print(" " * len(head) + self._painted(part, style))

    def table(self, columns: Sequence[Column], rows: Sequence[Row], empty: str) -> None:
        """`empty` is said where there are no rows."""
        if not rows:
            self.line(empty, "dim")
            return
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [
            max(len(column.name), *(len(row[n].text) for row in cells))
            for n, column in enumerate(columns)
        ]
        full = [any(row[n].text for row in cells) for n in range(len(columns))]
        kept = self._fitting(columns, widths, full)
        self._row([Cell(columns[n].name, "dim") for n in kept], [columns[n] for n in kept],
                  [widths[n] for n in kept])  # fmt: skip
        for row in cells:
            self._row([row[n] for n in kept], [columns[n] for n in kept],
                      [widths[n] for n in kept])  # fmt: skip
        left_out = [c.name for n, c in enumerate(columns) if full[n] and n not in kept]
        if left_out:
            self.hanging("", f"not shown at this width: {', '.join(left_out)}", "dim")

    def _fitting(self, columns: Sequence[Column], widths: list[int], full: list[bool]) -> list[int]:
        """Columns that say something and fit; a folding one gets what width is left."""
        kept = [n for n, column in enumerate(columns) if not column.drop or full[n]]
        while self._least(columns, widths, kept) > self.width:
            droppable = [n for n in kept if columns[n].drop]
            if not droppable:
                break
            kept.remove(max(droppable, key=lambda n: columns[n].drop))
        for n in kept:
            if columns[n].fold:
                others = sum(widths[m] + len(_GAP) for m in kept if m != n)
                widths[n] = max(min(widths[n], self.width - others), 1)
        return kept

    def _least(self, columns: Sequence[Column], widths: list[int], kept: list[int]) -> int:
        least = [min(widths[n], _FOLDED_MIN) if columns[n].fold else widths[n] for n in kept]
        return sum(least) + len(_GAP) * (len(kept) - 1)

    def _row(self, row: list[Cell], columns: list[Column], widths: list[int]) -> None:
        parts = [
            self._wrapped(cell.text, width) if column.fold else [cell.text]
            for cell, column, width in zip(row, columns, widths, strict=True)
        ]
        for n in range(max(len(part) for part in parts)):
            texts = [part[n] if n < len(part) else "" for part in parts]
            print(self._joined(texts, row, columns, widths))

    def _joined(
        self, texts: list[str], row: list[Cell], columns: list[Column], widths: list[int]
    ) -> str:
        aligned = [
            text.rjust(width) if column.right else text.ljust(width)
            for text, column, width in zip(texts, columns, widths, strict=True)
        ]
        aligned[-1] = aligned[-1].rstrip()
        painted = [self._painted(a, cell.style) for a, cell in zip(aligned, row, strict=True)]
        return _GAP.join(painted).rstrip()

    def _wrapped(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(clean(text), max(width, 10), break_on_hyphens=False) or [""]

    def _painted(self, text: str, style: str) -> str:
        text = clean(text)
        if not (self.colour and style and text):
            return text
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def _cell(value: str | Cell) -> Cell:
    cell = value if isinstance(value, Cell) else Cell(value)
    return Cell(clean(cell.text), cell.style)


def terminal() -> Screen:
    """Standard output as it is: what is not a terminal gets whole lines, and no colour."""
    is_terminal = sys.stdout.isatty()
    told = os.environ.get("COLUMNS", "").isdigit()
    width = shutil.get_terminal_size().columns if is_terminal or told else _WIDTH_MAX
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Screen(width=max(width, 40), colour=is_terminal and not plain)
