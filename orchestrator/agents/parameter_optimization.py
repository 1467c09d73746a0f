"""Parameter Optimization: the units, stop and target that keep a loss within its allowance."""

from __future__ import annotations

import math
from decimal import ROUND_DOWN, Decimal
from typing import ClassVar

import msgspec

from orchestrator.agents.base import NOTHING, Agent, Message, Role, Says, hears
from orchestrator.agents.quotes import close_mid, mid_of, usable, usable_tick
from orchestrator.agents.statistics import Recent, clamp
from orchestrator.model.market import History, Tick
from orchestrator.model.money import ONE, ZERO, InstrumentName, Price, Side, Units, step_of
from orchestrator.model.signals import AskSizing, Sizing
from orchestrator.model.time import MINUTE_NS, Instant

_INSTRUMENTS_MAX = 500
_MINUTES_A_YEAR = 252 * 1440
_RETURN_MAX = 0.2
_GAP_MINUTES_MAX = 5  # a longer pause says nothing of a minute's volatility
_POINTS_MIN = 30
_SCALE_MIN = 0.25
_SIX = step_of(6)


class _Volatility:
    """EWMA of squared one-minute returns of an instrument."""

    __slots__ = ("_base", "_keep", "_last", "_minute", "points", "variance")

    def __init__(self, keep: float) -> None:
        self._keep = keep
        self._minute = 0
        self._base: float | None = None  # the close of the last finished minute
        self._last = 0.0
        self.points = 0
        self.variance = 0.0

    def add(self, at_ns: Instant, mid: float) -> None:
        minute = at_ns // MINUTE_NS
        if minute > self._minute:
            self._close(minute)
        if minute >= self._minute:
            self._last = mid

    def _close(self, minute: int) -> None:
        passed = minute - self._minute
        if self._last and self._base is not None and passed <= _GAP_MINUTES_MAX:
            move = math.log(self._last / self._base)
            if abs(move) < _RETURN_MAX:
                self.points += 1
                share = max(1 - self._keep, 1 / self.points)
                self.variance += share * (move * move - self.variance)
        self._base = self._last or None
        self._minute = minute

    @property
    def yearly(self) -> float | None:
        """None until enough minutes are known."""
        if self.points < _POINTS_MIN:
            return None
        return math.sqrt(self.variance * _MINUTES_A_YEAR)


class _Prices(msgspec.Struct, frozen=True):
    """Where the order enters and leaves, on the instrument's grid."""

    entry: Decimal
    stop: Price
    target: Price | None
    spread: Decimal

    @property
    def loss(self) -> Decimal:
        """What one unit loses at its stop, quote currency (SAFETY C10)."""
        return abs(self.entry - self.stop) + self.spread


class ParameterOptimization(Agent):
    """Sizes by risk: units = money at risk / loss of one unit in home currency, then cut to fit.

    Money at risk = risk per trade x weight x min(balance, NAV), where the fraction is at most
    `kelly_part` of Kelly's p - (1 - p) / b (p the score's win rate, b target over stop plus
    spread) and is scaled down while the instrument is more volatile than `volatility_target`.
    Loss of one unit = (|entry - stop| + spread) x loss factor, as the kernel's check C10 has it.
    Then: headroom, margin, the venue's maximum and minimum, whole steps of units toward zero.
    """

    role: ClassVar[Role] = Role.PARAMETER_OPTIMIZATION
    name: ClassVar[str] = "parameter_optimization"
    says: ClassVar[tuple[type[Message], ...]] = (Sizing,)

    def __init__(
        self,
        *,
        kelly_part: float = 0.25,
        volatility_target: float = 0.20,
        volatility_keep: float = 0.97,
    ) -> None:
        """`kelly_part`: fraction of Kelly's bet that is never exceeded; 0 < k <= 1.
        `volatility_target`: yearly deviation of an instrument's returns (0.20 = 20 %) above which
        risk shrinks in proportion, to a quarter at the least.
        `volatility_keep`: what an EWMA of one-minute squared returns keeps each minute.
        """
        self._kelly_part = Decimal(str(kelly_part))
        self._target = volatility_target
        self._keep = volatility_keep
        self._volatility: Recent[InstrumentName, _Volatility] = Recent(_INSTRUMENTS_MAX)

    @hears(Tick)
    def on_tick(self, tick: Tick) -> Says:
        if usable_tick(tick):
            self._of(tick.instrument).add(tick.seen_ns, mid_of(tick))
        return NOTHING

    @hears(History)
    def on_history(self, history: History) -> Says:
        known = self._of(history.instrument)
        for candle in history.candles:
            mid = close_mid(candle)
            if mid is not None and history.granularity == "M1":
                known.add(candle.start_ns, mid)
        return NOTHING

    @hears(AskSizing)
    def on_ask(self, ask: AskSizing) -> Says:
        problem = _nonsense(ask)
        prices = problem or _prices(ask)
        return (_decline(ask, prices) if isinstance(prices, str) else self._size(ask, prices),)

    def _of(self, instrument: InstrumentName) -> _Volatility:
        known = self._volatility.get(instrument)
        if known is None:
            known = _Volatility(self._keep)
            self._volatility.set(instrument, known)
        return known

    def _size(self, ask: AskSizing, prices: _Prices) -> Sizing:
        fraction, why = self._fraction(ask, prices)
        if fraction <= 0:
            return _decline(ask, why)
        account = ask.account
        money = fraction * min(account.balance, account.nav)
        unit_loss = prices.loss * account.loss_factor
        wanted = money / unit_loss
        largest, bound = _largest(ask, prices)
        units = _whole(ask, min(wanted, largest), money, unit_loss)
        if units < max(ask.spec.minimum_trade_size, step_of(ask.spec.trade_units_precision)):
            return _decline(
                ask,
                f"{units} units are fewer than the venue's minimum of"
                f" {ask.spec.minimum_trade_size}: {money:.2f} {account.currency} may be lost,"
                f" one unit loses {unit_loss:.8f}; {bound} at {largest:.2f}; {why}",
            )
        risk = units * unit_loss
        cut = f", {bound}" if largest < wanted else ""
        return Sizing(
            signal_id=ask.signal.signal_id,
            account_id=account.account_id,
            units=Units(units * ask.signal.side.sign),
            stop_price=prices.stop,
            target_price=prices.target,
            risk=risk,
            reasons=(
                f"risks {risk:.2f} of {money:.2f} {account.currency} allowed: {why}",
                f"{units} units of {wanted:.1f} that the risk allows{cut}",
                f"one unit loses {unit_loss:.8f} {account.currency} at the stop, with the spread",
            ),
        )

    def _fraction(self, ask: AskSizing, prices: _Prices) -> tuple[Decimal, str]:
        """The part of the account to risk, and how it came about; 0 or less where none is."""
        full = ask.account.risk_per_trade * ask.weight
        scale, calm = self._calm(ask.signal.instrument)
        kelly = _kelly(ask, prices)
        if kelly is None:
            return full * scale, f"{full:.4f} of equity, no target so no Kelly cap{calm}"
        if kelly <= 0:
            return ZERO, (
                f"Kelly's fraction is {kelly:.4f}: a win rate of {ask.score.win_rate} does not pay"
                f" for stop and spread at this target"
            )
        cap = self._kelly_part * kelly
        text = f"{full:.4f} of equity at weight {ask.weight:f}, Kelly cap {cap:.4f}{calm}"
        return min(full, cap) * scale, text

    def _calm(self, instrument: InstrumentName) -> tuple[Decimal, str]:
        """1 at or below the volatility target, else target / volatility."""
        known = self._volatility.get(instrument)
        yearly = known.yearly if known else None
        if yearly is None or yearly <= self._target:
            return ONE, ""
        scale = Decimal(repr(clamp(self._target / yearly, _SCALE_MIN, 1.0)))
        scale = scale.quantize(_SIX, rounding=ROUND_DOWN)
        return scale, f", volatility {yearly:.2f} a year above {self._target}: scaled {scale:.2f}"


def _kelly(ask: AskSizing, prices: _Prices) -> Decimal | None:
    """p - (1 - p) / b, b = target / (stop + spread); None without a target (Kelly 1956)."""
    if prices.target is None:
        return None
    win = ask.score.win_rate
    reward = abs(prices.target - prices.entry) / prices.loss
    return win - (1 - win) / reward


def _largest(ask: AskSizing, prices: _Prices) -> tuple[Decimal, str]:
    """The largest size that everything but the risk allows, and what sets it."""
    account, spec = ask.account, ask.spec
    bounds = [
        (Decimal(account.headroom_units), "bounded by the headroom of the account's limits"),
        (spec.maximum_order_units, "bounded by the venue's largest order"),
    ]
    if spec.maximum_position_size > 0:
        left = spec.maximum_position_size - _held(ask)
        bounds.append((left, "bounded by the venue's largest position"))
    margin = prices.entry * account.value_factor * account.margin_rate
    if margin > 0:
        bounds.append((account.margin_available / margin, "bounded by the margin available"))
    return min(bounds)


def _held(ask: AskSizing) -> Decimal:
    """Units that the account holds on the order's side already."""
    sign = ask.signal.side.sign
    mine = (t.units for t in ask.account.open_trades if t.instrument == ask.signal.instrument)
    return sum((abs(units) for units in mine if units * sign > 0), ZERO)


def _whole(ask: AskSizing, size: Decimal, money: Decimal, unit_loss: Decimal) -> Units:
    """Rounded toward zero; never below 0."""
    units = ask.spec.round_units_to_zero(max(ZERO, size))
    # A quotient is rounded, perhaps up: the allowance must hold to the last digit.
    if units * unit_loss > money:
        units = Units(units - step_of(ask.spec.trade_units_precision))
    return units


def _prices(ask: AskSizing) -> _Prices | str:
    """Entry at the side that is taken, stop rounded toward it, target beyond it; or why not."""
    signal, spec = ask.signal, ask.spec
    sign = signal.side.sign
    entry = ask.ask if signal.side is Side.BUY else ask.bid
    stop = spec.round_stop_towards(entry - sign * signal.stop_distance, entry)
    if stop <= 0 or (entry - stop) * sign <= 0:
        return f"a stop distance of {signal.stop_distance} leaves no stop on the losing side"
    target = _target(ask, entry)
    if target is not None and target <= 0:
        return f"a target distance of {signal.target_distance} leaves no price above 0"
    return _Prices(entry, stop, target, ask.ask - ask.bid)


def _target(ask: AskSizing, entry: Decimal) -> Price | None:
    """On the grid, toward the entry, but at least one step beyond it."""
    distance = ask.signal.target_distance
    if distance is None:
        return None
    sign, spec = ask.signal.side.sign, ask.spec
    wish = entry + sign * distance
    price = spec.round_price_down(wish) if sign > 0 else spec.round_price_up(wish)
    return Price(price if (price - entry) * sign > 0 else price + sign * spec.tick)


def _nonsense(ask: AskSizing) -> str:
    """What makes the question unanswerable, or ""."""
    account, signal = ask.account, ask.signal
    if not usable(ask.bid, ask.ask):
        return f"unusable quote {ask.bid}/{ask.ask}"
    positive = {
        "stop distance": signal.stop_distance,
        "balance": account.balance,
        "NAV": account.nav,
        "risk per trade": account.risk_per_trade,
        "weight": ask.weight,
        "loss factor": account.loss_factor,
        "value factor": account.value_factor,
    }
    if signal.target_distance is not None:
        positive["target distance"] = signal.target_distance
    for name, value in positive.items():
        if not value.is_finite() or value <= 0:
            return f"{name} must be a positive number, not {value}"
    for name, value in (("risk per trade", account.risk_per_trade), ("weight", ask.weight)):
        if value > 1:
            return f"{name} must be a fraction, not {value}"
    return _nonsense_of_bounds(ask)


def _nonsense_of_bounds(ask: AskSizing) -> str:
    account, spec = ask.account, ask.spec
    finite = {
        "headroom": account.headroom_units,
        "margin available": account.margin_available,
        "margin rate": account.margin_rate,
        "win rate": ask.score.win_rate,
        "minimum trade size": spec.minimum_trade_size,
        "maximum order units": spec.maximum_order_units,
        "maximum position size": spec.maximum_position_size,
    }
    for name, value in finite.items():
        if not value.is_finite():
            return f"{name} must be a number, not {value}"
    return "" if 0 <= ask.score.win_rate <= 1 else f"win rate is {ask.score.win_rate}"


def _decline(ask: AskSizing, reason: str) -> Sizing:
    return Sizing(
        signal_id=ask.signal.signal_id,
        account_id=ask.account.account_id,
        units=Units(ZERO),
        stop_price=Price(ZERO),
        target_price=None,
        risk=ZERO,
        reasons=(reason,),
    )
