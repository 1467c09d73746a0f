"""What a drill came to: for a terminal, as Markdown, as a page, as JSON."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, at seconds of market time since the drill began."""

    at_s: float
    who: str  # story | breaker | stop | trade | system | alert
    text: str


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold; `text` says what was measured."""

    id: str
    name: str
    passed: bool
    text: str


class BreakerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker that tripped: what it did, and when it let go; `reset_s` None: it still stands."""

    breaker: str
    subject: str
    effect: str
    at_s: float
    reset_s: float | None
    evidence: str


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """Money in the home currency; losses from the drill's begin, by the venue's own books."""

    account_id: str
    currency: str
    began: str
    ended: str
    worst_loss: str
    worst_loss_fraction: str
    limit: str


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A number of SAFETY 13 that this drill can show; milliseconds are of this machine."""

    name: str
    value: str
    must: str
    passed: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it. `passed`: every rule and every figure."""

    drill: str
    about: str
    seed: int
    passed: bool
    market_from: str
    market_s: float
    settings: tuple[tuple[str, str], ...]
    rules: tuple[Rule, ...]
    figures: tuple[Figure, ...]
    breakers: tuple[BreakerRow, ...]
    accounts: tuple[AccountRow, ...]
    counts: dict[str, int]
    refusals: dict[str, int]
    timeline: tuple[Moment, ...]
    audit_head: str


def verdict(report: Report) -> str:
    failed = sum(not rule.passed for rule in report.rules)
    failed += sum(not figure.passed for figure in report.figures)
    return "passed" if report.passed else f"FAILED ({failed})"


def as_markdown(report: Report) -> str:
    """Plain enough to be read in a terminal as it is."""
    parts = [
        f"# Drill {report.drill}: {verdict(report)}",
        "",
        report.about,
        "",
        f"Market time from {report.market_from}, {report.market_s:.0f} s; seed {report.seed}.",
        "",
        "## Rules",
        *_table(
            ("", "rule", "what was measured"),
            [(_mark(passed=r.passed), f"{r.id} {r.name}", r.text) for r in report.rules],
        ),
        "",
        "## Figures",
        *_table(
            ("", "figure", "value", "must"),
            [(_mark(passed=f.passed), f.name, f.value, f.must) for f in report.figures],
        ),
        "",
        "## Accounts",
        *_table(
            ("account", "began with", "ended with", "worst loss", "of it", "limit"),
            [
                (a.account_id, f"{a.began} {a.currency}", a.ended, a.worst_loss,
                 a.worst_loss_fraction, a.limit)
                for a in report.accounts
            ],
        ),
        "",
        "## Breakers that tripped",
        *_table(
            ("at", "breaker", "for", "effect", "until", "evidence"),
            [
                (_clock(b.at_s), b.breaker, b.subject, b.effect,
                 "it stands" if b.reset_s is None else _clock(b.reset_s), b.evidence)
                for b in report.breakers
            ],
        ),
        "",
        "## Counts",
        *_table(("what", "how many"), [(k, f"{n:,}") for k, n in report.counts.items()]),
        "",
        "## Why signals were not traded",
        *_table(("how many", "reason"), [(f"{n:,}", k) for k, n in report.refusals.items()]),
        "",
        "## What happened",
        *_table(
            ("at", "who", "what"),
            [(_clock(m.at_s), m.who, m.text) for m in report.timeline],
        ),
        "",
        "## On these settings",
        *_table(("setting", "value"), report.settings),
        "",
        f"Audit head: `{report.audit_head}`",
        "",
    ]  # fmt: skip
    return "\n".join(parts)


def _mark(*, passed: bool) -> str:
    return "ok" if passed else "FAILED"


def _clock(at_s: float) -> str:
    return f"{int(at_s) // 60:d}:{at_s % 60:04.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns stand under one another."""
    if not rows:
        return ["", "none"]
    clean = [[cell.replace("|", "/").replace("\n", " ") for cell in row] for row in rows]
    every = [list(head), *clean]
    widths = [max(len(row[at]) for row in every) for at in range(len(head))]
    # The last column is as long as it likes.
    widths[-1] = len(head[-1])
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) + " |"
             for r in every]  # fmt: skip
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return ["", lines[0], rule, *lines[1:]]


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem;
 color: #1b1f24; background: #fff }}
table {{ border-collapse: collapse; margin: .5rem 0 1.5rem }}
td, th {{ text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #dde;
 vertical-align: top }}
.good {{ color: #116329; font-weight: 600 }} .bad {{ color: #b00020; font-weight: 600 }}
@media (prefers-color-scheme: dark) {{ body {{ background: #14171a; color: #e6e6e6 }}
 td, th {{ border-color: #333 }} .good {{ color: #6fdd8b }} .bad {{ color: #ff7b7b }} }}
</style></head><body>
{body}
</body></html>
"""


def as_html(report: Report) -> str:
    """The Markdown's own lines as a page: one source for both."""
    body: list[str] = []
    table: list[str] = []
    for line in [*as_markdown(report).splitlines(), ""]:
        if line.startswith("|"):
            table.append(line)
            continue
        if table:
            body.append(_html_table(table))
            table = []
        body.append(_html_line(line))
    title = html.escape(f"Drill {report.drill}: {verdict(report)}")
    return _PAGE.format(title=title, body="\n".join(filter(None, body)))


def _html_line(line: str) -> str:
    if line.startswith("## "):
        return f"<h2>{html.escape(line[3:])}</h2>"
    if line.startswith("# "):
        return f"<h1>{html.escape(line[2:])}</h1>"
    return f"<p>{html.escape(line)}</p>" if line else ""


def _html_table(lines: Sequence[str]) -> str:
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    return f"<table><tr>{cells}</tr>{''.join(map(_html_row, rows))}</table>"


def _html_row(row: Sequence[str]) -> str:
    styles = {"ok": ' class="good"', "FAILED": ' class="bad"'}
    cells = "".join(f"<td{styles.get(cell, '')}>{html.escape(cell)}</td>" for cell in row)
    return f"<tr>{cells}</tr>"


def as_json(report: Report) -> str:
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"


FORMATS: dict[str, Callable[[Report], str]] = {
    ".html": as_html, ".htm": as_html, ".md": as_markdown, ".json": as_json,
}  # fmt: skip


def write(report: Report, path: Path) -> None:
    """By the file's ending. ValueError for another one, OSError."""
    render = FORMATS.get(path.suffix.lower())
    if render is None:
        raise ValueError(f"{path}: a report is a .html, .md or .json file")
    path.write_text(render(report), "utf-8")
