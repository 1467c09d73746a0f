"""Prices, units and money: exact decimals under a name, never floats."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from enum import StrEnum
from functools import lru_cache
from math import isfinite
from typing import NewType

import msgspec

Price = NewType("Price", Decimal)
Units = NewType("Units", Decimal)  # signed: positive bought, negative sold
InstrumentName = NewType("InstrumentName", str)
AccountId = NewType("AccountId", str)
Currency = NewType("Currency", str)

ZERO = Decimal(0)
ONE = Decimal(1)


class Side(StrEnum):
    """The direction of an order or trade."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 to buy, -1 to sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class Money(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An amount in a currency; sums over two currencies are a caller's bug."""

    amount: Decimal
    currency: Currency


@lru_cache(maxsize=64)
def step_of(digits: int) -> Decimal:
    """The smallest step with `digits` decimals: 5 -> 0.00001; negative digits -> tens."""
    return Decimal(1).scaleb(-digits)


def ratio(value: float, digits: int = 6) -> Decimal:
    """A statistic's float as a decimal that may stand in a record; ValueError if not finite."""
    if not isfinite(value):
        raise ValueError(f"not a finite number: {value}")
    return Decimal(repr(value)).quantize(step_of(digits), rounding=ROUND_HALF_EVEN)


def round_money(amount: Decimal, digits: int = 4) -> Decimal:
    """Money as OANDA books it: four decimals, half up (fact sheet, section 10)."""
    return amount.quantize(step_of(digits), rounding=ROUND_HALF_UP)


class InstrumentSpec(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The venue's rules for one instrument. Source: OANDA `Instrument` definition.

    `pip_location`: a pip is 10**pip_location. `display_precision`: decimals of a price.
    `trade_units_precision`: decimals of units. `maximum_position_size` 0 means no limit.
    """

    name: InstrumentName
    type: str = "CURRENCY"
    display_name: str = ""
    pip_location: int = -4
    display_precision: int = 5
    trade_units_precision: int = 0
    minimum_trade_size: Decimal = ONE
    maximum_order_units: Decimal = Decimal(100_000_000)
    maximum_position_size: Decimal = ZERO
    minimum_trailing_stop_distance: Decimal = Decimal("0.00050")
    maximum_trailing_stop_distance: Decimal = Decimal("1.00000")
    margin_rate: Decimal = Decimal("0.02")
    financing_long_rate: Decimal = ZERO  # yearly, negative = you pay
    financing_short_rate: Decimal = ZERO

    @property
    def base(self) -> Currency:
        return Currency(self.name.split("_", 1)[0])

    @property
    def quote(self) -> Currency:
        return Currency(self.name.split("_", 1)[1])

    @property
    def pip(self) -> Decimal:
        return step_of(-self.pip_location)

    @property
    def tick(self) -> Decimal:
        """The smallest step of a price."""
        return step_of(self.display_precision)

    def round_units_to_zero(self, units: Decimal) -> Units:
        return Units(units.quantize(step_of(self.trade_units_precision), rounding=ROUND_DOWN))

    def round_price(self, price: Decimal) -> Price:
        """To the nearest step."""
        return Price(price.quantize(self.tick, rounding=ROUND_HALF_EVEN))

    def round_price_down(self, price: Decimal) -> Price:
        return Price(price.quantize(self.tick, rounding=ROUND_FLOOR))

    def round_price_up(self, price: Decimal) -> Price:
        return Price(price.quantize(self.tick, rounding=ROUND_CEILING))

    def round_stop_towards(self, stop: Decimal, entry: Decimal) -> Price:
        """A stop's price on the grid, on the entry's side of the wish (SAFETY K6)."""
        return self.round_price_up(stop) if stop < entry else self.round_price_down(stop)

    def price_from_float(self, value: float) -> Price:
        """The one door from statistics to a price; ValueError if not finite or not positive."""
        exact = ratio(value, self.display_precision + 4)
        if exact <= 0:
            raise ValueError(f"not a price: {value}")
        return self.round_price(exact)
