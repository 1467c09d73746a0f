"""Agents that agree to everything, loaded as a user's are, so that orders flow in a sweep."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.agents.base import Agent, Role, Says, hears
from orchestrator.agents.market_analysis.strategies.base import Bar, Context, Strategy, Wish
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
    """Never wishes anything: the sweep's own signals are all there is."""

    def on_bar(self, bar: Bar, context: Context) -> Wish | None:  # noqa: ARG002
        return None
