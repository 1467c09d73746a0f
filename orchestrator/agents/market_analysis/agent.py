"""Market Analysis: live prices become bars, bars become regimes, strategies' wishes become signals.

A tick costs a few microseconds; strategies work only when a bar closes. A signal needs a fresh,
tradeable tick soon after its bar's end and a spread that its stop can bear. Its id is made of
strategy, instrument, bar and timeframe, so the same bar after a crash makes the same signal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import ClassVar

from orchestrator.agents.base import NOTHING, Agent, Message, Role, Says, hears
from orchestrator.agents.market_analysis.calibration import Calibration
from orchestrator.agents.market_analysis.candles import DEFAULT_TIMEFRAMES
from orchestrator.agents.market_analysis.desk import Broke, Desk, Findings, Found
from orchestrator.agents.market_analysis.strategies import (
    StrategyMaker,
    check_maker,
    shipped_makers,
)
from orchestrator.model.market import History, Tick
from orchestrator.model.money import InstrumentName, Price, Side, ratio
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.safety import Alert, Severity
from orchestrator.model.signals import Feature, Signal
from orchestrator.model.time import NS_PER_S, seconds

_CLAIM = "claim"  # the feature that carries the uncorrected confidence to its outcome
_SPREAD_OF_STOP_MAX = 0.25  # C06
_STOP_OF_PRICE_MAX = 0.05  # C08
_HIT = "TAKE_PROFIT_ORDER"
_STOPPED = ("STOP_LOSS_ORDER", "GUARANTEED_STOP_LOSS_ORDER", "TRAILING_STOP_LOSS_ORDER")


class MarketAnalysis(Agent):
    """Hears prices, their history and outcomes; says signals, and an alert when a plug-in breaks.

    `History` counts where it is of granularity M1: at least 100 candles, better 1500.
    """

    role = Role.MARKET_ANALYSIS
    name = "market_analysis"
    version = "1"
    says: ClassVar[tuple[type[Message], ...]] = (Signal, Alert)

    def __init__(
        self,
        *,
        instruments: Iterable[InstrumentName],
        strategies: Mapping[str, StrategyMaker] | None = None,
        timeframes: Iterable[str] = DEFAULT_TIMEFRAMES,
        ttl_s: float = 10.0,
        cooldown_bars: int = 3,
        tick_age_s_max: float = 5.0,
        bar_late_s_max: float = 30.0,
        prior_trades: float = 30.0,
        half_life_days: float = 10.0,
    ) -> None:
        """Other instruments' prices are ignored; ValueError says what makes no sense.

        `strategies`: name and maker of each, called once for each instrument; None: all shipped.
        `ttl_s`: a signal's life in market time. `cooldown_bars`: a strategy's silence on an
        instrument after a signal. `tick_age_s_max`: how old the venue's stamp may be on arrival.
        `bar_late_s_max`: how long after a bar's end its signal still makes sense.
        `prior_trades`, `half_life_days`: see Calibration.
        """
        if not 0 < ttl_s <= 30 or cooldown_bars < 0:  # noqa: PLR2004 - C03's limit
            raise ValueError("ttl_s must be above 0 and at most 30, cooldown_bars at least 0")
        makers = shipped_makers() if strategies is None else strategies
        for name, make in makers.items():
            check_maker(name, make)
        kept = tuple(timeframes)
        self._desks = {
            instrument: Desk(instrument, makers, kept, cooldown_bars) for instrument in instruments
        }
        self._ttl_ms = round(ttl_s * 1000)
        self._tick_age_ns_max = seconds(tick_age_s_max)
        self._bar_late_ns_max = seconds(bar_late_s_max)
        self._calibration = Calibration(prior_trades=prior_trades, half_life_days=half_life_days)

    @hears(Tick)
    def on_tick(self, tick: Tick) -> Says:
        desk = self._desks.get(tick.instrument)
        if desk is None:
            return NOTHING
        findings = desk.on_tick(tick)
        return self._said_of(findings, tick) if findings else NOTHING

    @hears(History)
    def on_history(self, history: History) -> Says:
        desk = self._desks.get(history.instrument)
        if desk is None or history.granularity != "M1" or not history.candles:
            return NOTHING
        broken = desk.on_history(history.candles)
        at_ns = history.candles[-1].start_ns
        return tuple(_alert(one, history.instrument, at_ns) for one in broken if type(one) is Broke)

    @hears(TradeOutcome)
    def on_outcome(self, outcome: TradeOutcome) -> Says:
        """Learns only from trades that ended at their target or stop: the others leave it open."""
        claim = next((float(f.value) for f in outcome.features if f.name == _CLAIM), None)
        if claim is None or outcome.quarantined or not 0 < claim < 1:
            return NOTHING
        if outcome.exit_reason == _HIT or outcome.exit_reason in _STOPPED:
            self._calibration.learn(
                signal_id=outcome.signal_id,
                strategy=outcome.strategy,
                regime=outcome.regime,
                claim=claim,
                hit=outcome.exit_reason == _HIT,
                at_ns=outcome.closed_ns,
            )
        return NOTHING

    def regimes(self, instrument: InstrumentName) -> tuple[tuple[str, str], ...]:
        """(timeframe, regime) pairs, for whoever shows them; empty for an unknown instrument."""
        desk = self._desks.get(instrument)
        return () if desk is None else desk.regimes

    def _said_of(self, findings: Findings, tick: Tick) -> Says:
        said: list[Message] = []
        for one in findings:
            if isinstance(one, Broke):
                said.append(_alert(one, tick.instrument, tick.seen_ns))
            elif self._timely(one, tick) and _bearable(one, tick):
                said.append(self._signal(one, tick))
        return tuple(said)

    def _timely(self, found: Found, tick: Tick) -> bool:
        return (
            tick.tradeable
            and tick.seen_ns - tick.venue_ns <= self._tick_age_ns_max
            and tick.venue_ns - found.bar.end_ns <= self._bar_late_ns_max
        )

    def _signal(self, found: Found, tick: Tick) -> Signal:
        wish, bar, regime = found.wish, found.bar, found.context.regime
        end_s = bar.end_ns // NS_PER_S
        confidence = self._calibration.confidence(
            found.strategy, regime, wish.confidence, tick.seen_ns
        )
        return Signal(
            signal_id=f"{found.strategy}-{tick.instrument}-{end_s}-{bar.timeframe}",
            strategy=found.strategy,
            instrument=tick.instrument,
            side=wish.side,
            reference_price=tick.ask if wish.side is Side.BUY else tick.bid,
            stop_distance=_distance(wish.stop_distance),
            target_distance=(
                None if wish.target_distance is None else _distance(wish.target_distance)
            ),
            confidence=ratio(confidence, 4),
            regime=regime,
            created_ns=tick.seen_ns,
            ttl_ms=self._ttl_ms,
            source=self.name,
            features=_features(found, tick),
            note=wish.note[:200],
        )


def _bearable(found: Found, tick: Tick) -> bool:
    """Whether the kernel's checks of spread and stop could pass at this tick's prices."""
    stop = found.wish.stop_distance
    return float(tick.spread) <= _SPREAD_OF_STOP_MAX * stop and stop <= (
        _STOP_OF_PRICE_MAX * float(tick.bid)
    )


def _distance(value: float) -> Price:
    """Four significant digits: finer than any instrument's step, without a float's tail."""
    return Price(ratio(value, max(0, 3 - math.floor(math.log10(value)))))


def _features(found: Found, tick: Tick) -> tuple[Feature, ...]:
    context = found.context
    numbers = (
        (_CLAIM, found.wish.confidence),
        ("atr", context.atr),
        ("adx", context.adx),
        ("rsi", context.rsi),
        ("er", context.er),
        ("atr_percentile", context.atr_percentile),
        ("spread", float(tick.spread)),
        *found.wish.features,
    )
    return tuple(Feature(name=name[:40], value=ratio(value)) for name, value in numbers)


def _alert(broke: Broke, instrument: InstrumentName, at_ns: int) -> Alert:
    return Alert(
        key=f"strategy:{broke.strategy}:{instrument}",
        severity=Severity.WARNING,
        title=f"Strategy {broke.strategy} rests on {instrument}",
        text=f"{broke.problem[:300]}. It is not asked again on {instrument} until the next start.",
        at_ns=at_ns,
        subject=broke.strategy,
    )
