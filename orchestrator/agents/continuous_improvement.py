"""Continuous Improvement: keeps score of each strategy in each regime, and proposes changes."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import msgspec

from orchestrator.agents.base import NOTHING, Agent, Message, Role, Says, hears
from orchestrator.agents.quotes import teaches
from orchestrator.agents.statistics import (
    Moments,
    Once,
    Recent,
    clamp,
    deflated_sharpe,
    expected_best_sharpe,
)
from orchestrator.model.market import Beat
from orchestrator.model.money import ratio
from orchestrator.model.outcomes import ChangeProposed, TradeOutcome
from orchestrator.model.time import NS_PER_S, Instant

_CELLS_MAX = 2_000
_R_MAX = 20.0
_TRIAL_MIN = 5  # outcomes from which a strategy x regime counts as a trial with a Sharpe ratio

_Key = tuple[str, str]


class ScoreRow(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a strategy in a regime. R: result over initial risk. Sharpe: per trade.

    `deflated_sharpe`: probability that the true Sharpe ratio is above what the best of all
    strategies x regimes would show by luck. `proposal`: the last one made, or "".
    """

    strategy: str
    regime: str
    trades: int
    wins: int
    mean_r: Decimal
    deviation_r: Decimal
    sharpe: Decimal
    deflated_sharpe: Decimal | None
    lower_bound_r: Decimal | None
    upper_bound_r: Decimal | None
    proposal: str


class _Cell:
    __slots__ = ("moments", "proposed", "sample", "wins")

    def __init__(self) -> None:
        self.moments = Moments()
        self.wins = 0
        self.proposed = ""
        self.sample = 0  # trades when that was proposed


class ContinuousImprovement(Agent):
    """Proposes to lower or pause what is proven bad and to raise what is proven good.

    lower: at least `trades_min` trades and the upper bound of the mean R is below 0; pause: the
    same with `pause_trades`, or an upper bound below `-pause_r`. raise: at least `raise_trades`
    trades, lower bound above 0 and deflated Sharpe ratio of at least `deflated_min`. Bounds are
    Student's, one-sided. A proposal is made again only when it changes, or after `renew_trades`
    more trades. A person decides; nothing is changed here.
    """

    role: ClassVar[Role] = Role.CONTINUOUS_IMPROVEMENT
    name: ClassVar[str] = "continuous_improvement"
    says: ClassVar[tuple[type[Message], ...]] = (ChangeProposed,)

    def __init__(
        self,
        *,
        trades_min: int = 20,
        pause_trades: int = 40,
        pause_r: float = 0.20,
        raise_trades: int = 30,
        deflated_min: float = 0.95,
        confidence: float = 0.95,
        renew_trades: int = 20,
        every_s: float = 60.0,
        trials_elsewhere: int = 0,
    ) -> None:
        """Counts are closed trades. `pause_r`: in R. `deflated_min`, `confidence`: probabilities.
        `every_s`: seconds of market time between two looks. `trials_elsewhere`: variants that
        were tried and thrown away before (in research), which luck has had too.
        """
        self._trades_min = trades_min
        self._pause_trades = pause_trades
        self._pause_r = pause_r
        self._raise_trades = raise_trades
        self._deflated_min = deflated_min
        self._confidence = confidence
        self._renew = renew_trades
        self._every_ns = round(every_s * NS_PER_S)
        self._trials_elsewhere = trials_elsewhere
        self._cells: Recent[_Key, _Cell] = Recent(_CELLS_MAX)
        self._changed: dict[_Key, None] = {}
        self._looked_ns: Instant = 0
        self._once = Once()

    @hears(TradeOutcome)
    def on_outcome(self, outcome: TradeOutcome) -> Says:
        if not teaches(outcome) or not self._once.is_new((outcome.account_id, outcome.trade_id)):
            return NOTHING
        key = (outcome.strategy, outcome.regime)
        cell = self._cells.get(key) or _Cell()
        cell.moments.add(clamp(float(outcome.r_multiple), -_R_MAX, _R_MAX))
        cell.wins += outcome.r_multiple > 0
        self._cells.set(key, cell)
        self._changed[key] = None
        return NOTHING

    @hears(ChangeProposed)
    def on_proposed(self, change: ChangeProposed) -> Says:
        """A proposal of an earlier life, given again at start: not repeated for old evidence."""
        key = (change.strategy, change.regime)
        cell = self._cells.get(key) or _Cell()
        if change.sample >= cell.sample:
            cell.proposed, cell.sample = change.proposal, change.sample
            self._cells.set(key, cell)
        return NOTHING

    @hears(Beat)
    def on_beat(self, beat: Beat) -> Says:
        if not self._changed or beat.now_ns < self._looked_ns + self._every_ns:
            return NOTHING
        self._looked_ns = beat.now_ns
        trials, benchmark = self._benchmark()
        said: list[ChangeProposed] = []
        for key in self._changed:
            cell = self._cells.get(key)
            if cell is not None:
                said += self._look(key, cell, trials, benchmark, beat.now_ns)
        self._changed.clear()
        return tuple(said)

    def report(self) -> tuple[ScoreRow, ...]:
        """Every strategy and regime, those with the highest mean R first."""
        _, benchmark = self._benchmark()
        rows = [self._row(key, cell, benchmark) for key, cell in self._cells.items()]
        return tuple(sorted(rows, key=lambda row: (-row.mean_r, row.strategy, row.regime)))

    def _benchmark(self) -> tuple[int, float]:
        """How many trials luck has had, and the Sharpe ratio that it gives the best of them."""
        sharpes = Moments()
        for cell in self._cells.values():
            if cell.moments.count >= _TRIAL_MIN:
                sharpes.add(cell.moments.sharpe)
        trials = sharpes.count + self._trials_elsewhere
        return trials, expected_best_sharpe(trials, sharpes.deviation**2)

    def _look(
        self, key: _Key, cell: _Cell, trials: int, benchmark: float, now_ns: Instant
    ) -> list[ChangeProposed]:
        moments = cell.moments
        deflated = _deflated(moments, benchmark)
        proposal = self._proposal(moments, deflated)
        renewed = moments.count >= cell.sample + self._renew
        if not proposal or (proposal == cell.proposed and not renewed):
            return []
        cell.proposed, cell.sample = proposal, moments.count
        low, high = self._bounds(moments)
        evidence = (
            f"{moments.count} trades, {cell.wins} won, mean {moments.mean:+.3f} R, with"
            f" {self._confidence:.0%} each above {low:+.3f} and below {high:+.3f};"
            f" Sharpe {moments.sharpe:+.3f} a trade, deflated {deflated:.3f} over {trials} trials"
        )
        return [
            ChangeProposed(
                strategy=key[0],
                regime=key[1],
                proposal=proposal,
                evidence=evidence,
                at_ns=now_ns,
                sample=moments.count,
                mean_r=ratio(moments.mean),
                deflated_sharpe=ratio(deflated),
            )
        ]

    def _bounds(self, moments: Moments) -> tuple[float, float]:
        return moments.mean_bound(1 - self._confidence), moments.mean_bound(self._confidence)

    def _proposal(self, moments: Moments, deflated: float) -> str:
        low, high = self._bounds(moments)
        if moments.count >= self._trades_min and high < 0:
            much = moments.count >= self._pause_trades or high < -self._pause_r
            return "pause" if much else "lower"
        good = low > 0 and deflated >= self._deflated_min
        return "raise" if good and moments.count >= self._raise_trades else ""

    def _row(self, key: _Key, cell: _Cell, benchmark: float) -> ScoreRow:
        moments = cell.moments
        low, high = self._bounds(moments)
        few = moments.count < _TRIAL_MIN
        return ScoreRow(
            strategy=key[0],
            regime=key[1],
            trades=moments.count,
            wins=cell.wins,
            mean_r=ratio(moments.mean),
            deviation_r=ratio(moments.deviation),
            sharpe=ratio(moments.sharpe),
            deflated_sharpe=None if few else ratio(_deflated(moments, benchmark)),
            lower_bound_r=None if few else ratio(low),
            upper_bound_r=None if few else ratio(high),
            proposal=cell.proposed,
        )


def _deflated(moments: Moments, benchmark: float) -> float:
    return deflated_sharpe(
        sharpe=moments.sharpe,
        count=moments.count,
        skewness=moments.skewness,
        kurtosis=moments.kurtosis,
        benchmark=benchmark,
    )
