"""Every write that the venue knows, as requests whose numbers fit the instrument's grid.

The orders of signals are made by the kernel; these are for whoever trades by hand or by program:
all order types, dependent orders, replacing, closing in part, names, configuration.
Source: fact sheet, sections 2, 3, 5 and 9. ValueError for what the venue would refuse anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TypeAlias

import msgspec

from orchestrator.model.money import AccountId, InstrumentSpec, step_of
from orchestrator.model.orders import WriteKind, WriteRequest
from orchestrator.model.time import Instant, format_time
from orchestrator.model.venue import BOOKED_MAX

_TEXT_MAX = 128  # of a client id, tag or comment
ALL = "ALL"

_Json: TypeAlias = dict[str, object]


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """`clientExtensions`."""

    id: str | None = None
    tag: str | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        for text in (self.id, self.tag, self.comment):
            if text is not None and len(text) > _TEXT_MAX:
                raise ValueError(f"longer than {_TEXT_MAX} characters: {text[:20]!r}…")


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """How long an order waits: GTC, GFD, FOK, IOC, or GTD with its end."""

    how: str = "GTC"
    until_ns: Instant | None = None

    def __post_init__(self) -> None:
        if (self.how == "GTD") is (self.until_ns is None):
            raise ValueError("GTD needs its end, and nothing else has one")


GTC = Life()
FOK = Life(how="FOK")


class Resting(msgspec.Struct, frozen=True, kw_only=True):
    """An order that hangs on a trade: at a price, or at a distance from it."""

    price: Decimal | None = None
    distance: Decimal | None = None
    life: Life = GTC
    names: Names | None = None

    def __post_init__(self) -> None:
        if (self.price is None) is (self.distance is None):
            raise ValueError("a price or a distance, one of the two")


class Dependents(msgspec.Struct, frozen=True, kw_only=True):
    """What hangs on the trade: None leaves it as it is, CANCEL takes it away (PROTECT only).

    A trailing stop has a distance, a take profit a price, the others either.
    """

    take_profit: Resting | str | None = None
    stop_loss: Resting | str | None = None
    trailing_stop_loss: Resting | str | None = None
    guaranteed_stop_loss: Resting | str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.take_profit, Resting) and self.take_profit.price is None:
            raise ValueError("a take profit stands at a price")
        trailing = self.trailing_stop_loss
        if isinstance(trailing, Resting) and trailing.distance is None:
            raise ValueError("a trailing stop keeps a distance")


CANCEL = "cancel"
NOTHING = Dependents()
_KEYS = {
    "take_profit": "takeProfit",
    "stop_loss": "stopLoss",
    "trailing_stop_loss": "trailingStopLoss",
    "guaranteed_stop_loss": "guaranteedStopLoss",
}
_TYPES = {
    "take_profit": "TAKE_PROFIT",
    "stop_loss": "STOP_LOSS",
    "trailing_stop_loss": "TRAILING_STOP_LOSS",
    "guaranteed_stop_loss": "GUARANTEED_STOP_LOSS",
}


class Bodies:
    """The writes of one account in one instrument."""

    def __init__(self, account_id: AccountId, spec: InstrumentSpec) -> None:
        self._account_id = account_id
        self._spec = spec

    # entries

    def market(
        self,
        units: Decimal,
        *,
        bound: Decimal | None = None,
        life: Life = FOK,
        fill: str = "DEFAULT",
        with_it: Dependents = NOTHING,
        names: Names | None = None,
    ) -> WriteRequest:
        """Signed units. `bound`: the worst price that is accepted."""
        return self._entry(
            "MARKET", units, {"priceBound": self._price(bound)}, life, fill, with_it, names
        )

    def limit(
        self,
        units: Decimal,
        price: Decimal,
        *,
        life: Life = GTC,
        fill: str = "DEFAULT",
        with_it: Dependents = NOTHING,
        names: Names | None = None,
    ) -> WriteRequest:
        return self._entry(
            "LIMIT", units, {"price": self._price(price)}, life, fill, with_it, names
        )

    def stop(
        self,
        units: Decimal,
        price: Decimal,
        *,
        bound: Decimal | None = None,
        touched: bool = False,
        life: Life = GTC,
        fill: str = "DEFAULT",
        with_it: Dependents = NOTHING,
        names: Names | None = None,
    ) -> WriteRequest:
        """`touched`: market-if-touched, which triggers from either side."""
        prices = {"price": self._price(price), "priceBound": self._price(bound)}
        kind = "MARKET_IF_TOUCHED" if touched else "STOP"
        return self._entry(kind, units, prices, life, fill, with_it, names)

    def dependent(self, trade_id: str, hangs: Dependents) -> WriteRequest:
        """One order of its own on a trade (POST orders), which must not have one of its kind."""
        found = [(n, r) for n in _KEYS if isinstance(r := getattr(hangs, n), Resting)]
        if len(found) != 1:
            raise ValueError("one order a request; `protect` places several")
        ((name, resting),) = found
        order = {"type": _TYPES[name], "tradeID": trade_id, **self._resting(resting)}
        names = resting.names and resting.names.id
        return self._write(WriteKind.ORDER, "", {"order": order}, names or "")

    def replace(self, order_id: str, order: WriteRequest) -> WriteRequest:
        """The order that `order` would make instead of a pending one, in one request (O9)."""
        if order.kind is not WriteKind.ORDER:
            raise ValueError(f"not an order: {order.kind}")
        return msgspec.structs.replace(order, kind=WriteKind.REPLACE, target=order_id)

    def cancel(self, order_id: str) -> WriteRequest:
        return WriteRequest(kind=WriteKind.CANCEL, account_id=self._account_id, target=order_id)

    # trades and positions

    def protect(self, trade_id: str, hangs: Dependents) -> WriteRequest:
        """Create, replace or take away what hangs on a trade."""
        body: _Json = {}
        for name, key in _KEYS.items():
            wish = getattr(hangs, name)
            if wish is not None:
                body[key] = self._resting(wish) if isinstance(wish, Resting) else None
        if not body:
            raise ValueError("nothing is to be changed")
        return self._write(WriteKind.PROTECT, trade_id, body)

    def close_trade(self, trade_id: str, units: Decimal | None = None) -> WriteRequest:
        """All of it, or so many units (positive); a part is never repeated blindly (O9)."""
        return self._write(WriteKind.CLOSE_TRADE, trade_id, {"units": self._part(units)})

    def close_position(
        self, *, long: Decimal | str | None = None, short: Decimal | str | None = None
    ) -> WriteRequest:
        """Each side: None leaves it, `ALL`, or so many units. A side that is not there: refused."""
        sides = {"longUnits": long, "shortUnits": short}
        named = {key: self._part(None if v == ALL else v) for key, v in sides.items() if v}
        if not named:
            raise ValueError("one side at least")
        return self._write(WriteKind.CLOSE_POSITION, self._spec.name, named)

    # names, terms

    def name_order(
        self, order_id: str, names: Names, trade_names: Names | None = None
    ) -> WriteRequest:
        body: _Json = {"clientExtensions": _names(names)}
        if trade_names is not None:
            body["tradeClientExtensions"] = _names(trade_names)
        return self._write(WriteKind.ORDER_EXTENSIONS, order_id, body)

    def name_trade(self, trade_id: str, names: Names) -> WriteRequest:
        body: _Json = {"clientExtensions": _names(names)}
        return self._write(WriteKind.TRADE_EXTENSIONS, trade_id, body)

    def configure(
        self, *, alias: str | None = None, margin_rate: Decimal | None = None
    ) -> WriteRequest:
        """Of the whole account, not of the instrument."""
        body: _Json = {} if alias is None else {"alias": alias}
        if margin_rate is not None:
            if not (margin_rate.is_finite() and 0 < margin_rate <= 1):
                raise ValueError(f"{margin_rate} is no margin rate")
            body["marginRate"] = format(margin_rate, "f")
        if not body:
            raise ValueError("nothing is to be changed")
        return self._write(WriteKind.CONFIGURE, "", body)

    # parts

    def _entry(
        self,
        kind: str,
        units: Decimal,
        prices: Mapping[str, str | None],
        life: Life,
        fill: str,
        with_it: Dependents,
        names: Names | None,
    ) -> WriteRequest:
        order: _Json = {
            "type": kind, "instrument": self._spec.name, "units": self._units(units),
            "positionFill": fill, **_life(life),
        }  # fmt: skip
        order |= {key: price for key, price in prices.items() if price is not None}
        for name, key in _KEYS.items():
            resting = getattr(with_it, name)
            if isinstance(resting, str):
                raise ValueError("an order that is not there cannot be taken away")  # noqa: TRY004
            if resting is not None:
                order[f"{key}OnFill"] = self._resting(resting)
        if names is not None:
            order["clientExtensions"] = order["tradeClientExtensions"] = _names(names)
        name = (names and names.id) or ""
        return self._write(WriteKind.ORDER, "", {"order": order}, name)

    def _resting(self, resting: Resting) -> _Json:
        shown: _Json = _life(resting.life)
        if resting.price is not None:
            shown["price"] = self._price(resting.price)
        if resting.distance is not None:
            shown["distance"] = self._price(resting.distance)
        if resting.names is not None:
            shown["clientExtensions"] = _names(resting.names)
        return shown

    def _price(self, price: Decimal | None) -> str | None:
        return None if price is None else self._positive(price, self._spec.tick)

    def _units(self, units: Decimal) -> str:
        step = step_of(self._spec.trade_units_precision)
        text = self._positive(abs(units), step)
        return text if units > 0 else f"-{text}"

    def _part(self, units: Decimal | str | None) -> str:
        if units is None:
            return ALL
        step = step_of(self._spec.trade_units_precision)
        return self._positive(Decimal(units), step)

    def _positive(self, number: Decimal, step: Decimal) -> str:
        """Plain digits on the grid: the venue refuses one digit too many."""
        if not (number.is_finite() and 0 < number < BOOKED_MAX):
            raise ValueError(f"{number} is not a number for {self._spec.name}")
        stepped = number.quantize(step)
        if stepped != number:
            raise ValueError(f"{number} is finer than {self._spec.name} allows")
        return format(stepped, "f")

    def _write(
        self, kind: WriteKind, target: str, body: Mapping[str, object], name: str = ""
    ) -> WriteRequest:
        return WriteRequest(
            kind=kind,
            account_id=self._account_id,
            target=target,
            body=msgspec.json.encode(body).decode(),
            client_request_id=name,
        )


def _names(names: Names) -> dict[str, str]:
    known = {"id": names.id, "tag": names.tag, "comment": names.comment}
    return {key: text for key, text in known.items() if text is not None}


def _life(life: Life) -> _Json:
    if life.until_ns is None:
        return {"timeInForce": life.how}
    return {"timeInForce": life.how, "gtdTime": format_time(life.until_ns)}
