"""Reading the venue: what an answer, or its log, says about an order of ours (SAFETY O4 to O6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

import msgspec

from orchestrator.model.orders import (
    Answered,
    Intent,
    IntentState,
    NotSent,
    Rejected,
    Unknown,
    WriteOutcome,
)
from orchestrator.model.time import NS_PER_S, Instant
from orchestrator.model.venue import Transaction

_CREDENTIALS = (401, 403)
_CLIENT_ERRORS = range(400, 500)
_NO_PROOF = (408,)  # the server gave up waiting: it may have read the order all the same

ABSENT_AFTER_NS = 10 * NS_PER_S
READS_FOR_ABSENT = 3
READS_APART_NS = 2 * NS_PER_S
COUNTED_MAX = 1_000


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an intent.

    `order_ids`: every order that carries its name; more than one is a broken invariant (INV-02).
    `transaction_id`: the one that decided (0: none). `credentials`: the venue refused us (A10).
    `by_gate`: blocked by the gate; BLOCKED without it is proof that no byte was written, or 429.
    """

    state: IntentState
    reason: str = ""
    order_ids: tuple[str, ...] = ()
    trade_id: str = ""
    transaction_id: int = 0
    credentials: bool = False
    by_gate: bool = False

    @property
    def order_id(self) -> str:
        return self.order_ids[0] if self.order_ids else ""


def read_outcome(intent: Intent, outcome: WriteOutcome) -> Reading:
    """O4: what the answer to an intent's request proves; where it proves nothing, UNKNOWN."""
    match outcome:
        case Answered(transactions=transactions):
            reading = settle(intent.intent_id, transactions)
            return reading or _unknown(f"HTTP {outcome.status} without a transaction of this order")
        case Rejected():
            return _rejected(intent, outcome)
        case Unknown(reason=reason):
            return _unknown(reason)
        case NotSent(reason=reason, by_gate=by_gate):
            return Reading(state=IntentState.BLOCKED, reason=reason, by_gate=by_gate)
        case _:
            assert_never(outcome)


def _unknown(reason: str) -> Reading:
    return Reading(state=IntentState.UNKNOWN, reason=reason)


def _rejected(intent: Intent, outcome: Rejected) -> Reading:
    told = f"HTTP {outcome.status} {outcome.code} {outcome.message}".strip()
    settled = settle(intent.intent_id, outcome.transactions)
    if settled is not None:  # the log weighs more than the status
        return settled
    if outcome.status in _CREDENTIALS:
        return Reading(state=IntentState.REJECTED, reason=told, credentials=True)
    if proves_nothing(outcome):
        return _unknown(f"{told}: no proof that nothing was accepted")
    return Reading(state=IntentState.REJECTED, reason=told)


def proves_nothing(outcome: Rejected) -> bool:
    """Whether a refusal leaves open that it was accepted: no client's error, or without a word."""
    proof = outcome.status in _CLIENT_ERRORS and outcome.status not in _NO_PROOF
    return not proof or not (outcome.code or outcome.message or outcome.transactions)


def settle(
    intent_id: str, transactions: Iterable[Transaction], orders: tuple[str, ...] = ()
) -> Reading | None:
    """What the log says of an intent, by its client or request id; None when it does not name it.

    `orders`: ids of its orders that an earlier part of the log told. A fill decides over a cancel
    (the rest of a partial fill), a cancel over a rest; an order told twice is one order.
    """
    created = list(orders)
    fill: Transaction | None = None
    cancel: Transaction | None = None
    reject: Transaction | None = None
    for tx in transactions:
        if tx.type.endswith("_ORDER") and _names(tx, intent_id):
            if tx.id not in created:
                created.append(tx.id)
        elif tx.type.endswith("_ORDER_REJECT") and _names(tx, intent_id):
            reject = reject or tx
        elif tx.type == "ORDER_FILL" and (
            tx.order_id in created or tx.client_order_id == intent_id
        ):
            fill = fill or tx
        elif tx.type == "ORDER_CANCEL" and (
            tx.order_id in created or tx.client_order_id == intent_id
        ):
            cancel = cancel or tx
    if tuple(created) == orders and not (fill or cancel or reject):
        return None
    return _judge(created, fill, cancel, reject)


def _judge(
    created: list[str],
    fill: Transaction | None,
    cancel: Transaction | None,
    reject: Transaction | None,
) -> Reading:
    for state, tx in (
        (IntentState.FILLED, fill),
        (IntentState.CANCELLED, cancel),
    ):
        if tx is not None:
            return Reading(
                state=state,
                reason=tx.reason or "",
                order_ids=tuple(created) or ((tx.order_id,) if tx.order_id else ()),
                trade_id=_trade_of(tx),
                transaction_id=tx.number,
            )
    if created:
        return Reading(
            state=IntentState.PENDING, order_ids=tuple(created), transaction_id=int(created[-1])
        )
    assert reject is not None, "asked only where the log tells something"
    return Reading(
        state=IntentState.REJECTED,
        reason=reject.reject_reason or "",
        transaction_id=reject.number,
    )


def _names(tx: Transaction, intent_id: str) -> bool:
    client_id = tx.client_extensions.id if tx.client_extensions is not None else None
    return intent_id in {client_id, tx.request_id}


def _trade_of(tx: Transaction) -> str:
    """The trade that a fill opened, else the first that it closed or reduced."""
    if tx.trade_opened is not None:
        return tx.trade_opened.trade_id
    parts = (*(tx.trades_closed or ()), *((tx.trade_reduced,) if tx.trade_reduced else ()))
    return parts[0].trade_id if parts else ""


class Settling(msgspec.Struct, kw_only=True):
    """The search for an order whose outcome is unknown (O5, O6)."""

    ended_ns: Instant  # when its request ended
    highest: int = 0  # the highest last transaction id seen of the account; begins as the watermark
    counted_ns: list[Instant] = msgspec.field(default_factory=list[int])

    def count(self, read_ns: Instant, last_id: int, applied_to: int) -> None:
        """A read that did not show the order.

        It counts only if it is not behind the highest id seen (reads may lag), if all that it
        told is in the books (`applied_to`), and 2 s after the last that counted.
        """
        if last_id < self.highest:
            return
        self.highest = last_id
        if applied_to < last_id or read_ns < self.ended_ns or len(self.counted_ns) >= COUNTED_MAX:
            return
        if not self.counted_ns or read_ns - self.counted_ns[-1] >= READS_APART_NS:
            self.counted_ns.append(read_ns)

    def is_absent(self, now: Instant) -> bool:
        """At least 10 s, three counting reads, and the last of them after those 10 s."""
        late = self.ended_ns + ABSENT_AFTER_NS
        return (
            now >= late and len(self.counted_ns) >= READS_FOR_ABSENT and self.counted_ns[-1] >= late
        )
