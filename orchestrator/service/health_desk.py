"""How the house is: its mode, its parts in plain words, and the process."""

from __future__ import annotations

import msgspec

from orchestrator.model.ports import Clock, MarketData
from orchestrator.model.safety import SystemMode
from orchestrator.model.signals import STAGES
from orchestrator.model.time import fx_session
from orchestrator.service.agent_manager import AgentManager
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.gauges import BLOCKING, rss_mb
from orchestrator.service.safety_monitor import SafetyMonitor
from orchestrator.service.views import ComponentHealth, Health

_AT_WORK = ("healthy", "degraded")


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What this service is: environment paper | practice | live, version, node, market hours."""

    environment: str
    version: str
    node: str
    calendar: str


class HealthDesk:
    """Part of the front desk."""

    def __init__(
        self, engine: ExecutionEngine, agents: AgentManager, safety: SafetyMonitor,
        market: MarketData, clock: Clock, about: About,
    ) -> None:  # fmt: skip
        self._kernel = engine.kernel
        self._agents = agents
        self._safety = safety
        self._market = market
        self._clock = clock
        self._about = about
        self._began = clock.mono_ns()

    def now(self, loop_lag_ms: float) -> Health:
        now = self._clock.now()
        parts = self._components(now)
        mode = self._kernel.mode
        if mode in (SystemMode.STARTING, SystemMode.RECONCILING):
            status = "starting"
        elif mode is SystemMode.STOPPED:
            status = "stopped"
        else:
            status = "ok" if all(part.ok for part in parts) else "degraded"
        calendar = self._about.calendar
        return Health(
            status=status, mode=mode, environment=self._about.environment,
            version=self._about.version, node=self._about.node,
            uptime_s=round((self._clock.mono_ns() - self._began) / 1e9, 1), market_time_ns=now,
            market_speed=self._clock.speed,
            market_hours="always" if calendar == "always" else fx_session(now),
            stop_id=self._kernel.stop_id, components=parts, loop_lag_ms=round(loop_lag_ms, 2),
            rss_mb=round(rss_mb(), 1),
        )  # fmt: skip

    def _components(self, now: int) -> tuple[ComponentHealth, ...]:
        blocking = [b for b in self._kernel.breakers(now) if b.state in BLOCKING]
        system = [b for b in blocking if b.subject == "system"]
        lagging = [s.value for s in STAGES if not self._agents.healthy(s)]
        unknown = [b.subject for b in blocking if b.breaker == "A7"]
        market = self._market.condition()
        return (
            ComponentHealth(
                name="gate", ok=self._safety.gate_is_open,
                text="open" if self._safety.gate_is_open else "closed by an emergency stop",
            ),
            ComponentHealth(
                name="venue", ok=not unknown,
                text="reconciled" if not unknown else f"not known: {', '.join(unknown)}",
            ),
            ComponentHealth(
                name="store", ok=not self._kernel.storage_blocked,
                text="durable" if not self._kernel.storage_blocked else "writes fail (S5)",
            ),
            ComponentHealth(
                name="agents", ok=not lagging, text=self._agents_text(lagging),
            ),
            ComponentHealth(
                name="breakers", ok=not system,
                text=f"{len(blocking)} tripped" if blocking else "none tripped",
            ),
            ComponentHealth(
                name="market_data", ok=not market.problem,
                text=f"{market.problem}; {market.spooled:,} rows wait on this machine's disk"
                if market.problem else "stored",
            ),
        )  # fmt: skip

    def _agents_text(self, lagging: list[str]) -> str:
        """Roles that nobody serves come first: they keep every signal from being traded."""
        unwell = [a.agent_id for a in self._agents.views() if a.state not in _AT_WORK]
        told = [f"no healthy agent of role {', '.join(lagging)}"] if lagging else []
        told += [f"not working: {', '.join(unwell)}"] if unwell else []
        return "; ".join(told) or "all roles served"
