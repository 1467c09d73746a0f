"""What an account is exposed to: held, and in flight at its worst (SAFETY C15), home currency.

An order on its way that would reduce an exposure counts only once it is filled: so each sum keeps
what is held apart from what may be bought and what may be sold, and its worst is the larger end.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from orchestrator.model.money import ZERO, Currency, InstrumentName


class Leg(msgspec.Struct, frozen=True):
    """A trade, or an order on its way: its signed value, above zero when bought."""

    instrument: InstrumentName
    value: Decimal
    flying: bool


class Load(msgspec.Struct):
    """One sum: `held` is signed; `up` and `down` are what may still come on top, never negative."""

    held: Decimal = ZERO
    up: Decimal = ZERO
    down: Decimal = ZERO

    def add(self, value: Decimal, *, flying: bool) -> None:
        if not flying:
            self.held += value
        elif value > 0:
            self.up += value
        else:
            self.down -= value

    @property
    def worst(self) -> Decimal:
        return max(self.held + self.up, self.down - self.held)

    def end(self, sign: int) -> Decimal:
        """The worst on one side: what an order of this sign adds to."""
        return self.held + self.up if sign > 0 else self.down - self.held


class Exposed(msgspec.Struct, frozen=True):
    """All sums of one account. `gross`: of the instruments' worsts, hedged sides both counted."""

    instruments: dict[InstrumentName, Load]
    currencies: dict[Currency, Load]
    gross: Decimal

    def of(self, instrument: InstrumentName) -> Load:
        return self.instruments.get(instrument) or Load()

    def in_currency(self, currency: Currency) -> Load:
        return self.currencies.get(currency) or Load()


def exposed(legs: Iterable[Leg], *, hedging: bool = False) -> Exposed:
    """The sums of these legs. A hedging account may hold both sides: there nothing nets."""
    instruments: dict[InstrumentName, Load] = {}
    currencies: dict[Currency, Load] = {}
    both = ZERO
    for leg in legs:
        base, _, quote = leg.instrument.partition("_")
        instruments.setdefault(leg.instrument, Load()).add(leg.value, flying=leg.flying)
        currencies.setdefault(Currency(base), Load()).add(leg.value, flying=leg.flying)
        currencies.setdefault(Currency(quote), Load()).add(-leg.value, flying=leg.flying)
        both += abs(leg.value)
    gross = both if hedging else sum((load.worst for load in instruments.values()), ZERO)
    return Exposed(instruments, currencies, gross)
