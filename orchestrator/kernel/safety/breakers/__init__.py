"""The table of breakers (SAFETY 4): one row and one file each; all judge, none acts."""

from __future__ import annotations

import msgspec

from orchestrator.model.safety import Effect, Scope, Severity


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker's fixed properties.

    `reset`: auto | cooldown | day | manual. `who`: operator or admin may reset what the kernel
    tripped; "" nobody, before its own time (an override of SAFETY B5 apart). `manual` latches.
    `severity`: of the alert when it only blocks for a time; what flattens, stops, halts or latches
    is critical.
    """

    name: str
    scope: Scope
    effect: Effect
    reset: str
    who: str = ""
    severity: Severity = Severity.WARNING

    @property
    def by_person(self) -> bool:
        return bool(self.who)


def _row(
    name: str, scope: Scope, effect: Effect, reset: str, who: str = "",
    severity: Severity = Severity.WARNING,
) -> Row:  # fmt: skip
    return Row(name=name, scope=scope, effect=effect, reset=reset, who=who, severity=severity)


_A, _S, _M = Scope.ACCOUNT, Scope.SYSTEM, Scope.INSTRUMENT
_BLOCK, _FLATTEN, _STOP = Effect.BLOCK, Effect.FLATTEN, Effect.STOP

TABLE: dict[str, Row] = {
    "A1": _row("daily loss", _A, _FLATTEN, "day"),
    "A2": _row("drawdown", _A, _FLATTEN, "manual", "admin"),
    "A3": _row("losing run", _A, _BLOCK, "cooldown", "operator"),
    "A4": _row("repetition", _A, _BLOCK, "manual", "operator"),
    "A5": _row("rejects", _A, _BLOCK, "cooldown"),
    "A6": _row("margin", _A, _BLOCK, "auto"),
    "A7": _row("unknown", _A, _BLOCK, "auto"),
    "A8": _row("divergence", _A, _BLOCK, "manual", "operator"),
    "A9": _row("foreign", _A, _BLOCK, "auto", "operator"),
    "A10": _row("credentials", _A, Effect.HALT, "auto"),
    "A11": _row("profile", _A, _BLOCK, "manual", "admin"),
    "S1": _row("total daily loss", _S, _FLATTEN, "day"),
    "S2": _row("total drawdown", _S, _STOP, "manual", "admin"),
    "S3": _row("exposure", _S, _BLOCK, "auto"),
    "S4": _row("integrity", _S, _STOP, "manual", "admin"),
    "S5": _row("storage", _S, _BLOCK, "auto"),
    "S6": _row("bus", _S, _BLOCK, "auto"),
    "S7": _row("clock", _S, _BLOCK, "auto"),
    "S8": _row("loop", _S, _BLOCK, "auto"),
    "S9": _row("agents", _S, _BLOCK, "auto"),
    "S10": _row("crash loop", _S, _BLOCK, "manual", "operator"),
    "S11": _row("memory", _S, _BLOCK, "auto"),
    "S12": _row("audit", _S, _BLOCK, "manual", "admin"),
    # What the clock and every start bring about is told, and no cause to get up for.
    "T1": _row("session", _S, _BLOCK, "auto", severity=Severity.INFO),
    "T2": _row("weekend", _A, _BLOCK, "auto", severity=Severity.INFO),
    "T3": _row("windows", _A, _BLOCK, "auto", severity=Severity.INFO),
    "T4": _row("warm-up", _M, _BLOCK, "auto", severity=Severity.INFO),
    "M1": _row("stale prices", _M, _BLOCK, "auto"),
    "M2": _row("spread", _M, _BLOCK, "cooldown", "operator"),
    "M3": _row("volatility", _M, _BLOCK, "cooldown", "operator"),
    "M4": _row("gap", _M, _BLOCK, "cooldown", "operator"),
    "M5": _row("bad ticks", _M, _BLOCK, "cooldown", "operator"),
    "M6": _row("halted", _M, _BLOCK, "auto"),
    "M7": _row("market-wide", _S, _BLOCK, "auto"),
    "E3": _row("resumed", _A, _BLOCK, "auto", severity=Severity.INFO),
}

# From the weakest to the strongest: a breaker that is tripped may only be made stronger.
STRENGTH = (Effect.SCALE, Effect.BLOCK, Effect.HALT, Effect.FLATTEN, Effect.STOP)


def stronger(one: Effect, other: Effect) -> bool:
    return STRENGTH.index(one) > STRENGTH.index(other)
