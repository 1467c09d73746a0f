"""/control/transactions and /control/accounts: what the venue does to accounts by itself."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.paper.call import Answer, Call, bad, ok
from orchestrator.paper.exchange import judge
from orchestrator.paper.exchange.admin_writes import TRADE_STATES
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.reply import Reply
from orchestrator.paper.exchange.requests import read_body
from orchestrator.paper.exchange.restrictions import LOCKS
from orchestrator.paper.instruments import LIQUIDITY

_CLOSURES = frozenset({"CLIENT_ORDER", "TRADE_CLOSE", "POSITION_CLOSEOUT", "MARGIN_CLOSEOUT"})
_MOST = Decimal(1_000_000)


class LocksBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an account may not do from now on; an empty list unlocks it."""

    account: AccountId
    locks: frozenset[str]


class AdminBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transaction of the venue's own: `type`, and what that type needs."""

    account: AccountId
    type: str
    instrument: InstrumentName | None = None
    units: Decimal | None = None
    price: Decimal | None = None
    trade_state: str = msgspec.field(default="OPEN", name="tradeState")
    per_unit: Decimal | None = msgspec.field(default=None, name="perUnit")
    trade_ids: tuple[str, ...] = msgspec.field(default=(), name="tradeIDs")
    reason: str = "TRADE_CLOSE"


def locks(call: Call) -> Answer:
    body = read_body(call.body, LocksBody)
    if body.account not in call.exchange.accounts:
        raise bad("account")
    if body.locks - LOCKS:
        raise bad("locks")
    call.exchange.restrictions.lock(body.account, body.locks)
    return ok(account=body.account, locks=sorted(body.locks))


def transactions(call: Call) -> Answer:
    body = read_body(call.body, AdminBody)
    books, act = call.exchange.accounts.get(body.account), _ACTS.get(body.type)
    if books is None:
        raise bad("account")
    if act is None:
        raise bad("type")
    try:
        reply = act(call, books, body)
    except ValueError as error:  # names the field
        raise bad(str(error)) from error
    return ok(transactions=reply.made, lastTransactionID=str(reply.last_id))


def _reset(call: Call, books: Books, _body: AdminBody) -> Reply:
    return call.exchange.admin.reset_pl(books, call.now)


def _close(call: Call, books: Books, _body: AdminBody) -> Reply:
    return call.exchange.admin.close_account(books, call.now)


def _reopen(call: Call, books: Books, _body: AdminBody) -> Reply:
    return call.exchange.admin.reopen_account(books, call.now)


def _delay(call: Call, books: Books, body: AdminBody) -> Reply:
    if body.reason not in _CLOSURES:
        raise ValueError("reason")
    return call.exchange.admin.delay_closure(books, body.trade_ids, body.reason, call.now)


def _dividend(call: Call, books: Books, body: AdminBody) -> Reply:
    name, per_unit = _priced(call, body), _within(body.per_unit, "perUnit")
    return call.exchange.admin.dividend(books, name, per_unit, call.now)


def _fixed_price(call: Call, books: Books, body: AdminBody) -> Reply:
    name, price = _priced(call, body), _within(body.price, "price")
    units, spec = (
        _within(body.units, "units", Decimal(LIQUIDITY)),
        call.exchange.specs[_priced(call, body)],
    )
    if judge.units_objection(units, spec) is not None:
        raise ValueError("units")
    if price <= 0 or judge.too_precise(price, spec.display_precision):
        raise ValueError("price")
    if body.trade_state not in TRADE_STATES:
        raise ValueError("tradeState")
    return call.exchange.admin.fixed_price(books, name, units, price, body.trade_state, call.now)


_ACTS: dict[str, Callable[[Call, Books, AdminBody], Reply]] = {
    "RESET_RESETTABLE_PL": _reset,
    "CLOSE": _close,
    "REOPEN": _reopen,
    "DELAYED_TRADE_CLOSURE": _delay,
    "DIVIDEND_ADJUSTMENT": _dividend,
    "FIXED_PRICE_ORDER": _fixed_price,
}


def _priced(call: Call, body: AdminBody) -> InstrumentName:
    name = body.instrument
    if name is None or name not in call.market.instruments or not call.exchange.quotes.get(name):
        raise ValueError("instrument")
    return name


def _within(value: Decimal | None, name: str, most: Decimal = _MOST) -> Decimal:
    if value is None or not value.is_finite() or abs(value) > most:
        raise ValueError(name)
    return value
