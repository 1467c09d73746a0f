"""What OANDA says to a person about each reason of a refusal."""

from __future__ import annotations

_TEXTS = {
    "UNITS_MISSING": "Order units have not been not specified",
    "UNITS_INVALID": "Order units specified are invalid",
    "UNITS_PRECISION_EXCEEDED": "The units specified contain more precision than is allowed for "
    "the Order's instrument",
    "UNITS_LIMIT_EXCEEDED": "The units specified exceeds the maximum number of units allowed",
    "UNITS_MIMIMUM_NOT_MET": "The units specified are less than the minimum of the instrument",
    "PRICE_MISSING": "The Order's price is required",
    "PRICE_INVALID": "The price specified is invalid",
    "PRICE_PRECISION_EXCEEDED": "The price specified contains more precision than is allowed for "
    "the instrument",
    "TIME_IN_FORCE_INVALID": "The TimeInForce specified is invalid",
    "CLIENT_ORDER_ID_INVALID": "The client Order ID specified is invalid",
    "CLIENT_ORDER_ID_ALREADY_EXISTS": "The client Order ID specified is already assigned to "
    "another pending Order",
    "ORDER_DOESNT_EXIST": "The Order specified does not exist",
    "TRADE_DOESNT_EXIST": "The Trade specified does not exist",
    "CLOSEOUT_POSITION_DOESNT_EXIST": "The Position requested to be closed out does not exist",
    "CLOSEOUT_POSITION_REJECT": "The Position closeout was rejected because of the other side",
    "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE": "The units specified to close exceed the Trade's size",
    "MARGIN_RATE_INVALID": "The margin rate provided is invalid",
    "INSTRUMENT_MISSING": "The Order's instrument has not been specified",
    "INSTRUMENT_PRICE_UNKNOWN": "There is no price for the instrument",
}


def message_of(reason: str) -> str:
    """The recorded text where one is known, else the reason in plain words."""
    return _TEXTS.get(reason) or reason.replace("_", " ").capitalize()
