"""Commands of the audit trail: verify, export, prune, checkpoint, key."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer

from orchestrator.model.errors import OrchestratorError
from orchestrator.model.time import Instant, parse_time
from orchestrator.service.cli.acting import show_done
from orchestrator.service.cli.answers import Done
from orchestrator.service.cli.screen import Screen
from orchestrator.service.cli.session import Session, asks_service, print_json
from orchestrator.service.cli.trail import (
    GOOD,
    ExportWishes,
    PruneWishes,
    TrailDesk,
    VenueReport,
    VerifyReport,
    VerifyWishes,
)
from orchestrator.service.cli.trouble import Trouble

T = TypeVar("T")

VERIFY_S = 900.0  # the service reads its whole journal

audit_app = typer.Typer(rich_markup_mode="rich", no_args_is_help=True)


@audit_app.callback()
def audit() -> None:
    """The audit trail: verify it, export it, prune it, vouch for it.

    \b
    Examples:
      orchestrator audit verify
      orchestrator audit export --jsonl trail.jsonl.gz
    """


@audit_app.command("verify")
@asks_service
def audit_verify(
    session: Session,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Checkpoints kept elsewhere; else those of the state folder.",
        ),
    ] = None,
    jsonl: Annotated[
        Path | None,
        typer.Option(
            "--jsonl",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Verify an export (.jsonl or .jsonl.gz) instead of the store.",
        ),
    ] = None,
    key: Annotated[
        str, typer.Option("--key", metavar="HEX", help="The public key that must have signed.")
    ] = "",
    venue: Annotated[
        bool,
        typer.Option("--venue", help="Compare each account's transactions with the venue's log."),
    ] = False,
    service: Annotated[
        bool,
        typer.Option(
            "--service", help="Let the running service verify: needed before S12 can be reset."
        ),
    ] = False,
) -> None:
    """Verify the audit trail's hash chain, from its first record to its last.

    Reads the store itself, beside a running service or without one; nothing is changed. Exit code
    0: good; 1: broken, with the first bad record; 2: it cannot be read.

    \b
    Examples:
      orchestrator audit verify
      orchestrator audit verify --checkpoint kept-elsewhere.jsonl --json
      orchestrator audit verify --venue
      orchestrator audit verify --jsonl trail.jsonl.gz
    """
    if service:
        session.show(Done, session.client.post("/audit/verify", timeout_s=VERIFY_S), show_done)
        return
    wishes = VerifyWishes(
        state=session.state, checkpoint=checkpoint, jsonl=jsonl, key=key, venue=venue,
        quiet=session.json,
    )  # fmt: skip
    report = session.backend.trail().verify(wishes)
    _show(session, report)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _show(session: Session, report: VerifyReport) -> None:
    if session.json:
        print_json(msgspec.json.encode(report))
        return
    screen = session.screen
    style = "good" if report.state == GOOD else "bad"
    screen.hanging("", f"{report.state}: {report.text}", style)
    rows = [("trail", report.source)]
    if report.last:
        rows += [
            ("records", f"{report.first:,} to {report.last:,}"),
            ("speed", f"{report.records_per_s:,} records/s, {report.took_s:.2f} s"),
        ]
    if report.head:
        rows.append(("head", report.head))
    if report.checkpoints:
        vouched = f"{report.checkpoints:,}, the last of record {report.checkpoint_seq:,}"
        rows += [("checkpoints", vouched), ("after it", f"{report.unvouched:,} records")]
    screen.pairs(rows)
    for account in report.venue:
        _show_venue(screen, account)
    for note in report.notes:
        screen.hanging("  note  ", note)


def _show_venue(screen: Screen, account: VenueReport) -> None:
    text = f"{account.compared:,} transactions agree"
    if account.compared:
        text += f", {account.watermark + 1} to {account.last}"
    for what, ids in (("missing in the trail", account.missing), ("not there", account.unknown)):
        if ids:
            text += f"; {what}: {', '.join(map(str, ids))}"
    text = account.problem or "; ".join(filter(None, (text, account.disorder)))
    screen.hanging(f"  {account.account_id}  ", text, "good" if account.good else "bad")


@audit_app.command("export")
@asks_service
def audit_export(
    session: Session,
    jsonl: Annotated[
        Path, typer.Option("--jsonl", metavar="FILE", help="Where to; - is standard output.")
    ],
    from_seq: Annotated[int, typer.Option("--from", min=1, metavar="N", help="First record.")] = 1,
    to_seq: Annotated[
        int, typer.Option("--to", min=0, metavar="N", help="Last record; 0: to the end.")
    ] = 0,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="From this UTC time on.")
    ] = "",
    until: Annotated[
        str, typer.Option("--until", metavar="TIME", help="Before this UTC time.")
    ] = "",
) -> None:
    """Write the trail as JSON lines, each byte for byte what was hashed; .gz is packed.

    Nothing is lost: the file alone can be verified with `audit verify --jsonl FILE`.

    \b
    Examples:
      orchestrator audit export --jsonl trail.jsonl.gz
      orchestrator audit export --jsonl - --from 1000 --to 1999 | jq .type
      orchestrator audit export --jsonl may.jsonl --since 2026-05-01 --until 2026-06-01
    """
    wishes = ExportWishes(
        target=jsonl, state=session.state, from_seq=from_seq, to_seq=to_seq,
        since_ns=_instant(since), until_ns=_instant(until), quiet=session.json,
    )  # fmt: skip
    report = _asked(lambda desk: desk.export(wishes), session)
    if str(jsonl) == "-":
        return
    if session.json:
        print_json(msgspec.json.encode(report))
        return
    session.screen.line(f"{report.records:,} records in {report.file}", "bold")
    rows = [("records", f"{report.first:,} to {report.last:,}"), ("sha256", report.digest)]
    session.screen.pairs(rows)


@audit_app.command("prune")
@asks_service
def audit_prune(
    session: Session,
    before: Annotated[
        str, typer.Option("--before", metavar="TIME", help="Records older than this UTC time.")
    ],
    compact: Annotated[
        bool, typer.Option("--compact", help="Give the room back to the disk; takes a while.")
    ] = False,
) -> None:
    """Move old records into the folder `archive`, and out of the store; the service must be off.

    Only whole segments go, each up to a signed checkpoint, after their export was read back. The
    chain verifies from there on; ids that are unique for ever stay known. Keep the archive.

    \b
    Example:
      orchestrator audit prune --before 2026-01-01 --compact
    """
    wishes = PruneWishes(
        before_ns=_instant(before), state=session.state, actor=f"local:{os.getuid()}",
        compact=compact, quiet=session.json,
    )  # fmt: skip
    report = _asked(lambda desk: desk.prune(wishes), session)
    if session.json:
        print_json(msgspec.json.encode(report))
        return
    session.screen.hanging("", report.text, "bold")
    if report.file:
        session.screen.pairs([("archive", report.file)])


@audit_app.command("checkpoint")
@asks_service
def audit_checkpoint(session: Session) -> None:
    """Sign the trail as it stands now; keep the printed line where this machine cannot reach it.

    \b
    Example:
      orchestrator audit checkpoint --json >> /media/elsewhere/checkpoints.jsonl
    """
    report = _asked(lambda desk: desk.checkpoint(session.state), session)
    if session.json:
        print_json(report.line.encode())
        return
    session.screen.line(f"record {report.seq:,} is signed", "bold")
    session.screen.pairs([("head", report.head), ("file", report.file)])
    print(report.line)


@audit_app.command("key")
@asks_service
def audit_key(session: Session) -> None:
    """The public key that signs this installation's checkpoints; made if there is none yet.

    \b
    Example:
      orchestrator audit key
    """
    report = _asked(lambda desk: desk.key(session.state), session)
    if session.json:
        print_json(msgspec.json.encode(report))
        return
    print(report.public)


@audit_app.command("compare")
@asks_service
def audit_compare(
    session: Session,
    one: Annotated[Path, typer.Argument(exists=True, file_okay=False, metavar="ONE")],
    other: Annotated[Path, typer.Argument(exists=True, file_okay=False, metavar="OTHER")],
) -> None:
    """Whether two exact replays gave the same orders, row by row; 1 when they did not.

    Intents and their steps, transactions, trades and signals' outcomes are compared, with
    their times; who had which opinion, and when agents came and went, is not.

    \b
    Example:
      orchestrator audit compare replay-embedded replay-elsewhere
    """
    report = _asked(lambda desk: desk.compare(one, other), session)
    if session.json:
        print_json(msgspec.json.encode(report))
    else:
        print(report.text)
        session.screen.pairs([(kind, f"{count:,}") for kind, count in report.rows.items()])
    if not report.equal:
        raise typer.Exit(1)


def _asked(ask: Callable[[TrailDesk], T], session: Session) -> T:
    """What may go wrong is one plain line for a person."""
    try:
        return ask(session.backend.trail())
    except (OrchestratorError, OSError, ValueError) as exc:
        raise Trouble(str(exc)) from exc


def _instant(text: str) -> Instant:
    """A date, or a time in RFC 3339; "" is 0."""
    if not text:
        return 0
    try:
        return parse_time(text if "T" in text else f"{text}T00:00:00Z")
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no UTC time, as 2026-05-01 or 2026-05-01T12:00:00Z"
        ) from None
