"""OANDA's answers and stream lines as typed structs, and how they become our words."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import TypeVar

import msgspec

from orchestrator.model.market import Candle, StreamBeat, Tick
from orchestrator.model.money import (
    ONE,
    ZERO,
    AccountId,
    InstrumentName,
    InstrumentSpec,
    Price,
)
from orchestrator.model.time import Instant, parse_time
from orchestrator.model.venue import Account, Transaction, Wire

W = TypeVar("W")

# What decoding raises for bytes that are no JSON of the wanted shape, nested without end included.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_ID_DIGITS = 18  # as many as 64 bits hold
_PRICE_EXPONENT_MAX = 9  # no price has ten digits before its point


class ErrorBody(Wire, frozen=True, kw_only=True, gc=False):
    """Fact sheet, section 4."""

    error_code: str | None = None
    error_message: str | None = None
    reject_reason: str | None = None


class AccountProperties(Wire, frozen=True, kw_only=True, gc=False):
    id: AccountId
    tags: tuple[str, ...] = ()


class AccountList(Wire, frozen=True, kw_only=True, gc=False):
    """GET accounts."""

    accounts: tuple[AccountProperties, ...]


class AccountAnswer(Wire, frozen=True, kw_only=True, gc=False):
    """GET accounts/{id}."""

    account: Account
    last_transaction_id: str


class Financing(Wire, frozen=True, kw_only=True, gc=False):
    """Yearly rates; negative = you pay."""

    long_rate: Decimal = ZERO
    short_rate: Decimal = ZERO


class Instrument(Wire, frozen=True, kw_only=True, gc=False):
    """An element of GET accounts/{id}/instruments."""

    name: InstrumentName
    type: str
    pip_location: int
    display_precision: int
    trade_units_precision: int
    minimum_trade_size: Decimal
    maximum_order_units: Decimal
    margin_rate: Decimal
    display_name: str = ""
    maximum_position_size: Decimal = ZERO
    minimum_trailing_stop_distance: Decimal = ZERO
    maximum_trailing_stop_distance: Decimal = ONE
    financing: Financing | None = None


class InstrumentList(Wire, frozen=True, kw_only=True, gc=False):
    """GET accounts/{id}/instruments; the elements are read one by one."""

    instruments: tuple[msgspec.Raw, ...]
    last_transaction_id: str = "0"


class Level(msgspec.Struct, frozen=True, gc=False):
    """A level of the book, best first."""

    price: Decimal


class PriceLine(Wire, frozen=True, kw_only=True, gc=False):
    """A price, of the stream or of GET accounts/{id}/pricing; or the stream's heartbeat."""

    time: str
    type: str = "PRICE"
    instrument: InstrumentName | None = None
    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()
    closeout_bid: Decimal | None = None
    closeout_ask: Decimal | None = None
    tradeable: bool | None = None
    status: str | None = None


class PriceList(Wire, frozen=True, kw_only=True, gc=False):
    """GET accounts/{id}/pricing."""

    prices: tuple[msgspec.Raw, ...]


class Ohlc(msgspec.Struct, frozen=True, gc=False):
    o: Decimal
    h: Decimal
    l: Decimal  # noqa: E741 - the venue's spelling
    c: Decimal


class Candlestick(Wire, frozen=True, kw_only=True, gc=False):
    time: str
    volume: int
    complete: bool
    bid: Ohlc
    ask: Ohlc


class CandleList(Wire, frozen=True, kw_only=True, gc=False):
    """GET instruments/{i}/candles with price=BA."""

    instrument: InstrumentName
    granularity: str
    candles: tuple[Candlestick, ...]


class TransactionList(Wire, frozen=True, kw_only=True, gc=False):
    """GET accounts/{id}/transactions/sinceid."""

    transactions: tuple[msgspec.Raw, ...]
    last_transaction_id: str


class TransactionHead(Wire, frozen=True, kw_only=True, gc=False):
    """What every transaction has, and a transaction stream's heartbeat."""

    type: str
    id: str = ""
    account_id: AccountId = AccountId("")
    time: str = "0"
    user_id: int = 0
    batch_id: str = ""
    request_id: str | None = None
    last_transaction_id: str | None = None


_ORDERS = (
    "MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED", "TAKE_PROFIT", "STOP_LOSS",
    "TRAILING_STOP_LOSS", "GUARANTEED_STOP_LOSS", "FIXED_PRICE",
)  # fmt: skip
_OTHERS = (
    "CREATE", "CLOSE", "REOPEN", "CLIENT_CONFIGURE", "TRANSFER_FUNDS", "ORDER_FILL",
    "ORDER_CANCEL", "ORDER_CLIENT_EXTENSIONS_MODIFY", "TRADE_CLIENT_EXTENSIONS_MODIFY",
    "MARGIN_CALL_ENTER", "MARGIN_CALL_EXTEND", "MARGIN_CALL_EXIT", "DELAYED_TRADE_CLOSURE",
    "DAILY_FINANCING", "DIVIDEND_ADJUSTMENT", "RESET_RESETTABLE_PL",
)  # fmt: skip
# Types whose every field may matter: one that cannot be read whole is not read at all.
KNOWN_TYPES = frozenset(
    name + end for name in (*(f"{o}_ORDER" for o in _ORDERS), *_OTHERS) for end in ("", "_REJECT")
)

_transaction = msgspec.json.Decoder(Transaction)
_head = msgspec.json.Decoder(TransactionHead)
_price_line = msgspec.json.Decoder(PriceLine)
_instrument = msgspec.json.Decoder(Instrument)


def read(body: bytes, shape: type[W]) -> W:
    """ValueError when the body is not JSON of this shape."""
    try:
        return msgspec.json.decode(body, type=shape)
    except UNREADABLE as error:
        raise ValueError(f"not a {shape.__name__}: {error}") from error


def whole_number(text: str) -> int:
    """A transaction id as the integer that it is; ValueError for anything else."""
    if not (text.isascii() and text.isdigit()) or len(text) > _ID_DIGITS:
        raise ValueError(f"not a transaction id: {text[:20]!r}")
    return int(text)


def transaction_of(raw: bytes | msgspec.Raw) -> Transaction:
    """ValueError when it cannot be read. Of an unknown type only what all types have is kept.

    One without a time, or with an id that no account reaches, is another transaction than the
    venue's: it would stand in our log for good.
    """
    try:
        found = _transaction.decode(raw)
    except UNREADABLE as error:
        found = _unknown_type(raw, ValueError(f"unreadable transaction: {error}"))
    if len(found.id) > _ID_DIGITS or not _is_time(found.time):
        raise ValueError(f"transaction {found.id[:20]} at {found.time[:20]!r}")
    return found


@lru_cache(maxsize=256)  # the transactions of a batch have one time
def _is_time(text: str) -> bool:
    return parse_time(text) > 0


def _unknown_type(raw: bytes | msgspec.Raw, problem: ValueError) -> Transaction:
    try:
        head = _head.decode(raw)
    except UNREADABLE:
        raise problem from None
    if head.type in KNOWN_TYPES:
        raise problem
    return Transaction(
        id=head.id,
        type=head.type,
        account_id=head.account_id,
        time=head.time,
        user_id=head.user_id,
        batch_id=head.batch_id,
        request_id=head.request_id,
    )


def transaction_line(
    raw: bytes, account_id: AccountId, seen_ns: Instant
) -> Transaction | StreamBeat:
    """A line of a transaction stream; ValueError when it cannot be read."""
    if b'"HEARTBEAT"' not in raw:
        return _belonging(transaction_of(raw), account_id)
    head = _stream_head(raw)
    if head.type != "HEARTBEAT":
        return _belonging(transaction_of(raw), account_id)
    if head.last_transaction_id is not None:
        whole_number(head.last_transaction_id)
    return StreamBeat(
        stream="transactions",
        account_id=account_id,
        venue_ns=parse_time(head.time),
        seen_ns=seen_ns,
        last_transaction_id=head.last_transaction_id,
    )


def _stream_head(raw: bytes) -> TransactionHead:
    try:
        return _head.decode(raw)
    except UNREADABLE as error:
        raise ValueError(f"unreadable line: {error}") from error


def _belonging(transaction: Transaction, account_id: AccountId) -> Transaction:
    if transaction.account_id and transaction.account_id != account_id:
        raise ValueError(f"transaction {transaction.id} belongs to another account")
    return transaction


def price_line(raw: bytes | msgspec.Raw) -> PriceLine:
    """ValueError when it cannot be read."""
    try:
        return _price_line.decode(raw)
    except UNREADABLE as error:
        raise ValueError(f"unreadable price: {error}") from error


def tick_of(line: PriceLine, seen_ns: Instant) -> Tick:
    """The first bucket of each side; with an empty side (a halted market) the closeout price.

    A price that is not finite, not positive or crossed is kept: breaker M5 counts and drops it.
    ValueError when there is no price at all, or one no arithmetic should meet.
    """
    bid = line.bids[0].price if line.bids else line.closeout_bid
    ask = line.asks[0].price if line.asks else line.closeout_ask
    if line.instrument is None or bid is None or ask is None:
        raise ValueError(f"no price of {line.instrument}")
    if bid.adjusted() > _PRICE_EXPONENT_MAX or ask.adjusted() > _PRICE_EXPONENT_MAX:
        raise ValueError(f"absurd price of {line.instrument}")
    tradeable = line.status == "tradeable" if line.tradeable is None else line.tradeable
    return Tick(
        instrument=line.instrument,
        bid=Price(bid),
        ask=Price(ask),
        venue_ns=parse_time(line.time),
        seen_ns=seen_ns,
        tradeable=bool(tradeable and line.bids and line.asks),
    )


def usable(tick: Tick) -> bool:
    """What M5 will let pass, as far as one tick can tell."""
    return tick.bid.is_finite() and tick.ask.is_finite() and 0 < tick.bid < tick.ask


def spec_of(raw: bytes | msgspec.Raw) -> InstrumentSpec:
    """ValueError when a rule is missing, not finite or absurd: no order can be made with it."""
    try:
        line = _instrument.decode(raw)
    except UNREADABLE as error:
        raise ValueError(f"unreadable instrument: {error}") from error
    base, _, quote = line.name.partition("_")
    if not (base and quote) or not _sane(line):
        raise ValueError(f"instrument {line.name[:20]!r} with impossible rules")
    financing = line.financing or Financing()
    return InstrumentSpec(
        name=line.name,
        type=line.type,
        display_name=line.display_name,
        pip_location=line.pip_location,
        display_precision=line.display_precision,
        trade_units_precision=line.trade_units_precision,
        minimum_trade_size=line.minimum_trade_size,
        maximum_order_units=line.maximum_order_units,
        maximum_position_size=line.maximum_position_size,
        minimum_trailing_stop_distance=line.minimum_trailing_stop_distance,
        maximum_trailing_stop_distance=line.maximum_trailing_stop_distance,
        margin_rate=line.margin_rate,
        financing_long_rate=financing.long_rate,
        financing_short_rate=financing.short_rate,
    )


def _sane(line: Instrument) -> bool:
    financing = line.financing or Financing()
    signed = (financing.long_rate, financing.short_rate)
    from_zero = (
        line.maximum_position_size,
        line.minimum_trailing_stop_distance,
        line.maximum_trailing_stop_distance,
    )
    positive = (line.minimum_trade_size, line.maximum_order_units, line.margin_rate)
    return (
        all(value.is_finite() for value in signed)
        and all(value.is_finite() and value >= 0 for value in from_zero)
        and all(value.is_finite() and value > 0 for value in positive)
        and -10 <= line.pip_location <= 10  # noqa: PLR2004
        and 0 <= line.display_precision <= 10  # noqa: PLR2004
        and 0 <= line.trade_units_precision <= 10  # noqa: PLR2004
    )


def candle_of(stick: Candlestick, instrument: InstrumentName, granularity: str) -> Candle:
    """ValueError for prices that are not finite and positive."""
    bid, ask = stick.bid, stick.ask
    for price in (bid.o, bid.h, bid.l, bid.c, ask.o, ask.h, ask.l, ask.c):
        if not (price.is_finite() and price > 0):
            raise ValueError(f"candle of {instrument} at {stick.time} carries {price}")
    return Candle(
        instrument=instrument,
        granularity=granularity,
        start_ns=parse_time(stick.time),
        volume=stick.volume,
        complete=stick.complete,
        bid_o=Price(bid.o),
        bid_h=Price(bid.h),
        bid_l=Price(bid.l),
        bid_c=Price(bid.c),
        ask_o=Price(ask.o),
        ask_h=Price(ask.h),
        ask_l=Price(ask.l),
        ask_c=Price(ask.c),
    )


def checked_account(answer: AccountAnswer, wanted: AccountId) -> Account:
    """ValueError when it is another account's, or money or a size in it is not finite."""
    account = answer.account
    if account.id != wanted:
        raise ValueError(f"asked for account {wanted}, got {account.id[:40]}")
    whole_number(account.last_transaction_id)
    _finite("account", account)
    if not account.currency:
        raise ValueError("account without a currency")
    return account


def _finite(where: str, value: object) -> None:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{where} is {value}")
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _finite(f"{where}.{name}", getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:  # pyright: ignore[reportUnknownVariableType] - a tuple of anything
            _finite(where, item)  # pyright: ignore[reportUnknownArgumentType] - as above
