"""How one synthetic instrument speaks: at an uneven pace, with a spread that breathes."""

from __future__ import annotations

import math
import random
from decimal import Decimal

from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName, Price
from orchestrator.model.time import NS_PER_S, Instant
from orchestrator.paper.feeds.assets import SPREADS
from orchestrator.paper.instruments import SPECS

# The waits between two prices, as recorded: a median of 0.2 s, a mean of 2 s, in bursts.
_WAIT_S = 0.20
_WAIT_LOG = 2.15  # log standard deviation
_WAIT_MEMORY = 0.42  # of a wait's logarithm in the next one
_WAIT_RANGE_S = (0.003, 30.0)
_QUICKER = 1.2  # how much quicker it speaks where more moves: an exponent
_LIVELY = (0.1, 3.5)  # and no slower or quicker than at these
_BREATH_MEMORY = 0.9
_BREATH_LOG = 0.085
_YAWN = 0.004  # how often a single price is much wider
_FIRST_S = 1.0


class Voice:
    """One instrument. Prices are counted in its smallest steps until they are told."""

    __slots__ = (
        "_breath", "_dice", "_digits", "_last", "_pace", "liveliness", "name", "spread_steps",
        "wide",
    )  # fmt: skip

    def __init__(self, name: InstrumentName, seed: int) -> None:
        spec = SPECS[name]
        self.name = name
        self.spread_steps = SPREADS[name] * 10.0 ** (spec.pip_location + spec.display_precision)
        self.wide = 1.0  # the spread now, against that of a quiet hour
        self.liveliness = 1.0  # how much moves now, against the mean
        self._digits = -spec.display_precision
        # Dice of its own: what it says does not depend on which others are asked for.
        self._dice = random.Random(f"{seed}:{name}")
        self._pace = self._breath = 0.0
        self._last = (0, 0)

    def first_s(self) -> float:
        """How long after the start it speaks first."""
        return self._dice.uniform(0.0, _FIRST_S)

    def wait_ns(self) -> int:
        """Until its next price."""
        fresh = math.sqrt(1 - _WAIT_MEMORY**2)
        self._pace = _WAIT_MEMORY * self._pace + self._dice.gauss(0.0, fresh)
        lively = min(max(self.liveliness, _LIVELY[0]), _LIVELY[1])
        median = _WAIT_S / lively**_QUICKER
        wait = median * math.exp(_WAIT_LOG * self._pace)
        return round(min(max(wait, _WAIT_RANGE_S[0]), _WAIT_RANGE_S[1]) * NS_PER_S)

    def tick(self, mid_steps: float, at_ns: Instant, *, tradeable: bool = True) -> Tick:
        """Its price around that mid; never the same twice, as a venue tells only changes."""
        dice = self._dice
        self._breath = _BREATH_MEMORY * self._breath + dice.gauss(0.0, _BREATH_LOG)
        spread = self.spread_steps * self.wide * math.exp(self._breath)
        if dice.random() < _YAWN:
            spread *= dice.uniform(1.5, 4.0)
        bid = max(1, round(mid_steps - spread / 2))
        ask = bid + max(1, round(spread))
        if (bid, ask) == self._last:
            if dice.random() < 0.5 and bid > 1:  # noqa: PLR2004
                bid -= 1
            else:
                ask += 1
        self._last = (bid, ask)
        return Tick(
            instrument=self.name,
            bid=Price(Decimal(bid).scaleb(self._digits)),
            ask=Price(Decimal(ask).scaleb(self._digits)),
            venue_ns=at_ns,
            seen_ns=at_ns,
            tradeable=tradeable,
        )
