"""Commands that follow: `events`, as they were or as they come, and `explain`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from orchestrator.service.cli import tables
from orchestrator.service.cli.answers import Event, Explanation, Listed, Moment, Signal
from orchestrator.service.cli.client import Client, path_part, read
from orchestrator.service.cli.options import FilterAccount, tell_next
from orchestrator.service.cli.screen import Screen
from orchestrator.service.cli.sentences import sentence, style_of
from orchestrator.service.cli.session import Session, asks_service, print_json
from orchestrator.service.cli.texts import UNKNOWN, after, clock, day, moment, number
from orchestrator.service.cli.trouble import NotAuthorised, Trouble

_EVENTS_MAX = 1000


@asks_service
def events(
    session: Session,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", "-t", metavar="TYPE", help="Only this type; may be repeated."),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option("--subject", metavar="ID", help="Only of this account, intent or agent."),
    ] = None,
    signal: Annotated[
        str | None, typer.Option("--signal", metavar="ID", help="Only of this signal's path.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Not older; as 2026-01-31T12:00:00Z."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=_EVENTS_MAX, help="So many of the past.")
    ] = 20,
    cursor: Annotated[
        str | None, typer.Option("--cursor", metavar="C", help="Read on into the past.")
    ] = None,
) -> None:
    """What happened: the journal's records, the newest last. --follow goes on live.

    With --follow --json, one JSON document a line.

    \b
    Examples:
      orchestrator events --follow
      orchestrator events --type trade.opened --type trade.closed -n 50
      orchestrator events --follow --json | jq -r .type
    """
    query = {
        "type": ",".join(types or ()), "subject": subject, "signal": signal, "since": since,
        "limit": limit, "cursor": cursor,
    }  # fmt: skip
    if not follow:
        answer = session.client.get("/events", query)
        session.show(Listed[Event], answer, show_events)
        return
    printer = _Printer(None if session.json else session.screen)
    wanted = _Wanted(subject=subject or "", signal=signal or "")
    for raw in _followed(session.client, query, tuple(types or ())):
        event = read(Event, raw)
        if wanted.takes(event):
            printer.tell(event, raw)


class _Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the live stream does not filter by itself."""

    subject: str
    signal: str

    def takes(self, event: Event) -> bool:
        return self.subject in {"", event.subject} and self.signal in {"", event.corr}


class _Printer:
    """Events as lines under their day; without a screen, as the JSON that they came in."""

    def __init__(self, screen: Screen | None) -> None:
        self._screen = screen
        self._day = ""

    def tell(self, event: Event, raw: bytes) -> None:
        if self._screen is None:
            print_json(raw)
            return
        today = day(event.ts)
        if today != self._day:
            self._screen.line(f"{today} (UTC)", "dim")
            self._day = today
        head = f"{clock(event.ts)}  {event.type:<19}  "
        self._screen.hanging(head, sentence(event), style_of(event))


def show_events(screen: Screen, found: Listed[Event]) -> None:
    """The newest stands last, where the eye is."""
    printer = _Printer(screen)
    for event in reversed(found.items):
        printer.tell(event, b"")
    if not found.items:
        screen.line("no such events", "dim")
    tell_next(screen, found.next)


def _followed(
    client: Client, query: dict[str, str | int | None], types: tuple[str, ...]
) -> Iterator[bytes]:
    """Some of the past, then what comes, each record once, over any loss of the connection."""
    from orchestrator.service.cli.live import Live  # its driver takes a while to import

    last, again = 0, False
    with Live(client, types) as live:
        while True:
            live.open()
            # The past is read after the stream has begun, so that nothing falls between the two.
            try:
                past = _past(client, query)
            except Trouble as trouble:
                if not again or isinstance(trouble, NotAuthorised):
                    raise
                live.close()
                continue
            for raw in reversed(past):
                seq = read(Event, raw).seq
                if seq > last:
                    last = seq
                    yield raw
            again = True
            query = {**query, "limit": _EVENTS_MAX, "cursor": None}  # after a loss: all that is new
            for raw in live.messages():
                seq = read(Event, raw).seq
                if seq > last:
                    last = seq
                    yield raw


def _past(client: Client, query: dict[str, str | int | None]) -> list[bytes]:
    page = read(Listed[msgspec.Raw], client.get("/events", query))
    return [bytes(raw) for raw in page.items]


# --- Explain -------------------------------------------------------------------------------------


@asks_service
def explain(
    session: Session,
    ref: Annotated[
        str, typer.Argument(metavar="REF", help="A signal, intent, order or trade: its id.")
    ],
    account: FilterAccount = None,
) -> None:
    """Why an order was made, or was not: who decided what, from what, when, how fast.

    \b
    Examples:
      orchestrator explain 1042
      orchestrator explain 1042 --account 101-001-1000001-001
      orchestrator signals   (to find a signal's id)
    """
    answer = session.client.get(f"/explain/{path_part(ref)}", {"account": account})
    session.show(Explanation, answer, show_explanation)


def show_explanation(screen: Screen, told: Explanation) -> None:
    row = told.signal
    what = told.found.kind or "reference"
    of = "" if told.ref == row.signal_id else f" belongs to signal {row.signal_id}"
    screen.line(f"{what} {told.ref}{of}", "bold")
    if row.signal is not None:
        screen.pairs(_wish(row.signal))
    by_account: dict[str, list[Moment]] = {}
    for each in told.timeline:
        by_account.setdefault(each.account_id, []).append(each)
    start = told.timeline[0].at_at if told.timeline else row.at_at
    for account, moments in by_account.items():
        screen.line()
        screen.line(account or "All accounts", "bold")
        _show_moments(screen, moments, start)
    _show_result(screen, told)


def _wish(signal: Signal) -> list[tuple[str, str]]:
    rows = [
        ("wish", f"{signal.side} {signal.instrument} at {number(signal.reference_price)}"),
        ("strategy", f"{signal.strategy}, regime {signal.regime or UNKNOWN}, by {signal.source}"),
        ("stop", f"{number(signal.stop_distance)} away"),
        ("target", f"{number(signal.target_distance)} away" if signal.target_distance else ""),
        ("confidence", number(signal.confidence)),
        ("made", f"{moment(signal.created_at)} UTC, market time"),
        ("good for", f"{signal.ttl_ms / 1000:g} s"),
        ("saw", ", ".join(f"{f.name} {f.value}" for f in signal.features)),
        ("note", signal.note),
    ]
    return [(label, text) for label, text in rows if text]


def _show_moments(screen: Screen, moments: list[Moment], start: str | None) -> None:
    afters = [after(start, m.at_at) for m in moments]
    width = max(len(text) for text in afters)
    whos = max(len(m.who) for m in moments)
    for when, m in zip(afters, moments, strict=True):
        # An agent's id is its role and a number: said once.
        text = m.text.removeprefix(f"{m.who.rpartition('-')[0]} ")
        screen.hanging(f"  {when:>{width}}  {m.who:<{whos}}  ", text, _moment_style(m))


def _moment_style(m: Moment) -> str:
    if m.what == "trade.opened":
        return "good"
    bad = m.what in {"stage.decided", "checks.decided"} and (
        " rejected " in f" {m.text} " or "refused" in m.text
    )
    return "warn" if bad else ""


def _show_result(screen: Screen, told: Explanation) -> None:
    screen.line()
    for row in told.signal.outcomes:
        end = row.ended
        by = f" by {end.stage}" if end.stage else ""
        text = f"{end.outcome}{by}: {end.reason}".rstrip(": ")
        screen.hanging(f"{end.account_id}  ", text, tables.word(end.outcome).style)
    reported = {row.ended.account_id for row in told.signal.outcomes}
    for account in told.signal.accounts:
        if account not in reported:
            screen.hanging(f"{account}  ", "not ended yet", "warn")
    if told.also:
        others = ", ".join(f"{f.kind} of {f.account_id or f.signal_id}" for f in told.also)
        screen.hanging("", f"{told.ref} is also: {others}; choose with --account", "dim")
