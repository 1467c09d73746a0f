"""One sample of each answer and body for the documentation: real structs, shown as they are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from orchestrator.model.facts import ChecksDecided, IntentMoved, SignalEnded, StageDecided
from orchestrator.model.journal import Record
from orchestrator.model.money import AccountId, Currency, InstrumentName, Price, Side, Units
from orchestrator.model.orders import Intent, IntentState, Reservation
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.queries import (
    ChecksRow,
    Explanation,
    Found,
    IntentRow,
    Moment,
    MoveRow,
    OutcomeRow,
    PerformanceRow,
    SignalOutcomeRow,
    SignalRow,
    StageRow,
    TradeRow,
    TransactionRow,
)
from orchestrator.model.reducing import ReduceKind, ReductionState
from orchestrator.model.safety import (
    AccountMode,
    AccountReceipt,
    BreakerState,
    BreakerView,
    Effect,
    Scope,
    StopReceipt,
    StopState,
    SystemMode,
)
from orchestrator.model.signals import (
    AccountView,
    AskVerdict,
    Exposure,
    Feature,
    Outcome,
    Proposal,
    Role,
    Signal,
    Sizing,
    Verdict,
)
from orchestrator.model.venue import Transaction
from orchestrator.service.api import bodies, shapes
from orchestrator.service.views import (
    AccountLimitsView,
    AccountStatus,
    AgentView,
    ComponentHealth,
    Done,
    Health,
    OpenTradeView,
    OrderView,
    OverrideView,
    PositionView,
    ReductionView,
    TighteningView,
)

_ACCOUNT = AccountId("101-001-1000001-001")
_EUR_USD = InstrumentName("EUR_USD")
_SIGNAL = "trend-EUR_USD-1399535999"
_INTENT = "i-5f0c8a2e9b7d4c11"
_STOP = "stop-9a1b2c3d4e5f6071"
_AT = 1_399_535_999_123_456_000
_D = Decimal


def _price(text: str) -> Price:
    return Price(Decimal(text))


_signal = Signal(
    signal_id=_SIGNAL, strategy="trend", instrument=_EUR_USD, side=Side.BUY,
    reference_price=_price("1.38412"), stop_distance=_price("0.00120"),
    target_distance=_price("0.00210"), confidence=_D("0.58"), regime="trend_up", created_ns=_AT,
    features=(Feature(name="atr_m5", value=_D("0.00060")),),
)  # fmt: skip
_proposal = Proposal(
    signal_id=_SIGNAL, account_id=_ACCOUNT, strategy="trend", regime="trend_up",
    instrument=_EUR_USD, side=Side.BUY, units=Units(_D(12000)),
    reference_price=_price("1.38412"), stop_price=_price("1.38292"),
    target_price=_price("1.38622"), confidence=_D("0.58"), score=_D("0.61"), created_ns=_AT,
    expires_ns=_AT + 10_000_000_000,
)  # fmt: skip
_intent = Intent(
    intent_id=_INTENT, proposal=_proposal, body='{"order":{"type":"MARKET"}}', watermark=6361,
    epoch=3, generation=17, checked_ns=_AT, expires_ns=_AT + 10_000_000_000,
    reservation=Reservation(risk=_D("14.40"), notional=_D("16609.44"), margin=_D("332.19")),
)  # fmt: skip
_ended = SignalEnded(
    signal_id=_SIGNAL,
    account_id=_ACCOUNT,
    outcome=Outcome.FILLED,
    stage="",
    reason="filled at 1.38413",
)
_moved = IntentMoved(
    intent_id=_INTENT, signal_id=_SIGNAL, account_id=_ACCOUNT, state=IntentState.FILLED,
    order_id="6362", trade_id="6363", first_byte_ns=_AT, latency_us=2140,
)  # fmt: skip
_sizing = Sizing(
    signal_id=_SIGNAL, account_id=_ACCOUNT, units=Units(_D(12000)), stop_price=_price("1.38292"),
    target_price=_price("1.38622"), risk=_D("14.40"), reasons=("risk 0.5 % of 2880.00",),
)  # fmt: skip
_account_view = AccountView(
    account_id=_ACCOUNT, currency=Currency("USD"), balance=_D(100000), nav=_D("100012.40"),
    margin_used=_D("332.19"), margin_available=_D("99680.21"), risk_per_trade=_D("0.02"),
    open_risk=_D("14.40"), headroom_units=Units(_D(150000)),
)  # fmt: skip
_decided = StageDecided(
    signal_id=_SIGNAL, account_id=_ACCOUNT, stage=Role.LEARNING_SAFETY,
    agent_id="learning_safety-1", agent_version="1", passed=True, reason="market is ordinary",
    question=AskVerdict(
        signal=_signal, account=_account_view, bid=_price("1.38410"), ask=_price("1.38412"),
        sizing=_sizing,
    ),
    answer=Verdict(signal_id=_SIGNAL, account_id=_ACCOUNT, approved=True), latency_us=48,
)  # fmt: skip
_trade_row = TradeRow(
    cursor=41, account_id=_ACCOUNT, trade_id="6363", instrument=_EUR_USD, units=Units(_D(12000)),
    open_units=Units(_D(0)), price=_price("1.38413"), opened_ns=_AT, ours=True,
    intent_id=_INTENT, signal_id=_SIGNAL, strategy="trend", regime="trend_up",
    stop_price=_price("1.38292"), target_price=_price("1.38622"), realized_pl=_D("25.0800"),
    financing=_D("-0.0120"), close_price=_price("1.38622"), close_reason="TAKE_PROFIT_ORDER",
    closed_ns=_AT + 1_800_000_000_000,
)  # fmt: skip
_open_trade = OpenTradeView(
    account_id=_ACCOUNT, trade_id="6363", instrument=_EUR_USD, units=Units(_D(12000)),
    price=_price("1.38413"), stop_price=_price("1.38292"), target_price=_price("1.38622"),
    unrealized_pl=_D("4.20"), opened_ns=_AT, ours=True, intent_id=_INTENT, signal_id=_SIGNAL,
    strategy="trend",
)  # fmt: skip
_pending = OrderView(
    account_id=_ACCOUNT, order_id="6364", type="STOP_LOSS", instrument=_EUR_USD,
    units=_D(-12000), price=_D("1.38292"), trade_id="6363", client_id="",
)  # fmt: skip
_position = PositionView(
    account_id=_ACCOUNT, instrument=_EUR_USD, units=Units(_D(12000)),
    average_price=_price("1.38413"), unrealized_pl=_D("4.20"), trades=1, currency="USD",
)  # fmt: skip
_signal_row = SignalRow(
    cursor=812, at_ns=_AT, signal_id=_SIGNAL, signal=_signal, accounts=(_ACCOUNT,),
    outcomes=(SignalOutcomeRow(cursor=820, at_ns=_AT, ended=_ended),),
)  # fmt: skip
_intent_row = IntentRow(
    cursor=816, at_ns=_AT, intent=_intent, state=IntentState.FILLED, moved_ns=_AT,
    order_id="6362", trade_id="6363", first_byte_ns=_AT, latency_us=2140,
)  # fmt: skip
_outcome = TradeOutcome(
    account_id=_ACCOUNT, trade_id="6363", signal_id=_SIGNAL, strategy="trend", regime="trend_up",
    instrument=_EUR_USD, side=Side.BUY, units=Units(_D(12000)), entry_price=_price("1.38413"),
    exit_price=_price("1.38622"), opened_ns=_AT, closed_ns=_AT + 1_800_000_000_000,
    realized_pl=_D("25.0800"), financing=_D("-0.0120"), r_multiple=_D("1.741"),
    mae=_price("0.00031"), mfe=_price("0.00209"), slippage=_price("0.00001"),
    exit_reason="TAKE_PROFIT_ORDER",
)  # fmt: skip

_ANSWERS: tuple[msgspec.Struct, ...] = (
    shapes.TickItem(
        instrument=_EUR_USD, bid=_price("1.38402"), ask=_price("1.38413"), venue_ns=_AT,
        seen_ns=_AT + 31_000_000, tradeable=True,
    ),
    shapes.CandleItem(
        instrument=_EUR_USD, granularity="M1", start_ns=_AT - _AT % 60_000_000_000, volume=87,
        complete=True, bid_o=_price("1.38402"), bid_h=_price("1.38411"), bid_l=_price("1.38399"),
        bid_c=_price("1.38405"), ask_o=_price("1.38413"), ask_h=_price("1.38422"),
        ask_l=_price("1.38410"), ask_c=_price("1.38416"),
    ),
    shapes.SpanItem(
        instrument=_EUR_USD, minutes=7_180, ticks=512_000, first_ns=_AT - _AT % 60_000_000_000,
        last_ns=_AT,
    ),
    shapes.ShortHealth(status="ok", mode="running", environment="paper"),
    shapes.Readiness(ready=True, status="ok"),
    shapes.Liveness(alive=True, version="1.0.0"),
    Health(
        status="ok", mode=SystemMode.RUNNING, environment="paper", version="1.0.0", node="node-1",
        uptime_s=3600.5, market_time_ns=_AT, market_speed=1.0, market_hours="always",
        stop_id=None, loop_lag_ms=0.4, rss_mb=121.5,
        components=(ComponentHealth(name="gate", ok=True, text="open"),),
    ),
    Done(
        text="stopped: 1 trades stay open, with their stops at the venue", mode=SystemMode.READY,
        open_trades=(_open_trade,), pending_orders=(_pending,),
    ),
    StopReceipt(
        stop_id=_STOP, state=StopState.FLAT, actor="api:jo", reason="the news looks odd",
        gate_closed_at=_AT, took_us=41, persisted=True, liquidate=True,
        last_order_first_byte_at=_AT - 2_000_000_000,
        accounts=(
            AccountReceipt(
                account_id=_ACCOUNT, orders_cancelled=("6360",), trades_closed=("6363",),
                realized_pl="4.1800", verified_ns=_AT + 1_400_000_000,
            ),
        ),
    ),
    AgentView(
        agent_id="learning_safety-1", role=Role.LEARNING_SAFETY, name="learning_safety",
        version="1", state="healthy", where="in-process", since_ns=_AT, reason="started",
        handled=5120, p50_us=31.0, p99_us=88.5, last_check_ns=_AT, round_trip_us=40.5,
        availability=1.0, hears=("AskVerdict", "Tick"),
        says=("Verdict",),
    ),
    AccountStatus(
        account_id=_ACCOUNT, currency="USD", enabled=True, mode=AccountMode.OPEN,
        reconciled=True, balance=_D("100000.0000"), nav=_D("100004.20"), unrealized_pl=_D("4.20"),
        margin_used=_D("332.19"), open_trades=1, pending_orders=2, day_pl=_D("4.20"),
        day_loss_fraction=_D(0), drawdown_fraction=_D(0), equity_start=_D(100000),
        peak=_D("100004.20"), last_transaction_id=6365,
        limits={"risk_per_trade": "0.02", "max_daily_loss": "0.06"},
        exposures=(Exposure(currency=Currency("EUR"), amount=_D("16609.56")),),
        positions=(_position,),
    ),
    _position,
    BreakerView(
        breaker="M2", name="spread", scope=Scope.INSTRUMENT, subject="GBP_USD",
        state=BreakerState.TRIPPED, effect=Effect.BLOCK, reset="cooldown", since_ns=_AT,
        until_ns=_AT + 60_000_000_000, evidence="spread 0.00091 is 6.5 x its median 0.00014",
    ),
    shapes.open_trade(_open_trade),
    shapes.intent_order(_intent_row),
    AccountLimitsView(
        account_id=_ACCOUNT, profile="evaluation",
        limits={"risk_per_trade": "0.02", "max_concurrent_trades": "3"},
        in_force={"risk_per_trade": "0.01", "max_concurrent_trades": "3"},
        tightened=(
            TighteningView(
                limit="risk_per_trade", by="api:jo", why="elections (was 0.02)",
                subject=_ACCOUNT, value=_D("0.01"),
            ),
            TighteningView(
                limit="risk_per_trade", by="agent pattern_detection",
                why="loss_cluster: 5 losing closes", subject=_ACCOUNT, scale=_D("0.5"),
                until_ns=_AT + 900_000_000_000,
            ),
        ),
    ),
    OverrideView(
        override_id="override-7c6b5a4938271605", limit="risk_per_trade", scope=Scope.ACCOUNT,
        subject=_ACCOUNT, value=_D("0.03"), loosens=True, actor="api:jo", role="admin",
        reason="a hedge by hand", since_ns=_AT, until_ns=_AT + 600_000_000_000, uses_left=1,
    ),
    ReductionView(
        command_id="reduce-2b3c4d5e6f708192", kind=ReduceKind.CLOSE_TRADE,
        state=ReductionState.DONE, account_id=_ACCOUNT, instrument=_EUR_USD, target="6363",
        units=_D(5000), side=Side.BUY, price=None, actor="api:jo", why="half off before the news",
        reason="MARKET_ORDER_TRADE_CLOSE", transaction_id=6402, written_ns=_AT,
        since_ns=_AT + 120_000_000,
    ),
    shapes.SignalAnswer(
        signal_id="manual-1f2e3d4c5b6a7988", accounts=(_ACCOUNT,),
        explain="/explain/manual-1f2e3d4c5b6a7988",
    ),
    _signal_row,
    Record(
        seq=820, ts=_AT, node="node-1", epoch=3, type="signal.ended", subject=_ACCOUNT,
        corr=_SIGNAL, actor="kernel", data=msgspec.json.encode(_ended), prev=bytes(32),
        hash=bytes(range(32)),
    ),
    PerformanceRow(
        account_id=_ACCOUNT, currency=Currency("USD"), strategy="trend", trades=40, wins=22,
        losses=18, net=_D("212.4410"), gross_profit=_D("801.2000"), gross_loss=_D("588.7590"),
        win_rate=_D("0.55"), profit_factor=_D("1.3608"), expectancy=_D("5.3110"),
        mean_r=_D("0.184"), best=_D("61.2000"), worst=_D("-38.9000"),
    ),
    Explanation(
        ref="6362", found=Found(kind="order", signal_id=_SIGNAL, account_id=_ACCOUNT),
        signal=_signal_row, stages=(StageRow(cursor=813, at_ns=_AT, decided=_decided),),
        checks=(
            ChecksRow(
                cursor=815, at_ns=_AT,
                decided=ChecksDecided(
                    signal_id=_SIGNAL, account_id=_ACCOUNT, passed=True, checks=("C01", "C02"),
                    objections=(),
                ),
            ),
        ),
        intents=(_intent_row,), moves=(MoveRow(cursor=818, at_ns=_AT, moved=_moved),),
        transactions=(
            TransactionRow(
                cursor=6362, at_ns=_AT, seq=817, account_id=_ACCOUNT, source="answer",
                transaction=Transaction(
                    id="6362", type="MARKET_ORDER", account_id=_ACCOUNT, instrument=_EUR_USD,
                    units=_D(12000),
                ),
            ),
        ),
        trades=(_trade_row,), outcomes=(OutcomeRow(cursor=901, at_ns=_AT, outcome=_outcome),),
        timeline=(
            Moment(
                seq=813, at_ns=_AT, account_id=_ACCOUNT, what="stage.decided",
                who="learning_safety-1", text="learning_safety passes it: market is ordinary",
            ),
        ),
    ),
    shapes.Heartbeat(type="heartbeat", ts=_AT),
)  # fmt: skip

_BODIES: dict[type[bodies.Body], dict[str, Any]] = {
    bodies.ReasonBody: {"reason": "the morning's check is done"},
    bodies.StopBody: {"positions": "keep", "reason": "end of the day"},
    bodies.EmergencyBody: {"reason": "the news looks odd", "liquidate": True, "accounts": []},
    bodies.ResumeBody: {"stop_id": _STOP, "reason": "false alarm", "open_trades": []},
    bodies.ResetBody: {"reason": "looked at the trades", "subject": "101-001-1000001-001"},
    bodies.BreakerBody: {"reason": "spreads are back to normal", "subject": "GBP_USD"},
    bodies.OverrideBody: {
        "limit": "risk_per_trade", "subject": _ACCOUNT, "value": "0.03", "minutes": 10,
        "uses": 1, "reason": "a hedge by hand", "role": "admin",
    },
    bodies.EndOverrideBody: {"reason": "done early", "role": "operator"},
    bodies.CloseTradeBody: {"units": "5000", "reason": "half off before the news"},
    bodies.ClosePositionBody: {"reason": "going home"},
    bodies.ReducingBody: {"reason": "no longer wanted", "command_id": "cancel-6371"},
    bodies.StopPriceBody: {"price": "1.38350", "reason": "break even"},
    bodies.SignalBody: {
        "instrument": "EUR_USD", "side": "buy", "stop_distance": "0.00120",
        "target_distance": "0.00210", "confidence": "0.6", "note": "breakout by eye",
    },
}  # fmt: skip

_BY_KIND: dict[type[msgspec.Struct], msgspec.Struct] = {type(answer): answer for answer in _ANSWERS}


def of(kind: type[msgspec.Struct]) -> msgspec.Struct:
    """The sample of an answer; KeyError when there is none."""
    return _BY_KIND[kind]


def body_of(kind: type[bodies.Body]) -> dict[str, Any]:
    return _BODIES[kind]


def kinds() -> tuple[type[msgspec.Struct], ...]:
    return tuple(_BY_KIND)


def body_kinds() -> tuple[type[bodies.Body], ...]:
    return tuple(_BODIES)
