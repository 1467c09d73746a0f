"""Requests turned into the fields of transactions: small, pure, shared by the exchange's writes."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from orchestrator.model.money import AccountId, InstrumentSpec
from orchestrator.model.time import format_time, parse_time
from orchestrator.model.venue import ClientExtensions, OnFill, Order, Trade, Transaction
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.requests import (
    ClosePositionBody,
    OnFillRequest,
    OrderRequest,
)


def account_numbers(account_id: AccountId) -> tuple[int, int, int, int]:
    site, division, user, number = (int(part) for part in account_id.split("-"))
    return site, division, user, number


def plain_id(specifier: str) -> str | None:
    return None if specifier.startswith("@") else specifier


def client_id_of(thing: Order | Trade | None, specifier: str = "") -> str | None:
    """The client's own id: of the order or trade, else what was asked for ("@mine")."""
    if thing is not None:
        return thing.client_extensions.id if thing.client_extensions else None
    return specifier[1:] if specifier.startswith("@") else None


def as_text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def time_text(value: str | None) -> str | None:
    return None if value is None else format_time(parse_time(value))


def gtd_text(value: str | None, tif: str, *, rejected: bool) -> str | None:
    if rejected:  # as it was sent; it may be unreadable
        return value
    return time_text(value) if tif == "GTD" else None


def holder_of(index: dict[str, str], given: ClientExtensions | None) -> str | None:
    return index.get(given.id) if given is not None and given.id is not None else None


def trade_of(books: Books, request: OrderRequest) -> Trade | None:
    if request.trade_id is not None:
        return books.trade(str(request.trade_id))
    return books.trade("@" + request.client_trade_id) if request.client_trade_id else None


def on_grid(value: Decimal | None, spec: InstrumentSpec | None) -> Decimal | None:
    return value if value is None or spec is None else value.quantize(spec.tick)


def on_fill(wish: OnFillRequest | None, spec: InstrumentSpec | None) -> OnFill | None:
    if wish is None:
        return None
    tif = wish.time_in_force or "GTC"
    return OnFill(
        price=on_grid(wish.price, spec),
        distance=on_grid(wish.distance, spec),
        time_in_force=tif,
        gtd_time=wish.gtd_time if spec is None else time_text(wish.gtd_time),
        client_extensions=wish.client_extensions,
    )


def dependent_request(wish: OnFillRequest, trade_id: str | None) -> OrderRequest:
    return OrderRequest(
        price=wish.price,
        distance=wish.distance,
        time_in_force=wish.time_in_force,
        gtd_time=wish.gtd_time,
        trigger_condition=wish.trigger_condition,
        client_extensions=wish.client_extensions,
        trade_id=trade_id,
    )


def not_finite(request: OrderRequest) -> str:
    """The name of a number that is not one; such a request makes no transaction."""
    wishes = (
        ("takeProfitOnFill", request.take_profit_on_fill),
        ("stopLossOnFill", request.stop_loss_on_fill),
        ("trailingStopLossOnFill", request.trailing_stop_loss_on_fill),
        ("guaranteedStopLossOnFill", request.guaranteed_stop_loss_on_fill),
    )
    numbers = [
        ("units", request.units), ("price", request.price),
        ("priceBound", request.price_bound), ("distance", request.distance),
    ]  # fmt: skip
    for key, wish in wishes:
        if wish is not None:
            numbers += [(f"{key}.price", wish.price), (f"{key}.distance", wish.distance)]
    return next((name for name, v in numbers if v is not None and not v.is_finite()), "")


def units_of(value: str | float) -> Decimal | str | None:
    """None for ALL, a number, or the text that is neither."""
    if value == "ALL":
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return str(value)
    return number if number.is_finite() else str(value)


def sides_asked(
    body: ClosePositionBody, held: dict[str, Decimal]
) -> list[tuple[str, Decimal | None, ClientExtensions | None]] | None:
    """The sides to close; None when a number cannot be read. Nothing given: what is open."""
    given = {"long": body.long_units, "short": body.short_units}
    if body.long_units is None and body.short_units is None:
        given = {side: "ALL" for side, units in held.items() if units} or {"long": "ALL"}
    asked: list[tuple[str, Decimal | None, ClientExtensions | None]] = []
    for side, value in given.items():
        if value is None or value == "NONE":
            continue
        units = units_of(value)
        if isinstance(units, str):
            return None
        extensions = body.long_client_extensions if side == "long" else body.short_client_extensions
        asked.append((side, units, extensions))
    return asked


def outcome_key(outcome: Transaction, prefix: str) -> str:
    """`order` -> orderFillTransaction, `longOrder` -> longOrderFillTransaction."""
    word = "Fill" if outcome.type == "ORDER_FILL" else "Cancel"
    return f"{prefix}{word}Transaction"
