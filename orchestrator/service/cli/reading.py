"""Commands that look: agents, accounts, trades, positions, orders, signals, performance."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.service.cli import tables
from orchestrator.service.cli.answers import (
    Account,
    Agent,
    Listed,
    Order,
    Performance,
    Position,
    SignalRow,
    Trade,
)
from orchestrator.service.cli.client import path_part
from orchestrator.service.cli.options import (
    Cursor,
    FilterAccount,
    FilterInstrument,
    FilterStrategy,
    Limit,
)
from orchestrator.service.cli.session import Session, asks_service
from orchestrator.service.cli.trouble import WrongUsage

_ROUND_TRIP_S = 20.0


class TradeState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    ALL = "all"


@asks_service
def agents(
    session: Session,
    agent_id: Annotated[
        str | None, typer.Argument(metavar="AGENT", help="Ask this one, now: a real round trip.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Restart AGENT.")] = False,
) -> None:
    """The agents: state, work done, errors, response times.

    With AGENT, that one is asked at once and shown whole.

    \b
    Examples:
      orchestrator agents
      orchestrator agents market_analysis
      orchestrator agents market_analysis --restart
    """
    if agent_id is None:
        if restart:
            raise WrongUsage("--restart needs the agent: orchestrator agents AGENT --restart")
        session.show(Listed[Agent], session.client.get("/agents"), tables.agents)
        return
    path = f"/agents/{path_part(agent_id)}"
    if restart:
        answer = session.client.post(f"{path}/restart", timeout_s=_ROUND_TRIP_S)
    else:
        answer = session.client.get(f"{path}/health", timeout_s=_ROUND_TRIP_S)
    session.show(Agent, answer, tables.agent)


@asks_service
def accounts(
    session: Session,
    account_id: Annotated[
        str | None, typer.Argument(metavar="ACCOUNT", help="Show this one whole.")
    ] = None,
) -> None:
    """The accounts: mode, NAV, P/L of the day, drawdown, and what blocks them.

    With ACCOUNT, also its limits, exposures and positions.

    \b
    Examples:
      orchestrator accounts
      orchestrator accounts 101-001-1000001-001
      orchestrator accounts --json | jq -r '.items[].nav'
    """
    if account_id is None:
        session.show(Listed[Account], session.client.get("/accounts"), tables.accounts)
        return
    answer = session.client.get(f"/accounts/{path_part(account_id)}/status")
    session.show(Account, answer, tables.account)


@asks_service
def trades(
    session: Session,
    which: Annotated[
        TradeState, typer.Option("--which", "-w", help="Open now, closed ones, or both.")
    ] = TradeState.OPEN,
    account: FilterAccount = None,
    instrument: FilterInstrument = None,
    strategy: FilterStrategy = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> None:
    """Trades, open (with the P/L of now) or closed (with their result).

    \b
    Examples:
      orchestrator trades
      orchestrator trades --which closed --account 101-001-1000001-001
      orchestrator trades --which all --json
    """
    query = {
        "state": which.value, "account": account, "instrument": instrument, "strategy": strategy,
        "limit": limit, "cursor": cursor,
    }  # fmt: skip
    session.show(Listed[Trade], session.client.get("/trades", query), tables.trades)


class OrderKind(StrEnum):
    PENDING = "pending"
    INTENT = "intent"
    ALL = "all"


@asks_service
def orders(
    session: Session,
    kind: Annotated[
        OrderKind, typer.Option("--which", "-w", help="Waiting at the venue, sent by us, or both.")
    ] = OrderKind.ALL,
    account: FilterAccount = None,
    instrument: FilterInstrument = None,
    strategy: FilterStrategy = None,
    limit: Limit = 30,
    cursor: Cursor = None,
) -> None:
    """Orders: those that wait at the venue, and those of ours with what became of them.

    \b
    Examples:
      orchestrator orders
      orchestrator orders --which pending --account 101-001-1000001-001
    """
    query = {
        "kind": kind.value, "account": account, "instrument": instrument, "strategy": strategy,
        "limit": limit, "cursor": cursor,
    }  # fmt: skip
    session.show(Listed[Order], session.client.get("/orders", query), tables.orders)


@asks_service
def positions(
    session: Session, account: FilterAccount = None, instrument: FilterInstrument = None
) -> None:
    """Net positions of each account and instrument.

    \b
    Example:
      orchestrator positions --account 101-001-1000001-001
    """
    query = {"account": account, "instrument": instrument}
    session.show(Listed[Position], session.client.get("/positions", query), tables.positions)


@asks_service
def signals(
    session: Session,
    account: FilterAccount = None,
    strategy: FilterStrategy = None,
    instrument: FilterInstrument = None,
    outcome: Annotated[
        str | None,
        typer.Option("--outcome", metavar="WORD", help="filled, rejected, expired or failed."),
    ] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> None:
    """The latest signals, and how each ended at each account.

    \b
    Examples:
      orchestrator signals
      orchestrator signals --outcome filled --instrument EUR_USD
    """
    query = {
        "account": account, "strategy": strategy, "instrument": instrument, "outcome": outcome,
        "limit": limit, "cursor": cursor,
    }  # fmt: skip
    session.show(Listed[SignalRow], session.client.get("/signals", query), tables.signals)


@asks_service
def performance(
    session: Session, account: FilterAccount = None, strategy: FilterStrategy = None
) -> None:
    """Closed trades in figures: win rate, profit factor, expectancy, by account and strategy.

    \b
    Example:
      orchestrator performance --account 101-001-1000001-001
    """
    query = {"account": account, "strategy": strategy}
    answer = session.client.get("/performance", query)
    session.show(Listed[Performance], answer, tables.performance)
