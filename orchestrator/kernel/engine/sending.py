"""What becomes of an order on its way: the answer, the log, the search, and its one outcome."""

from __future__ import annotations

import msgspec

from orchestrator.kernel.engine import flow, house, path
from orchestrator.kernel.engine.integrity import broken
from orchestrator.kernel.engine.live import Sent
from orchestrator.kernel.engine.state import IntentRecord, ReductionRecord
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.ledger.book import Book
from orchestrator.kernel.orders.body import close_trade
from orchestrator.kernel.orders.life import is_terminal, may_move
from orchestrator.kernel.orders.reading import Reading, Settling, read_outcome, settle
from orchestrator.kernel.safety.breakers.a8_divergence import a8_late
from orchestrator.kernel.safety.breakers.s4_integrity import s4_doubled
from orchestrator.model.acts import FetchTransactions, Write
from orchestrator.model.events import CredentialsSeen, SendFinished
from orchestrator.model.facts import IntentMoved
from orchestrator.model.money import AccountId
from orchestrator.model.orders import Answered, IntentState, NotSent, WriteOutcome
from orchestrator.model.reducing import ReductionState
from orchestrator.model.safety import Scope, Severity
from orchestrator.model.signals import Outcome
from orchestrator.model.time import NS_PER_S
from orchestrator.model.venue import Transaction

# O5: when to look again for an order whose outcome is unknown; the last one repeats.
_READ_AFTER_MS = (250, 500, 1_000, 2_000, 4_000, 5_000)
# An intent that the sender has not told of for so long after its time to live is looked for.
_SENDER_SILENT_NS = 30 * NS_PER_S

# A read that has not come back for so long is asked for again; the host merges what is doubled.
_READ_SILENT_NS = 15 * NS_PER_S

_ORDERS_WATCHED_MAX = 10_000

LATE = "late: "  # so begins the reason of what was found after it was thought absent

_OUTCOMES = {
    IntentState.FILLED: (Outcome.FILLED, ""),
    IntentState.CANCELLED: (Outcome.REJECTED, "venue"),
    IntentState.REJECTED: (Outcome.REJECTED, "venue"),
    IntentState.ABSENT: (Outcome.FAILED, ""),
    IntentState.BLOCKED: (Outcome.REJECTED, "gate"),
    IntentState.EXPIRED: (Outcome.EXPIRED, ""),
}


# -- answers -------------------------------------------------------------------------------------


def note_sent(turn: Turn, event: SendFinished) -> bool:
    """Keep when the first byte left, before the answer's transactions settle the intent.

    False: it is settled already; then only the times are still news.
    """
    if event.intent_id in turn.state.intents:
        turn.live.sent[event.intent_id] = Sent(event.first_byte_ns, event.latency_us)
        return True
    _too_late(turn, event)
    return False


def on_sent(turn: Turn, event: SendFinished) -> None:
    """After the answer's transactions went through the door: what they did not settle."""
    record = turn.state.intents.get(event.intent_id)
    if record is None:
        return
    reading = read_outcome(record.intent, event.outcome)
    if reading.credentials:
        refused = CredentialsSeen(
            account_id=record.intent.account_id, ok=False, reason=reading.reason
        )
        house.on_credentials(turn, refused)
    state = reading.state
    if state is IntentState.BLOCKED and _never_accepted(event.outcome):
        late = turn.now > record.intent.expires_ns
        move(turn, record, IntentState.EXPIRED if late else state, reading)
    elif state is IntentState.REJECTED:
        move(turn, record, state, reading)
    elif record.state is not IntentState.UNKNOWN:
        # Fills and cancels count when they are in the books, and not a moment before.
        early = isinstance(event.outcome, Answered) and state is not IntentState.UNKNOWN
        told = "told by the answer, not yet by the log" if early else reading.reason
        lost = Reading(state=IntentState.UNKNOWN, reason=told, order_ids=reading.order_ids)
        move(turn, record, IntentState.UNKNOWN, lost)
    look_for(turn, event.intent_id)


def _never_accepted(outcome: WriteOutcome) -> bool:
    return isinstance(outcome, NotSent)


def _too_late(turn: Turn, event: SendFinished) -> None:
    """The log was quicker than the answer."""
    ended = turn.state.ended.get(event.intent_id)
    if ended is None or not event.first_byte_ns:
        return
    turn.say(IntentMoved(
        intent_id=event.intent_id, signal_id=ended.intent.signal_id,
        account_id=ended.intent.account_id, state=ended.state, reason=ended.reason,
        order_id=ended.order_id, trade_id=ended.trade_id, first_byte_ns=event.first_byte_ns,
        latency_us=event.latency_us,
    ))  # fmt: skip


# -- the log -------------------------------------------------------------------------------------


def name_of(book: Book, tx: Transaction) -> str:
    """The client id of the order that a transaction is about, "" for none; before applying it."""
    order = book.orders.get(tx.order_id or "")
    own = tx.client_extensions.id if tx.client_extensions is not None else None
    return tx.client_order_id or (order.client_id if order is not None else "") or own or ""


def settle_by(turn: Turn, name: str, tx: Transaction) -> None:
    """A transaction that has just entered the books may end an intent (K3)."""
    record = turn.state.intents.get(name)
    ended = turn.state.ended.get(name)
    if record is None and ended is None:
        return
    _ordered_once(turn, name, tx)
    told = tx
    if tx.type in ("ORDER_FILL", "ORDER_CANCEL") and tx.client_order_id is None:
        told = msgspec.structs.replace(tx, client_order_id=name)
    reading = settle(name, (told,))
    if reading is None or reading.state is IntentState.PENDING:
        return
    if record is not None:
        move(turn, record, reading.state, reading)
    else:
        assert ended is not None, "it is open, or it has ended"
        _found_late(turn, ended, reading)


def _ordered_once(turn: Turn, name: str, tx: Transaction) -> None:
    """INV-02: the venue has one order of an intent, or S4 stops everything."""
    own = tx.client_extensions.id if tx.client_extensions is not None else None
    if own != name or not tx.type.endswith("_ORDER") or tx.reason != "CLIENT_ORDER":
        return
    first = turn.live.orders_of.setdefault(name, tx.id)
    while len(turn.live.orders_of) > _ORDERS_WATCHED_MAX:
        del turn.live.orders_of[next(iter(turn.live.orders_of))]
    ended = turn.state.ended.get(name)
    known = ended.order_id if ended is not None and ended.order_id else first
    if known != tx.id:
        broken(turn, s4_doubled(name, known, tx.id))


def _found_late(turn: Turn, ended: IntentRecord, reading: Reading) -> None:
    """O7: it was thought absent, or it is there twice."""
    if ended.state is not IntentState.ABSENT:
        if reading.state is IntentState.FILLED and reading.order_id != ended.order_id:
            was = f"{ended.order_id or 'none'} ({ended.state})"
            broken(turn, s4_doubled(ended.intent.intent_id, was, reading.order_id))
        return
    intent = ended.intent
    late = msgspec.structs.replace(reading, reason=f"{LATE}{reading.reason}")
    _say_moved(turn, ended, reading.state, late)
    turn.alert(
        f"late:{intent.intent_id}", Severity.CRITICAL, "An order thought absent turned up",
        f"{intent.intent_id}: {reading.state}, trade {reading.trade_id or '-'}",
        intent.account_id,
    )  # fmt: skip
    if turn.state.board.get("A8", intent.account_id) is None:
        evidence = a8_late(intent.intent_id, reading.trade_id)
        turn.trip("A8", Scope.ACCOUNT, evidence, subject=intent.account_id, latched=True)
    record = turn.world.record(intent.account_id)
    trades = record.book.trades if record is not None and record.book is not None else {}
    if reading.trade_id in trades:
        request = close_trade(intent.account_id, reading.trade_id)
        turn.do(Write(request=request, reason=f"late order {intent.intent_id} (O7)"))


def is_late(turn: Turn, intent_id: str) -> bool:
    """Whether an intent was found after it was thought absent: its trade has to go (O7)."""
    ended = turn.state.ended.get(intent_id)
    return ended is not None and ended.reason.startswith(LATE)


# -- moving --------------------------------------------------------------------------------------


def move(turn: Turn, record: IntentRecord, state: IntentState, reading: Reading) -> None:
    """One step of an order's life; a terminal one ends its signal at this account."""
    if not may_move(record.state, state):
        broken(turn, f"intent {record.intent.intent_id}: {record.state} -> {state}")
        return
    intent = record.intent
    _say_moved(turn, record, state, reading)
    if not is_terminal(state):
        return
    turn.live.settling.pop(intent.intent_id, None)
    flow.on_end(turn, intent.account_id, state, reading.reason)
    outcome, stage = _OUTCOMES[state]
    path.end(turn, intent.signal_id, intent.account_id, outcome, stage, reading.reason)


def _say_moved(turn: Turn, record: IntentRecord, state: IntentState, reading: Reading) -> None:
    intent = record.intent
    sent = turn.live.sent.pop(intent.intent_id, None)
    turn.say(IntentMoved(
        intent_id=intent.intent_id, signal_id=intent.signal_id, account_id=intent.account_id,
        state=state, reason=reading.reason, order_id=reading.order_id, trade_id=reading.trade_id,
        first_byte_ns=sent.first_byte_ns if sent else 0, latency_us=sent.latency_us if sent else 0,
    ))  # fmt: skip


# -- looking for what is unknown ------------------------------------------------------------------


def look_for(turn: Turn, intent_id: str) -> None:
    """Begin the search for an intent that is UNKNOWN (O5); nothing if it is not."""
    record = turn.state.intents.get(intent_id)
    if record is None or record.state is not IntentState.UNKNOWN:
        return
    turn.live.settling.setdefault(
        intent_id, Settling(ended_ns=turn.now, highest=record.intent.watermark)
    )
    live = turn.live.account(record.intent.account_id)
    if live.reading_ns is None:
        live.attempt = 0
    read_again(turn, record.intent.account_id)


def read_again(turn: Turn, account_id: AccountId) -> None:
    """Ask for the account's log once more, later each time, unless a read is under way."""
    live, record = turn.live.account(account_id), turn.world.record(account_id)
    if live.reading_ns is not None or record is None or record.book is None:
        return
    after = _READ_AFTER_MS[min(live.attempt, len(_READ_AFTER_MS) - 1)]
    live.attempt += 1
    live.reading_ns = turn.now
    turn.do(FetchTransactions(account_id=account_id, since=record.book.last_id, after_ms=after))


def unknown_of(turn: Turn, account_id: AccountId) -> list[IntentRecord]:
    return [
        record
        for record in turn.state.intents.values()
        if record.intent.account_id == account_id and record.state is IntentState.UNKNOWN
    ]


def reductions_unknown(turn: Turn, account_id: AccountId) -> list[ReductionRecord]:
    """A person's closes, cancels and stops of which nobody knows what became of them."""
    return [
        record
        for record in turn.state.reductions.values()
        if record.reduction.account_id == account_id and record.state is ReductionState.UNKNOWN
    ]


def _searching(turn: Turn, account_id: AccountId) -> bool:
    return bool(unknown_of(turn, account_id) or reductions_unknown(turn, account_id))


def after_read(turn: Turn, account_id: AccountId, last_id: int) -> None:
    """A whole read has come: what it did not settle is nearer to absent, or looked for again."""
    live, account = turn.live.account(account_id), turn.world.record(account_id)
    live.reading_ns = None
    applied_to = account.book.last_id if account is not None and account.book is not None else 0
    for record in unknown_of(turn, account_id):
        settling = turn.live.settling.get(record.intent.intent_id)
        if settling is None:
            continue  # its request has not ended: nothing can prove it absent
        settling.count(turn.now, last_id, applied_to)
        if settling.is_absent(turn.now):
            reason = "absent from the venue's log after several reads"
            move(turn, record, IntentState.ABSENT, Reading(state=IntentState.ABSENT, reason=reason))
    if _searching(turn, account_id):
        read_again(turn, account_id)
    else:
        live.attempt = 0


def read_failed(turn: Turn, account_id: AccountId) -> None:
    turn.live.account(account_id).reading_ns = None
    if _searching(turn, account_id):
        read_again(turn, account_id)


def keep_orders(turn: Turn) -> None:
    """On each beat: intents whose sender fell silent, and searches that nobody answers."""
    for record in list(turn.state.intents.values()):
        silent = turn.now - record.intent.expires_ns > _SENDER_SILENT_NS
        if silent and record.state in (IntentState.WRITTEN, IntentState.SENDING):
            lost = Reading(state=IntentState.UNKNOWN, reason="the sender does not tell what became")
            move(turn, record, IntentState.UNKNOWN, lost)
            read_again(turn, record.intent.account_id)
    for account_id in turn.world.account_ids:
        live = turn.live.account(account_id)
        if live.reading_ns is not None and turn.now - live.reading_ns > _READ_SILENT_NS:
            read_failed(turn, account_id)
