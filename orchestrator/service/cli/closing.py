"""Commands that take risk away by hand: close, cancel, tighten; and what became of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.service.cli.acting import AccountArgument, positive
from orchestrator.service.cli.answers import Listed, Reduction
from orchestrator.service.cli.client import path_part
from orchestrator.service.cli.options import Cursor, Limit, Reason, tell_next
from orchestrator.service.cli.screen import Column, Row, Screen
from orchestrator.service.cli.session import Session, asks_service
from orchestrator.service.cli.tables import word
from orchestrator.service.cli.texts import moment

_COLUMNS = (
    Column("time (UTC)", drop=2), Column("account"), Column("what"), Column("state"),
    Column("who", drop=3), Column("said", fold=True, drop=1), Column("command", drop=4),
)  # fmt: skip
_WAIT_S = 20.0  # the service answers after 6 s at most

Units = Annotated[
    str | None,
    typer.Option("--units", "-u", metavar="N", help="So many units; without it, all of it."),
]
CommandId = Annotated[
    str, typer.Option("--id", metavar="ID", help="Your own id: makes a repeat harmless for a day.")
]


class PositionSide(StrEnum):
    LONG = "long"
    SHORT = "short"


@asks_service
def close(
    session: Session,
    account: AccountArgument,
    instrument: Annotated[str, typer.Argument(metavar="INSTRUMENT", help="As EUR_USD.")],
    trade: Annotated[
        str | None, typer.Option("--trade", "-t", metavar="ID", help="Only this trade of it.")
    ] = None,
    units: Units = None,
    side: Annotated[
        PositionSide | None,
        typer.Option("--side", metavar="long|short", help="Where both sides are held."),
    ] = None,
    reason: Reason = "",
    command_id: CommandId = "",
) -> None:
    """Close a position or one of its trades at the market, wholly or in part.

    No limit, breaker or throttle stands before it; a closed market does, and an emergency stop,
    which closes everything by itself. A part is sent at most once: after a time-out look with
    `reductions` before you ask again.

    \\b
    Examples:
      orchestrator close 101-001-1000001-001 EUR_USD
      orchestrator close 101-001-1000001-001 EUR_USD --units 5000 -r "half off before the news"
      orchestrator close 101-001-1000001-001 EUR_USD --trade 6363
    """
    body = _body(reason, command_id)
    if units is not None:
        body["units"] = positive(units)
    if trade is None:
        path = f"/positions/{path_part(account)}/{path_part(instrument)}/close"
        if side is not None:
            body["side"] = side.value
    else:
        path = f"/trades/{path_part(account)}/{path_part(trade)}/close"
        body["instrument"] = instrument
    session.show(Reduction, session.client.post(path, body, _WAIT_S), _show)


@asks_service
def cancel(
    session: Session,
    account: AccountArgument,
    order: Annotated[str, typer.Argument(metavar="ORDER", help="Its id, as in `orders`.")],
    reason: Reason = "",
    command_id: CommandId = "",
) -> None:
    """Cancel an entry order that waits at the venue; stops and targets go with their trade.

    \\b
    Example:
      orchestrator cancel 101-001-1000001-001 6371
    """
    path = f"/orders/{path_part(account)}/{path_part(order)}/cancel"
    session.show(Reduction, session.client.post(path, _body(reason, command_id), _WAIT_S), _show)


@asks_service
def tighten(
    session: Session,
    account: AccountArgument,
    trade: Annotated[str, typer.Argument(metavar="TRADE", help="Its id, as in `trades`.")],
    price: Annotated[str, typer.Argument(metavar="PRICE", help="Of the new stop loss.")],
    reason: Reason = "",
    command_id: CommandId = "",
) -> None:
    """Move a trade's stop loss towards the market; away from it is refused.

    \\b
    Example:
      orchestrator tighten 101-001-1000001-001 6363 1.38350 -r "break even"
    """
    path = f"/trades/{path_part(account)}/{path_part(trade)}/stop"
    body = _body(reason, command_id) | {"price": positive(price)}
    session.show(Reduction, session.client.post(path, body, _WAIT_S), _show)


def _body(reason: str, command_id: str) -> dict[str, object]:
    return {"reason": reason, "command_id": command_id}


def _show(screen: Screen, found: Reduction) -> None:
    screen.hanging("", f"{_what(found)}: {found.state}", word(found.state).style)
    screen.pairs([
        ("account", found.account_id),
        ("said", found.reason or "-"),
        ("transaction", str(found.transaction_id or "-")),
        ("command", found.command_id),
    ])  # fmt: skip
    if found.state in {"written", "unknown"}:
        screen.hanging("", "the venue's log will tell; look with: orchestrator reductions", "warn")


def _what(found: Reduction) -> str:
    what = found.kind.replace("_", " ")
    parts = (what, found.target, f"{found.units} units" if found.units is not None else "",
             f"at {found.price}" if found.price is not None else "")  # fmt: skip
    return " ".join(part for part in parts if part)


@asks_service
def reductions(session: Session, limit: Limit = 50, cursor: Cursor = None) -> None:
    """Closes, cancels and tighter stops by hand, of the last day, and what became of them.

    \\b
    Example:
      orchestrator reductions
    """
    answer = session.client.get("/reductions", {"limit": limit, "cursor": cursor})
    session.show(Listed[Reduction], answer, _show_all)


def _show_all(screen: Screen, found: Listed[Reduction]) -> None:
    rows: list[Row] = [
        (
            moment(each.written_at), each.account_id, _what(each), word(each.state), each.actor,
            each.reason, each.command_id,
        )
        for each in found.items
    ]  # fmt: skip
    screen.table(_COLUMNS, rows, "nothing was closed by hand")
    tell_next(screen, found.next)
