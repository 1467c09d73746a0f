"""Agents that agree to everything: a test's own, loaded as a user's are, so that orders flow."""

from decimal import Decimal

from orchestrator.agents.base import Agent, Role, Says, hears
from orchestrator.agents.market_analysis.strategies.base import (
    Bar,
    Context,
    Side,
    Strategy,
    Wish,
)
from orchestrator.model.signals import Allocation, AskAllocation, AskScore, Score, Share


class Everyone(Agent):
    """Every account takes every signal in full."""

    role = Role.DISAGREEMENT
    name = "everyone"
    says = (Allocation,)

    @hears(AskAllocation)
    def on_ask(self, ask: AskAllocation) -> Says:
        shares = tuple(
            Share(account_id=each.account_id, weight=Decimal(1), reason="everyone")
            for each in ask.accounts
        )
        signal = ask.signal
        return (
            Allocation(signal_id=signal.signal_id, confidence=signal.confidence, shares=shares),
        )


class Yes(Agent):
    """Every signal is worth its costs."""

    role = Role.STRATEGY_ANALYSIS
    name = "always_yes"
    says = (Score,)

    @hears(AskScore)
    def on_ask(self, ask: AskScore) -> Says:
        score = Score(
            signal_id=ask.signal.signal_id, account_id=ask.account.account_id, approved=True,
            score=Decimal(1), expected_r=Decimal("0.2"), win_rate=ask.confidence, samples=0,
            reasons=("yes",),
        )  # fmt: skip
        return (score,)


class Still(Strategy):
    """Never wishes anything: the tests' own signals are all there is."""

    def on_bar(self, bar: Bar, context: Context) -> Wish | None:  # noqa: ARG002
        return None


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
