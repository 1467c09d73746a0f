"""Gauges that are set when somebody reads the metrics: accounts, breakers, agents, the process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from orchestrator.model.safety import BreakerState, SystemMode
from orchestrator.service.telemetry import Telemetry
from orchestrator.service.views import AccountStatus, AgentView, BreakerView

BLOCKING = (BreakerState.TRIPPED, BreakerState.LATCHED, BreakerState.PROBING)


class Shown(Protocol):
    """What the gauges read."""

    def accounts(self) -> Sequence[AccountStatus]: ...

    def agents(self) -> Sequence[AgentView]: ...

    def breakers(self) -> Sequence[BreakerView]: ...

    @property
    def mode(self) -> SystemMode: ...

    @property
    def gate_is_open(self) -> bool: ...


class Gauges:
    """Gauges that are set when they are read."""

    def __init__(self, telemetry: Telemetry) -> None:
        account = ("account",)
        self._nav = telemetry.gauge("tso_account_nav", "NAV, home currency", account)
        self._balance = telemetry.gauge("tso_account_balance", "Balance, home currency", account)
        self._drawdown = telemetry.gauge("tso_account_drawdown", "1 - NAV/peak", account)
        self._day_loss = telemetry.gauge("tso_account_day_loss", "Loss of the day / E0", account)
        self._trades = telemetry.gauge("tso_account_open_trades", "Open trades", account)
        self._blocked = telemetry.gauge("tso_account_blocked", "1: no new risk", account)
        self._breakers = telemetry.gauge(
            "tso_breaker_tripped", "1: tripped", ("breaker", "subject")
        )
        self._agents = telemetry.gauge("tso_agent_healthy", "1: healthy", ("agent", "role"))
        self._agent_errors = telemetry.gauge("tso_agent_errors", "Errors so far", ("agent",))
        self._running = telemetry.gauge("tso_running", "1: trading is on")
        self._gate = telemetry.gauge("tso_gate_closed", "1: an emergency stop is in force")
        self._rss = telemetry.gauge("tso_resident_memory_bytes", "Resident memory")

    def set(self, desk: Shown) -> None:
        for status in desk.accounts():
            name = status.account_id
            self._balance.labels(name).set(float(status.balance))
            self._trades.labels(name).set(status.open_trades)
            self._blocked.labels(name).set(1 if status.blocked_by else 0)
            for gauge, value in (
                (self._nav, status.nav),
                (self._drawdown, status.drawdown_fraction),
                (self._day_loss, status.day_loss_fraction),
            ):
                if value is not None:
                    gauge.labels(name).set(float(value))
        self._breakers.clear()
        for breaker in desk.breakers():
            tripped = 1 if breaker.state in BLOCKING else 0
            self._breakers.labels(breaker.breaker, breaker.subject).set(tripped)
        for agent in desk.agents():
            healthy = 1 if agent.state == "healthy" else 0
            self._agents.labels(agent.agent_id, agent.role.value).set(healthy)
            self._agent_errors.labels(agent.agent_id).set(agent.errors)
        self._running.set(1 if desk.mode is SystemMode.RUNNING else 0)
        self._gate.set(0 if desk.gate_is_open else 1)
        self._rss.set(rss_mb() * 1e6)


def rss_mb() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
