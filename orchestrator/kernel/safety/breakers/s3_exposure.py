"""S3: all accounts together hold too much, or two of them are one in all but name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from orchestrator.model.limits import BreakerLimits


def s3_gross(gross: Decimal, nav: Decimal, limits: BreakerLimits) -> str | None:
    """Gross exposure > 15 x the sum of NAVs."""
    if gross <= 0 or gross <= limits.gross_nav_max * nav:
        return None
    return f"gross exposure {gross:.0f} is over {limits.gross_nav_max} x NAV {nav:.0f}"


def s3_correlation(
    one: Mapping[int, Decimal], other: Mapping[int, Decimal], limits: BreakerLimits
) -> float | None:
    """The correlation of two accounts' realised returns if it is over 0.90, by the hour.

    `one`, `other`: hour -> realised return; an hour in which only one realised anything counts 0
    for the other. None with fewer than 100 such hours, or where one never moved.
    """
    hours = sorted(one.keys() | other.keys())
    if len(hours) < limits.returns_points_min:
        return None
    zero = Decimal(0)
    rho = _pearson([float(one.get(h, zero)) for h in hours],
                   [float(other.get(h, zero)) for h in hours])  # fmt: skip
    return rho if rho is not None and rho > limits.returns_correlation_max else None


def _pearson(xs: list[float], ys: list[float]) -> float | None:
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    dx, dy = [x - mean_x for x in xs], [y - mean_y for y in ys]
    scale = math.sqrt(sum(d * d for d in dx) * sum(d * d for d in dy))
    if not (scale > 0 and math.isfinite(scale)):
        return None
    return sum(a * b for a, b in zip(dx, dy, strict=True)) / scale
