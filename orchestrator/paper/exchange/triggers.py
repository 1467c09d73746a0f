"""When a resting order triggers: which price it watches, and where a trailing stop stands.

Source: fact sheet, section 8, "Triggers".
"""

from __future__ import annotations

from decimal import Decimal

from orchestrator.model.market import Tick
from orchestrator.model.venue import Order, Trade

_AT_OR_BETTER = ("LIMIT", "TAKE_PROFIT")

FILL_REASONS = {
    "LIMIT": "LIMIT_ORDER",
    "STOP": "STOP_ORDER",
    "MARKET_IF_TOUCHED": "MARKET_IF_TOUCHED_ORDER",
    "TAKE_PROFIT": "TAKE_PROFIT_ORDER",
    "STOP_LOSS": "STOP_LOSS_ORDER",
    "TRAILING_STOP_LOSS": "TRAILING_STOP_LOSS_ORDER",
    "GUARANTEED_STOP_LOSS": "GUARANTEED_STOP_LOSS_ORDER",
}


def buys(order: Order, trade: Trade | None) -> bool:
    """The order's own direction; a dependent order's is that of closing its trade."""
    if order.units is not None:
        return order.units > 0
    return trade is not None and trade.current_units < 0


def watched(order: Order, tick: Tick, *, buying: bool) -> Decimal:
    """DEFAULT watches the side at which the order would fill."""
    match order.trigger_condition:
        case "BID":
            return tick.bid
        case "ASK":
            return tick.ask
        case "MID":
            return (tick.bid + tick.ask) / 2
        case "INVERSE":
            return tick.bid if buying else tick.ask
        case _:
            return tick.ask if buying else tick.bid


def trailing_value(order: Order, trade: Trade, tick: Tick) -> Decimal | None:
    """The trailing stop's better value, if this price improves it."""
    if order.distance is None:
        return None
    long = trade.current_units > 0
    price = watched(order, tick, buying=not long)
    value = price - order.distance if long else price + order.distance
    old = order.trailing_stop_value
    better = old is None or (value > old if long else value < old)
    return value if better else None


def hit(order: Order, trade: Trade | None, tick: Tick) -> bool:
    """Whether this price triggers the order."""
    buying = buys(order, trade)
    price = watched(order, tick, buying=buying)
    level = order.trailing_stop_value if order.type == "TRAILING_STOP_LOSS" else order.price
    if level is None:
        return False
    if order.type in _AT_OR_BETTER:
        # The fill uses the natural side whatever triggers it, and must be equal or better.
        natural = tick.ask if buying else tick.bid
        return max(price, natural) <= level if buying else min(price, natural) >= level
    if order.type == "MARKET_IF_TOUCHED":
        rising = order.initial_market_price is not None and order.initial_market_price < level
        return price >= level if rising else price <= level
    return price >= level if buying else price <= level
