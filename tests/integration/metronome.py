"""A strategy that wishes by the clock: a test's own, loaded as a user's is."""

from orchestrator.agents.market_analysis.strategies.base import (
    Bar,
    Context,
    Side,
    Strategy,
    Wish,
)


class Metronome(Strategy):
    """A wish at every second minute, buying and selling in turn."""

    def __init__(self) -> None:
        self._count = 0

    def on_bar(self, bar: Bar, context: Context) -> Wish | None:
        self._count += 1
        if self._count % 2:
            return None
        stop = context.stop(2.5)
        side = Side.BUY if self._count % 4 else Side.SELL
        note = f"close {bar.close}"
        return Wish(
            side=side, stop_distance=stop, target_distance=2 * stop, confidence=0.6, note=note
        )
