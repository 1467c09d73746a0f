"""`emergency-stop`, which takes any way that works, and `resume`, which takes none by itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Event as Flag
from threading import Thread
from typing import Annotated, TypeVar

import msgspec
import typer

from orchestrator.service.cli.acting import show_done
from orchestrator.service.cli.answers import AccountReceipt, Done, StopReceipt
from orchestrator.service.cli.auditing import VERIFY_S
from orchestrator.service.cli.backend import LocalStop
from orchestrator.service.cli.client import read
from orchestrator.service.cli.options import NeededReason
from orchestrator.service.cli.screen import Screen
from orchestrator.service.cli.session import Session, asks_service, complain, print_json
from orchestrator.service.cli.status import stop_in_force
from orchestrator.service.cli.texts import clock, count, latency, moment
from orchestrator.service.cli.trouble import (
    NotReachable,
    Refusal,
    Trouble,
    WrongUsage,
)

_ANSWER_S = 1.0
_FOLLOW_POLL_S = 0.5
_REASON_CHARS_MAX = 500
_FLAT = "stopped_flat"
_WAITING = "waiting_market"
_WRONG_NAMES = {404, 422}

T = TypeVar("T")


@asks_service
def emergency_stop(
    session: Session,
    reason: Annotated[
        str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; kept in the audit trail.")
    ] = "by the command line",
    liquidate: Annotated[
        bool,
        typer.Option(
            "--liquidate/--no-liquidate", help="Cancel entry orders and close positions, too."
        ),
    ] = True,
    accounts: Annotated[
        list[str] | None,
        typer.Option("--account", "-a", metavar="ACCOUNT", help="Only this one; may be repeated."),
    ] = None,
    local: Annotated[
        bool,
        typer.Option(
            "--local", help="Close this machine's gate without network or token; all accounts."
        ),
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow until nothing is open any more.")
    ] = True,
    timeout_s: Annotated[
        int, typer.Option("--timeout", min=1, metavar="SECONDS", help="Follow for so long.")
    ] = 120,
) -> None:
    """STOP EVERYTHING, now: close the gate for all orders, cancel, close all positions.

    Asks nothing. It stays in force, over restarts too, until a person resumes. Where the service
    does not take it within a second, this machine's gate is closed without it (--local).

    Exit code 0: stopped, and flat if that was followed. 1: stopped, but not flat yet. 3: the
    service could not be told, and it may be on another machine.

    \b
    Examples:
      orchestrator emergency-stop
      orchestrator emergency-stop --reason "quotes look wrong" --no-liquidate
      orchestrator emergency-stop --account 101-001-1000001-001
      orchestrator emergency-stop --local
    """
    words = _sendable(reason)
    named = tuple(accounts or ())
    if local:
        _stop_here(session, words, liquidate=liquidate, because="", named=named)
        return
    body: dict[str, object] = {"reason": words, "liquidate": liquidate, "accounts": named}
    try:
        answer, receipt = _within(_ANSWER_S, lambda: _ask(session, body))
    except Refusal as refusal:
        if named and refusal.status in _WRONG_NAMES:
            raise Refusal(
                f"NOT STOPPED. {refusal}\nwithout --account everything is stopped:"
                " orchestrator emergency-stop", refusal.status, refusal.document,
            ) from None  # fmt: skip
        _stop_without(session, words, refusal, liquidate=liquidate, named=named)
    except Trouble as trouble:
        _stop_without(session, words, trouble, liquidate=liquidate, named=named)
    else:
        _tell(session, answer, receipt, timeout_s if wait and liquidate else 0)


def _sendable(reason: str) -> str:
    """An emergency does not fail because of its reason's form."""
    words = "".join(c if c.isprintable() else " " for c in reason).strip()
    return words[:_REASON_CHARS_MAX] or "unspecified"


def _ask(session: Session, body: dict[str, object]) -> tuple[bytes, StopReceipt]:
    """On a connection of its own: whatever the address is, a stop is tried."""
    client = session.make_client()
    try:
        answer = client.post("/emergency-stop", body, _ANSWER_S)
    finally:
        client.close()
    return answer, read(StopReceipt, answer)


def _within(limit_s: float, ask: Callable[[], T]) -> T:
    """The answer, or NotReachable after `limit_s`, whatever hangs: name server, proxy, trickle."""
    results: list[T | Exception] = []

    def work() -> None:
        try:
            results.append(ask())
        except Exception as exc:  # noqa: BLE001 -- carried over to the caller, below
            results.append(exc)

    thread = Thread(target=work, name="emergency stop", daemon=True)
    thread.start()
    thread.join(limit_s)
    if not results:
        raise NotReachable(f"no answer within {limit_s:g} s")
    result = results[0]
    if isinstance(result, Trouble):
        raise result
    if isinstance(result, Exception):
        # Not even a bug of ours may stand between a person and the stop.
        raise NotReachable(f"{type(result).__name__}: {result}") from result
    return result


# --- Without the service -------------------------------------------------------------------------


class _LocalAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What --json prints of a stop that was made without the service."""

    local: bool = True
    stop_id: str
    took_us: int
    persisted: bool
    already_stopped: bool
    state_dir: str
    service: str  # why the service did not do it; "" when it was not asked


def _stop_without(
    session: Session, reason: str, trouble: Trouble, *, liquidate: bool, named: tuple[str, ...]
) -> None:
    complain(f"{trouble}\nclosing the gate of this machine's state folder without the service")
    _stop_here(session, reason, liquidate=liquidate, because=str(trouble), named=named)
    if not _is_here(session):
        raise NotReachable(
            "THE SERVICE IS NOT KNOWN TO BE STOPPED: its address is not this machine's. "
            "On its machine: orchestrator emergency-stop --local"
        )


def _is_here(session: Session) -> bool:
    """Whether the service, as far as its address tells, lives on this machine."""
    try:
        return session.make_client().is_local
    except Trouble:
        return session.knows_no_url


def _stop_here(
    session: Session, reason: str, *, liquidate: bool, because: str, named: tuple[str, ...]
) -> None:
    try:
        stop = session.backend.local_stop(reason, liquidate=liquidate, state=session.state)
    except Exception as exc:  # every error of a room above ours ends here, told as loudly as it is
        raise Trouble(
            f"NOT STOPPED: the gate cannot be closed here: {exc}\n"
            "name the service's state folder with --state DIR, or end its process: kill -9 PID; "
            "stops at the venue stay in force"
        ) from exc
    if session.json:
        print_json(msgspec.json.encode(_local_answer(stop, because)))
        return
    _show_local(session.screen, stop)
    if named:
        complain(f"all accounts are stopped, not only {', '.join(named)}: this gate is for all")


def _local_answer(stop: LocalStop, because: str) -> _LocalAnswer:
    return _LocalAnswer(
        stop_id=stop.stop_id, took_us=stop.took_us, persisted=stop.persisted,
        already_stopped=stop.already_stopped, state_dir=str(stop.state_dir), service=because,
    )  # fmt: skip


def _show_local(screen: Screen, stop: LocalStop) -> None:
    screen.line(f"STOPPED HERE  {stop.stop_id}", "bad")
    positions = (
        "the service closes them as soon as it sees the stop, now or when it is started again; "
        "their stops stay at the venue"
    )
    screen.pairs([
        ("gate", f"closed in {latency(stop.took_us)}" + _again(already=stop.already_stopped)),
        ("state folder", str(stop.state_dir)),
        ("kept", _kept(persisted=stop.persisted)),
        ("positions", positions),
        ("look", "orchestrator status"),
    ])  # fmt: skip


def _again(*, already: bool) -> str:
    return "; a stop was in force already" if already else ""


def _kept(*, persisted: bool) -> str:
    return "written down, a restart stays stopped" if persisted else (
        "NOT WRITTEN DOWN: a restart would not know of it; look at the disk"
    )  # fmt: skip


# --- With the service ----------------------------------------------------------------------------


def _tell(session: Session, answer: bytes, receipt: StopReceipt, follow_s: int) -> None:
    """The receipt at once; then, for as long as wanted, what changes, until nothing is open."""
    if not session.json:
        _show_receipt(session.screen, receipt)
    if follow_s:
        answer, receipt = _followed(session, answer, receipt, follow_s)
    if session.json:
        print_json(answer)
    if follow_s and receipt.state != _FLAT:
        complain(f"the gate is closed, but not everything is: {receipt.state}; orchestrator status")
        raise typer.Exit(1)


def _followed(
    session: Session, answer: bytes, receipt: StopReceipt, follow_s: int
) -> tuple[bytes, StopReceipt]:
    """Until flat, until the market must be waited for, or until the time is over."""
    for _ in range(round(follow_s / _FOLLOW_POLL_S)):
        if receipt.state in {_FLAT, _WAITING}:
            break
        Flag().wait(_FOLLOW_POLL_S)
        seen = _look(session)
        if seen is None:
            continue
        before, (answer, receipt) = receipt, seen
        if not session.json:
            _show_progress(session.screen, before, receipt)
    return answer, receipt


def _look(session: Session) -> tuple[bytes, StopReceipt] | None:
    """None when the service says nothing just now: the stop does not depend on it."""
    client = session.make_client()
    try:
        found = stop_in_force(client)
        return None if found is None else (found, read(StopReceipt, found))
    except Trouble:
        return None
    finally:
        client.close()


def _show_receipt(screen: Screen, receipt: StopReceipt) -> None:
    screen.line(f"STOPPED  {receipt.stop_id}", "bad")
    closed = f"closed {moment(receipt.gate_closed_at)} UTC, in {latency(receipt.took_us)}"
    screen.pairs([
        ("gate", closed + _again(already=receipt.already_stopped)),
        ("kept", _kept(persisted=receipt.persisted)),
        ("reason", f"{receipt.reason} ({receipt.actor})"),
        ("state", receipt.state),
        ("resume", f"orchestrator resume {receipt.stop_id} --reason TEXT"),
    ])  # fmt: skip
    for account in receipt.accounts:
        screen.hanging(f"  {account.account_id}  ", _account_text(account), _style(account))


def _show_progress(screen: Screen, before: StopReceipt, now: StopReceipt) -> None:
    known = {account.account_id: account for account in before.accounts}
    for account in now.accounts:
        if known.get(account.account_id) != account:
            screen.hanging(f"  {account.account_id}  ", _account_text(account), _style(account))
    if now.state != before.state:
        screen.line(now.state, "good" if now.state == _FLAT else "bad")


def _style(account: AccountReceipt) -> str:
    if account.problem:
        return "bad"
    return "warn" if account.still_open or account.pending_orders else ""


def _account_text(account: AccountReceipt) -> str:
    # Nothing is "not open" before the venue was read again.
    nothing = "nothing" if account.verified_at else "not read yet"
    parts = [
        f"cancelled {count(len(account.orders_cancelled), 'order')}",
        f"closed {count(len(account.trades_closed), 'trade')}",
        f"realised {account.realized_pl}",
        f"still open: {', '.join(account.still_open) or nothing}",
    ]
    if account.pending_orders:
        parts.append(f"still pending: {', '.join(account.pending_orders)}")
    if account.verified_at:
        parts.append(f"read at the venue {clock(account.verified_at)} UTC")
    if account.problem:
        parts.append(f"trouble: {account.problem}")
    return ", ".join(parts)


# --- Resume --------------------------------------------------------------------------------------


@asks_service
def resume(
    session: Session,
    reason: NeededReason,
    stop_id: Annotated[
        str | None,
        typer.Argument(metavar="STOP_ID", help="The stop to end; else the one in force, shown."),
    ] = None,
    open_trades: Annotated[
        list[str] | None,
        typer.Option("--open-trade", metavar="ID", help="A trade that is open; name each."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """End an emergency stop. Trading does not begin by this: see start.

    Refused, with the list of why, unless all accounts are reconciled, no order's fate is unknown,
    the cause is gone, and the audit trail verifies. Trades that are still open must be named.

    \b
    Examples:
      orchestrator resume stop-1f2e3d --reason "feed repaired"
      orchestrator resume --reason "feed repaired" --yes
      orchestrator resume --reason "keep 1042" --open-trade 1042
    """
    chosen = stop_id or _confirmed(session, yes=yes)
    body = {"stop_id": chosen, "reason": reason, "open_trades": open_trades or []}
    answer = session.client.post("/resume", body, VERIFY_S)
    session.show(Done, answer, show_done)


def _confirmed(session: Session, *, yes: bool) -> str:
    """The stop in force, if the person means it."""
    found = stop_in_force(session.client)
    if found is None:
        raise Refusal("no emergency stop is in force", 409)
    receipt = read(StopReceipt, found)
    if yes:
        return receipt.stop_id
    if session.json or not sys.stdin.isatty():
        raise WrongUsage(f"in force is {receipt.stop_id}; name it, or add --yes")
    _show_receipt(session.screen, receipt)
    if not typer.confirm(f"End {receipt.stop_id}?", err=True):
        raise Refusal("not resumed", 409)
    return receipt.stop_id
