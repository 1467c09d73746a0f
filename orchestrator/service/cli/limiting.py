"""Commands for limits: what is in force and who tightened it; overrides."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.service.cli import tables
from orchestrator.service.cli.acting import show_done
from orchestrator.service.cli.answers import AccountLimits, Done, Listed, Override
from orchestrator.service.cli.client import path_part
from orchestrator.service.cli.options import NeededReason
from orchestrator.service.cli.screen import Screen
from orchestrator.service.cli.session import Session, asks_service


class RoleWord(StrEnum):
    OPERATOR = "operator"
    ADMIN = "admin"


Subject = Annotated[
    str,
    typer.Option("--subject", "-s", metavar="ID", help="An account, an instrument, or `system`."),
]
Role = Annotated[
    RoleWord, typer.Option("--role", help="In which you act; kept in the audit trail.")
]


@asks_service
def limits(
    session: Session,
    account: Annotated[
        str | None, typer.Argument(metavar="ACCOUNT", help="Only this one, with every limit.")
    ] = None,
) -> None:
    """The limits in force, who tightened them and why, and the overrides that stand.

    \b
    Examples:
      orchestrator limits
      orchestrator limits 101-001-1000001-001
      orchestrator limits --json | jq '.items[].in_force.risk_per_trade'
    """
    answer = session.client.get("/limits", {"limit": 1000})

    def show(screen: Screen, found: Listed[AccountLimits]) -> None:
        chosen = tuple(a for a in found.items if account in {None, a.account_id})
        tables.limits(screen, chosen, whole=account is not None)

    session.show(Listed[AccountLimits], answer, show)


override_app = typer.Typer(rich_markup_mode="rich")


@override_app.callback(invoke_without_command=True)
@asks_service
def override(session: Session) -> None:
    """The overrides that stand; set or end one, or reset a breaker early.

    \b
    Examples:
      orchestrator override
      orchestrator override set risk_per_trade 0.005 --subject system --reason elections
      orchestrator override --help
    """
    answer = session.client.get("/overrides", {"limit": 1000})
    session.show(Listed[Override], answer, _show_overrides)


def _show_overrides(screen: Screen, found: Listed[Override]) -> None:
    tables.overrides(screen, found.items)


@override_app.command("set")
@asks_service
def override_set(
    session: Session,
    limit: Annotated[str, typer.Argument(metavar="LIMIT", help="As risk_per_trade.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Fractions as 0.01 for 1 %.")],
    subject: Subject,
    reason: NeededReason,
    minutes: Annotated[
        int | None, typer.Option("--minutes", min=1, metavar="N", help="Until then; at most 60.")
    ] = None,
    uses: Annotated[
        int, typer.Option("--uses", min=1, max=100, metavar="N", help="Orders that may need it.")
    ] = 1,
    role: Role = RoleWord.OPERATOR,
) -> None:
    """Tighten a limit at once, without end; or loosen one for a while (--role admin --minutes N).

    \b
    Examples:
      orchestrator override set max_concurrent_trades 1 -s 101-001-1000001-001 -r "thin market"
      orchestrator override set risk_per_trade 0.03 -s EUR_USD -r hedge \\
        --role admin --minutes 10
    """
    body: dict[str, object] = {
        "limit": limit, "value": value, "subject": subject, "reason": reason, "uses": uses,
        "role": role.value,
    }  # fmt: skip
    if minutes is not None:
        body["minutes"] = minutes
    session.show(Done, session.client.post("/overrides", body), show_done)


@override_app.command("reset")
@asks_service
def override_reset(
    session: Session,
    breaker: Annotated[str, typer.Argument(metavar="BREAKER", help="Its id, as A3.")],
    subject: Subject,
    reason: NeededReason,
    role: Role = RoleWord.OPERATOR,
) -> None:
    """Reset a breaker before its time, once; nobody may for A1, A7, S4, S5 and S12.

    \b
    Example:
      orchestrator override reset A3 -s 101-001-1000001-001 -r "looked at it" --role admin
    """
    body = {"limit": breaker, "subject": subject, "reason": reason, "role": role.value}
    session.show(Done, session.client.post("/overrides", body), show_done)


@override_app.command("end")
@asks_service
def override_end(
    session: Session,
    override_id: Annotated[str, typer.Argument(metavar="OVERRIDE", help="As the list has it.")],
    reason: NeededReason,
    role: Role = RoleWord.OPERATOR,
) -> None:
    """End an override; one that tightens needs --role admin.

    \b
    Example:
      orchestrator override end override-7c6b5a4938271605 -r "calm again" --role admin
    """
    path = f"/overrides/{path_part(override_id)}/end"
    answer = session.client.post(path, {"reason": reason, "role": role.value})
    session.show(Done, answer, show_done)
