"""The Disagreement agent: dissent lowers confidence, diversity decides who takes a signal."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.agents.base import NOTHING, Agent, Message, Role, Says, hears
from orchestrator.agents.disagreement.allocation import Allocator, Limits
from orchestrator.agents.disagreement.dissent import Dissent
from orchestrator.agents.disagreement.returns import AccountReturns
from orchestrator.agents.disagreement.risk import CurrencyRisk
from orchestrator.agents.statistics import Recent
from orchestrator.model.market import History, Tick
from orchestrator.model.money import ZERO
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.signals import Allocation, AskAllocation, Share, Signal

_ANSWERS_MAX = 500


class Disagreement(Agent):
    """Shares signals among accounts so that they do not all hold the same risk.

    With two empty accounts the better one (fairness, then the seed) takes a signal whole; the
    other takes it too only if its book stays less correlated than the limit, which an empty book
    with the same single order cannot. Each skip says why, with the numbers.
    """

    role: ClassVar[Role] = Role.DISAGREEMENT
    name: ClassVar[str] = "disagreement"
    says: ClassVar[tuple[type[Message], ...]] = (Allocation,)
    learns_when_asked: ClassVar[bool] = True  # of fairness, and of accounts' returns

    def __init__(
        self,
        *,
        dissent_half_life_s: float = 300.0,
        dissent_weight: float = 1.0,
        pair_correlation_max: float = 0.70,
        currency_exposure_max: float = 10.0,
        weight_min: float = 0.10,
        fairness: float = 0.5,
        covariance_step_s: float = 3600.0,
    ) -> None:
        """`dissent_half_life_s`: market seconds after which an opposite wish counts half.
        `dissent_weight`: 0 ignores dissent, 1 lets an equal opposite wish halve the confidence.
        `pair_correlation_max`: of two accounts' exposures after the order.
        `currency_exposure_max`: of one currency in all accounts, as a multiple of all their NAV.
        `weight_min`: a smaller weight is a skip. `fairness`: cost of one whole signal too many.
        `covariance_step_s`: seconds between the prices whose returns teach the covariance.
        """
        self._dissent = Dissent(dissent_half_life_s, dissent_weight)
        self._risk = CurrencyRisk(step_ns=round(covariance_step_s * 1e9))
        self._returns = AccountReturns(step_s=300.0, half_life=100.0, shrink=0.2, points_min=30)
        limits = Limits(
            pair_correlation=pair_correlation_max,
            currency_exposure=currency_exposure_max,
            weight_min=weight_min,
            fairness=fairness,
        )
        self._allocator = Allocator(limits, self._risk, self._returns)
        self._answers: Recent[str, tuple[AskAllocation, Allocation]] = Recent(_ANSWERS_MAX)

    @hears(Tick)
    def on_tick(self, tick: Tick) -> Says:
        self._risk.tick(tick)
        return NOTHING

    @hears(History)
    def on_history(self, history: History) -> Says:
        self._risk.history(history)
        return NOTHING

    @hears(Signal)
    def on_signal(self, signal: Signal) -> Says:
        """Every wish of every strategy, also those that were not taken."""
        self._dissent.note(signal)
        return NOTHING

    @hears(TradeOutcome)
    def on_outcome(self, outcome: TradeOutcome) -> Says:
        self._dissent.learn(outcome)
        return NOTHING

    @hears(AskAllocation)
    def on_ask(self, ask: AskAllocation) -> Says:
        before = self._answers.get(ask.signal.signal_id)
        if before is None or before[0] != ask:
            before = (ask, self._answer(ask))
            self._answers.set(ask.signal.signal_id, before)
        return (before[1],)  # a question that is delivered twice is answered alike

    def _answer(self, ask: AskAllocation) -> Allocation:
        signal = ask.signal
        self._dissent.note(signal)
        self._returns.sample(signal.created_ns, ask.accounts)
        confidence, reason = self._dissent.lowered(signal)
        return Allocation(
            signal_id=signal.signal_id,
            confidence=confidence,
            shares=self._shares(ask),
            reason=reason or "no strategy dissents",
        )

    def _shares(self, ask: AskAllocation) -> tuple[Share, ...]:
        distance, price = ask.signal.stop_distance, ask.signal.reference_price
        if distance.is_finite() and price.is_finite() and distance > 0 and price > 0:
            return self._allocator.shares(ask)
        reason = f"unusable price {price} or stop distance {distance}"
        return tuple(
            Share(account_id=view.account_id, weight=ZERO, reason=reason) for view in ask.accounts
        )
