"""Prices that agents hear later, after what they have missed."""

from __future__ import annotations

import structlog

from orchestrator.model.market import Tick

log = structlog.get_logger()

# So many wait while the candles of an outage are read.
_KEPT_MAX = 10_000


class KeptPrices:
    """Nothing is kept before `hold`, and after `release`."""

    def __init__(self) -> None:
        self._kept: list[Tick] | None = None
        self._past = 0

    def hold(self) -> None:
        """From now on; idempotent."""
        self._kept = [] if self._kept is None else self._kept

    def keep(self, tick: Tick) -> bool:
        """Whether it is not to be told now."""
        if self._kept is None:
            return False
        if len(self._kept) < _KEPT_MAX:
            self._kept.append(tick)
        else:
            self._past += 1  # the candles of these moments are in the agents' history anyway
        return True

    def release(self) -> list[Tick]:
        """What was kept, oldest first."""
        kept, self._kept = self._kept or [], None
        if self._past:
            log.warning("prices.not_told", count=self._past)
            self._past = 0
        return kept
