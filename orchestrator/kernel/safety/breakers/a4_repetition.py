"""A4: Pattern Detection saw flow of our own that must not go on."""

from __future__ import annotations

from orchestrator.model.outcomes import PatternSeen
from orchestrator.model.safety import Severity


def a4_repetition(pattern: PatternSeen) -> str | None:
    """Only what is critical blocks; the rest is for people to read."""
    if pattern.severity is not Severity.CRITICAL:
        return None
    return f"{pattern.kind}: {pattern.text}"
