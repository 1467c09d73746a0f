"""Data Collection: what became of each trade, with all that learning needs, and data's quality."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import ClassVar

import msgspec

from orchestrator.agents.base import NOTHING, Agent, Message, Role, Says, hears
from orchestrator.agents.quotes import QuoteSieve
from orchestrator.agents.statistics import Once, Recent
from orchestrator.model.facts import SignalAccepted
from orchestrator.model.market import Tick
from orchestrator.model.money import ZERO, AccountId, InstrumentName, Price, Side, Units, step_of
from orchestrator.model.outcomes import AnomalySeen, TradeClosed, TradeOpened, TradeOutcome
from orchestrator.model.signals import Signal

_INSTRUMENTS_MAX = 500
_ANOMALIES_MAX = 100  # the latest of each instrument
_SHOCKS = ("gap", "flash", "bad_tick")
_R_MAX = Decimal(1000)
_SIX = step_of(6)
# Home money is booked to four decimals: below this a result is too rounded to tell the rate by.
_TELLING_PL = Decimal("0.05")

_Key = tuple[AccountId, str]


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of what was seen since the start."""

    ticks: int
    bad_ticks: int
    trades_opened: int
    trades_closed: int
    orphans: int  # closes of trades that were never seen to open
    repeats: int  # the same opening or close heard again
    forgotten: int  # open trades beyond the bound
    quarantined: int


class _Open:
    """An open trade and what is known of its path so far."""

    __slots__ = (
        "financing", "last", "left", "mae", "mfe", "moved", "opened", "pl", "sign", "sold",
        "turnover",
    )  # fmt: skip

    def __init__(self, opened: TradeOpened) -> None:
        self.opened = opened
        self.sign = 1 if opened.units > 0 else -1
        self.left: Decimal = abs(opened.units)
        self.mae = self.mfe = ZERO
        self.pl = self.financing = ZERO
        self.moved = ZERO  # units x price gained, quote currency
        self.sold = self.turnover = ZERO
        self.last: Decimal = opened.price  # of the latest close

    def price(self, price: Decimal) -> None:
        """A price at which the trade could have been closed."""
        gain = (price - self.opened.price) * self.sign
        if gain > self.mfe:
            self.mfe = gain
        elif -gain > self.mae:
            self.mae = -gain

    def close(self, closed: TradeClosed) -> None:
        units = abs(closed.units)
        self.price(closed.price)
        self.left = abs(closed.remaining)
        self.last = closed.price
        self.pl += closed.realized_pl
        self.financing += closed.financing
        self.moved += units * (closed.price - self.opened.price) * self.sign
        self.sold += units
        self.turnover += units * closed.price

    @property
    def exit_price(self) -> Decimal:
        """That of the only close; of several their average by units, with one digit more."""
        average = self.turnover / self.sold
        exponent = self.opened.price.as_tuple().exponent
        if average == self.last or not isinstance(exponent, int):
            return self.last
        return average.quantize(Decimal(1).scaleb(exponent - 1))

    def r_multiple(self) -> Decimal | None:
        """Realised result, financing included, over initial risk; None without a stop.

        Initial risk = units x |entry - stop|, the result = sum of units x (exit - entry), both in
        the quote currency, so that the rate to home drops out. Financing is booked in home money:
        it enters in proportion to the home result, where that is large enough to tell the rate.
        """
        stop = self.opened.stop_price
        distance = ZERO if stop is None else (self.opened.price - stop) * self.sign
        if distance <= 0 or not self.sold:
            return None
        risk = self.sold * distance
        result = self.moved / risk
        if abs(self.pl) >= _TELLING_PL and self.pl * self.moved > 0:
            result += self.financing / (self.pl / self.moved * risk)
        return max(-_R_MAX, min(_R_MAX, result)).quantize(_SIX)


class DataCollection(Agent):
    """Follows each of our trades from its opening to its last close and says its outcome.

    MAE and MFE are measured on the side at which the trade would have been closed (bid of a
    long), bad ticks left out. A trade closed in parts has one outcome, at the last part. An
    outcome is quarantined, and then teaches nobody, when the trade was opened or closed within an
    anomaly of its instrument, lived through a gap, flash move or bad ticks, or had no stop and so
    no initial risk. Trades of others have no outcome.
    """

    role: ClassVar[Role] = Role.DATA_COLLECTION
    name: ClassVar[str] = "data_collection"
    says: ClassVar[tuple[type[Message], ...]] = (TradeOutcome,)

    def __init__(self, *, open_trades_max: int = 2_000, signals_max: int = 5_000) -> None:
        """`open_trades_max`, `signals_max`: how many are remembered; the oldest are forgotten."""
        self._open_max = open_trades_max
        self._open: Recent[_Key, _Open] = Recent(open_trades_max)
        self._by_instrument: dict[InstrumentName, dict[_Key, _Open]] = {}
        self._signals: Recent[str, Signal] = Recent(signals_max)
        self._anomalies: Recent[InstrumentName, deque[AnomalySeen]] = Recent(_INSTRUMENTS_MAX)
        self._sieves: Recent[InstrumentName, QuoteSieve] = Recent(_INSTRUMENTS_MAX)
        self._once = Once()
        self._finished = Once()
        self._counts = dict.fromkeys(Quality.__struct_fields__, 0)

    def quality(self) -> Quality:
        return Quality(**self._counts)

    @hears(Tick)
    def on_tick(self, tick: Tick) -> Says:
        self._counts["ticks"] += 1
        sieve = self._sieves.get(tick.instrument)
        if sieve is None:
            sieve = QuoteSieve()
            self._sieves.set(tick.instrument, sieve)
        if sieve.flaw(tick):
            self._counts["bad_ticks"] += 1
            return NOTHING
        for trade in self._by_instrument.get(tick.instrument, {}).values():
            trade.price(tick.bid if trade.sign > 0 else tick.ask)
        return NOTHING

    @hears(SignalAccepted)
    def on_signal(self, fact: SignalAccepted) -> Says:
        self._signals.set(fact.signal.signal_id, fact.signal)
        return NOTHING

    @hears(AnomalySeen)
    def on_anomaly(self, seen: AnomalySeen) -> Says:
        known = self._anomalies.get(seen.instrument)
        if known is None:
            known = deque[AnomalySeen](maxlen=_ANOMALIES_MAX)
            self._anomalies.set(seen.instrument, known)
        known.append(seen)
        return NOTHING

    @hears(TradeOpened)
    def on_opened(self, opened: TradeOpened) -> Says:
        if not opened.ours or not opened.units or not opened.price.is_finite():
            return NOTHING
        key = (opened.account_id, opened.trade_id)
        if not self._once.is_new(key):
            self._counts["repeats"] += 1
            return NOTHING
        self._counts["trades_opened"] += 1
        self._forget_oldest()
        trade = _Open(opened)
        self._open.set(key, trade)
        self._by_instrument.setdefault(opened.instrument, {})[key] = trade
        return NOTHING

    def _forget_oldest(self) -> None:
        if len(self._open) < self._open_max:
            return
        key, trade = self._open.items()[0]
        self._counts["forgotten"] += 1
        self._drop(key, trade)

    @hears(TradeClosed)
    def on_closed(self, closed: TradeClosed) -> Says:
        if not closed.ours:
            return NOTHING
        key = (closed.account_id, closed.trade_id)
        trade = self._open.get(key)
        if trade is None:
            self._counts["orphans" if self._finished.is_new(key) else "repeats"] += 1
            return NOTHING
        if abs(closed.remaining) >= trade.left:
            self._counts["repeats"] += 1
            return NOTHING
        trade.close(closed)
        if trade.left > 0:
            return NOTHING
        self._drop(key, trade)
        self._finished.is_new(key)
        return (self._outcome(trade, closed),)

    def _drop(self, key: _Key, trade: _Open) -> None:
        self._open.pop(key)
        same = self._by_instrument[trade.opened.instrument]
        del same[key]
        if not same:
            del self._by_instrument[trade.opened.instrument]

    def _outcome(self, trade: _Open, closed: TradeClosed) -> TradeOutcome:
        opened = trade.opened
        signal = self._signals.get(opened.signal_id)
        r = trade.r_multiple()
        quarantined = r is None or self._in_anomaly(opened, closed)
        self._counts["trades_closed"] += 1
        self._counts["quarantined"] += quarantined
        return TradeOutcome(
            account_id=opened.account_id,
            trade_id=opened.trade_id,
            signal_id=opened.signal_id,
            strategy=opened.strategy or (signal.strategy if signal else ""),
            regime=opened.regime or (signal.regime if signal else "unknown"),
            instrument=opened.instrument,
            side=Side.BUY if trade.sign > 0 else Side.SELL,
            units=Units(opened.units),
            entry_price=opened.price,
            exit_price=Price(trade.exit_price),
            opened_ns=opened.opened_ns,
            closed_ns=closed.closed_ns,
            realized_pl=trade.pl,
            financing=trade.financing,
            r_multiple=ZERO if r is None else r,
            mae=Price(trade.mae),
            mfe=Price(trade.mfe),
            slippage=_slippage(trade, signal),
            exit_reason=closed.reason,
            features=signal.features if signal else (),
            quarantined=quarantined,
        )

    def _in_anomaly(self, opened: TradeOpened, closed: TradeClosed) -> bool:
        for seen in self._anomalies.get(opened.instrument) or ():
            at_an_end = any(
                seen.at_ns <= at_ns <= seen.until_ns
                for at_ns in (opened.opened_ns, closed.closed_ns)
            )
            lived_through = opened.opened_ns <= seen.at_ns <= closed.closed_ns
            if at_an_end or (lived_through and seen.kind in _SHOCKS):
                return True
        return False


def _slippage(trade: _Open, signal: Signal | None) -> Price:
    """Fill against the signal's reference price, positive is worse; 0 where that is unknown."""
    reference = trade.opened.reference_price or (signal.reference_price if signal else None)
    if reference is None or not reference.is_finite():
        return Price(ZERO)
    return Price((trade.opened.price - reference) * trade.sign)
