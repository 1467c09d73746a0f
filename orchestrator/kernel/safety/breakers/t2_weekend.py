"""T2: the weekend comes: nothing new is begun, and what must not lie over it is closed."""

from __future__ import annotations

from orchestrator.model.limits import BreakerLimits
from orchestrator.model.safety import Effect
from orchestrator.model.time import Instant, new_york

_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6
_OPENS_S = 17 * 3600 + 15 * 60


def t2_weekend(
    calendar: str, now: Instant, limits: BreakerLimits, *, flat: bool
) -> tuple[Effect, str] | None:
    """From Friday 16:00 to Sunday 17:15 New York block; `flat`: from Friday 16:30 flatten."""
    if calendar != "fx":
        return None
    weekday, second = new_york(now)
    over = weekday in (_FRIDAY, _SATURDAY, _SUNDAY)
    early = weekday == _FRIDAY and second < limits.weekend_from_s
    if not over or early or (weekday == _SUNDAY and second >= _OPENS_S):
        return None
    begun = weekday != _FRIDAY or second >= limits.weekend_flat_from_s
    if flat and begun:
        return Effect.FLATTEN, "the weekend comes, and the account is to be flat"
    return Effect.BLOCK, "the weekend comes"
