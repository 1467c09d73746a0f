"""`orchestrator status`: the whole service on one screen."""

from __future__ import annotations

from collections import Counter

import msgspec

from orchestrator.service.cli import tables
from orchestrator.service.cli.answers import (
    Account,
    Agent,
    Breaker,
    Event,
    Health,
    Listed,
    StopReceipt,
)
from orchestrator.service.cli.client import Client, read
from orchestrator.service.cli.screen import Cell, Screen
from orchestrator.service.cli.session import Session, asks_service, print_json
from orchestrator.service.cli.texts import UNKNOWN, moment, span
from orchestrator.service.cli.trouble import Refusal

_NONE = b"null"
_NOT_FOUND = 404
_STARTING = 503


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """What `status --json` prints: each part as its own path of the API answers it."""

    health: msgspec.Raw
    accounts: msgspec.Raw = msgspec.Raw(_NONE)
    breakers: msgspec.Raw = msgspec.Raw(_NONE)
    agents: msgspec.Raw = msgspec.Raw(_NONE)
    emergency_stop: msgspec.Raw = msgspec.Raw(_NONE)
    last_stop: msgspec.Raw = msgspec.Raw(_NONE)


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The same, read. None: not to be had while the service starts."""

    health: Health
    accounts: Listed[Account] | None = None
    breakers: Listed[Breaker] | None = None
    agents: Listed[Agent] | None = None
    emergency_stop: StopReceipt | None = None
    last_stop: Listed[Event] | None = None


@asks_service
def status(session: Session) -> None:
    """The whole service on one screen: mode, market, accounts, breakers, agents, last stop.

    \b
    Examples:
      orchestrator status
      orchestrator status --json | jq -r .health.status

      watch -n 2 orchestrator status
    """
    client = session.client
    document = msgspec.json.encode(gather(client))
    if session.json:
        print_json(document)
    else:
        show(session.screen, read(Parts, document), client.url)


def gather(client: Client) -> Whole:
    health = msgspec.Raw(client.get("/health"))
    try:
        return Whole(
            health=health,
            accounts=msgspec.Raw(client.get("/accounts")),
            breakers=msgspec.Raw(client.get("/breakers", {"tripped": "true"})),
            agents=msgspec.Raw(client.get("/agents")),
            emergency_stop=msgspec.Raw(stop_in_force(client) or _NONE),
            last_stop=msgspec.Raw(client.get("/events", {"type": "stop.raised", "limit": 1})),
        )
    except Refusal as refusal:
        if refusal.status != _STARTING:
            raise
        return Whole(health=health)


def stop_in_force(client: Client) -> bytes | None:
    """The receipt's JSON; None when no emergency stop is in force."""
    try:
        answer = client.get("/emergency-stop")
    except Refusal as refusal:
        if refusal.status == _NOT_FOUND:
            return None
        raise
    return None if answer.strip() in {b"", _NONE} else answer


def show(screen: Screen, parts: Parts, url: str) -> None:
    health = parts.health
    mode = tables.word(health.mode)
    screen.line(
        f"Trading System Orchestrator {health.version}  {health.environment.upper()}  "
        f"{mode.text.upper()}", mode.style or "bold",
    )  # fmt: skip
    screen.pairs(_lines(parts, url))
    if parts.accounts is None:
        screen.line("the service is starting; ask again in a moment", "warn")
        return
    screen.line()
    tables.accounts(screen, parts.accounts)


def _lines(parts: Parts, url: str) -> list[tuple[str, str | Cell]]:
    health = parts.health
    lines: list[tuple[str, str | Cell]] = [
        ("health", tables.word(health.status)),
        ("service", f"{url}, node {health.node}, up {span(health.uptime_s)}"),
        ("market time", _market(health)),
    ]
    ill = [component for component in health.components if not component.ok]
    lines += [("trouble", Cell(f"{each.name}: {each.text}", "bad")) for each in ill]
    if parts.accounts is not None:
        lines += [
            ("emergency stop", _stop(parts)),
            ("breakers", _breakers(parts.breakers)),
            ("agents", _agents(parts.agents)),
        ]
    return lines


def _market(health: Health) -> str:
    hours = f", {health.market_hours}" if health.market_hours else ""
    speed = "" if health.market_speed == 1 else f", at {health.market_speed:g} x"
    return f"{moment(health.market_time_at)} UTC{speed}{hours}"


def _stop(parts: Parts) -> Cell:
    stop = parts.emergency_stop
    if stop is not None:
        return Cell(
            f"IN FORCE ({stop.state}) since {moment(stop.gate_closed_at)} UTC: {stop.reason}; "
            f"resume with: orchestrator resume {stop.stop_id} --reason TEXT", "bad",
        )  # fmt: skip
    last = parts.last_stop.items if parts.last_stop else ()
    if not last:
        return Cell("none in force, never raised", "good")
    data = last[0].data
    why = data.get("reason", "") if isinstance(data, dict) else ""
    return Cell(f"none in force; last {moment(last[0].ts)} UTC by {last[0].actor}: {why}")


def _breakers(found: Listed[Breaker] | None) -> Cell:
    """Whatever is listed and not armed blocks something."""
    tripped = [b for b in found.items if b.state != "armed"] if found else []
    if not tripped:
        return Cell("none tripped", "good")
    text = ", ".join(f"{b.breaker} {b.name} ({b.subject})" for b in tripped)
    return Cell(f"{len(tripped)} tripped: {text}", "bad")


def _agents(found: Listed[Agent] | None) -> Cell:
    agents = found.items if found else ()
    told = Counter(agent.state for agent in agents)
    ill = [
        a.agent_id + (f" ({a.reason})" if a.reason else "") for a in agents if a.state != "healthy"
    ]
    text = ", ".join(f"{n} {state}" for state, n in told.most_common()) or UNKNOWN
    if ill or not agents:
        return Cell(f"{text}: {'; '.join(ill)}".rstrip(": "), "warn")
    return Cell(text, "good")
