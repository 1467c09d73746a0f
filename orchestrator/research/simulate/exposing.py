"""C15, C16 and C19 by the venue's books: what accounts are exposed to, and against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import msgspec

from orchestrator.model.limits import CheckLimits
from orchestrator.model.money import ZERO, InstrumentName
from orchestrator.model.venue import Trade
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.instruments import SPECS
from orchestrator.research.simulate.knowledge import QuotesThen
from orchestrator.research.simulate.worth import rate

_ABOUT = 0.02  # correlations are floats, of slightly different prices


class Bet(msgspec.Struct, frozen=True):
    """Signed home worth on one instrument; `flying`: not yet a trade."""

    instrument: InstrumentName
    worth: Decimal
    flying: bool


Book = Sequence[Bet]


def held(books: Books, quotes: QuotesThen, trades: Sequence[Trade]) -> list[Bet]:
    """Of these trades, at the mid."""
    found: list[Bet] = []
    for trade in trades:
        bid, ask = quotes[trade.instrument]
        worth = rate(quotes, SPECS[trade.instrument].quote, books.currency)
        assert worth is not None, "the trades were valued before"
        value = trade.current_units * (bid + ask) / 2 * worth.value
        found.append(Bet(trade.instrument, value, False))
    return found


def over(book: Book, nav: Decimal, checks: CheckLimits, slack: Decimal) -> Iterator[str]:
    """C15: instruments, currencies and gross, what is in flight at its worst."""
    instruments: dict[str, list[Bet]] = {}
    currencies: dict[str, list[Bet]] = {}
    for bet in book:
        base, _, quote = bet.instrument.partition("_")
        instruments.setdefault(bet.instrument, []).append(bet)
        currencies.setdefault(base, []).append(bet)
        against = msgspec.structs.replace(bet, worth=-bet.worth)
        currencies.setdefault(quote, []).append(against)
    gross = sum((_worst(bets) for bets in instruments.values()), ZERO)
    sums = [
        (name, _worst(bets), checks.instrument_exposure_max) for name, bets in instruments.items()
    ]
    sums += [
        (name, _worst(bets), checks.currency_exposure_max) for name, bets in currencies.items()
    ]
    sums.append(("gross", gross, checks.gross_exposure_max))
    for name, worst, times in sums:
        if worst > times * nav * slack:
            yield f"C15 {name} exposure {worst:.0f}, limit {times * nav:.0f}"


def _worst(bets: Sequence[Bet]) -> Decimal:
    sure = sum((bet.worth for bet in bets if not bet.flying), ZERO)
    up = sum((bet.worth for bet in bets if bet.flying and bet.worth > 0), ZERO)
    down = sum((bet.worth for bet in bets if bet.flying and bet.worth < 0), ZERO)
    return max(abs(sure + up), abs(sure + down), abs(sure))


def alike(order: Bet, own: Book, others: Book, limit: Decimal) -> str | None:
    """C16, by the cosine: a run is too short for more."""
    after, before = _cosine([*own, order], others), _cosine(own, others)
    if after is None or after <= float(limit) + _ABOUT:
        return None
    if before is not None and after < before + _ABOUT:
        return None
    return f"C16 correlation {after:.2f}"


def _cosine(one: Book, other: Book) -> float | None:
    a, b = _legs(one), _legs(other)
    size = sum(v * v for v in a.values()) * sum(v * v for v in b.values())
    if size <= 0:
        return None
    return sum(value * b.get(name, 0.0) for name, value in a.items()) / size**0.5


def _legs(book: Book) -> dict[str, float]:
    legs: dict[str, float] = {}
    for bet in book:
        base, _, quote = bet.instrument.partition("_")
        legs[base] = legs.get(base, 0.0) + float(bet.worth)
        legs[quote] = legs.get(quote, 0.0) - float(bet.worth)
    return legs


def opposed(order: Bet, others: Book) -> bool:
    """C19: another account has the opposite."""
    return any(
        bet.instrument == order.instrument and (bet.worth > 0) is not (order.worth > 0)
        for bet in others
    )
