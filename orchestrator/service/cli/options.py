"""Options that several commands share, each with one name and one meaning."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.service.cli.screen import Screen

FilterAccount = Annotated[
    str | None, typer.Option("--account", "-a", metavar="ACCOUNT", help="Only this account.")
]
FilterStrategy = Annotated[
    str | None, typer.Option("--strategy", metavar="NAME", help="Only this strategy.")
]
FilterInstrument = Annotated[
    str | None, typer.Option("--instrument", "-i", metavar="NAME", help="Only this instrument.")
]
Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=1000, metavar="N", help="At most so many rows.")
]
Cursor = Annotated[
    str | None, typer.Option("--cursor", metavar="C", help="Go on where an earlier page ended.")
]
Reason = Annotated[
    str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; kept in the audit trail.")
]
NeededReason = Annotated[
    str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; kept in the audit trail.")
]


def tell_next(screen: Screen, cursor: str | None) -> None:
    """How to read on, where there is more."""
    if cursor is not None:
        screen.hanging("", f"there are more: add --cursor {cursor}", "dim")
