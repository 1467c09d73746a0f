"""Levels of a loss against its limit: half and quarter size, then the trip (A1, A2, S1, S2)."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.kernel.safety.view import percent_text
from orchestrator.model.limits import BreakerLimits

HALF = Decimal("0.5")
QUARTER = Decimal("0.25")


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """`scale` None: the limit is crossed. `fraction`: loss over its base."""

    scale: Decimal | None
    fraction: Decimal
    evidence: str

    @property
    def crossed(self) -> bool:
        return self.scale is None


def level_of(
    loss: Decimal, base: Decimal, limit: Decimal, limits: BreakerLimits, words: str
) -> Level | None:
    """None below half of the limit. A base that is not above zero counts as crossed."""
    if base <= 0:
        return Level(scale=None, fraction=Decimal(1), evidence=f"{words}: {base} is not a base")
    fraction = loss / base
    if fraction < limits.scale_half_at * limit:
        return None
    evidence = f"{words} {percent_text(fraction)}, limit {percent_text(limit)}"
    if fraction >= limit:
        return Level(scale=None, fraction=fraction, evidence=evidence)
    scale = QUARTER if fraction >= limits.scale_quarter_at * limit else HALF
    return Level(scale=scale, fraction=fraction, evidence=f"{evidence}, risk x {scale}")
