"""Anomalies of one instrument's prices: spread, gap, flash move, bad ticks, silence."""

from __future__ import annotations

import math
from collections import deque

import msgspec

from orchestrator.agents.quotes import QuoteSieve, close_mid, mid_of
from orchestrator.agents.statistics import WindowMedian, clamp
from orchestrator.model.market import History, Tick
from orchestrator.model.time import NS_PER_S, Instant

_SAMPLE_NS = 5 * NS_PER_S  # how often a price teaches volatility and the usual spread
_SPREADS = 720  # samples of the usual spread: an hour of a busy market
_SPREADS_MIN = 12
_FLASH_SAMPLES = 12  # a minute of samples
_VARIANCE_KEEP = 0.995  # half-life 139 samples, about 12 minutes
_VARIANCE_POINTS_MIN = 20
_WINSOR = 4.0  # one move teaches at most as if it were four deviations
_SAMPLES_A_MINUTE = 12
# Ticks closer than a second are judged as if so far apart; those after a pause, however long, as
# if a minute had passed: what happened in a closed market is a gap too.
_TICK_SIGMA_S = (1.0, 60.0)


class MarketLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What is unusual; see `LearningSafety` for the meanings."""

    spread_factor: float
    gap_sigmas: float
    gap_spreads: float
    gap_min: float
    flash_sigmas: float
    flash_min: float
    stale_s: float
    bad_ticks: int
    bad_ticks_window_s: float
    bad_tick_off: float


class Finding(msgspec.Struct, frozen=True):
    """Something unusual: one of spread, gap, flash, stale, bad_tick; and the numbers."""

    kind: str
    text: str


class InstrumentWatch:
    """What is usual for one instrument, learned tick by tick, and what is not."""

    def __init__(self, limits: MarketLimits) -> None:
        self._limits = limits
        self._spreads = WindowMedian(_SPREADS)
        self._flash: deque[float] = deque(maxlen=_FLASH_SAMPLES)
        self._bad: deque[Instant] = deque(maxlen=max(1, limits.bad_ticks))
        self._variance = 0.0
        self._points = 0
        self._sampled_ns: Instant = 0
        self._sample = 0.0
        self._mid = 0.0
        self._sieve = QuoteSieve(limits.bad_tick_off)
        self.seen_ns: Instant = 0
        self._stale = False

    @property
    def usual_spread(self) -> float | None:
        """The median; None until enough is known."""
        return self._spreads.value if len(self._spreads) >= _SPREADS_MIN else None

    def warm(self, history: History) -> None:
        """Volatility from one-minute candles; a live price overrules nothing learned so."""
        last = 0.0
        for candle in history.candles:
            mid = close_mid(candle)
            if mid is None or history.granularity != "M1":
                continue
            if last:
                self._learn_move(math.log(mid / last) / math.sqrt(_SAMPLES_A_MINUTE))
            spread = float(candle.ask_c - candle.bid_c)
            if spread > 0:
                self._spreads.add(spread)
            last = mid

    def tick(self, tick: Tick) -> Finding | None:
        """The first thing that is unusual about this tick."""
        flaw = self._sieve.flaw(tick)
        if flaw:
            return self._count_bad(tick, flaw)
        mid = mid_of(tick)
        found = self._judge(tick, mid)
        self._learn(tick, mid)
        return found

    def silent(self, now_ns: Instant) -> Finding | None:
        """Once for each silence that is too long."""
        age_s = (now_ns - self.seen_ns) / NS_PER_S
        if self._stale or not self.seen_ns or age_s <= self._limits.stale_s:
            return None
        self._stale = True
        limit = self._limits.stale_s
        return Finding("stale", f"no price for {age_s:.0f} s, limit {limit:.0f} s")

    def too_wide(self, spread: float) -> str:
        """Why this spread is not usual, or ""."""
        usual = self.usual_spread
        if usual is None or spread <= self._limits.spread_factor * usual:
            return ""
        return (
            f"spread {spread:.6g} is {spread / usual:.1f} times its median {usual:.6g},"
            f" limit {self._limits.spread_factor:.1f}"
        )

    def _count_bad(self, tick: Tick, flaw: str) -> Finding | None:
        self._bad.append(tick.seen_ns)
        limits = self._limits
        first = tick.seen_ns - round(limits.bad_ticks_window_s * NS_PER_S)
        if len(self._bad) < limits.bad_ticks or self._bad[0] < first:
            return None
        window = f"{limits.bad_ticks} bad ticks in {limits.bad_ticks_window_s:.0f} s"
        return Finding("bad_tick", f"{window}; the last is {flaw}")

    def _judge(self, tick: Tick, mid: float) -> Finding | None:
        wide = self.too_wide(float(tick.spread))
        if wide:
            return Finding("spread", wide)
        return self._gap(tick, mid) or self._flash_move(mid)

    def _sigma(self) -> float | None:
        """Deviation of a sample's return; None until enough is known."""
        return math.sqrt(self._variance) if self._points >= _VARIANCE_POINTS_MIN else None

    def _gap(self, tick: Tick, mid: float) -> Finding | None:
        if not self._mid:
            return None
        move = abs(mid / self._mid - 1)
        limits = self._limits
        if move <= limits.gap_min:
            return None
        passed_s = clamp((tick.seen_ns - self.seen_ns) / NS_PER_S, *_TICK_SIGMA_S)
        sigma = self._sigma() or 0.0
        usual = sigma * math.sqrt(passed_s * NS_PER_S / _SAMPLE_NS)
        spread = (self.usual_spread or float(tick.spread)) / mid
        limit = max(limits.gap_min, limits.gap_sigmas * usual, limits.gap_spreads * spread)
        if move <= limit:
            return None
        return Finding("gap", f"moved {move:.3%} from one tick to the next, limit {limit:.3%}")

    def _flash_move(self, mid: float) -> Finding | None:
        if not self._flash:
            return None
        move = max(mid / min(self._flash) - 1, 1 - mid / max(self._flash))
        limits = self._limits
        if move <= limits.flash_min:
            return None
        usual = (self._sigma() or 0.0) * math.sqrt(_FLASH_SAMPLES)
        limit = max(limits.flash_min, limits.flash_sigmas * usual)
        if move <= limit:
            return None
        return Finding("flash", f"moved {move:.3%} within a minute, limit {limit:.3%}")

    def _learn(self, tick: Tick, mid: float) -> None:
        self._mid = mid
        self.seen_ns = max(self.seen_ns, tick.seen_ns)
        self._stale = False
        passed = tick.seen_ns - self._sampled_ns
        if passed < _SAMPLE_NS:
            return
        if self._sample and passed <= _FLASH_SAMPLES * _SAMPLE_NS:
            self._learn_move(math.log(mid / self._sample) / math.sqrt(passed / _SAMPLE_NS))
        else:
            self._flash.clear()
        self._flash.append(mid)
        self._spreads.add(float(tick.spread))
        self._sampled_ns, self._sample = tick.seen_ns, mid

    def _learn_move(self, move: float) -> None:
        sigma = self._sigma()
        if sigma:
            move = min(abs(move), _WINSOR * sigma)
        self._points += 1
        share = max(1 - _VARIANCE_KEEP, 1 / self._points)
        self._variance += share * (move * move - self._variance)
