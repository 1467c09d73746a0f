"""Our books against the venue's, at the same transaction: every difference as a sentence (O11)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Protocol

from orchestrator.model.money import ZERO, InstrumentName
from orchestrator.model.venue import Account, Order, Trade


class HeldTrade(Protocol):
    """A trade as the ledger holds it."""

    @property
    def instrument(self) -> InstrumentName: ...
    @property
    def units(self) -> Decimal: ...
    @property
    def price(self) -> Decimal: ...


class HeldOrder(Protocol):
    """A pending order as the ledger holds it."""

    @property
    def type(self) -> str: ...
    @property
    def instrument(self) -> InstrumentName | None: ...
    @property
    def units(self) -> Decimal | None: ...
    @property
    def price(self) -> Decimal | None: ...
    @property
    def trade_id(self) -> str | None: ...


class HeldBook(Protocol):
    """Books as the ledger keeps them, met by shape: the kernel's rooms know no other room."""

    @property
    def account_id(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def balance(self) -> Decimal: ...
    @property
    def last_id(self) -> int: ...
    @property
    def trades(self) -> Mapping[str, HeldTrade]: ...
    @property
    def orders(self) -> Mapping[str, HeldOrder]: ...


def differences(book: HeldBook, account: Account) -> tuple[str, ...]:
    """Empty when equal to the last digit. Only books at the same transaction can be compared."""
    if book.account_id != account.id:
        return (f"account: ours is {book.account_id}, the venue's {account.id}",)
    if book.last_id != int(account.last_transaction_id):
        return (
            f"last transaction: ours is {book.last_id}, the venue's {account.last_transaction_id}",
        )
    if account.trades is None or account.orders is None or account.positions is None:
        return ("the account was read without its trades, orders and positions",)
    return tuple(_compare(book, account))


def _compare(book: HeldBook, account: Account) -> Iterator[str]:
    yield from _values("account", (
        ("currency", book.currency, account.currency),
        ("balance", book.balance, account.balance),
    ))  # fmt: skip
    trades = {trade.id: trade for trade in account.trades or ()}
    yield from _ids("trade", set(book.trades), set(trades))
    for trade_id, trade in trades.items():
        if trade_id in book.trades:
            yield from _trade(book.trades[trade_id], trade)
    orders = {order.id: order for order in account.orders or ()}
    yield from _ids("order", set(book.orders), set(orders))
    for order_id, order in orders.items():
        if order_id in book.orders:
            yield from _order(book.orders[order_id], order)
    yield from _positions(book, account)


def _ids(kind: str, ours: set[str], theirs: set[str]) -> Iterator[str]:
    for missing in sorted(theirs - ours, key=_by_number):
        yield f"{kind} {missing}: at the venue, not in our books"
    for extra in sorted(ours - theirs, key=_by_number):
        yield f"{kind} {extra}: in our books, not at the venue"


def _by_number(text: str) -> tuple[int, str]:
    return (len(text), text)


def _trade(ours: HeldTrade, theirs: Trade) -> Iterator[str]:
    return _values(f"trade {theirs.id}", (
        ("instrument", ours.instrument, theirs.instrument),
        ("units", ours.units, theirs.current_units),
        ("price", ours.price, theirs.price),
    ))  # fmt: skip


def _order(ours: HeldOrder, theirs: Order) -> Iterator[str]:
    return _values(f"order {theirs.id}", (
        ("type", ours.type, theirs.type),
        ("instrument", ours.instrument, theirs.instrument),
        ("units", ours.units, theirs.units),
        ("price", ours.price, theirs.price),
        ("trade", ours.trade_id, theirs.trade_id),
    ))  # fmt: skip


def _positions(book: HeldBook, account: Account) -> Iterator[str]:
    ours: dict[tuple[str, str], Decimal] = {}
    for trade in book.trades.values():
        key = (trade.instrument, "long" if trade.units > 0 else "short")
        ours[key] = ours.get(key, ZERO) + trade.units
    theirs: dict[tuple[str, str], Decimal] = {}
    for position in account.positions or ():
        theirs[(position.instrument, "long")] = position.long.units
        theirs[(position.instrument, "short")] = position.short.units
    for name, side in sorted(ours.keys() | theirs.keys()):
        mine, told = ours.get((name, side), ZERO), theirs.get((name, side), ZERO)
        yield from _values(f"position {name}", ((f"{side} units", mine, told),))


def _values(
    what: str, pairs: tuple[tuple[str, str | Decimal | None, str | Decimal | None], ...]
) -> Iterator[str]:
    for name, ours, theirs in pairs:
        if ours != theirs:
            yield f"{what}: {name} is {ours} in our books, {theirs} at the venue"
