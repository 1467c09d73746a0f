"""One instrument's desk: its candles, its frames, and the strategies that watch them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from orchestrator.agents.market_analysis.candles import Candles
from orchestrator.agents.market_analysis.frame import Frame
from orchestrator.agents.market_analysis.sieve import Sieve
from orchestrator.agents.market_analysis.strategies import StrategyMaker
from orchestrator.agents.market_analysis.strategies.base import Bar, Context, Strategy, Wish
from orchestrator.model.market import Candle, Tick
from orchestrator.model.money import InstrumentName, Side


class Found(msgspec.Struct, frozen=True, gc=False):
    """A wish that is new, of the strategy of this name, on this bar."""

    strategy: str
    wish: Wish
    bar: Bar
    context: Context


class Broke(msgspec.Struct, frozen=True, gc=False):
    """A strategy raised, or wished nonsense; it rests on this instrument until the next start."""

    strategy: str
    problem: str


Findings = tuple[Found | Broke, ...]
_NONE: Findings = ()
_HUGE = 1e12


def checked(said: object) -> Wish:
    """A wish of the right types and sizes; ValueError says what is wrong: plug-ins are strangers.

    A text where a side is meant is read as a side; a number that is no float is refused.
    """
    wish = msgspec.convert(msgspec.to_builtins(said), Wish)
    numbers = [wish.stop_distance, wish.confidence, *(number for _, number in wish.features)]
    if wish.target_distance is not None:
        numbers.append(wish.target_distance)
    if not all(abs(number) < _HUGE for number in numbers):
        raise ValueError("a number of the wish is not finite, or absurdly large")
    if wish.stop_distance <= 0 or (wish.target_distance is not None and wish.target_distance <= 0):
        raise ValueError(
            f"distances must be above 0: stop {wish.stop_distance}, target {wish.target_distance}"
        )
    if not 0 < wish.confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {wish.confidence}")
    return wish


class _Slot:
    """A strategy at work on one instrument, and when it last spoke."""

    def __init__(self, name: str, strategy: Strategy, cooldown_bars: int) -> None:
        self.name = name
        self.strategy = strategy
        self.resting = False
        self._cooldown = cooldown_bars
        self._wait = 0
        self._held: Side | None = None

    def on_bar(self, bar: Bar, context: Context) -> Found | Broke | None:
        """A wish at its first bar only, and not within the cool-down of the one before."""
        self._wait = max(0, self._wait - 1)
        try:
            said = self.strategy.on_bar(bar, context)
            # Before the ATR is known a stop may well be 0: such a wish is no mistake.
            wish = None if said is None or not context.ready else checked(said)
        except Exception as exc:  # noqa: BLE001 - a plug-in's bug costs only its own opinion
            # Its state is unknown from here on, so it is not asked again.
            self.resting = True
            return Broke(self.name, f"{type(exc).__name__}: {exc}")
        if wish is None:
            self._held = None
            return None
        return self._if_new(wish, bar, context)

    def _if_new(self, wish: Wish, bar: Bar, context: Context) -> Found | None:
        lasting = wish.side is self._held
        self._held = wish.side
        if lasting or self._wait > 0:
            return None
        self._wait = self._cooldown
        return Found(self.name, wish, bar, context)


class Desk:
    """All that Market Analysis keeps of one instrument."""

    def __init__(
        self,
        instrument: InstrumentName,
        makers: Mapping[str, StrategyMaker],
        timeframes: Iterable[str],
        cooldown_bars: int,
    ) -> None:
        """`timeframes` are kept in any case; those of the strategies are added."""
        made = {name: make() for name, make in makers.items()}
        kept = {"M1", *timeframes, *(strategy.timeframe for strategy in made.values())}
        self._sieve = Sieve()
        self._candles = Candles(kept)
        self._frames = {timeframe: Frame(instrument) for timeframe in kept}
        self._slots: dict[str, list[_Slot]] = {timeframe: [] for timeframe in kept}
        for name, strategy in made.items():
            self._slots[strategy.timeframe].append(_Slot(name, strategy, cooldown_bars))

    @property
    def regimes(self) -> tuple[tuple[str, str], ...]:
        """(timeframe, regime) of each timeframe, sorted by name."""
        return tuple((name, self._frames[name].regime) for name in sorted(self._frames))

    def on_tick(self, tick: Tick) -> Findings:
        quote = self._sieve.pass_on(tick)
        if quote is None:
            return _NONE
        bars = self._candles.on_quote(tick.venue_ns, *quote)
        return self._on_bars(bars) if bars else _NONE

    def on_history(self, candles: Iterable[Candle]) -> Findings:
        """Only what broke: wishes of the past are nobody's."""
        said: list[Found | Broke] = []
        for candle in candles:
            bars = self._candles.on_candle(candle)
            if bars:
                said += self._on_bars(bars)
        last = self._candles.last_close
        if last is not None:
            self._sieve.start_at(last)
        return tuple(one for one in said if isinstance(one, Broke))

    def _on_bars(self, bars: tuple[Bar, ...]) -> Findings:
        found: list[Found | Broke] = []
        for bar in bars:
            frame = self._frames[bar.timeframe]
            frame.update(bar)
            context = msgspec.structs.replace(frame.context, regimes=self.regimes)
            for slot in self._slots[bar.timeframe]:
                said = None if slot.resting else slot.on_bar(bar, context)
                if said is not None:
                    found.append(said)
        return tuple(found)
