"""Whether an order may be made at all: each refusal is one of OANDA's reject reasons.

Source: fact sheet, sections 4, 5 and 7. What passes here may still not fill (matching.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from orchestrator.model.money import InstrumentSpec
from orchestrator.model.time import Instant, format_time, parse_time
from orchestrator.model.venue import ClientExtensions, Trade
from orchestrator.paper.exchange.books import DEPENDENT_FIELDS, Books
from orchestrator.paper.exchange.requests import OnFillRequest, OrderRequest

_ALL = frozenset({"GTC", "GTD", "GFD", "FOK", "IOC"})
_RESTING = frozenset({"GTC", "GTD", "GFD"})
TIMES_IN_FORCE = {
    "MARKET": frozenset({"FOK", "IOC"}),
    "LIMIT": _ALL,
    "STOP": _ALL,
    "MARKET_IF_TOUCHED": _RESTING,
    "TAKE_PROFIT": _RESTING,
    "STOP_LOSS": _RESTING,
    "TRAILING_STOP_LOSS": _RESTING,
    "GUARANTEED_STOP_LOSS": _RESTING,
}
ENTRIES = ("MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED")
_POSITION_FILLS = frozenset({"DEFAULT", "OPEN_ONLY", "REDUCE_FIRST", "REDUCE_ONLY"})
_TRIGGERS = frozenset({"DEFAULT", "INVERSE", "BID", "ASK", "MID"})
_TEXT_MAX = 128
_PRICE_MAX = Decimal(1_000_000_000)
_DIGITS_MAX = 28


def too_precise(value: Decimal, digits: int) -> bool:
    """More decimals than allowed; trailing zeros do not count."""
    sign_digits_exponent = value.as_tuple()
    if len(sign_digits_exponent.digits) > _DIGITS_MAX:
        return True
    exponent = value.normalize().as_tuple().exponent
    return isinstance(exponent, int) and -exponent > digits


def _price(value: Decimal | None, spec: InstrumentSpec, word: str, kind: str) -> str | None:
    """`word` is the family ("PRICE", "STOP_LOSS_ON_FILL_PRICE"), `kind` its value ("PRICE")."""
    if value is None:
        return f"{word}{kind}_MISSING"
    if not value.is_finite() or not 0 < value < _PRICE_MAX:
        return f"{word}{kind}_INVALID"
    if too_precise(value, spec.display_precision):
        return f"{word}{kind}_PRECISION_EXCEEDED"
    return None


def _trailing(value: Decimal | None, spec: InstrumentSpec, word: str) -> str | None:
    objection = _price(value, spec, word, "PRICE_DISTANCE")
    if objection is not None or value is None:
        return objection
    if value < spec.minimum_trailing_stop_distance:
        return f"{word}PRICE_DISTANCE_MINIMUM_NOT_MET"
    if value > spec.maximum_trailing_stop_distance:
        return f"{word}PRICE_DISTANCE_MAXIMUM_EXCEEDED"
    return None


def units_objection(units: Decimal | None, spec: InstrumentSpec) -> str | None:
    if units is None:
        return "UNITS_MISSING"
    if not units.is_finite() or units == 0:
        return "UNITS_INVALID"
    if abs(units) > spec.maximum_order_units:
        return "UNITS_LIMIT_EXCEEDED"
    if too_precise(units, spec.trade_units_precision):
        return "UNITS_PRECISION_EXCEEDED"
    return "UNITS_MIMIMUM_NOT_MET" if abs(units) < spec.minimum_trade_size else None


def _lifetime(
    tif: str, gtd_time: str | None, allowed: frozenset[str], now: Instant, word: str
) -> str | None:
    """ValueError when the time cannot be read (a bad parameter, not a reject)."""
    if tif not in allowed:
        return f"{word}TIME_IN_FORCE_INVALID"
    if tif != "GTD":
        return None
    prefix = word or "TIME_IN_FORCE_"
    if gtd_time is None:
        return f"{prefix}GTD_TIMESTAMP_MISSING"
    at_ns = parse_time(gtd_time)
    format_time(at_ns)  # a time beyond the calendar cannot be read either
    return f"{prefix}GTD_TIMESTAMP_IN_PAST" if at_ns <= now else None


def _long(text: str | None) -> bool:
    return text is not None and len(text) > _TEXT_MAX


def extensions_objection(given: ClientExtensions | None, who: str) -> str | None:
    """Each text at most 128 characters; `who` is CLIENT_ORDER, CLIENT_TRADE, ..."""
    if given is None:
        return None
    if _long(given.id) or given.id == "":
        return f"{who}_ID_INVALID"
    if _long(given.tag):
        return f"{who}_TAG_INVALID"
    return f"{who}_COMMENT_INVALID" if _long(given.comment) else None


def _client_id(books: Books, given: ClientExtensions | None, replaced: str | None) -> str | None:
    holder = books.order_by_client_id.get(given.id or "") if given else None
    if holder is None or holder == replaced:
        return None
    return "CLIENT_ORDER_ID_ALREADY_EXISTS"


def _on_fill(
    kind: str, given: OnFillRequest | None, spec: InstrumentSpec, now: Instant
) -> str | None:
    if given is None:
        return None
    word = f"{kind}_ON_FILL_"
    if given.guaranteed:
        return "STOP_LOSS_ON_FILL_GUARANTEED_NOT_ALLOWED"
    return (
        _dependent_price(kind, given.price, given.distance, spec, word)
        or _lifetime(given.time_in_force or "GTC", given.gtd_time, _RESTING, now, word)
        or extensions_objection(given.client_extensions, f"{word}CLIENT_ORDER")
    )


def _dependent_price(
    kind: str,
    price: Decimal | None,
    distance: Decimal | None,
    spec: InstrumentSpec,
    word: str,
) -> str | None:
    if kind == "TRAILING_STOP_LOSS":
        return _trailing(distance, spec, word)
    if kind != "TAKE_PROFIT" and distance is not None:
        if price is not None:
            return f"{word or kind + '_ORDER_'}PRICE_AND_DISTANCE_BOTH_SPECIFIED"
        return _price(distance, spec, word, "DISTANCE" if word else "PRICE_DISTANCE")
    if kind != "TAKE_PROFIT" and price is None:
        return f"{word or kind + '_ORDER_'}PRICE_AND_DISTANCE_BOTH_MISSING"
    return _price(price, spec, word, "PRICE")


def _shared(
    books: Books, request: OrderRequest, kind: str, now: Instant, replaced: str | None
) -> Iterator[str | None]:
    tif = request.time_in_force or ("FOK" if kind == "MARKET" else "GTC")
    yield _lifetime(tif, request.gtd_time, TIMES_IN_FORCE[kind], now, "")
    if (request.trigger_condition or "DEFAULT") not in _TRIGGERS:
        yield "TRIGGER_CONDITION_INVALID"
    yield extensions_objection(request.client_extensions, "CLIENT_ORDER")
    yield _client_id(books, request.client_extensions, replaced)


def _on_fill_ids(request: OrderRequest) -> str | None:
    given = (
        request.take_profit_on_fill, request.stop_loss_on_fill, request.trailing_stop_loss_on_fill,
        request.guaranteed_stop_loss_on_fill,
    )  # fmt: skip
    ids = [g.client_extensions.id for g in given if g and g.client_extensions]
    own = [i for i in ids if i is not None]
    if request.client_extensions and request.client_extensions.id is not None:
        own.append(request.client_extensions.id)
    return "ORDERS_ON_FILL_DUPLICATE_CLIENT_ORDER_IDS" if len(own) != len(set(own)) else None


def _entry(
    books: Books, request: OrderRequest, kind: str, spec: InstrumentSpec, now: Instant
) -> Iterator[str | None]:
    yield units_objection(request.units, spec)
    if kind != "MARKET":
        yield _price(request.price, spec, "", "PRICE")
    if request.price_bound is not None and kind != "LIMIT":
        yield _price(request.price_bound, spec, "", "PRICE_BOUND")
    if (request.position_fill or "DEFAULT") not in _POSITION_FILLS:
        yield "ORDER_FILL_POSITION_ACTION_INVALID"
    yield extensions_objection(request.trade_client_extensions, "CLIENT_TRADE")
    if request.guaranteed_stop_loss_on_fill is not None and not may_guarantee(books):
        yield "STOP_LOSS_ON_FILL_GUARANTEED_NOT_ALLOWED"
    yield _on_fill("TAKE_PROFIT", request.take_profit_on_fill, spec, now)
    yield _on_fill("STOP_LOSS", request.stop_loss_on_fill, spec, now)
    yield _on_fill("TRAILING_STOP_LOSS", request.trailing_stop_loss_on_fill, spec, now)
    yield _on_fill("GUARANTEED_STOP_LOSS", request.guaranteed_stop_loss_on_fill, spec, now)
    yield _on_fill_ids(request)


def may_guarantee(books: Books) -> bool:
    """Guaranteed stops are for accounts that have them, and not with hedged trades."""
    return books.config.guaranteed and not books.config.hedging


def entry_objection(
    books: Books,
    request: OrderRequest,
    kind: str,
    spec: InstrumentSpec,
    now: Instant,
    replaced: str | None = None,
) -> str | None:
    """The first reject reason of a market, limit, stop or market-if-touched order, if any."""
    for objection in _entry(books, request, kind, spec, now):
        if objection is not None:
            return objection
    return next((o for o in _shared(books, request, kind, now, replaced) if o is not None), None)


def dependent_objection(
    books: Books,
    request: OrderRequest,
    kind: str,
    trade: Trade | None,
    spec: InstrumentSpec | None,
    now: Instant,
    replaced: str | None = None,
) -> str | None:
    """The first reject reason of a take profit, stop loss or trailing stop, if any."""
    if request.trade_id is None and request.client_trade_id is None:
        return "TRADE_ID_UNSPECIFIED"
    if trade is None or spec is None:
        return "TRADE_DOESNT_EXIST"
    standing: str | None = getattr(trade, DEPENDENT_FIELDS[kind])
    if standing is not None and standing != replaced:
        return f"{kind}_ORDER_ALREADY_EXISTS"
    objection = _dependent_price(kind, request.price, request.distance, spec, "")
    if objection is not None:
        return objection
    return next((o for o in _shared(books, request, kind, now, replaced) if o is not None), None)
