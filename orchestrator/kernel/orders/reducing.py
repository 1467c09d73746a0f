"""A person's close, cancel or tighter stop at the venue: its words, and what the log says of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, assert_never

import msgspec

from orchestrator.kernel.orders.body import price_text, units_text
from orchestrator.kernel.orders.reading import proves_nothing
from orchestrator.model.money import InstrumentSpec, Side
from orchestrator.model.orders import Answered, NotSent, Rejected, Unknown, WriteOutcome
from orchestrator.model.reducing import ReduceKind, Reduction, ReductionState
from orchestrator.model.venue import Transaction

S = ReductionState
ALL = "ALL"
_CREDENTIALS = (401, 403)
_STOPS = ("STOP_LOSS_ORDER", "STOP_LOSS_ORDER_REJECT")

MOVES: dict[ReductionState, frozenset[ReductionState]] = {
    S.WRITTEN: frozenset({S.DONE, S.REFUSED, S.NOT_SENT, S.UNKNOWN}),
    S.UNKNOWN: frozenset({S.DONE, S.REFUSED, S.NOT_SENT, S.ABSENT}),
    S.ABSENT: frozenset({S.DONE, S.REFUSED}),  # it came late (O7)
    S.DONE: frozenset(),
    S.REFUSED: frozenset(),
    S.NOT_SENT: frozenset(),
}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a reduction. `credentials`: the venue refused us (A10)."""

    state: ReductionState
    reason: str = ""
    transaction_id: int = 0
    credentials: bool = False


# -- words -----------------------------------------------------------------------------------------


def body_of(wish: Reduction, spec: InstrumentSpec | None) -> str:
    """The JSON to be put. ValueError for a number that is off the grid.

    A close is a REDUCE_ONLY order of the venue's own making: it can open nothing (fact sheet, 9).
    """
    if wish.kind is ReduceKind.CANCEL_ORDER:
        return ""
    body: dict[str, Any]
    if wish.kind is ReduceKind.TIGHTEN_STOP:
        assert spec is not None, "C02 has passed"
        assert wish.price is not None, "C02 has passed"
        body = {"stopLoss": {"price": price_text(wish.price, spec), "timeInForce": "GTC"}}
    elif wish.kind is ReduceKind.CLOSE_TRADE:
        body = {"units": _units(wish.units, spec)}
    else:
        body = {}
        for side, name in ((Side.BUY, "long"), (Side.SELL, "short")):
            if wish.side not in (None, side):
                continue
            body[f"{name}Units"] = _units(wish.units, spec)
            body[f"{name}ClientExtensions"] = {"id": wish.reduction_id, "tag": f"e{wish.epoch}"}
    return msgspec.json.encode(body).decode()


def _units(units: Decimal | None, spec: InstrumentSpec | None) -> str:
    if units is None:
        return ALL
    assert spec is not None, "C02 has passed"
    return units_text(units, spec)


# -- the answer ------------------------------------------------------------------------------------


def read_answer(outcome: WriteOutcome) -> Told:
    """What an answer proves beyond what its transactions have settled already (O4)."""
    match outcome:
        case Answered():
            return Told(state=S.UNKNOWN, reason="told by the answer, not yet by the log")
        case Rejected():
            return _rejected(outcome)
        case Unknown(reason=reason):
            return Told(state=S.UNKNOWN, reason=reason)
        case NotSent(reason=reason):
            return Told(state=S.NOT_SENT, reason=reason)
        case _:
            assert_never(outcome)


def _rejected(outcome: Rejected) -> Told:
    told = f"HTTP {outcome.status} {outcome.code} {outcome.message}".strip()
    if outcome.status in _CREDENTIALS:
        return Told(state=S.REFUSED, reason=told, credentials=True)
    if proves_nothing(outcome):
        return Told(state=S.UNKNOWN, reason=f"{told}: no proof that nothing was accepted")
    return Told(state=S.REFUSED, reason=told)


# -- the log ---------------------------------------------------------------------------------------


def makes_its_order(wish: Reduction, tx: Transaction) -> bool:
    """Whether this transaction is the close's own market order, or its rejection."""
    if not wish.kind.closes or not tx.type.startswith("MARKET_ORDER"):
        return False
    if wish.kind is ReduceKind.CLOSE_POSITION:
        return tx.client_extensions is not None and tx.client_extensions.id == wish.reduction_id
    close = tx.trade_close
    return close is not None and close.trade_id == wish.target and _as_many(close.units, wish.units)


def _as_many(text: str | None, units: Decimal | None) -> bool:
    """A trade's close bears no name of ours: its units are what tells it from another one."""
    if text is None or text == ALL:
        return units is None
    try:
        return units is not None and Decimal(text) == units
    except ArithmeticError:  # the venue's text is no number: it is not ours
        return False


def read_log(wish: Reduction, tx: Transaction, order_id: str) -> Told | None:
    """What a transaction says of it; None where it is about something else.

    `order_id`: the close's own order, as `makes_its_order` has found it; "" before that.
    """
    if wish.kind is ReduceKind.CANCEL_ORDER:
        return _of_order(tx, wish.target, ended=S.DONE, filled=S.REFUSED)
    if wish.kind is ReduceKind.TIGHTEN_STOP:
        return _of_stop(wish, tx)
    if makes_its_order(wish, tx) and tx.type.endswith("_REJECT"):
        return Told(state=S.REFUSED, reason=tx.reject_reason or tx.type, transaction_id=tx.number)
    if wish.side is None and tx.type == "ORDER_FILL":
        return None  # one of two sides: the books say when both are gone
    return _of_order(tx, order_id, ended=S.REFUSED, filled=S.DONE) if order_id else None


def _of_order(
    tx: Transaction, order_id: str, *, ended: ReductionState, filled: ReductionState
) -> Told | None:
    if tx.order_id != order_id or tx.type not in {
        "ORDER_CANCEL", "ORDER_CANCEL_REJECT", "ORDER_FILL",
    }:  # fmt: skip
        return None
    state = filled if tx.type == "ORDER_FILL" else ended
    if tx.type == "ORDER_CANCEL_REJECT":
        state = S.REFUSED
    return Told(state=state, reason=tx.reject_reason or tx.reason or "", transaction_id=tx.number)


def _of_stop(wish: Reduction, tx: Transaction) -> Told | None:
    if tx.type not in _STOPS or tx.trade_id != wish.target or tx.price != wish.price:
        return None
    state = S.REFUSED if tx.type.endswith("_REJECT") else S.DONE
    return Told(state=state, reason=tx.reject_reason or tx.reason or "", transaction_id=tx.number)
