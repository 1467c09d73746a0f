"""Exposures worked out of books, reservations and resting orders; None where one is unknown."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from orchestrator.kernel.engine.state import IntentRecord
from orchestrator.kernel.engine.turn import World
from orchestrator.kernel.ledger import valuation
from orchestrator.kernel.ledger.book import Book, PendingOrder
from orchestrator.kernel.safety.covariance import Book as CurrencyBook
from orchestrator.kernel.safety.exposure import Exposed, Leg, exposed
from orchestrator.kernel.safety.view import Neighbour, Resting
from orchestrator.model.money import ZERO, AccountId, Currency, InstrumentName, Side
from orchestrator.model.signals import Exposure


def reservations(world: World, account_id: AccountId, exclude: str = "") -> Iterator[IntentRecord]:
    """Intents whose risk counts: everything in flight, what is UNKNOWN included (K5)."""
    for intent_id, record in world.state.intents.items():
        if intent_id != exclude and record.intent.account_id == account_id:
            yield record


def book_of(world: World, account_id: AccountId) -> Book | None:
    record = world.record(account_id)
    return record.book if record is not None else None


# -- legs ------------------------------------------------------------------------------------------


def _held(world: World, account_id: AccountId, book: Book) -> tuple[Leg, ...] | None:
    """Trades, and entry orders that rest at the venue; remembered as the NAV is."""
    live = world.live.account(account_id)
    if not live.legs_known:
        live.legs = _legs(world, book)
        live.legs_known = True
    return live.legs


def _legs(world: World, book: Book) -> tuple[Leg, ...] | None:
    found: list[Leg] = []
    for trade in book.trades.values():
        value = _value(world, book, trade.instrument, trade.units, None)
        if value is None:
            return None
        found.append(Leg(trade.instrument, value, flying=False))
    for order in resting_entries(world, book):
        name, units = order.instrument, order.units
        value = (
            None if name is None or units is None
            else _value(world, book, name, units, order.price)
        )  # fmt: skip
        if name is None or value is None:
            return None
        found.append(Leg(name, value, flying=True))
    return tuple(found)


def resting_entries(world: World, book: Book) -> Iterator[PendingOrder]:
    """Entry orders at the venue whose risk no reservation holds: those of other hands."""
    for order in book.orders.values():
        if order.is_entry and order.client_id not in world.state.intents:
            yield order


def _value(
    world: World, book: Book, name: InstrumentName, units: Decimal, price: Decimal | None
) -> Decimal | None:
    """Signed worth in home currency, at the mid where no price is given."""
    pair = world.live.quotes.bid_ask(name)
    worth = world.live.quotes.factors(valuation.currencies(name)[1], book.currency)
    if price is None and pair is not None:
        price = (pair[0] + pair[1]) / 2
    return None if worth is None or price is None else units * price * worth.value


def _flying(world: World, account_id: AccountId, exclude: str) -> Iterator[Leg]:
    for waiting in reservations(world, account_id, exclude):
        order = waiting.intent.proposal
        value = waiting.intent.reservation.notional * order.side.sign
        yield Leg(order.instrument, value, flying=True)


def exposed_of(world: World, account_id: AccountId, exclude: str = "") -> Exposed | None:
    """An account's exposures at their worst, home currency; `exclude`: an intent left out."""
    key = (account_id, exclude)
    if key not in world.sums:
        world.sums[key] = _exposed_of(world, account_id, exclude)
    return world.sums[key]


def _exposed_of(world: World, account_id: AccountId, exclude: str) -> Exposed | None:
    book = book_of(world, account_id)
    held = None if book is None else _held(world, account_id, book)
    if book is None or held is None:
        return None
    return exposed((*held, *_flying(world, account_id, exclude)), hedging=book.hedging)


def currency_book(world: World, account_id: AccountId, exclude: str = "") -> CurrencyBook | None:
    """Currency exposures of trades and of what is in flight, for correlations (C16)."""
    book = book_of(world, account_id)
    held = None if book is None else _held(world, account_id, book)
    if held is None:
        return None
    legs: dict[Currency, float] = {}
    for leg in (*held, *_flying(world, account_id, exclude)):
        base, quote = valuation.currencies(leg.instrument)
        value = float(leg.value)
        legs[base] = legs.get(base, 0.0) + value
        legs[quote] = legs.get(quote, 0.0) - value
    return legs


def exposures_of(world: World, account_id: AccountId) -> tuple[Exposure, ...]:
    """Signed currency legs of trades and of what is in flight, for people; empty while unknown."""
    book = book_of(world, account_id)
    held = None if book is None else _held(world, account_id, book)
    legs: dict[Currency, Decimal] = {}
    for leg in (*(held or ()), *_flying(world, account_id, "")):
        base, quote = valuation.currencies(leg.instrument)
        legs[base] = legs.get(base, ZERO) + leg.value
        legs[quote] = legs.get(quote, ZERO) - leg.value
    return tuple(Exposure(currency=name, amount=legs[name]) for name in sorted(legs))


# -- the owner's other accounts ------------------------------------------------------------------


def neighbours(
    world: World, account_id: AccountId, instrument: InstrumentName
) -> tuple[Neighbour, ...] | None:
    """What the owner's other accounts hold; None while one that was ever seen is unknown."""
    found: list[Neighbour] = []
    for other in world.account_ids:
        book = book_of(world, other)
        if other == account_id or book is None:
            continue  # one that was never seen counts nowhere (R3)
        legs = currency_book(world, other)
        if legs is None:
            return None
        found.append(
            Neighbour(
                account_id=other, exposures=legs,
                sides=_sides(world, other, book, instrument),
            )
        )  # fmt: skip
    return tuple(found)


def _sides(
    world: World, account_id: AccountId, book: Book, instrument: InstrumentName
) -> tuple[tuple[Side, str], ...]:
    """Each side on which the account holds or orders the instrument, and by what."""
    found: list[tuple[Side, str]] = [
        (Side.BUY if trade.units > 0 else Side.SELL, f"trade {trade.trade_id}")
        for trade in book.trades.values()
        if trade.instrument == instrument
    ]
    found.extend(
        (Side.SELL if order.units is not None and order.units < 0 else Side.BUY,
         f"order {order.order_id}")
        for order in resting_entries(world, book)
        if order.instrument == instrument
    )  # fmt: skip
    found.extend(
        (waiting.intent.proposal.side, f"intent {waiting.intent.intent_id}")
        for waiting in reservations(world, account_id)
        if waiting.intent.instrument == instrument
    )
    return tuple(found)


# An order of these types rests at its price and is met by one that pays it.
_RESTS_AT_ITS_PRICE = frozenset(("LIMIT", "MARKET_IF_TOUCHED"))


def resting(world: World, instrument: InstrumentName) -> tuple[Resting, ...]:
    """Entry orders of all accounts of the owner that rest at a price, whoever made them."""
    found: list[Resting] = []
    for account_id in world.account_ids:
        book = book_of(world, account_id)
        for order in book.orders.values() if book is not None else ():
            if (
                order.is_entry
                and order.instrument == instrument
                and order.type in _RESTS_AT_ITS_PRICE
                and order.units is not None
                and order.price is not None
            ):
                side = Side.BUY if order.units > 0 else Side.SELL
                found.append(Resting(account_id, order.order_id, side, order.price))
    return tuple(found)
