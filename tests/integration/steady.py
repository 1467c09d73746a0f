"""A market analysis that wishes by the count of ticks, from the first minute on."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.agents.base import NOTHING, Agent, Role, Says, hears
from orchestrator.model.market import Tick
from orchestrator.model.money import Price, Side
from orchestrator.model.signals import Signal


class Steady(Agent):
    """A signal at each twelfth tick of an instrument, buying and selling in turn."""

    role = Role.MARKET_ANALYSIS
    name = "steady"
    says = (Signal,)

    def __init__(self) -> None:
        self._count: dict[str, int] = {}

    @hears(Tick)
    def on_tick(self, tick: Tick) -> Says:
        count = self._count[tick.instrument] = self._count.get(tick.instrument, 0) + 1
        if count % 12:
            return NOTHING
        side = Side.BUY if count % 24 else Side.SELL
        price = tick.ask if side is Side.BUY else tick.bid
        return (
            Signal(
                signal_id=f"steady-{tick.instrument}-{count}", strategy="steady",
                instrument=tick.instrument, side=side, reference_price=price,
                stop_distance=Price(Decimal("0.0030")), target_distance=Price(Decimal("0.0060")),
                confidence=Decimal("0.6"), created_ns=tick.venue_ns,
            ),
        )  # fmt: skip
