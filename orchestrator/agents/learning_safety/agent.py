"""The Learning Safety agent: its verdict can only tighten what the kernel allows."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from orchestrator.agents.base import NOTHING, Agent, Message, Role, Says, hears
from orchestrator.agents.learning_safety.drift import Drift
from orchestrator.agents.learning_safety.market import Finding, InstrumentWatch, MarketLimits
from orchestrator.agents.quotes import usable
from orchestrator.agents.statistics import Recent
from orchestrator.model.facts import BreakerMoved, BreakerReset, BreakerTripped
from orchestrator.model.market import Beat, History, Tick
from orchestrator.model.money import ONE, InstrumentName
from orchestrator.model.outcomes import AnomalySeen, TradeOutcome
from orchestrator.model.safety import BreakerState, Effect
from orchestrator.model.signals import AskVerdict, Verdict
from orchestrator.model.time import HOUR_NS, NS_PER_S, Instant

_INSTRUMENTS_MAX = 500
_BREAKERS_MAX = 2_000
_TRIP_FORGOTTEN_NS = 48 * HOUR_NS  # a reset that was never heard must not block for ever
_HALF = Decimal("0.5")


class LearningSafety(Agent):
    """Refuses in unusual markets and under breakers; halves where caution is due.

    An anomaly on an instrument refuses it for `cooldown_s` (gap and flash: `shock_cooldown_s`;
    silence: until a price comes, and `stale_clear_s`), three instruments at once refuse all. A
    tripped breaker in scope refuses (one that scales or probes does not: the kernel has made it
    small already); after a reset from refusing sizes are halved for `calm_s`, unless it was the
    clock's (T1 to T4: hours and starts are no danger). A strategy whose results drifted is halved,
    then refused.
    """

    role: ClassVar[Role] = Role.LEARNING_SAFETY
    name: ClassVar[str] = "learning_safety"
    says: ClassVar[tuple[type[Message], ...]] = (Verdict, AnomalySeen)

    def __init__(
        self,
        *,
        spread_factor: float = 4.0,
        gap_sigmas: float = 10.0,
        gap_spreads: float = 8.0,
        gap_min: float = 0.0010,
        flash_sigmas: float = 8.0,
        flash_min: float = 0.0040,
        stale_s: float = 60.0,
        stale_clear_s: float = 10.0,
        bad_ticks: int = 3,
        bad_ticks_window_s: float = 10.0,
        bad_tick_off: float = 0.05,
        cooldown_s: float = 60.0,
        shock_cooldown_s: float = 300.0,
        calm_s: float = 300.0,
        market_wide: int = 3,
        drift_threshold: float = 6.0,
        drift_tolerance: float = 0.10,
        drift_rest_h: float = 24.0,
    ) -> None:
        """`spread_factor`: times its median. `gap_sigmas`, `gap_spreads`, `gap_min`: a move from
        tick to tick is a gap above the largest of them (deviations over the time passed, usual
        spreads, fraction of price). `flash_sigmas`, `flash_min`: the same within a minute.
        `stale_s`: seconds without a price that are too many, `stale_clear_s`: what passes after.
        `bad_ticks` within `bad_ticks_window_s` seconds; one is bad when it is no quote, older
        than the last, or off by `bad_tick_off` (fraction). `cooldown_s`, `shock_cooldown_s`,
        `calm_s`: seconds of market time.
        `market_wide`: so many unusual instruments refuse all. `drift_threshold`,
        `drift_tolerance`: in R; `drift_rest_h`: hours.
        """
        self._limits = MarketLimits(
            spread_factor=spread_factor,
            gap_sigmas=gap_sigmas,
            gap_spreads=gap_spreads,
            gap_min=gap_min,
            flash_sigmas=flash_sigmas,
            flash_min=flash_min,
            stale_s=stale_s,
            bad_ticks=bad_ticks,
            bad_ticks_window_s=bad_ticks_window_s,
            bad_tick_off=bad_tick_off,
        )
        self._cooldown_ns = round(cooldown_s * NS_PER_S)
        shock = round(shock_cooldown_s * NS_PER_S)
        silence = round(stale_clear_s * NS_PER_S)
        self._lasts = {"gap": shock, "flash": shock, "stale": silence}
        self._calm_ns = round(calm_s * NS_PER_S)
        self._market_wide = market_wide
        self._drift = Drift(
            threshold=drift_threshold, tolerance=drift_tolerance, rest_h=drift_rest_h
        )
        self._watches: Recent[InstrumentName, InstrumentWatch] = Recent(_INSTRUMENTS_MAX)
        self._anomalies: Recent[tuple[InstrumentName, str], AnomalySeen] = Recent(_BREAKERS_MAX)
        self._tripped: Recent[tuple[str, str], tuple[BreakerTripped, Instant]] = Recent(
            _BREAKERS_MAX
        )
        self._reset: Recent[tuple[str, str], Instant] = Recent(_BREAKERS_MAX)
        self._now_ns: Instant = 0

    @hears(Tick)
    def on_tick(self, tick: Tick) -> Says:
        self._now_ns = max(self._now_ns, tick.seen_ns)
        found = self._of(tick.instrument).tick(tick)
        return NOTHING if found is None else self._say(tick.instrument, found)

    @hears(Beat)
    def on_beat(self, beat: Beat) -> Says:
        self._now_ns = max(self._now_ns, beat.now_ns)
        said: Says = NOTHING
        for instrument, watch in self._watches.items():
            found = watch.silent(self._now_ns)
            if found is not None:
                said += self._say(instrument, found)
        return said

    @hears(History)
    def on_history(self, history: History) -> Says:
        self._of(history.instrument).warm(history)
        return NOTHING

    @hears(TradeOutcome)
    def on_outcome(self, outcome: TradeOutcome) -> Says:
        self._drift.learn(outcome)
        return NOTHING

    @hears(BreakerTripped)
    def on_tripped(self, fact: BreakerTripped) -> Says:
        if fact.effect is not Effect.SCALE:
            self._tripped.set((fact.breaker, fact.subject), (fact, self._now_ns))
        return NOTHING

    @hears(BreakerMoved)
    def on_moved(self, fact: BreakerMoved) -> Says:
        if fact.state is BreakerState.PROBING:
            self._tripped.pop((fact.breaker, fact.subject))
        return NOTHING

    @hears(BreakerReset)
    def on_reset(self, fact: BreakerReset) -> Says:
        refused = self._tripped.pop((fact.breaker, fact.subject)) is not None
        if refused and not fact.breaker.startswith("T"):
            self._reset.set((fact.breaker, fact.subject), self._now_ns)
        return NOTHING

    @hears(AskVerdict)
    def on_ask(self, ask: AskVerdict) -> Says:
        objections = (
            *self._unusable(ask),
            *self._breakers(ask),
            *self._market(ask),
        )
        drift, why = self._drift.scale(ask.signal.strategy, self._now_ns)
        if drift == 0:
            objections = (*objections, why)
        if objections:
            return (_verdict(ask, False, ONE, objections),)
        cautions = tuple(text for text in (why, self._calming(ask)) if text)
        scale = _HALF ** len(cautions)
        return (_verdict(ask, True, scale, cautions or ("nothing unusual",)),)

    def _of(self, instrument: InstrumentName) -> InstrumentWatch:
        known = self._watches.get(instrument)
        if known is None:
            known = InstrumentWatch(self._limits)
            self._watches.set(instrument, known)
        return known

    def _say(self, instrument: InstrumentName, found: Finding) -> Says:
        """Once for each episode; said again while it lasts, when half its time is over."""
        lasts = self._lasts.get(found.kind, self._cooldown_ns)
        before = self._anomalies.get((instrument, found.kind))
        anomaly = AnomalySeen(
            instrument=instrument,
            kind=found.kind,
            text=found.text,
            at_ns=self._now_ns,
            until_ns=self._now_ns + lasts,
        )
        if before is not None and before.until_ns > self._now_ns + lasts // 2:
            return NOTHING
        self._anomalies.set((instrument, found.kind), anomaly)
        return (anomaly,)

    def _unusable(self, ask: AskVerdict) -> tuple[str, ...]:
        if not usable(ask.bid, ask.ask):
            return (f"unusable quote {ask.bid}/{ask.ask}",)
        units = ask.sizing.units
        if not units.is_finite() or units * ask.signal.side.sign <= 0:
            return (f"{units} units are no order to {ask.signal.side.value}",)
        return ()

    def _breakers(self, ask: AskVerdict) -> tuple[str, ...]:
        said = tuple(f"blocked by {name}" for name in ask.account.blocked_by)
        tripped = tuple(
            f"breaker {fact.breaker} on {fact.subject}: {fact.evidence}"
            for fact, at_ns in self._tripped.values()
            if _in_scope(fact.subject, ask) and self._now_ns < _forgotten_ns(fact, at_ns)
        )
        return said + tripped

    def _market(self, ask: AskVerdict) -> tuple[str, ...]:
        instrument = ask.signal.instrument
        watch = self._watches.get(instrument)
        if watch is None or not watch.seen_ns:
            return (f"no price of {instrument} was seen yet",)
        active = [a for a in self._anomalies.values() if a.until_ns > self._now_ns]
        said = [
            f"{a.kind} on {a.instrument}, {(a.until_ns - self._now_ns) / NS_PER_S:.0f} s more:"
            f" {a.text}"
            for a in active
            if a.instrument == instrument
        ]
        unusual = sorted({a.instrument for a in active})
        if len(unusual) >= self._market_wide:
            said.append(f"the whole market is unusual: {', '.join(unusual)}")
        age_s = (self._now_ns - watch.seen_ns) / NS_PER_S
        if age_s > self._limits.stale_s:
            said.append(f"no price for {age_s:.0f} s, limit {self._limits.stale_s:.0f} s")
        wide = "" if not usable(ask.bid, ask.ask) else watch.too_wide(float(ask.ask - ask.bid))
        return (*said, wide) if wide else tuple(said)

    def _calming(self, ask: AskVerdict) -> str:
        for (breaker, subject), at_ns in self._reset.items():
            if _in_scope(subject, ask) and self._now_ns < at_ns + self._calm_ns:
                return f"breaker {breaker} on {subject} was reset lately: half size"
        return ""


def _in_scope(subject: str, ask: AskVerdict) -> bool:
    return subject in ("system", ask.account.account_id, ask.signal.instrument)


def _forgotten_ns(fact: BreakerTripped, heard_ns: Instant) -> Instant:
    if fact.until_ns is not None and not fact.latched:
        return fact.until_ns
    return heard_ns + _TRIP_FORGOTTEN_NS


def _verdict(ask: AskVerdict, approved: bool, scale: Decimal, reasons: tuple[str, ...]) -> Verdict:
    return Verdict(
        signal_id=ask.signal.signal_id,
        account_id=ask.account.account_id,
        approved=approved,
        scale=scale,
        reasons=reasons,
    )
