"""The pre-trade checks in their order: all are evaluated, the first objection decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from orchestrator.kernel.safety.checks.c01_state import c01_reducing, c01_state
from orchestrator.kernel.safety.checks.c02_sanity import c02_reducing, c02_sanity
from orchestrator.kernel.safety.checks.c03_freshness import c03_freshness
from orchestrator.kernel.safety.checks.c04_duplicate import c04_duplicate, c04_reducing
from orchestrator.kernel.safety.checks.c05_price_age import c05_price_age
from orchestrator.kernel.safety.checks.c06_spread import c06_spread
from orchestrator.kernel.safety.checks.c07_collar import c07_collar
from orchestrator.kernel.safety.checks.c08_stop import c08_stop
from orchestrator.kernel.safety.checks.c09_size import c09_size
from orchestrator.kernel.safety.checks.c10_risk import c10_risk
from orchestrator.kernel.safety.checks.c11_count import c11_count
from orchestrator.kernel.safety.checks.c12_daily_loss import c12_daily_loss
from orchestrator.kernel.safety.checks.c13_drawdown import c13_drawdown
from orchestrator.kernel.safety.checks.c14_margin import c14_margin
from orchestrator.kernel.safety.checks.c15_exposure import c15_exposure
from orchestrator.kernel.safety.checks.c16_correlation import c16_correlation
from orchestrator.kernel.safety.checks.c17_throttle import c17_throttle
from orchestrator.kernel.safety.checks.c18_hours import c18_hours, c18_reducing
from orchestrator.kernel.safety.checks.c19_opposition import c19_opposition
from orchestrator.kernel.safety.checks.c20_profile import c20_profile
from orchestrator.kernel.safety.checks.c21_position import c21_position
from orchestrator.kernel.safety.checks.c22_stop import c22_stop
from orchestrator.kernel.safety.reducing import Reducible
from orchestrator.kernel.safety.view import View
from orchestrator.model.reducing import Reduction
from orchestrator.model.signals import Proposal

Check: TypeAlias = Callable[[Proposal, View], str | None]
ReducingCheck: TypeAlias = Callable[[Reduction, Reducible], str | None]
W = TypeVar("W", Proposal, Reduction)
V = TypeVar("V", View, Reducible)

ALL_CHECKS: tuple[Check, ...] = (
    c01_state,
    c02_sanity,
    c03_freshness,
    c04_duplicate,
    c05_price_age,
    c06_spread,
    c07_collar,
    c08_stop,
    c09_size,
    c10_risk,
    c11_count,
    c12_daily_loss,
    c13_drawdown,
    c14_margin,
    c15_exposure,
    c16_correlation,
    c17_throttle,
    c18_hours,
    c19_opposition,
    c20_profile,
)

# What only reduces risk has its own, shorter list (SAFETY 6).
REDUCING_CHECKS: tuple[ReducingCheck, ...] = (
    c01_reducing,
    c02_reducing,
    c04_reducing,
    c18_reducing,
    c21_position,
    c22_stop,
)


def id_of(check: Callable[[W, V], str | None]) -> str:
    """`c05_price_age` -> `C05`."""
    return check.__name__.partition("_")[0].upper()


def evaluate(
    order: W, view: V, checks: tuple[Callable[[W, V], str | None], ...]
) -> tuple[str, ...]:
    """Every objection, in the order of the checks; empty: the order may be reserved and sent.

    ValueError for an empty list of checks. A check that cannot compute objects (K1).
    """
    if not checks:
        raise ValueError("no pre-trade checks: refusing to work")
    return tuple(text for text in (_ask(check, order, view) for check in checks) if text)


def _ask(check: Callable[[W, V], str | None], order: W, view: V) -> str | None:
    try:
        return check(order, view)
    except (ArithmeticError, ValueError) as exc:  # NaN and overflow, of decimals and floats
        return f"{id_of(check)} cannot be computed: {type(exc).__name__}"
