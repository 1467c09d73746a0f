"""M7: several instruments are in trouble at once: it is not they, it is the market."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.model.limits import BreakerLimits

WATCHED = frozenset(("M1", "M2", "M3", "M4", "M5", "M6"))


def m7_market_wide(instruments: Iterable[str], limits: BreakerLimits) -> str | None:
    """3 instruments whose M1 to M6 block at once."""
    names = sorted(set(instruments))
    if len(names) < limits.market_wide:
        return None
    return f"{', '.join(names[:6])} are tripped at once, limit {limits.market_wide}"
