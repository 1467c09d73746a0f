"""Commands that act: start, stop, enable, disable, signal, breakers."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from enum import StrEnum
from threading import Event as Flag
from typing import Annotated

import typer

from orchestrator.service.cli import tables
from orchestrator.service.cli.answers import Breaker, Done, Listed, SignalRow, SignalTaken
from orchestrator.service.cli.client import path_part, read
from orchestrator.service.cli.options import NeededReason, Reason
from orchestrator.service.cli.screen import Screen
from orchestrator.service.cli.session import Session, asks_service
from orchestrator.service.cli.trouble import NotReachable

_DRAIN_S = 60.0  # stopping waits for what is in flight
_POLL_S = 0.25

AccountArgument = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's id.")]


class SideWord(StrEnum):
    BUY = "buy"
    SELL = "sell"


def show_done(screen: Screen, done: Done) -> None:
    screen.hanging("", done.text or "done", "bold")
    for item in done.items:
        screen.hanging("  - ", item)
    if done.open_trades:
        screen.line("still open:")
        tables.open_trades(screen, done.open_trades)
    if done.pending_orders:
        screen.line("still pending at the venue:")
        tables.pending_orders(screen, done.pending_orders)


@asks_service
def start(session: Session, reason: Reason = "") -> None:
    """Let trading begin. Refused while an emergency stop is in force: see resume.

    \b
    Example:
      orchestrator start --reason "checked the morning's report"
    """
    answer = session.client.post("/start", {"reason": reason} if reason else {})
    session.show(Done, answer, show_done)


@asks_service
def stop(
    session: Session,
    close: Annotated[bool, typer.Option("--close", help="Close all positions, too.")] = False,
    reason: Reason = "",
) -> None:
    """End trading in order: no new signals, what is in flight is finished.

    Positions stay, with their stops at the venue, unless --close; the answer names all that is
    still open. In an emergency, use emergency-stop.

    \b
    Examples:
      orchestrator stop --reason "going home"
      orchestrator stop --close
    """
    body = {"positions": "close" if close else "keep", "reason": reason}
    answer = session.client.post("/stop", body, _DRAIN_S)
    session.show(Done, answer, show_done)


@asks_service
def enable(session: Session, account: AccountArgument, reason: Reason = "") -> None:
    """Let an account take new trades.

    \b
    Example:
      orchestrator enable 101-001-1000001-001
    """
    _switch(session, account, "enable", reason)


@asks_service
def disable(session: Session, account: AccountArgument, reason: Reason = "") -> None:
    """No new trades for an account; what is open stays, with its stops.

    \b
    Example:
      orchestrator disable 101-001-1000001-001 --reason "account review"
    """
    _switch(session, account, "disable", reason)


def _switch(session: Session, account: str, how: str, reason: str) -> None:
    path = f"/accounts/{path_part(account)}/{how}"
    answer = session.client.post(path, {"reason": reason} if reason else {})
    session.show(Done, answer, show_done)


# --- Signals -------------------------------------------------------------------------------------


def positive(text: str) -> str:
    """A decimal above 0, kept as it was typed."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not a number") from None
    if not value.is_finite() or value <= 0:
        raise typer.BadParameter("it must be above 0")
    return text


def _confidence(text: str) -> str:
    if Decimal(positive(text)) > 1:
        raise typer.BadParameter("it is a fraction of 1, as 0.6")
    return text


@asks_service
def signal(
    session: Session,
    instrument: Annotated[str, typer.Argument(metavar="INSTRUMENT", help="As EUR_USD.")],
    side: Annotated[SideWord, typer.Argument(metavar="buy|sell")],
    stop_distance: Annotated[
        str,
        typer.Option(
            "--stop-distance",
            "-s",
            metavar="PRICE",
            callback=positive,
            help="From entry to stop loss, in price: 0.0020 is 20 pips of EUR_USD.",
        ),
    ],
    target_distance: Annotated[
        str | None,
        typer.Option("--target-distance", "-t", metavar="PRICE", help="From entry to take profit."),
    ] = None,
    confidence: Annotated[
        str,
        typer.Option(
            "--confidence",
            metavar="P",
            callback=_confidence,
            help="Your probability that the target comes before the stop.",
        ),
    ] = "0.55",
    accounts: Annotated[
        list[str] | None,
        typer.Option("--account", "-a", metavar="ACCOUNT", help="Only this one; may be repeated."),
    ] = None,
    strategy: Annotated[
        str, typer.Option("--strategy", metavar="NAME", help="Whose record it counts for.")
    ] = "manual",
    ttl_ms: Annotated[
        int, typer.Option("--ttl-ms", min=1, max=3_600_000, metavar="MS", help="Good for so long.")
    ] = 10_000,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Kept with it.")] = "",
    signal_id: Annotated[
        str, typer.Option("--id", metavar="ID", help="Your own id: makes a repeat harmless.")
    ] = "",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for how it ends; exit code 0 if it was filled.")
    ] = False,
) -> None:
    """Give a signal of your own: it takes the same path and passes the same checks as any other.

    The agents decide who takes it, at what size; no order is promised.

    \b
    Examples:
      orchestrator signal EUR_USD buy --stop-distance 0.0020 --wait
      orchestrator signal XAU_USD sell -s 4.5 -t 9 --note "after the news"
    """
    wish: dict[str, object] = {
        "instrument": instrument, "side": side.value, "stop_distance": stop_distance,
        "confidence": confidence, "strategy": strategy, "ttl_ms": ttl_ms, "note": note,
        "accounts": accounts or [], "signal_id": signal_id,
    }  # fmt: skip
    if target_distance is not None:
        wish["target_distance"] = positive(target_distance)
    answer = session.client.post("/signals", wish)
    taken = read(SignalTaken, answer)
    if wait:
        _tell_end(session, taken, ttl_ms)
    else:
        session.show(SignalTaken, answer, _show_taken)


def _show_taken(screen: Screen, taken: SignalTaken) -> None:
    screen.line(f"signal {taken.signal_id} is on its way", "bold")
    screen.pairs([
        ("accounts", ", ".join(taken.accounts)),
        ("its story", f"orchestrator explain {taken.signal_id}"),
    ])  # fmt: skip


def _tell_end(session: Session, taken: SignalTaken, ttl_ms: int) -> None:
    """Waits as long as an outcome may take: time to live and 30 s."""
    path = f"/signals/{path_part(taken.signal_id)}"
    for _ in range(round((ttl_ms / 1000 + 30) / _POLL_S)):
        answer = session.client.get(path)
        row = read(SignalRow, answer)
        if len({o.ended.account_id for o in row.outcomes}) >= max(len(taken.accounts), 1):
            session.show(SignalRow, answer, _show_end)
            if not any(o.ended.outcome == "filled" for o in row.outcomes):
                raise typer.Exit(1)
            return
        Flag().wait(_POLL_S)
    raise NotReachable(f"signal {taken.signal_id} has not ended yet; look with: explain")


def _show_end(screen: Screen, row: SignalRow) -> None:
    screen.line(f"signal {row.signal_id} has ended", "bold")
    for each in row.outcomes:
        end = each.ended
        by = f" by {end.stage}" if end.stage else ""
        text = f"{end.outcome}{by}: {end.reason}".rstrip(": ")
        screen.hanging(f"  {end.account_id}  ", text, tables.word(end.outcome).style)
    screen.line(f"  orchestrator explain {row.signal_id}", "dim")


# --- Breakers ------------------------------------------------------------------------------------

breakers_app = typer.Typer(rich_markup_mode="rich")

BreakerArgument = Annotated[str, typer.Argument(metavar="BREAKER", help="Its id, as A3 or M2.")]
Subject = Annotated[
    str,
    typer.Option("--subject", metavar="ID", help="The account, instrument or `system` it is for."),
]


Rebase = Annotated[
    bool,
    typer.Option("--rebase", help="A2 only: the peak begins anew at the NAV of now."),
]


@breakers_app.callback(invoke_without_command=True)
@asks_service
def breakers(
    session: Session,
    tripped: Annotated[bool, typer.Option("--tripped", help="Only those that block.")] = False,
) -> None:
    """All breakers with their state, effect, evidence; trip or reset one.

    \b
    Examples:
      orchestrator breakers
      orchestrator breakers --tripped --json
      orchestrator breakers reset --help
    """
    query = {"tripped": "true" if tripped else None, "limit": 1000}
    answer = session.client.get("/breakers", query)
    session.show(Listed[Breaker], answer, _show_breakers)


def _show_breakers(screen: Screen, found: Listed[Breaker]) -> None:
    tables.breakers(screen, found.items, "no breaker is tripped")


@breakers_app.command("trip")
@asks_service
def breakers_trip(
    session: Session, breaker: BreakerArgument, reason: NeededReason, subject: Subject = ""
) -> None:
    """Trip a breaker by hand: it blocks as if its condition held.

    \b
    Example:
      orchestrator breakers trip M2 --subject XAU_USD --reason "news at 13:30"
    """
    _move(session, breaker, "trip", subject, reason)


@breakers_app.command("reset")
@asks_service
def breakers_reset(
    session: Session, breaker: BreakerArgument, reason: NeededReason, subject: Subject = "",
    rebase: Rebase = False,
) -> None:  # fmt: skip
    """Reset a tripped breaker; refused, with the reason, where it must not be.

    \b
    Example:
      orchestrator breakers reset A3 --subject 101-001-1000001-001 \\
        --reason "looked at the trades"
    """
    _move(session, breaker, "reset", subject, reason, **({"rebase": True} if rebase else {}))


def _move(
    session: Session, breaker: str, how: str, subject: str, reason: str, **more: bool
) -> None:
    path = f"/breakers/{path_part(breaker)}/{how}"
    answer = session.client.post(path, {"subject": subject, "reason": reason, **more})
    session.show(Done, answer, show_done)
