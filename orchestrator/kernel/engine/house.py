"""The house's own condition as the service tells it: its troubles become A10 and S5 to S12."""

from __future__ import annotations

from orchestrator.kernel.engine.holding import hold
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.safety.board import SYSTEM
from orchestrator.kernel.safety.breakers.a10_credentials import a10_credentials
from orchestrator.kernel.safety.breakers.s5_storage import s5_healed, s5_storage
from orchestrator.kernel.safety.breakers.s6_bus import s6_bus
from orchestrator.kernel.safety.breakers.s7_clock import s7_clock
from orchestrator.kernel.safety.breakers.s8_loop import s8_loop
from orchestrator.kernel.safety.breakers.s9_agents import NEEDED, s9_agents
from orchestrator.kernel.safety.breakers.s11_memory import s11_memory
from orchestrator.kernel.safety.breakers.s12_audit import s12_audit
from orchestrator.model.events import (
    AuditTrouble,
    BusSeen,
    ClockSeen,
    CredentialsSeen,
    LoopSeen,
    MemorySeen,
    RoleHealth,
    StorageSeen,
    StorageTrouble,
)
from orchestrator.model.safety import Scope


def on_storage(turn: Turn, event: StorageTrouble) -> None:
    """A failed write blocks at once; good ones heal, counted from the last trouble on."""
    live, limits = turn.live, turn.world.plan.breakers
    if not event.ok:
        _storage_ails(turn, f"a durable write failed: {event.reason}")
        return
    live.good_writes += 1
    trip = turn.state.board.get("S5")
    healed = s5_healed(live.good_writes, live.storage_failed_ns, turn.now, limits)
    if healed and trip is not None and not trip.latched:
        turn.reset("S5", Scope.SYSTEM, SYSTEM, f"{live.good_writes} good writes")


def on_storage_seen(turn: Turn, event: StorageSeen) -> None:
    evidence = s5_storage(event.flush_ms, event.free_mb, turn.world.plan.breakers)
    if evidence is not None:
        _storage_ails(turn, evidence)


def _storage_ails(turn: Turn, evidence: str) -> None:
    turn.live.good_writes, turn.live.storage_failed_ns = 0, turn.now
    if turn.state.board.get("S5") is None:
        turn.trip("S5", Scope.SYSTEM, evidence)


def on_bus(turn: Turn, event: BusSeen) -> None:
    plan = turn.world.plan
    ttl_ms = plan.checks.signal_ttl_ms_max
    hold(turn, "S6", s6_bus(event.silent_ms, event.lag_ms, ttl_ms, plan.breakers))


def on_clock(turn: Turn, event: ClockSeen) -> None:
    hold(turn, "S7", s7_clock(event.stepped_ms, event.venue_off_ms, turn.world.plan.breakers))


def on_loop(turn: Turn, event: LoopSeen) -> None:
    hold(turn, "S8", s8_loop(event.lag_ms, turn.world.plan.breakers))


def on_role(turn: Turn, event: RoleHealth) -> None:
    """S9: judged by all roles that a signal has to pass."""
    live = turn.live
    if event.role not in NEEDED:
        return
    if event.healthy:
        live.unhealthy.discard(event.role)
    else:
        live.unhealthy.add(event.role)
    missing = s9_agents(live.unhealthy)
    hold(turn, "S9", None if missing is None else f"{missing}: {event.reason}")


def on_memory(turn: Turn, event: MemorySeen) -> None:
    limits = turn.world.plan.breakers
    hold(turn, "S11", s11_memory(event.rss_mb, event.files, event.files_max, limits))


def on_audit(turn: Turn, event: AuditTrouble) -> None:
    """S12 latches; a trail that is good again only lets an admin reset it."""
    evidence = s12_audit(ok=event.ok, reason=event.reason)
    turn.live.audit_trouble = evidence or ""
    if evidence is not None and turn.state.board.get("S12") is None:
        turn.trip("S12", Scope.SYSTEM, evidence, latched=True)


def on_credentials(turn: Turn, event: CredentialsSeen) -> None:
    if event.account_id in turn.world.plans:
        hold(turn, "A10", a10_credentials(ok=event.ok, reason=event.reason), event.account_id)
