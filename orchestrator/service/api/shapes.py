"""What the API shows beyond the desk's views and the store's rows: its lists' items and answers."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.money import AccountId, InstrumentName, Price, Units
from orchestrator.model.queries import IntentRow, TradeRow
from orchestrator.model.time import Instant
from orchestrator.service.views import OpenTradeView, OrderView, View


class ShortHealth(View, frozen=True, kw_only=True):
    """What anybody may know: no names, no numbers."""

    status: str
    mode: str
    environment: str
    role: str = "leader"  # leader | standby


class Readiness(View, frozen=True, kw_only=True):
    """Whether requests can be served; trading may still be off."""

    ready: bool
    status: str


class Liveness(View, frozen=True, kw_only=True):
    alive: bool
    version: str


class TradeItem(View, frozen=True, kw_only=True):
    """A trade. Open: `unrealized_pl` is live, `realized_pl` unknown; closed: the other way round.

    `units` as opened (of an open trade: what is left), signed; money in the home currency.
    """

    account_id: AccountId
    trade_id: str
    state: str  # open | closed
    instrument: InstrumentName
    units: Units
    price: Price | None
    stop_price: Price | None
    target_price: Price | None
    unrealized_pl: Decimal | None
    realized_pl: Decimal | None
    financing: Decimal | None
    close_price: Price | None
    close_reason: str
    opened_ns: Instant
    closed_ns: Instant
    ours: bool
    intent_id: str
    signal_id: str
    strategy: str
    regime: str


class OrderItem(View, frozen=True, kw_only=True):
    """`kind` pending: an order that waits at the venue. `kind` intent: an order of ours, from the
    moment it was decided; `state` is its life's: written, sending, filled, rejected, unknown ...
    """

    kind: str  # pending | intent
    state: str
    account_id: AccountId
    order_id: str
    type: str
    instrument: str
    units: Decimal | None
    price: Decimal | None
    stop_price: Decimal | None
    target_price: Decimal | None
    trade_id: str
    client_id: str
    signal_id: str
    strategy: str
    reason: str
    written_ns: Instant
    first_byte_ns: Instant
    latency_us: int


class SignalAnswer(View, frozen=True, kw_only=True):
    """The signal is on its path; `explain` is where its story can be read."""

    signal_id: str
    accounts: tuple[AccountId, ...]
    explain: str


class Heartbeat(View, frozen=True, kw_only=True):
    """Sent on the WebSocket when it opens and every 15 s: from here on nothing was missed."""

    type: str
    ts: Instant


class TickItem(View, frozen=True, kw_only=True):
    """A price as it came: `venue_ns` as the venue stamped it, `seen_ns` when it arrived."""

    instrument: InstrumentName
    bid: Price
    ask: Price
    venue_ns: Instant
    seen_ns: Instant
    tradeable: bool


class CandleItem(View, frozen=True, kw_only=True):
    """A candle of bid and ask; `volume` counts its prices. Not `complete`: it may still grow."""

    instrument: InstrumentName
    granularity: str
    start_ns: Instant
    volume: int
    complete: bool
    bid_o: Price
    bid_h: Price
    bid_l: Price
    bid_c: Price
    ask_o: Price
    ask_h: Price
    ask_l: Price
    ask_c: Price


class SpanItem(View, frozen=True, kw_only=True):
    """What is stored of an instrument: `minutes` with a price, from the first to the last."""

    instrument: InstrumentName
    minutes: int
    ticks: int
    first_ns: Instant
    last_ns: Instant


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A page. `next` is the `cursor` of the page that follows; None at the end."""

    items: tuple[msgspec.Struct, ...]
    next: str | None = None


def open_trade(trade: OpenTradeView) -> TradeItem:
    return TradeItem(
        account_id=trade.account_id, trade_id=trade.trade_id, state="open",
        instrument=trade.instrument, units=trade.units, price=trade.price,
        stop_price=trade.stop_price, target_price=trade.target_price,
        unrealized_pl=trade.unrealized_pl, realized_pl=None, financing=None, close_price=None,
        close_reason="", opened_ns=trade.opened_ns, closed_ns=0, ours=trade.ours,
        intent_id=trade.intent_id, signal_id=trade.signal_id, strategy=trade.strategy, regime="",
    )  # fmt: skip


def closed_trade(row: TradeRow) -> TradeItem:
    return TradeItem(
        account_id=row.account_id, trade_id=row.trade_id, state="closed",
        instrument=row.instrument, units=row.units, price=row.price,
        stop_price=row.stop_price, target_price=row.target_price, unrealized_pl=None,
        realized_pl=row.realized_pl, financing=row.financing, close_price=row.close_price,
        close_reason=row.close_reason, opened_ns=row.opened_ns, closed_ns=row.closed_ns,
        ours=row.ours, intent_id=row.intent_id, signal_id=row.signal_id, strategy=row.strategy,
        regime=row.regime,
    )  # fmt: skip


def pending_order(order: OrderView) -> OrderItem:
    return OrderItem(
        kind="pending", state="pending", account_id=order.account_id, order_id=order.order_id,
        type=order.type, instrument=order.instrument, units=order.units, price=order.price,
        stop_price=None, target_price=None, trade_id=order.trade_id, client_id=order.client_id,
        signal_id="", strategy="", reason="", written_ns=0, first_byte_ns=0, latency_us=0,
    )  # fmt: skip


def intent_order(row: IntentRow) -> OrderItem:
    proposal = row.intent.proposal
    return OrderItem(
        kind="intent", state=row.state.value, account_id=proposal.account_id,
        order_id=row.order_id, type="MARKET", instrument=proposal.instrument,
        units=proposal.units, price=proposal.reference_price, stop_price=proposal.stop_price,
        target_price=proposal.target_price, trade_id=row.trade_id,
        client_id=row.intent.intent_id, signal_id=proposal.signal_id, strategy=proposal.strategy,
        reason=row.reason, written_ns=row.at_ns, first_byte_ns=row.first_byte_ns,
        latency_us=row.latency_us,
    )  # fmt: skip
