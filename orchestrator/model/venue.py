"""Orders, trades, positions and transactions, exactly as OANDA v20 means and spells them.

One wide struct per thing, optional fields where only some types carry them. Field names are
ours (snake case), the wire's spelling is made by `oanda_name`. Source: fact sheet, 5 and 6.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.money import ZERO, AccountId, Currency, InstrumentName

_UPPER = {"id": "ID", "ids": "IDs", "pl": "PL", "nav": "NAV", "vwap": "VWAP", "mt4": "mt4"}


def oanda_name(name: str) -> str:
    """`last_transaction_id` -> `lastTransactionID`, `unrealized_pl` -> `unrealizedPL`."""
    first, *rest = name.split("_")
    head = "NAV" if first == "nav" else first
    return head + "".join(_UPPER.get(word, word.capitalize()) for word in rest)


class Wire(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, rename=oanda_name
):
    """Base of venue shapes: OANDA's spelling, absent fields left out, unknown fields ignored."""


BOOKED_MAX = Decimal(10) ** 15  # no account holds more; keeps all arithmetic exact


def _check_booked(what: str, *values: Decimal | None) -> None:
    """ValueError for a decimal that must not enter the books: not finite, or absurdly large."""
    for value in values:
        if value is not None and not (value.is_finite() and abs(value) < BOOKED_MAX):
            raise ValueError(f"{what} carries {value}")


class ClientExtensions(Wire, frozen=True, kw_only=True, gc=False):
    """`clientExtensions`: the client's own id, tag and comment, each at most 128 characters."""

    id: str | None = None
    tag: str | None = None
    comment: str | None = None


class OnFill(Wire, frozen=True, kw_only=True, gc=False):
    """takeProfit-, stopLoss-, trailingStopLoss- and guaranteedStopLossOnFill."""

    price: Decimal | None = None
    distance: Decimal | None = None
    time_in_force: str | None = None
    gtd_time: str | None = None
    client_extensions: ClientExtensions | None = None
    guaranteed: bool | None = None


class TradeClose(Wire, frozen=True, kw_only=True, gc=False):
    """`tradeClose` of a market order; units "ALL" or a positive number as text."""

    trade_id: str | None = None
    client_trade_id: str | None = None
    units: str | None = None


class PositionCloseout(Wire, frozen=True, kw_only=True, gc=False):
    """long-/shortPositionCloseout of a market order."""

    instrument: InstrumentName | None = None
    units: str | None = None


class CloseoutReason(Wire, frozen=True, kw_only=True, gc=False):
    """`marginCloseout` of a market order."""

    reason: str | None = None


class DelayedTradeClose(Wire, frozen=True, kw_only=True, gc=False):
    """`delayedTradeClose` of a market order: which DELAYED_TRADE_CLOSURE it carries out."""

    trade_id: str | None = None
    client_trade_id: str | None = None
    source_transaction_id: str | None = None


class TradeOpen(Wire, frozen=True, kw_only=True, gc=False):
    """`tradeOpened` of a fill."""

    trade_id: str
    units: Decimal
    price: Decimal | None = None
    guaranteed_execution_fee: Decimal | None = None
    half_spread_cost: Decimal | None = None
    initial_margin_required: Decimal | None = None
    client_extensions: ClientExtensions | None = None

    def __post_init__(self) -> None:
        _check_booked(f"tradeOpened {self.trade_id}", self.units, self.price, self.half_spread_cost)


class TradeReduce(Wire, frozen=True, kw_only=True, gc=False):
    """One of `tradesClosed`, or `tradeReduced`; units have the sign of the order."""

    trade_id: str
    units: Decimal
    client_trade_id: str | None = None
    price: Decimal | None = None
    realized_pl: Decimal | None = None
    financing: Decimal | None = None
    guaranteed_execution_fee: Decimal | None = None
    half_spread_cost: Decimal | None = None

    def __post_init__(self) -> None:
        _check_booked(
            f"closed trade {self.trade_id}",
            self.units, self.price, self.realized_pl, self.financing,
        )  # fmt: skip


class PriceBucket(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A level of the book. Liquidity is a number in prices and a string inside fills."""

    price: Decimal
    liquidity: int | str = 0


class FullPrice(Wire, frozen=True, kw_only=True, gc=False):
    """`fullPrice` inside a fill."""

    closeout_bid: Decimal | None = None
    closeout_ask: Decimal | None = None
    timestamp: str | None = None
    bids: tuple[PriceBucket, ...] = ()
    asks: tuple[PriceBucket, ...] = ()


class ConversionFactor(Wire, frozen=True, kw_only=True, gc=False):
    """One of `homeConversionFactors`: home money for one unit of a currency."""

    factor: Decimal


class HomeConversionFactors(Wire, frozen=True, kw_only=True, gc=False):
    """`homeConversionFactors` of a fill, sent since about 2021."""

    gain_quote_home: ConversionFactor | None = None
    loss_quote_home: ConversionFactor | None = None
    gain_base_home: ConversionFactor | None = None
    loss_base_home: ConversionFactor | None = None


class TradeFinancing(Wire, frozen=True, kw_only=True, gc=False):
    """`openTradeFinancings` of a daily financing."""

    trade_id: str
    financing: Decimal = ZERO


class PositionFinancing(Wire, frozen=True, kw_only=True, gc=False):
    """`positionFinancings` of a daily financing."""

    instrument: InstrumentName
    financing: Decimal = ZERO
    open_trade_financings: tuple[TradeFinancing, ...] = ()


class TradeDividend(Wire, frozen=True, kw_only=True, gc=False):
    """`openTradeDividendAdjustments` of a dividend adjustment."""

    trade_id: str
    dividend_adjustment: Decimal = msgspec.field(default_factory=lambda: ZERO)
    quote_dividend_adjustment: Decimal | None = None


class Transaction(Wire, frozen=True, kw_only=True, gc=False):
    """Any transaction of an account; `type` says which fields it carries (fact sheet, 6).

    ValueError from `__post_init__` for an id that is not a positive whole number, and for a
    decimal that is not finite, or absurdly large, in a field that enters the books.
    """

    id: str
    type: str
    account_id: AccountId = AccountId("")
    time: str = "0"
    user_id: int = msgspec.field(default_factory=int)  # always sent, 0 for the venue itself
    batch_id: str = ""
    request_id: str | None = None
    # orders
    instrument: InstrumentName | None = None
    units: Decimal | None = None
    price: Decimal | None = None
    price_bound: Decimal | None = None
    distance: Decimal | None = None
    time_in_force: str | None = None
    gtd_time: str | None = None
    position_fill: str | None = None
    trigger_condition: str | None = None
    reason: str | None = None
    client_extensions: ClientExtensions | None = None
    trade_client_extensions: ClientExtensions | None = None
    take_profit_on_fill: OnFill | None = None
    stop_loss_on_fill: OnFill | None = None
    trailing_stop_loss_on_fill: OnFill | None = None
    guaranteed_stop_loss_on_fill: OnFill | None = None
    trade_close: TradeClose | None = None
    long_position_closeout: PositionCloseout | None = None
    short_position_closeout: PositionCloseout | None = None
    margin_closeout: CloseoutReason | None = None
    trade_id: str | None = None
    client_trade_id: str | None = None
    order_fill_transaction_id: str | None = None
    replaces_order_id: str | None = None
    cancelling_transaction_id: str | None = None
    reject_reason: str | None = None
    intended_replaces_order_id: str | None = None
    # fills and cancels
    order_id: str | None = None
    client_order_id: str | None = None
    requested_units: Decimal | None = None
    gain_quote_home_conversion_factor: Decimal | None = None
    loss_quote_home_conversion_factor: Decimal | None = None
    full_vwap: Decimal | None = msgspec.field(default=None, name="fullVWAP")
    full_price: FullPrice | None = None
    pl: Decimal | None = None
    quote_pl: Decimal | None = None
    financing: Decimal | None = None
    commission: Decimal | None = None
    guaranteed_execution_fee: Decimal | None = None
    account_balance: Decimal | None = None
    half_spread_cost: Decimal | None = None
    trade_opened: TradeOpen | None = None
    trades_closed: tuple[TradeReduce, ...] | None = None
    trade_reduced: TradeReduce | None = None
    replaced_by_order_id: str | None = None
    closed_trade_id: str | None = None
    trade_close_transaction_id: str | None = None
    # funds, account
    amount: Decimal | None = None
    funding_reason: str | None = None
    comment: str | None = None
    position_financings: tuple[PositionFinancing, ...] | None = None
    dividend_adjustment: Decimal | None = None
    home_currency: Currency | None = None
    division_id: int | None = None
    site_id: int | None = None
    account_user_id: int | None = None
    account_number: int | None = None
    alias: str | None = None
    margin_rate: Decimal | None = None
    client_extensions_modify: ClientExtensions | None = None
    trade_client_extensions_modify: ClientExtensions | None = None
    trade_ids: tuple[str, ...] | str | None = None  # a text in OANDA's definitions
    extension_number: int | None = None
    guaranteed_execution_premium: Decimal | None = None
    account_financing_mode: str | None = None
    home_conversion_factors: HomeConversionFactors | None = None
    # what newer servers add to a fill
    base_financing: Decimal | None = None
    quote_financing: Decimal | None = None
    quote_guaranteed_execution_fee: Decimal | None = None
    pl_home_conversion_cost: Decimal | None = None
    base_financing_home_conversion_cost: Decimal | None = None
    guaranteed_execution_fee_home_conversion_cost: Decimal | None = None
    home_conversion_cost: Decimal | None = None
    # what only the venue makes
    trade_state: str | None = None
    delayed_trade_close: DelayedTradeClose | None = None
    quote_dividend_adjustment: Decimal | None = None
    open_trade_dividend_adjustments: tuple[TradeDividend, ...] | None = None

    def __post_init__(self) -> None:
        if not (self.id.isascii() and self.id.isdigit() and int(self.id) > 0):
            raise ValueError(f"not a transaction id: {self.id!r}")
        if self.type.endswith("_REJECT"):
            return  # repeats what somebody asked for, however absurd; books nothing
        _check_booked(
            f"transaction {self.id}",
            self.units, self.price, self.distance, self.full_vwap, self.pl, self.financing,
            self.commission, self.amount, self.account_balance, self.guaranteed_execution_fee,
            self.dividend_adjustment, self.margin_rate, self.half_spread_cost,
        )  # fmt: skip

    @property
    def number(self) -> int:
        """The id as the integer that it is; ids are never compared as text."""
        return int(self.id)


class Order(Wire, frozen=True, kw_only=True, gc=False):
    """An order; `type` and `state` as OANDA spells them (PENDING, FILLED, TRIGGERED, CANCELLED)."""

    id: str
    type: str
    state: str = msgspec.field(default_factory=lambda: "PENDING")  # always sent
    create_time: str = "0"
    client_extensions: ClientExtensions | None = None
    instrument: InstrumentName | None = None
    units: Decimal | None = None
    price: Decimal | None = None
    price_bound: Decimal | None = None
    distance: Decimal | None = None
    time_in_force: str | None = None
    gtd_time: str | None = None
    position_fill: str | None = None
    trigger_condition: str | None = None
    initial_market_price: Decimal | None = None
    take_profit_on_fill: OnFill | None = None
    stop_loss_on_fill: OnFill | None = None
    trailing_stop_loss_on_fill: OnFill | None = None
    guaranteed_stop_loss_on_fill: OnFill | None = None
    guaranteed_execution_premium: Decimal | None = None
    trade_client_extensions: ClientExtensions | None = None
    trade_id: str | None = None
    client_trade_id: str | None = None
    trailing_stop_value: Decimal | None = None
    trade_close: TradeClose | None = None
    long_position_closeout: PositionCloseout | None = None
    short_position_closeout: PositionCloseout | None = None
    margin_closeout: CloseoutReason | None = None
    delayed_trade_close: DelayedTradeClose | None = None
    trade_state: str | None = None
    filling_transaction_id: str | None = None
    filled_time: str | None = None
    trade_opened_id: str | None = None
    trade_reduced_id: str | None = None
    trade_closed_ids: tuple[str, ...] | None = None
    cancelling_transaction_id: str | None = None
    cancelled_time: str | None = None
    replaces_order_id: str | None = None
    replaced_by_order_id: str | None = None

    def __post_init__(self) -> None:
        _check_booked(
            f"order {self.id}", self.units, self.price, self.distance, self.trailing_stop_value
        )


class Trade(Wire, frozen=True, kw_only=True, gc=False):
    """A trade: full (`takeProfitOrder`) or summary (`takeProfitOrderID`) form."""

    id: str
    instrument: InstrumentName
    price: Decimal
    open_time: str = "0"
    state: str = msgspec.field(default_factory=lambda: "OPEN")  # always sent
    initial_units: Decimal = ZERO
    initial_margin_required: Decimal | None = None
    current_units: Decimal = msgspec.field(default_factory=lambda: ZERO)  # always sent
    realized_pl: Decimal | None = None
    unrealized_pl: Decimal | None = None
    margin_used: Decimal | None = None
    average_close_price: Decimal | None = None
    closing_transaction_ids: tuple[str, ...] | None = msgspec.field(
        default=None, name="closingTransactionIDs"
    )
    financing: Decimal | None = None
    dividend_adjustment: Decimal | None = None
    close_time: str | None = None
    client_extensions: ClientExtensions | None = None
    take_profit_order: Order | None = None
    stop_loss_order: Order | None = None
    trailing_stop_loss_order: Order | None = None
    guaranteed_stop_loss_order: Order | None = None
    take_profit_order_id: str | None = None
    stop_loss_order_id: str | None = None
    trailing_stop_loss_order_id: str | None = None
    guaranteed_stop_loss_order_id: str | None = None

    def __post_init__(self) -> None:
        _check_booked(f"trade {self.id}", self.price, self.current_units, self.initial_units)


class PositionSide(Wire, frozen=True, kw_only=True, gc=False):
    """The long or short half of a position; short units are negative."""

    units: Decimal
    average_price: Decimal | None = None
    trade_ids: tuple[str, ...] | None = None
    pl: Decimal | None = None
    unrealized_pl: Decimal | None = None
    resettable_pl: Decimal | None = None
    financing: Decimal | None = None
    dividend_adjustment: Decimal | None = None
    guaranteed_execution_fees: Decimal | None = None

    def __post_init__(self) -> None:
        _check_booked("position", self.units)


class Position(Wire, frozen=True, kw_only=True, gc=False):
    """A position; pl values are of its whole life and never reset."""

    instrument: InstrumentName
    long: PositionSide
    short: PositionSide
    pl: Decimal | None = None
    unrealized_pl: Decimal | None = None
    margin_used: Decimal | None = None
    resettable_pl: Decimal | None = None
    financing: Decimal | None = None
    commission: Decimal | None = None
    dividend_adjustment: Decimal | None = None
    guaranteed_execution_fees: Decimal | None = None


class Account(Wire, frozen=True, kw_only=True, gc=False):
    """An account: its summary, and in the full form its trades, positions and pending orders."""

    id: AccountId
    currency: Currency
    balance: Decimal
    last_transaction_id: str
    alias: str | None = None
    created_by_user_id: int | None = None
    created_time: str | None = None
    guaranteed_stop_loss_order_mode: str | None = None
    pl: Decimal | None = None
    resettable_pl: Decimal | None = None
    resettable_pl_time: str | None = None
    financing: Decimal | None = None
    commission: Decimal | None = None
    dividend_adjustment: Decimal | None = None
    guaranteed_execution_fees: Decimal | None = None
    margin_rate: Decimal | None = None
    margin_call_enter_time: str | None = None
    margin_call_extension_count: int | None = None
    last_margin_call_extension_time: str | None = None
    open_trade_count: int = msgspec.field(default_factory=int)
    open_position_count: int = msgspec.field(default_factory=int)
    pending_order_count: int = msgspec.field(default_factory=int)
    hedging_enabled: bool = msgspec.field(default_factory=bool)
    last_order_fill_timestamp: str | None = None
    unrealized_pl: Decimal | None = None
    nav: Decimal | None = None
    margin_used: Decimal | None = None
    margin_available: Decimal | None = None
    position_value: Decimal | None = None
    margin_closeout_unrealized_pl: Decimal | None = None
    margin_closeout_nav: Decimal | None = None
    margin_closeout_margin_used: Decimal | None = None
    margin_closeout_percent: Decimal | None = None
    margin_closeout_position_value: Decimal | None = None
    withdrawal_limit: Decimal | None = None
    margin_call_margin_used: Decimal | None = None
    margin_call_percent: Decimal | None = None
    trades: tuple[Trade, ...] | None = None
    positions: tuple[Position, ...] | None = None
    orders: tuple[Order, ...] | None = None

    def __post_init__(self) -> None:
        if not (self.last_transaction_id.isascii() and self.last_transaction_id.isdigit()):
            raise ValueError(f"not a transaction id: {self.last_transaction_id!r}")
        _check_booked(f"account {self.id}", self.balance, self.margin_rate)
