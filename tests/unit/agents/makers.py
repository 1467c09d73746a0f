"""Messages for tests of agents, each with defaults that a test overrides where it matters."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from orchestrator.model.market import Candle, History, Tick
from orchestrator.model.money import AccountId, InstrumentName, InstrumentSpec, Side
from orchestrator.model.outcomes import TradeClosed, TradeOpened, TradeOutcome
from orchestrator.model.signals import (
    AccountView,
    AskAllocation,
    AskScore,
    AskSizing,
    AskVerdict,
    Exposure,
    Score,
    Signal,
    Sizing,
    TradeView,
)
from orchestrator.model.time import MINUTE_NS, NS_PER_S

D = Decimal
START = 1_400_000_000 * NS_PER_S  # 2014-05-13T16:53:20Z
EURUSD = InstrumentName("EUR_USD")
A, B = AccountId("001"), AccountId("002")


def at(seconds: float) -> int:
    return START + round(seconds * NS_PER_S)


def tick(seconds: float, bid: str, ask: str, instrument: str = "EUR_USD", **more: Any) -> Tick:
    fields: dict[str, Any] = {"venue_ns": at(seconds), "seen_ns": at(seconds)} | more
    return Tick(instrument=instrument, bid=D(bid), ask=D(ask), **fields)


def quiet_tick(seconds: float, mid: float = 1.1, instrument: str = "EUR_USD") -> Tick:
    """A tick of a 0.00010 spread."""
    return tick(seconds, f"{mid - 0.00005:.5f}", f"{mid + 0.00005:.5f}", instrument)


def history(mids: list[float], instrument: str = "EUR_USD", end: float = 0.0) -> History:
    """One-minute candles that close at these mids, the last one a minute before `end`."""
    first = at(end) - len(mids) * MINUTE_NS
    candles = []
    for i, mid in enumerate(mids):
        bid, ask = D(f"{mid - 0.00005:.5f}"), D(f"{mid + 0.00005:.5f}")
        candles.append(
            Candle(
                instrument=instrument,
                granularity="M1",
                start_ns=first + i * MINUTE_NS,
                volume=10,
                complete=True,
                **dict.fromkeys(("bid_o", "bid_h", "bid_l", "bid_c"), bid),
                **dict.fromkeys(("ask_o", "ask_h", "ask_l", "ask_c"), ask),
            )
        )
    return History(instrument=instrument, granularity="M1", candles=tuple(candles))


def signal(**more: Any) -> Signal:
    fields: dict[str, Any] = {
        "signal_id": "s-1",
        "strategy": "trend",
        "instrument": EURUSD,
        "side": Side.BUY,
        "reference_price": D("1.10005"),
        "stop_distance": D("0.00200"),
        "target_distance": D("0.00300"),
        "confidence": D("0.55"),
        "regime": "trend_up",
        "created_ns": START,
    }
    return Signal(**(fields | more))


def account(account_id: str = "001", **more: Any) -> AccountView:
    fields: dict[str, Any] = {
        "account_id": AccountId(account_id),
        "currency": "USD",
        "balance": D(10_000),
        "nav": D(10_000),
        "margin_used": D(0),
        "margin_available": D(10_000),
        "risk_per_trade": D("0.02"),
        "open_risk": D(0),
        "headroom_units": D(100_000),
    }
    return AccountView(**(fields | more))


def exposures(**amounts: int) -> tuple[Exposure, ...]:
    return tuple(Exposure(currency=c, amount=D(a)) for c, a in amounts.items())


def held(units: int, instrument: str = "EUR_USD", trade_id: str = "7") -> TradeView:
    return TradeView(
        trade_id=trade_id,
        instrument=InstrumentName(instrument),
        units=D(units),
        price=D("1.1"),
        stop_price=None,
        unrealized_pl=D(0),
        risk=D(10),
    )


def ask_allocation(*accounts: AccountView, seed: int = 1, **more: Any) -> AskAllocation:
    return AskAllocation(signal=signal(**more), accounts=accounts, seed=seed)


SPEC = InstrumentSpec(name=EURUSD)


def _asked(more: dict[str, Any]) -> dict[str, Any]:
    return {
        "signal": signal(),
        "account": account(),
        "spec": SPEC,
        "bid": D("1.10000"),
        "ask": D("1.10005"),
        "weight": D(1),
        "confidence": D("0.55"),
    } | more


def ask_score(**more: Any) -> AskScore:
    return AskScore(**_asked(more))


def score(win_rate: str = "0.55", **more: Any) -> Score:
    fields: dict[str, Any] = {
        "signal_id": "s-1",
        "account_id": A,
        "approved": True,
        "score": D("0.6"),
        "expected_r": D("0.2"),
        "win_rate": D(win_rate),
        "samples": 10,
        "reasons": (),
    }
    return Score(**(fields | more))


def ask_sizing(**more: Any) -> AskSizing:
    return AskSizing(**({"score": score()} | _asked(more)))


def ask_verdict(**more: Any) -> AskVerdict:
    sizing = Sizing(
        signal_id="s-1",
        account_id=A,
        units=D(1000),
        stop_price=D("1.098"),
        target_price=None,
        risk=D(2),
        reasons=(),
    )
    fields: dict[str, Any] = {
        "signal": signal(),
        "account": account(),
        "bid": D("1.09995"),
        "ask": D("1.10005"),
        "sizing": sizing,
    }
    return AskVerdict(**(fields | more))


def outcome(r: str, number: int = 1, **more: Any) -> TradeOutcome:
    """The `number`-th trade, closed so many minutes after START, with this R."""
    fields: dict[str, Any] = {
        "account_id": A,
        "trade_id": str(number),
        "signal_id": f"s-{number}",
        "strategy": "trend",
        "regime": "trend_up",
        "instrument": EURUSD,
        "side": Side.BUY,
        "units": D(1000),
        "entry_price": D("1.1"),
        "exit_price": D("1.1"),
        "opened_ns": at(60 * number - 30),
        "closed_ns": at(60 * number),
        "realized_pl": D(r) * 10,
        "financing": D(0),
        "r_multiple": D(r),
        "mae": D(0),
        "mfe": D(0),
        "slippage": D(0),
        "exit_reason": "STOP_LOSS_ORDER",
    }
    return TradeOutcome(**(fields | more))


def opened(trade_id: str = "1", units: int = 1000, **more: Any) -> TradeOpened:
    fields: dict[str, Any] = {
        "account_id": A,
        "trade_id": trade_id,
        "instrument": EURUSD,
        "units": D(units),
        "price": D("1.10010"),
        "opened_ns": at(0),
        "ours": True,
        "signal_id": "s-1",
        "strategy": "trend",
        "regime": "trend_up",
        "stop_price": D("1.09810") if units > 0 else D("1.10210"),
        "reference_price": D("1.10005"),
    }
    return TradeOpened(**(fields | more))


def closed(
    price: str, pl: str, trade_id: str = "1", units: int = 1000, left: int = 0, **more: Any
) -> TradeClosed:
    fields: dict[str, Any] = {
        "account_id": A,
        "trade_id": trade_id,
        "instrument": EURUSD,
        "units": D(units),
        "remaining": D(left),
        "price": D(price),
        "realized_pl": D(pl),
        "financing": D(0),
        "closed_ns": at(600),
        "reason": "STOP_LOSS_ORDER",
        "ours": True,
    }
    return TradeClosed(**(fields | more))
