"""S9: a role that every signal must pass has no healthy instance."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.model.signals import STAGES, Role

NEEDED = frozenset(STAGES)


def s9_agents(unhealthy: Iterable[Role]) -> str | None:
    missing = [role for role in STAGES if role in set(unhealthy)]
    return f"no healthy {', '.join(missing)}" if missing else None
