"""What clients send: the bodies of the write requests, decoded and not yet judged."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

import msgspec

from orchestrator.model.money import InstrumentName
from orchestrator.model.venue import ClientExtensions, oanda_name


class Body(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename=oanda_name):
    """Base of request bodies: unknown keys and nulls are ignored (fact sheet, section 2)."""


class OnFillRequest(Body, frozen=True, kw_only=True, gc=False):
    """`*OnFill` of an order, or one of the objects of PUT trades/{id}/orders."""

    price: Decimal | None = None
    distance: Decimal | None = None
    time_in_force: str | None = None
    gtd_time: str | None = None
    trigger_condition: str | None = None
    client_extensions: ClientExtensions | None = None
    guaranteed: bool | None = None


class OrderRequest(Body, frozen=True, kw_only=True, gc=False):
    """`order` of POST orders and PUT orders/{spec}."""

    type: str | None = None
    instrument: InstrumentName | None = None
    units: Decimal | None = None
    price: Decimal | None = None
    price_bound: Decimal | None = None
    distance: Decimal | None = None
    time_in_force: str | None = None
    gtd_time: str | None = None
    position_fill: str | None = None
    trigger_condition: str | None = None
    trade_id: str | int | None = None
    client_trade_id: str | None = None
    client_extensions: ClientExtensions | None = None
    trade_client_extensions: ClientExtensions | None = None
    take_profit_on_fill: OnFillRequest | None = None
    stop_loss_on_fill: OnFillRequest | None = None
    trailing_stop_loss_on_fill: OnFillRequest | None = None
    guaranteed_stop_loss_on_fill: OnFillRequest | None = None


class OrderBody(Body, frozen=True, kw_only=True, gc=False):
    order: OrderRequest


class CloseTradeBody(Body, frozen=True, kw_only=True, gc=False):
    units: str | int | float | None = None


class ClosePositionBody(Body, frozen=True, kw_only=True, gc=False):
    long_units: str | int | float | None = None
    short_units: str | int | float | None = None
    long_client_extensions: ClientExtensions | None = None
    short_client_extensions: ClientExtensions | None = None


class TradeOrdersBody(Body, frozen=True, kw_only=True, gc=False):
    """A key absent leaves the order, null cancels it, an object creates or replaces it."""

    take_profit: OnFillRequest | msgspec.UnsetType | None = msgspec.UNSET
    stop_loss: OnFillRequest | msgspec.UnsetType | None = msgspec.UNSET
    trailing_stop_loss: OnFillRequest | msgspec.UnsetType | None = msgspec.UNSET
    guaranteed_stop_loss: OnFillRequest | msgspec.UnsetType | None = msgspec.UNSET


class ExtensionsBody(Body, frozen=True, kw_only=True, gc=False):
    client_extensions: ClientExtensions | None = None
    trade_client_extensions: ClientExtensions | None = None


class ConfigureBody(Body, frozen=True, kw_only=True, gc=False):
    alias: str | None = None
    margin_rate: Decimal | None = None


T = TypeVar("T")


class BadBody(ValueError):
    """A body that cannot be read; the text is the answer's errorMessage."""


def read_body(data: bytes | str, kind: type[T]) -> T:
    """BadBody, with OANDA's wording, for what is not JSON or not of the right types."""
    try:
        return msgspec.json.decode(data or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise BadBody(_wording(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError) as error:
        raise BadBody("Request body is not valid JSON") from error


def _wording(problem: str) -> str:
    if "missing required field" in problem:
        return "The request was missing required data"
    _, found, path = problem.partition(" - at `$")
    return f"Invalid value specified for '{path.strip('`.') or 'body'}'" if found else problem
