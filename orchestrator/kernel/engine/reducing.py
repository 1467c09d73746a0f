"""A person closes, cancels or tightens: checked, written down, sent once, settled by the log."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from orchestrator.kernel.engine import house, scene, sending
from orchestrator.kernel.engine.integrity import broken
from orchestrator.kernel.engine.live import Sent
from orchestrator.kernel.engine.state import AccountRecord, ReductionRecord
from orchestrator.kernel.engine.turn import Turn, World
from orchestrator.kernel.ledger.book import Book, OpenTrade
from orchestrator.kernel.orders.identity import reduction_id
from orchestrator.kernel.orders.reading import Settling
from orchestrator.kernel.orders.reducing import (
    MOVES,
    Told,
    body_of,
    makes_its_order,
    read_answer,
    read_log,
)
from orchestrator.kernel.safety.breakers import TABLE
from orchestrator.kernel.safety.breakers.t1_session import session_of
from orchestrator.kernel.safety.checks import REDUCING_CHECKS, evaluate
from orchestrator.kernel.safety.checks.c04_duplicate import is_like
from orchestrator.kernel.safety.reducing import Held, Reducible
from orchestrator.kernel.signals.intake import well_named
from orchestrator.model.acts import SendOrder
from orchestrator.model.events import CredentialsSeen, ReduceRisk, SendFinished
from orchestrator.model.facts import OperatorActed, ReductionMoved, ReductionWritten
from orchestrator.model.money import ZERO, AccountId, InstrumentName, Price, Side
from orchestrator.model.reducing import ReduceKind, Reduction, ReductionState
from orchestrator.model.safety import Effect, Severity
from orchestrator.model.time import NS_PER_S, Instant
from orchestrator.model.venue import Transaction

S = ReductionState

TTL_NS = 30 * NS_PER_S
_OPEN_MAX = 500  # not settled yet; beyond, new ones are refused (K8)
_SENDER_SILENT_NS = 30 * NS_PER_S
_NONE = Reducible(
    now=0, configured=False, known=False, halts=(), session="", spec=None, market=None, long=ZERO,
    short=ZERO, trade=None, order_type=None, entry=False, flying=(), like_ns=None, like_window_s=0,
)  # fmt: skip


# -- asked for -------------------------------------------------------------------------------------


def on_reduce(turn: Turn, event: ReduceRisk) -> None:
    """All checks, then the durable word, then the act: in one step, as for an order."""
    name = reduction_id(event.command_id, event.account_id)
    known = record_of(turn.world, name)
    if known is not None and _is_same(known.reduction, event):
        return  # a double click: the first one's word stands
    wish = _wish_of(turn, event, name)
    problems = _unusable(turn, event, known)
    if not problems:
        problems = evaluate(wish, view_of(turn.world, wish, turn.now), REDUCING_CHECKS)
    if not problems:
        wish, problems = _worded(turn, wish)
    turn.say(OperatorActed(
        actor=event.actor, action=event.kind.value, text=_text(event), refused="; ".join(problems)
    ))  # fmt: skip
    if problems:
        return
    turn.say(ReductionWritten(reduction=wish))
    turn.do(SendOrder(intent_id=name, request=wish.request, repeatable=wish.repeatable))


def _is_same(wish: Reduction, event: ReduceRisk) -> bool:
    same = (wish.kind, wish.target, wish.units, wish.price) == (
        event.kind, event.target, event.units, event.price,
    )  # fmt: skip
    return same and event.side in (None, wish.side)


def _unusable(turn: Turn, event: ReduceRisk, known: ReductionRecord | None) -> tuple[str, ...]:
    if not well_named(event.command_id) or not well_named(event.target):
        return ("the command's or the target's id is not 1 to 64 of A-Z a-z 0-9 _ . : -",)
    if known is not None:
        return (f"command {event.command_id} was given before, for something else",)
    if len(turn.state.reductions) >= _OPEN_MAX:
        return (f"{_OPEN_MAX} closes and cancels are on their way already",)
    return ()


def _text(event: ReduceRisk) -> str:
    words = (
        event.account_id, event.target, event.side, event.units,
        event.price, event.reason,
    )  # fmt: skip
    return " ".join(str(word) for word in words if word not in (None, ""))[:500]


def _wish_of(turn: Turn, event: ReduceRisk, name: str) -> Reduction:
    """The event as it would be written down; what our books add to it."""
    book = _book(turn.world, event.account_id)
    instrument, side = _meant(book, event)
    wish = Reduction(
        reduction_id=name, command_id=event.command_id, kind=event.kind,
        account_id=event.account_id, instrument=instrument, target=event.target,
        units=event.units, side=side, price=None if event.price is None else Price(event.price),
        most=ZERO, actor=event.actor, reason=event.reason, body="",
        watermark=0 if book is None else book.last_id, epoch=turn.state.epoch,
        written_ns=turn.now, expires_ns=turn.now + TTL_NS,
    )  # fmt: skip
    if not event.kind.closes:
        return wish
    return msgspec.structs.replace(wish, most=_most(book, wish))


def _meant(book: Book | None, event: ReduceRisk) -> tuple[InstrumentName, Side | None]:
    """The instrument, and the side where there is only one that can be meant."""
    if event.kind is ReduceKind.CLOSE_POSITION:
        name = InstrumentName(event.target)
        long, short = _sides(book, name)
        only = Side.BUY if long and not short else Side.SELL if short and not long else None
        return name, event.side or only
    if event.kind is ReduceKind.CANCEL_ORDER:
        order = None if book is None else book.orders.get(event.target)
        return InstrumentName("" if order is None else order.instrument or ""), None
    trade = None if book is None else book.trades.get(event.target)
    if trade is None:
        return InstrumentName(""), event.side
    return trade.instrument, Side.BUY if trade.units > 0 else Side.SELL


def _most(book: Book | None, wish: Reduction) -> Price:
    if wish.units is not None:
        return Price(wish.units)
    if wish.kind is ReduceKind.CLOSE_TRADE:
        trade = None if book is None else book.trades.get(wish.target)
        return Price(ZERO if trade is None else abs(trade.units))
    long, short = _sides(book, wish.instrument)
    return Price((long if wish.side is not Side.SELL else ZERO)
                 + (short if wish.side is not Side.BUY else ZERO))  # fmt: skip


def _worded(turn: Turn, wish: Reduction) -> tuple[Reduction, tuple[str, ...]]:
    record = turn.world.record(wish.account_id)
    spec = record.specs.get(wish.instrument) if record is not None else None
    try:
        return msgspec.structs.replace(wish, body=body_of(wish, spec)), ()
    except ValueError as exc:  # a number that the venue would not read
        return wish, (f"C02 {exc}",)


# -- what the checks see ---------------------------------------------------------------------------


def view_of(world: World, wish: Reduction, now: Instant) -> Reducible:
    """The reduction itself is left out of what is on its way, when it is checked again."""
    record = world.record(wish.account_id)
    if record is None or wish.account_id not in world.plans:
        return _NONE
    book = record.book
    long, short = _sides(book, wish.instrument)
    order = None if book is None else book.orders.get(wish.target)
    return Reducible(
        now=now,
        configured=True,
        known=book is not None,
        halts=tuple(_halts(world, wish.account_id, record)),
        session=session_of(world.plan.calendar, now),
        spec=record.specs.get(wish.instrument),
        market=scene.market_of(world, wish.instrument),
        long=long,
        short=short,
        trade=_held(book, wish.target),
        order_type=None if order is None else order.type,
        entry=order is not None and order.is_entry,
        flying=tuple(_flying(world, wish)),
        like_ns=_like(world, wish),
        like_window_s=world.plan.checks.duplicate_window_s,
    )


def _book(world: World, account_id: AccountId) -> Book | None:
    record = world.record(account_id)
    return None if record is None else record.book


def _sides(book: Book | None, name: InstrumentName) -> tuple[Price, Price]:
    """Units held long and short, both at least 0."""
    long, short = (ZERO, ZERO) if book is None else book.sides().get(name, (ZERO, ZERO))
    return Price(long), Price(-short)


def _held(book: Book | None, trade_id: str) -> Held | None:
    trade = None if book is None else book.trades.get(trade_id)
    if book is None or trade is None:
        return None
    stop = book.orders.get(trade.stop_order_id or "")
    return Held(
        units=trade.units, ours=trade.ours, has_stop=trade.stop_order_id is not None,
        stop=trade.stop_price, trails=trade.trailing_order_id is not None,
        guaranteed=stop is not None and stop.type == "GUARANTEED_STOP_LOSS",
    )  # fmt: skip


def _halts(world: World, account_id: AccountId, record: AccountRecord) -> Iterator[str]:
    """Mode `halt`: only the liquidator acts (SAFETY 3)."""
    stop = world.state.stop
    if record.stopped:
        name = "" if stop is None else stop.stop_id
        yield f"emergency stop {name} stands: its liquidation closes, and no one else"
    for trip in world.state.board.in_scope(account_id, None):
        if trip.effect is Effect.HALT:
            yield f"{trip.breaker} {TABLE[trip.breaker].name}: {trip.evidence}"


def _flying(world: World, wish: Reduction) -> Iterator[Reduction]:
    for name, record in world.state.reductions.items():
        other = record.reduction
        same = other.account_id == wish.account_id and other.instrument == wish.instrument
        if same and name != wish.reduction_id:
            yield other


def _like(world: World, wish: Reduction) -> Instant | None:
    """When the last like one was asked, of what may have been done."""
    found = (
        record.reduction.written_ns
        for records in (world.state.reductions, world.state.reduced)
        for name, record in records.items()
        if name != wish.reduction_id
        and record.state is not S.NOT_SENT
        and record.state is not S.REFUSED
        and is_like(record.reduction, wish)
    )
    return max(found, default=None)


# -- the gate --------------------------------------------------------------------------------------


def may_send(turn: Turn, record: ReductionRecord) -> str | None:
    """G2 for what only reduces: its own checks again, with the socket in hand."""
    wish = record.reduction
    if record.state is not S.WRITTEN:
        return f"{wish.reduction_id} is not waiting to be sent"
    if turn.now > wish.expires_ns:
        return "its time to live is over"
    if wish.epoch != turn.state.epoch:
        return f"asked for in epoch {wish.epoch}, now {turn.state.epoch}"
    objections = evaluate(wish, view_of(turn.world, wish, turn.now), REDUCING_CHECKS)
    return objections[0] if objections else None


# -- what became of it -----------------------------------------------------------------------------


def record_of(world: World, name: str) -> ReductionRecord | None:
    """Open, or ended within the last day."""
    return world.state.reductions.get(name) or world.state.reduced.get(name)


def note_sent(turn: Turn, event: SendFinished) -> None:
    """Keep when the first byte left, before the answer's transactions settle it."""
    if event.intent_id in turn.state.reductions:
        turn.live.sent[event.intent_id] = Sent(event.first_byte_ns, event.latency_us)


def on_sent(turn: Turn, event: SendFinished) -> None:
    """After the answer's transactions went through the door: what they did not settle."""
    record = turn.state.reductions.get(event.intent_id)
    if record is None:
        return
    told = read_answer(event.outcome)
    if told.credentials:
        refused = CredentialsSeen(
            account_id=record.reduction.account_id, ok=False, reason=told.reason
        )
        house.on_credentials(turn, refused)
    if told.state is not record.state:
        move(turn, record, told)
    look_for(turn, event.intent_id)


def move(turn: Turn, record: ReductionRecord, told: Told) -> None:
    """One step of its life; what came late, or never, is told to people."""
    wish = record.reduction
    if told.state not in MOVES[record.state]:
        broken(turn, f"reduction {wish.reduction_id}: {record.state} -> {told.state}")
        return
    late = record.state is S.ABSENT
    sent = turn.live.sent.pop(wish.reduction_id, None)
    turn.say(ReductionMoved(
        reduction_id=wish.reduction_id, account_id=wish.account_id, state=told.state,
        reason=f"{sending.LATE}{told.reason}" if late else told.reason,
        transaction_id=told.transaction_id,
        first_byte_ns=0 if sent is None else sent.first_byte_ns,
        latency_us=0 if sent is None else sent.latency_us,
    ))  # fmt: skip
    if told.state is S.ABSENT or late:
        turn.alert(
            f"reduction:{wish.reduction_id}", Severity.WARNING,
            "A close came late" if late else "A close has not reached the venue",
            f"{wish.kind} {wish.target} by {wish.actor}: {told.reason}", wish.account_id,
        )  # fmt: skip
    if told.state is not S.UNKNOWN:
        turn.live.settling.pop(wish.reduction_id, None)


def settle_by(turn: Turn, account_id: AccountId, book: Book, tx: Transaction) -> None:
    """A transaction that has just entered the books may end what a person asked for (K3)."""
    for record in _watched(turn, account_id, tx):
        wish = record.reduction
        key = (account_id, tx.id)
        if makes_its_order(wish, tx) and not tx.type.endswith("_REJECT"):
            turn.live.closing.setdefault(key, wish.reduction_id)  # the oldest of two alike
            continue
        own = turn.live.closing.get((account_id, tx.order_id or "")) == wish.reduction_id
        told = read_log(wish, tx, (tx.order_id or "") if own else "")
        if told is None and record.state is not S.ABSENT:
            told = _overtaken(wish, book)
        if told is not None:
            move(turn, record, told)
    turn.live.closing.pop((account_id, tx.order_id or ""), None)


def _watched(turn: Turn, account_id: AccountId, tx: Transaction) -> list[ReductionRecord]:
    """What is open there; and what was thought absent, where the transaction bears its name."""
    state = turn.state
    found = [r for r in state.reductions.values() if r.reduction.account_id == account_id]
    names = (
        tx.client_extensions.id if tx.client_extensions is not None else None,
        tx.client_order_id,
    )
    late = (state.reduced.get(name) for name in names if name)
    return [*found, *(r for r in late if r is not None and r.state is S.ABSENT)]


def _overtaken(wish: Reduction, book: Book) -> Told | None:
    """What the books say without a word of its own: another hand, or a stop, was quicker."""
    if wish.kind is ReduceKind.CANCEL_ORDER:
        return None  # whatever ends an order names it
    trade = book.trades.get(wish.target)
    if wish.kind is ReduceKind.CLOSE_POSITION:
        long, short = _sides(book, wish.instrument)
        gone = not (long if wish.side is not Side.SELL else ZERO) and not (
            short if wish.side is not Side.BUY else ZERO
        )
        return _gone(wish) if gone else None
    if trade is None:
        return _gone(wish)
    if wish.kind is ReduceKind.TIGHTEN_STOP and _stands(wish, trade):
        return Told(state=S.DONE, reason=f"the stop stands at {trade.stop_price}")
    return None


def _gone(wish: Reduction) -> Told:
    if wish.kind.closes and wish.units is None:
        return Told(state=S.DONE, reason="it is closed")
    return Told(state=S.REFUSED, reason="it was closed before")


def _stands(wish: Reduction, trade: OpenTrade) -> bool:
    if trade.stop_price is None or wish.price is None:
        return False
    return (trade.stop_price - wish.price) * (1 if trade.units > 0 else -1) >= 0


# -- looking for what is unknown -------------------------------------------------------------------


def look_for(turn: Turn, name: str) -> None:
    """Begin the search for one that is UNKNOWN, as for an order (O5); nothing if it is not."""
    record = turn.state.reductions.get(name)
    if record is None or record.state is not S.UNKNOWN:
        return
    wish = record.reduction
    turn.live.settling.setdefault(name, Settling(ended_ns=turn.now, highest=wish.watermark))
    live = turn.live.account(wish.account_id)
    if live.reading_ns is None:
        live.attempt = 0
    sending.read_again(turn, wish.account_id)


def after_read(turn: Turn, account_id: AccountId, last_id: int) -> None:
    """A whole read has come: what it did not settle is nearer to absent (O6)."""
    book = _book(turn.world, account_id)
    for record in sending.reductions_unknown(turn, account_id):
        settling = turn.live.settling.get(record.reduction.reduction_id)
        if settling is None or book is None:
            continue
        settling.count(turn.now, last_id, book.last_id)
        if settling.is_absent(turn.now):
            reason = "absent from the venue's log after several reads"
            move(turn, record, Told(state=S.ABSENT, reason=reason))


def keep(turn: Turn) -> None:
    """On each beat: those whose sender fell silent are looked for."""
    for record in list(turn.state.reductions.values()):
        silent = turn.now - record.reduction.expires_ns > _SENDER_SILENT_NS
        if silent and record.state is S.WRITTEN:
            move(turn, record, Told(state=S.UNKNOWN, reason="the sender does not tell"))
            look_for(turn, record.reduction.reduction_id)


def begin_life(turn: Turn) -> None:
    """What an earlier life left: it may have been sent (R1)."""
    for name, record in list(turn.state.reductions.items()):
        if record.state is S.WRITTEN:
            told = Told(state=S.UNKNOWN, reason="crash: left by an earlier life")
            move(turn, record, told)
        turn.live.settling[name] = Settling(ended_ns=turn.now, highest=record.reduction.watermark)
