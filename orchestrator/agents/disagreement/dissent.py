"""Dissent: what other strategies lately wished on the same instrument lowers a confidence."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

from orchestrator.agents.quotes import teaches
from orchestrator.agents.statistics import Once, Recent
from orchestrator.model.money import ONE, InstrumentName, Side, step_of
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.signals import Signal
from orchestrator.model.time import NS_PER_S, Instant

_FORGOTTEN_HALF_LIVES = 8  # a vote this old counts less than 0.4 %
_VOTERS_MAX = 2_000
_SMALLEST = step_of(6)
_RECORD_KEEP = 0.95  # a strategy's record fades by 5 % with each of its outcomes
_RECORD_PRIOR = 4.0  # outcomes' worth of "even" that a strategy starts with


class _Record:
    """How often a strategy was right lately; its word weighs accordingly."""

    __slots__ = ("count", "wins")

    def __init__(self) -> None:
        self.count = 0.0
        self.wins = 0.0

    def add(self, won: bool) -> None:
        self.count = self.count * _RECORD_KEEP + 1
        self.wins = self.wins * _RECORD_KEEP + won

    @property
    def credit(self) -> float:
        """0 ... 1: twice the shrunk win rate, at most 1. A strategy without a record has 1."""
        return min(1.0, 2 * (self.wins + _RECORD_PRIOR / 2) / (self.count + _RECORD_PRIOR))


class _Vote:
    __slots__ = ("at_ns", "confidence", "side")

    def __init__(self, side: Side, confidence: float, at_ns: Instant) -> None:
        self.side = side
        self.confidence = confidence
        self.at_ns = at_ns


class Dissent:
    """Keeps each strategy's latest wish on each instrument and weighs those against a signal.

    confidence' = confidence x S / (S + D). D is the sum over other strategies whose latest wish on
    the instrument is opposite: confidence x credit x 2^(-age / half-life) x weight. S is the
    signal's own confidence and the same sum over those that agree. It never raises: S / (S + D)
    is at most 1. One vote for each strategy, so that a chatty one has no louder voice.
    """

    def __init__(self, half_life_s: float, weight: float) -> None:
        self._half_life_ns = half_life_s * NS_PER_S
        self._weight = weight
        self._votes: Recent[tuple[InstrumentName, str], _Vote] = Recent(_VOTERS_MAX)
        self._records: Recent[str, _Record] = Recent(_VOTERS_MAX)
        self._once = Once()

    def note(self, signal: Signal) -> None:
        """Remember a wish, taken or not."""
        if not (signal.confidence.is_finite() and 0 < signal.confidence <= ONE):
            return
        key = (signal.instrument, signal.strategy)
        old = self._votes.get(key)
        if old is None or signal.created_ns >= old.at_ns:
            vote = _Vote(signal.side, float(signal.confidence), signal.created_ns)
            self._votes.set(key, vote)

    def learn(self, outcome: TradeOutcome) -> None:
        if not teaches(outcome) or not self._once.is_new((outcome.account_id, outcome.trade_id)):
            return
        record = self._records.get(outcome.strategy) or _Record()
        record.add(outcome.r_multiple > 0)
        self._records.set(outcome.strategy, record)

    def lowered(self, signal: Signal) -> tuple[Decimal, str]:
        """The signal's confidence after dissent, and the reason ("" when nobody dissents)."""
        against, beside, names = self._weigh(signal)
        if not names or not (signal.confidence.is_finite() and signal.confidence > 0):
            return signal.confidence, ""
        support = float(signal.confidence) + beside
        kept = Decimal(repr(support / (support + against)))
        lowered = (signal.confidence * kept).quantize(_SMALLEST, rounding=ROUND_FLOOR)
        lowered = min(signal.confidence, max(_SMALLEST, lowered))
        return lowered, (
            f"{', '.join(names)} lately wished the opposite: confidence {signal.confidence:f}"
            f" lowered to {lowered:f} (dissent {against:.2f} against support {support:.2f})"
        )

    def _weigh(self, signal: Signal) -> tuple[float, float, list[str]]:
        against = beside = 0.0
        names: list[str] = []
        for (instrument, strategy), vote in self._votes.items():
            if instrument != signal.instrument or strategy == signal.strategy:
                continue
            age = max(0, signal.created_ns - vote.at_ns) / self._half_life_ns
            if age > _FORGOTTEN_HALF_LIVES:
                continue
            record = self._records.get(strategy)
            said = vote.confidence * (record.credit if record else 1.0) * 0.5**age * self._weight
            if vote.side is signal.side:
                beside += said
            else:
                against += said
                names.append(strategy)
        return against, beside, sorted(names)
