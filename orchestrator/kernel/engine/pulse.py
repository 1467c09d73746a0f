"""What is kept of each instrument's prices while this life lasts; bounded, rebuilt live."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.kernel.safety.breakers.m2_spread import SpreadRing
from orchestrator.kernel.safety.breakers.m3_volatility import Volatility
from orchestrator.kernel.safety.breakers.m4_gap import Band
from orchestrator.kernel.safety.breakers.t4_warm_up import Warmth
from orchestrator.model.limits import BreakerLimits
from orchestrator.model.money import ZERO
from orchestrator.model.time import Instant


class Pulse:
    """One instrument: the memories of M2, M3, M4 and T4, and whether M6 was judged."""

    __slots__ = (
        "band",
        "cold",
        "halted",
        "minute_end_ns",
        "ring",
        "spread",
        "volatility",
        "warmth",
    )

    def __init__(self, ring: SpreadRing, limits: BreakerLimits) -> None:
        self.ring = ring
        self.band = Band(limits)
        self.volatility = Volatility()
        self.warmth = Warmth()
        self.cold = False  # it warms up
        self.spread: Decimal = ZERO  # of the last good tick
        self.minute_end_ns: Instant = 0
        self.halted: bool | None = None  # None: a trip of an earlier life may stand
