"""The exact words of each write to the venue (fact sheet, 2 and 3)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from orchestrator.model.money import (
    AccountId,
    InstrumentName,
    InstrumentSpec,
    Price,
    Side,
    step_of,
)
from orchestrator.model.orders import WriteKind, WriteRequest
from orchestrator.model.signals import Proposal
from orchestrator.model.venue import BOOKED_MAX

_TEXT_MAX = 128  # the venue's limit for a client id, tag or comment


def order_request(
    proposal: Proposal,
    intent_id: str,
    epoch: int,
    spec: InstrumentSpec,
    price_bound: Price | None,
) -> WriteRequest:
    """A market order, all or nothing, with its stop. ValueError where a number does not fit."""
    units = units_text(proposal.units, spec)
    if (proposal.units > 0) is not (proposal.side is Side.BUY):
        raise ValueError(f"{proposal.units} units do not {proposal.side}")
    names = {"id": intent_id, "tag": f"e{epoch}", "comment": proposal.strategy[:_TEXT_MAX]}
    order: dict[str, Any] = {
        "type": "MARKET",
        "instrument": proposal.instrument,
        "units": units,
        "timeInForce": "FOK",
        "positionFill": "DEFAULT",
    }
    if price_bound is not None:
        order["priceBound"] = price_text(price_bound, spec)
    order["stopLossOnFill"] = _resting(proposal.stop_price, spec)
    if proposal.target_price is not None:
        order["takeProfitOnFill"] = _resting(proposal.target_price, spec)
    order["clientExtensions"] = names
    order["tradeClientExtensions"] = names
    return _request(WriteKind.ORDER, proposal.account_id, "", {"order": order}, intent_id)


def protect(
    account_id: AccountId,
    trade_id: str,
    spec: InstrumentSpec,
    stop_price: Price,
    *,
    target_price: Price | None = None,
    request_id: str = "",
) -> WriteRequest:
    """Place or replace a trade's stop loss; the target is left alone unless given."""
    body: dict[str, Any] = {"stopLoss": _resting(stop_price, spec)}
    if target_price is not None:
        body["takeProfit"] = _resting(target_price, spec)
    return _request(WriteKind.PROTECT, account_id, trade_id, body, request_id)


def cancel(account_id: AccountId, order_id: str, request_id: str = "") -> WriteRequest:
    return WriteRequest(
        kind=WriteKind.CANCEL, account_id=account_id, target=order_id, client_request_id=request_id
    )


def close_trade(account_id: AccountId, trade_id: str, request_id: str = "") -> WriteRequest:
    """All of it: the one close that may be repeated (O9)."""
    return _request(WriteKind.CLOSE_TRADE, account_id, trade_id, {"units": "ALL"}, request_id)


def close_position(
    account_id: AccountId, instrument: InstrumentName, side: Side, request_id: str = ""
) -> WriteRequest:
    """All of one side. The other is not named: naming one that is not there is refused."""
    key = "longUnits" if side is Side.BUY else "shortUnits"
    return _request(WriteKind.CLOSE_POSITION, account_id, instrument, {key: "ALL"}, request_id)


def price_text(price: Decimal, spec: InstrumentSpec) -> str:
    """With exactly the instrument's decimals; ValueError if it is no positive price on the grid."""
    text = _on_grid(price, spec.tick)
    if text is None or price <= 0:
        raise ValueError(f"{price} is no price of {spec.name}")
    return text


def units_text(units: Decimal, spec: InstrumentSpec) -> str:
    """Without exponent; ValueError if zero, not finite or finer than the instrument allows."""
    text = _on_grid(units, step_of(spec.trade_units_precision))
    if text is None or units == 0:
        raise ValueError(f"{units} is no number of units of {spec.name}")
    return text


def _on_grid(number: Decimal, step: Decimal) -> str | None:
    if not (number.is_finite() and abs(number) < BOOKED_MAX):
        return None
    stepped = number.quantize(step)
    return format(stepped, "f") if stepped == number else None


def _resting(price: Price, spec: InstrumentSpec) -> dict[str, str]:
    return {"price": price_text(price, spec), "timeInForce": "GTC"}


def _request(
    kind: WriteKind, account_id: AccountId, target: str, body: dict[str, Any], request_id: str
) -> WriteRequest:
    return WriteRequest(
        kind=kind,
        account_id=account_id,
        target=target,
        body=msgspec.json.encode(body).decode(),
        client_request_id=request_id,
    )
