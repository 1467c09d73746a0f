"""Strategy Analysis: is a signal worth its costs, by the record of its strategy in this regime?"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import ClassVar

import msgspec

from orchestrator.agents.base import NOTHING, Agent, Message, Role, Says, hears
from orchestrator.agents.quotes import teaches, usable
from orchestrator.agents.statistics import Ewma, Once, Recent, clamp, normal_cdf
from orchestrator.model.money import ZERO, InstrumentName, InstrumentSpec, Side, ratio
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.signals import AskScore, Score
from orchestrator.model.time import DAY_NS, HOUR_NS, NS_PER_S, Instant

_STRATEGIES_MAX = 500
_REGIMES_MAX = 20
_INSTRUMENTS_MAX = 500
_OTHER_REGIME = 0.5  # what a trade of another regime counts
_R_MAX = 10.0  # one outcome must not teach more than a whole run of them
_YEAR_S = 365 * 86_400
_SPREAD_OF_R = 1.0  # deviation of R that a strategy is given before it has shown its own
_RUN_FREE = 2  # losses in a row that cost nothing
_RUN_STEP_R = 0.05  # what each further loss in a row takes off the expected value
_RUN_MAX_R = 0.50


class _Cell:
    """The fading record of a strategy in one regime."""

    __slots__ = ("count", "seen", "squares", "total", "wins")

    def __init__(self) -> None:
        self.seen = 0
        self.count = self.wins = self.total = self.squares = 0.0

    def add(self, r: float) -> None:
        self.seen += 1
        self.count += 1
        self.wins += r > 0
        self.total += r
        self.squares += r * r

    def fade(self, keep: float) -> None:
        self.count *= keep
        self.wins *= keep
        self.total *= keep
        self.squares *= keep


class _Record:
    """All that is remembered of a strategy."""

    __slots__ = ("at_ns", "cells", "holding_s", "losses", "lost_ns")

    def __init__(self, at_ns: Instant) -> None:
        self.cells: Recent[str, _Cell] = Recent(_REGIMES_MAX)
        self.at_ns = at_ns
        self.losses = 0
        self.lost_ns: Instant = 0
        self.holding_s = Ewma(half_life=20)

    def add(self, outcome: TradeOutcome, keep: float, half_life_ns: float) -> None:
        keep *= _faded(outcome.closed_ns - self.at_ns, half_life_ns)
        for old in self.cells.values():
            old.fade(keep)
        self.at_ns = max(self.at_ns, outcome.closed_ns)
        cell = self.cells.get(outcome.regime) or _Cell()
        r = clamp(float(outcome.r_multiple), -_R_MAX, _R_MAX)
        cell.add(r)
        self.cells.set(outcome.regime, cell)
        self.losses = 0 if r > 0 else self.losses + 1
        self.lost_ns = outcome.closed_ns
        self.holding_s.add(max(0, outcome.closed_ns - outcome.opened_ns) / NS_PER_S)


class _Evidence(msgspec.Struct, frozen=True):
    """A regime's own record and that of the strategy's other regimes, faded to the question."""

    own: tuple[float, float, float]  # count, wins, sum of R
    rest: tuple[float, float, float]
    samples: int
    deviation: float
    losses: int
    since_loss_ns: int
    holding_s: float | None


class _Worth(msgspec.Struct, frozen=True):
    """What a signal is thought to be worth, in R, and how that came about."""

    expected: float
    win: float
    reward: float
    costs: float
    parts: str
    run: float


_NONE = _Evidence((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0, _SPREAD_OF_R, 0, 0, None)


def _faded(age_ns: int, half_life_ns: float) -> float:
    return 0.5 ** (max(0, age_ns) / half_life_ns)


def _shrunk(
    own: tuple[float, float], rest: tuple[float, float], prior: tuple[float, float]
) -> float:
    """A mean, shrunk to the strategy's other regimes, and those to the prior; each (sum, count).

    `prior` is (mean, strength); the middle value enters with that same strength.
    """
    mean, strength = prior
    middle = (strength * mean + rest[0]) / (strength + rest[1])
    return (strength * middle + own[0]) / (strength + own[1])


class StrategyAnalysis(Agent):
    """Approves what is expected to earn more than it costs.

    - Win rate: Beta posterior. Prior: the signal's confidence c, worth `prior_trades` trades,
      a = c n0, b = (1 - c) n0; updated by the strategy's other regimes (half weight, at most
      n0), then, as a prior of the same strength n0, by this regime.
    - Mean R: shrunk in the same way to p b - (1 - p) - costs, b the reward to risk. Outcomes
      are net of their costs already, so costs are taken from the prior's part, and from the
      outcomes' part only as far as the spread is wider now than it usually is.
    - Costs in R: (spread + usual slippage + financing over the usual holding time) / stop.
    - Records fade with each trade and with time; a run of losses lowers the expected value at
      once, by 0.05 R for each loss after the second.
    """

    role: ClassVar[Role] = Role.STRATEGY_ANALYSIS
    name: ClassVar[str] = "strategy_analysis"
    says: ClassVar[tuple[type[Message], ...]] = (Score,)
    learns_when_asked: ClassVar[bool] = True  # of spreads

    def __init__(
        self,
        *,
        expected_r_min: float = 0.0,
        reward_risk_min: float = 1.0,
        prior_trades: float = 20.0,
        memory_trades: float = 50.0,
        memory_days: float = 30.0,
        run_forgiven_h: float = 6.0,
        holding_h: float = 4.0,
    ) -> None:
        """`expected_r_min`: approve above this expected value after costs, in R.
        `reward_risk_min`: target distance over stop distance, at least.
        `prior_trades`: how many trades the signal's own confidence is worth.
        `memory_trades`, `memory_days`: half-lives of an outcome, in later trades of the strategy
        and in days of market time. `run_forgiven_h`: hours after which a run of losses costs half.
        `holding_h`: hours a trade is expected to stay open before any has been seen to close.
        """
        self._expected_r_min = expected_r_min
        self._reward_risk_min = Decimal(str(reward_risk_min))
        self._prior = prior_trades
        self._keep = 0.5 ** (1 / memory_trades)
        self._half_life_ns = memory_days * DAY_NS
        self._run_half_life_ns = run_forgiven_h * HOUR_NS
        self._holding_s = holding_h * 3600
        self._records: Recent[str, _Record] = Recent(_STRATEGIES_MAX)
        self._slippage: Recent[InstrumentName, Ewma] = Recent(_INSTRUMENTS_MAX)
        self._spreads: Recent[InstrumentName, Ewma] = Recent(_INSTRUMENTS_MAX)
        self._once = Once()

    @hears(TradeOutcome)
    def on_outcome(self, outcome: TradeOutcome) -> Says:
        if not teaches(outcome) or not self._once.is_new((outcome.account_id, outcome.trade_id)):
            return NOTHING
        record = self._records.get(outcome.strategy) or _Record(outcome.closed_ns)
        record.add(outcome, self._keep, self._half_life_ns)
        self._records.set(outcome.strategy, record)
        if outcome.slippage.is_finite():
            _learn(self._slippage, outcome.instrument, float(outcome.slippage))
        return NOTHING

    @hears(AskScore)
    def on_ask(self, ask: AskScore) -> Says:
        problem = _unusable(ask)
        if problem:
            return (_refusal(ask, problem),)
        evidence = self._evidence(ask)
        worth = self._worth(ask, evidence)
        _learn(self._spreads, ask.signal.instrument, float(ask.ask - ask.bid))
        narrow = self._too_small_a_reward(ask)
        return (
            Score(
                signal_id=ask.signal.signal_id,
                account_id=ask.account.account_id,
                approved=worth.expected > self._expected_r_min and not narrow,
                score=ratio(self._certainty(worth.expected, evidence)),
                expected_r=ratio(worth.expected),
                win_rate=ratio(worth.win),
                samples=evidence.samples,
                reasons=((narrow,) if narrow else ()) + self._reasons(ask, evidence, worth),
            ),
        )

    def _worth(self, ask: AskScore, evidence: _Evidence) -> _Worth:
        reward = _reward_risk(ask)
        parts, costs = self._costs(ask, evidence)
        win = self._win_rate(ask, evidence)
        run = self._run_cost(evidence)
        expected = self._expected(ask, evidence, win * reward - (1 - win), costs) - run
        return _Worth(expected, win, reward, costs, parts, run)

    def _reasons(self, ask: AskScore, evidence: _Evidence, worth: _Worth) -> tuple[str, ...]:
        signal = ask.signal
        known = f"{evidence.samples} trades of {signal.strategy} in regime {signal.regime}"
        said = (
            (
                f"expected {worth.expected:+.3f} R after costs,"
                f" must be above {self._expected_r_min:.3f}"
            ),
            (
                f"win rate {worth.win:.3f} at reward to risk {worth.reward:.2f},"
                f" from {known} and confidence {ask.confidence:f}"
            ),
            f"costs {worth.costs:.3f} R: {worth.parts}",
        )
        if not worth.run:
            return said
        return (*said, f"{evidence.losses} losses in a row take off {worth.run:.3f} R")

    def _too_small_a_reward(self, ask: AskScore) -> str:
        target = ask.signal.target_distance
        if target is None or target >= self._reward_risk_min * ask.signal.stop_distance:
            return ""
        return (
            f"reward to risk {target / ask.signal.stop_distance:.2f}"
            f" is below {self._reward_risk_min}"
        )

    def _evidence(self, ask: AskScore) -> _Evidence:
        record = self._records.get(ask.signal.strategy)
        if record is None:
            return _NONE
        keep = _faded(ask.signal.created_ns - record.at_ns, self._half_life_ns)
        own = record.cells.get(ask.signal.regime) or _Cell()
        cells = record.cells.values()
        rest = [cell for cell in cells if cell is not own]
        count = sum(cell.count for cell in cells)
        mean = sum(cell.total for cell in cells) / count if count else 0.0
        squares = sum(cell.squares for cell in cells)
        # One trade's worth of the usual deviation, so that equal results don't make it 0.
        variance = (squares - count * mean**2 + _SPREAD_OF_R**2) / (count + 1)
        return _Evidence(
            own=(keep * own.count, keep * own.wins, keep * own.total),
            rest=self._capped(keep, rest),
            samples=own.seen,
            deviation=math.sqrt(max(variance, 0.0)),
            losses=record.losses,
            since_loss_ns=max(0, ask.signal.created_ns - record.lost_ns),
            holding_s=record.holding_s.value if record.holding_s.count else None,
        )

    def _capped(self, keep: float, cells: list[_Cell]) -> tuple[float, float, float]:
        """The other regimes' record: counts half, and at most as much as the prior."""
        count = keep * sum(cell.count for cell in cells)
        scale = keep * min(_OTHER_REGIME, self._prior / count) if count else 0.0
        return (
            scale * sum(cell.count for cell in cells),
            scale * sum(cell.wins for cell in cells),
            scale * sum(cell.total for cell in cells),
        )

    def _win_rate(self, ask: AskScore, evidence: _Evidence) -> float:
        prior = (clamp(float(ask.confidence), 0.01, 0.99), self._prior)
        own, rest = evidence.own, evidence.rest
        return _shrunk((own[1], own[0]), (rest[1], rest[0]), prior)

    def _expected(self, ask: AskScore, evidence: _Evidence, model: float, costs: float) -> float:
        own, rest = evidence.own, evidence.rest
        prior = (model - costs, self._prior)
        mean = _shrunk((own[2], own[0]), (rest[2], rest[0]), prior)
        share = 1 - _shrunk((0.0, own[0]), (0.0, rest[0]), (1.0, self._prior))
        return mean - share * self._wider_than_usual(ask)

    def _wider_than_usual(self, ask: AskScore) -> float:
        """By how much the spread exceeds its usual, in R, >= 0."""
        usual = self._spreads.get(ask.signal.instrument)
        if usual is None:
            return 0.0
        return max(0.0, float(ask.ask - ask.bid) - usual.value) / float(ask.signal.stop_distance)

    def _costs(self, ask: AskScore, evidence: _Evidence) -> tuple[str, float]:
        """The costs in words, and their sum in R, each >= 0."""
        stop = float(ask.signal.stop_distance)
        spread = float(ask.ask - ask.bid) / stop
        known = self._slippage.get(ask.signal.instrument)
        slippage = max(0.0, known.value) / stop if known else 0.0
        holding = self._holding_s if evidence.holding_s is None else evidence.holding_s
        yearly = max(0.0, -float(_financing_rate(ask.spec, ask.signal.side)))
        financing = yearly * holding / _YEAR_S * float(ask.ask) / stop
        text = f"spread {spread:.3f}, slippage {slippage:.3f}, financing {financing:.3f}"
        return text, spread + slippage + financing

    def _run_cost(self, evidence: _Evidence) -> float:
        steps = max(0, evidence.losses - _RUN_FREE)
        faded = _faded(evidence.since_loss_ns, self._run_half_life_ns)
        return min(_RUN_MAX_R, _RUN_STEP_R * steps) * faded

    def _certainty(self, expected: float, evidence: _Evidence) -> float:
        """Probability that the expected value is positive: a normal of the posterior's width."""
        count = self._prior + evidence.own[0] + evidence.rest[0]
        return normal_cdf(expected / max(evidence.deviation / math.sqrt(count), 1e-9))


def _learn(table: Recent[InstrumentName, Ewma], key: InstrumentName, value: float) -> None:
    known = table.get(key)
    if known is None:
        known = Ewma(half_life=50)
        table.set(key, known)
    known.add(value)


def _financing_rate(spec: InstrumentSpec, side: Side) -> Decimal:
    rate = spec.financing_long_rate if side is Side.BUY else spec.financing_short_rate
    return rate if rate.is_finite() else ZERO


def _reward_risk(ask: AskScore) -> float:
    """1 where the signal names no target: it must then win more often than it loses."""
    target = ask.signal.target_distance
    return 1.0 if target is None else float(target / ask.signal.stop_distance)


def _unusable(ask: AskScore) -> str:
    """What makes the question unanswerable, or ""."""
    if not usable(ask.bid, ask.ask):
        return f"unusable quote {ask.bid}/{ask.ask}"
    stop, target = ask.signal.stop_distance, ask.signal.target_distance
    if not (stop.is_finite() and stop > 0):
        return f"unusable stop distance {stop}"
    if target is not None and not (target.is_finite() and target > 0):
        return f"unusable target distance {target}"
    if not (ask.confidence.is_finite() and 0 < ask.confidence <= 1):
        return f"unusable confidence {ask.confidence}"
    return ""


def _refusal(ask: AskScore, reason: str) -> Score:
    return Score(
        signal_id=ask.signal.signal_id,
        account_id=ask.account.account_id,
        approved=False,
        score=ZERO,
        expected_r=ZERO,
        win_rate=ZERO,
        samples=0,
        reasons=(reason,),
    )
