"""The table of breakers (SAFETY 4): one row and one file each; all judge, none acts."""

from __future__ import annotations

import msgspec

from orchestrator.model.safety import Effect, Scope


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker's fixed properties.

    `reset`: auto | cooldown | day | manual. `by_person`: a person may reset what the kernel
    tripped, before its time (SAFETY B5 names those that nobody may).
    """

    name: str
    scope: Scope
    effect: Effect
    reset: str
    by_person: bool = False


TABLE: dict[str, Row] = {
    "A1": Row(name="daily loss", scope=Scope.ACCOUNT, effect=Effect.FLATTEN, reset="day"),
    "A2": Row(
        name="drawdown", scope=Scope.ACCOUNT, effect=Effect.FLATTEN, reset="manual", by_person=True
    ),
    "A4": Row(
        name="repetition", scope=Scope.ACCOUNT, effect=Effect.BLOCK, reset="manual", by_person=True
    ),
    "A7": Row(name="unknown", scope=Scope.ACCOUNT, effect=Effect.BLOCK, reset="auto"),
    "S1": Row(name="total daily loss", scope=Scope.SYSTEM, effect=Effect.FLATTEN, reset="day"),
    "S2": Row(
        name="total drawdown", scope=Scope.SYSTEM, effect=Effect.STOP, reset="manual",
        by_person=True,
    ),
    "S4": Row(
        name="integrity",
        scope=Scope.SYSTEM,
        effect=Effect.STOP,
        reset="manual",
        by_person=True,
    ),
    "S5": Row(name="storage", scope=Scope.SYSTEM, effect=Effect.BLOCK, reset="auto"),
    "S9": Row(name="agents", scope=Scope.SYSTEM, effect=Effect.BLOCK, reset="auto"),
    "S12": Row(
        name="audit", scope=Scope.SYSTEM, effect=Effect.BLOCK, reset="manual", by_person=True,
    ),
    "T1": Row(name="session", scope=Scope.SYSTEM, effect=Effect.BLOCK, reset="auto"),
    "M1": Row(name="stale prices", scope=Scope.INSTRUMENT, effect=Effect.BLOCK, reset="auto"),
    "M2": Row(
        name="spread", scope=Scope.INSTRUMENT, effect=Effect.BLOCK, reset="cooldown",
        by_person=True,
    ),
    "M5": Row(
        name="bad ticks", scope=Scope.INSTRUMENT, effect=Effect.BLOCK, reset="cooldown",
        by_person=True,
    ),
}  # fmt: skip
