"""An agent of your own: a Strategy Analysis that is content with one simple rule.

It takes the place of the shipped one. Set it going in orchestrator.toml:

    [agents.strategy_analysis]
    path = "examples/my_agent.py:MyAgent"
    params = { least_r = 0.05 }
"""

from decimal import Decimal

from orchestrator.agents.base import Agent, Role, Says, hears
from orchestrator.model.signals import AskScore, Score


class MyAgent(Agent):
    """Approves a signal whose expected value, after the spread, is at least `least_r` risks."""

    role = Role.STRATEGY_ANALYSIS
    name = "my_agent"
    version = "1"
    says = (Score,)

    def __init__(self, *, least_r: float = 0.0) -> None:
        self._least_r = Decimal(str(least_r))

    @hears(AskScore)
    def on_ask(self, ask: AskScore) -> Says:
        signal, wins = ask.signal, ask.confidence
        reward = (signal.target_distance or signal.stop_distance) / signal.stop_distance
        cost = (ask.ask - ask.bid) / signal.stop_distance
        expected_r = round(wins * reward - (1 - wins) - cost, 4)
        score = Score(
            signal_id=signal.signal_id,
            account_id=ask.account.account_id,
            approved=expected_r >= self._least_r,
            score=min(Decimal(1), max(Decimal(0), (expected_r + 1) / 2)),
            expected_r=expected_r,
            win_rate=wins,
            samples=0,
            reasons=(f"expected {expected_r} R after costs, wanted {self._least_r}",),
        )
        return (score,)
