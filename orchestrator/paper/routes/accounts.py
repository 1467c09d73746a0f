"""GET accounts, account, summary, instruments, changes; PATCH configuration."""

from __future__ import annotations

from orchestrator.model.money import InstrumentSpec
from orchestrator.paper.call import (
    Answer,
    Call,
    Refused,
    answer_of,
    bad,
    instruments_of,
    ok,
    whole_number,
)
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.changes import Forgotten, changes_of, state_of
from orchestrator.paper.exchange.charges import (
    DAYS_CHARGED,
    guaranteed_distance_of,
    premium_of,
)
from orchestrator.paper.exchange.requests import ConfigureBody, read_body
from orchestrator.paper.exchange.valuation import margin_rate
from orchestrator.paper.exchange.views import account_of
from orchestrator.paper.state import read_transactions

_DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")


def list_accounts(call: Call) -> Answer:
    tags: list[str] = []
    return ok(accounts=[{"id": name, "tags": tags} for name in call.exchange.accounts])


def account(call: Call) -> Answer:
    return _account(call, full=True)


def summary(call: Call) -> Answer:
    return _account(call, full=False)


def _account(call: Call, *, full: bool) -> Answer:
    books = call.account
    return ok(
        account=account_of(call.exchange, books, full=full), lastTransactionID=str(books.last_id)
    )


def instruments(call: Call) -> Answer:
    wanted = instruments_of(call) or call.market.instruments
    return ok(
        instruments=[instrument(call.market.spec(name), call.account) for name in wanted],
        lastTransactionID=str(call.account.last_id),
    )


def instrument(spec: InstrumentSpec, books: Books) -> dict[str, object]:
    """OANDA's `Instrument`; the margin rate shown is the larger one (section 5)."""
    days = [
        {"dayOfWeek": day, "daysCharged": charged}
        for day, charged in zip(_DAYS, DAYS_CHARGED, strict=True)
    ]
    terms = books.config.commission
    shown: dict[str, object] = {
        "name": spec.name,
        "type": spec.type,
        "displayName": spec.display_name or spec.name.replace("_", "/"),
        "pipLocation": spec.pip_location,
        "displayPrecision": spec.display_precision,
        "tradeUnitsPrecision": spec.trade_units_precision,
        "minimumTradeSize": spec.minimum_trade_size,
        "maximumTrailingStopDistance": spec.maximum_trailing_stop_distance,
        "minimumTrailingStopDistance": spec.minimum_trailing_stop_distance,
        "maximumPositionSize": spec.maximum_position_size,
        "maximumOrderUnits": spec.maximum_order_units,
        "marginRate": margin_rate(books, spec),
        "guaranteedStopLossOrderMode": "ALLOWED" if books.config.guaranteed else "DISABLED",
        "tags": [{"type": "ASSET_CLASS", "name": spec.type}],
        "financing": {
            "longRate": spec.financing_long_rate,
            "shortRate": spec.financing_short_rate,
            "financingDaysOfWeek": days,
        },
    }
    if books.config.guaranteed:
        shown["minimumGuaranteedStopLossDistance"] = guaranteed_distance_of(spec)
        shown["guaranteedStopLossOrderExecutionPremium"] = premium_of(spec)
    if terms is not None:
        shown["commission"] = {
            "commission": terms.amount,
            "unitsTraded": terms.units_traded,
            "minimumCommission": terms.minimum,
        }
    return shown


def configure(call: Call) -> Answer:
    body = read_body(call.body, ConfigureBody)
    reply = call.exchange.configure(call.account, body, call.request_id, call.now)
    return answer_of(call, reply, related=False)


def changes(call: Call) -> Answer:
    books = call.account
    if "sinceTransactionID" not in call.query:
        raise bad("sinceTransactionID")
    since = whole_number(call, "sinceTransactionID", 0, 0, 10**17)
    if since > books.last_id:
        raise Refused(416, "The transaction ID specified is beyond the account's history")
    try:
        made = changes_of(call.exchange, books, read_transactions(books.history[since:]))
    except Forgotten as error:
        raise Refused(416, f"The changes since then are no longer known: {error}") from error
    return ok(
        changes=made, state=state_of(call.exchange, books), lastTransactionID=str(books.last_id)
    )
