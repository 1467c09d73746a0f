"""The venue's word on accounts: adopted, kept by transactions, reconciled; A7 and O10."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.kernel.engine import (
    flow,
    leverage,
    losses,
    profiling,
    reducing,
    scene,
    sending,
)
from orchestrator.kernel.engine.holding import hold
from orchestrator.kernel.engine.live import AccountLive, Ahead
from orchestrator.kernel.engine.losses import Witness
from orchestrator.kernel.engine.state import AccountRecord
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.ledger.book import Book, Changes, OpenTrade
from orchestrator.kernel.orders.body import close_trade, protect
from orchestrator.kernel.orders.identity import is_ours
from orchestrator.kernel.orders.reconcile import differences
from orchestrator.kernel.safety.breakers.a7_unknown import Knowledge, a7_unknown
from orchestrator.kernel.safety.breakers.a8_divergence import (
    a8_differs,
    a8_late,
    a8_naked,
    a8_nameless,
)
from orchestrator.kernel.safety.breakers.a9_foreign import a9_foreign
from orchestrator.model.acts import FetchAccount, FetchTransactions, Write
from orchestrator.model.events import AccountSeen, SpecsSeen
from orchestrator.model.facts import (
    AccountAdopted,
    AccountReconciled,
    SpecsLearned,
    TransactionApplied,
    TransactionHole,
)
from orchestrator.model.market import StreamBeat
from orchestrator.model.money import AccountId
from orchestrator.model.safety import Scope, Severity
from orchestrator.model.time import NS_PER_S
from orchestrator.model.venue import Account, Transaction

_READ_EVERY_NS = 30 * NS_PER_S  # O11
_MISMATCHES_MAX = 3
_AHEAD_NS = 2 * NS_PER_S  # O8
_POLL_NS = 7 * NS_PER_S  # a silent stream is helped by a read before A7 calls it unknown
_PROTECT_AFTER_NS = 2 * NS_PER_S  # O10
_CLOSE_AFTER_NS = 5 * NS_PER_S

# -- rules and snapshots ---------------------------------------------------------------------------


def on_specs(turn: Turn, event: SpecsSeen) -> None:
    record = turn.world.record(event.account_id)
    if record is None:
        return
    if {spec.name: spec for spec in event.specs} != record.specs:
        turn.say(SpecsLearned(account_id=event.account_id, specs=event.specs))
        turn.live.books_moved(event.account_id)


def on_account(turn: Turn, event: AccountSeen) -> None:
    account = event.account
    record = turn.world.record(account.id)
    if record is None or account.id not in turn.world.plans:
        return
    if account.trades is None or account.orders is None:
        return  # a summary proves nothing about trades
    live = turn.live.account(account.id)
    live.heard_ns = turn.now
    if record.book is None:
        _adopt(turn, record, account)
    else:
        _compare(turn, record, record.book, account)
    book = record.book
    # A NAV of another transaction says nothing: money may have been moved in between.
    level = book is not None and int(account.last_transaction_id) == book.last_id
    if level and account.nav is not None and account.nav.is_finite() and record.reconciled:
        losses.judge_told(turn, account.id, account.nav)
        leverage.judge_told(turn, account.id, account.margin_closeout_percent)


def _adopt(turn: Turn, record: AccountRecord, account: Account) -> None:
    turn.say(AccountAdopted(account=account))
    turn.live.books_moved(account.id)
    _reconciled(turn, record, account, ())


def _compare(turn: Turn, record: AccountRecord, book: Book, account: Account) -> None:
    """Only books at the same transaction can be compared: read up to it first."""
    live, number = turn.live.account(account.id), int(account.last_transaction_id)
    if number < book.last_id:
        if not record.reconciled:
            turn.do(FetchAccount(account_id=account.id))
        return
    if number > book.last_id:
        live.compare = account
        _fetch(turn, account.id, book)
        return
    live.compare = None
    found = differences(book, account)
    if not found:
        live.mismatches = 0
        if not record.reconciled:
            _reconciled(turn, record, account, ())
        return
    live.mismatches += 1
    if live.mismatches < _MISMATCHES_MAX:
        _fetch(turn, account.id, book)
        turn.do(FetchAccount(account_id=account.id))
    elif record.differences != found:
        _reconciled(turn, record, account, found)


def _reconciled(
    turn: Turn, record: AccountRecord, account: Account, found: tuple[str, ...]
) -> None:
    assert record.book is not None, "only adopted accounts are reconciled"
    turn.say(AccountReconciled(
        account_id=account.id, last_transaction_id=record.book.last_id, differences=found
    ))  # fmt: skip
    if found:
        turn.alert(
            f"differs:{account.id}", Severity.CRITICAL, f"{account.id} differs from the venue",
            "; ".join(found[:5]), account.id,
        )  # fmt: skip
        diverged(turn, account.id, a8_differs(found))
        return
    # E0 of a day that began while we were away: the higher of balance and NAV (SAFETY B4).
    nav = account.nav if account.nav is not None and account.nav.is_finite() else account.balance
    if record.day is None:
        losses.begin_day(turn, account.id, nav)
    elif record.day.day != losses.know_day(turn):
        losses.begin_day(turn, account.id, max(account.balance, nav))
    profiling.take(turn, account.id)  # the settings may have changed since the last life


def diverged(turn: Turn, account_id: AccountId, evidence: str | None) -> None:
    """A8: latched until a person has looked."""
    if evidence is not None and turn.state.board.get("A8", account_id) is None:
        turn.trip("A8", Scope.ACCOUNT, evidence, subject=account_id, latched=True)


def _fetch(turn: Turn, account_id: AccountId, book: Book) -> None:
    live = turn.live.account(account_id)
    if live.reading_ns is None:
        live.reading_ns = turn.now
        turn.do(FetchTransactions(account_id=account_id, since=book.last_id))


# -- the one door ----------------------------------------------------------------------------------


def take(
    turn: Turn,
    account_id: AccountId,
    transactions: Sequence[Transaction],
    last_id: int,
    source: str,
    complete_to: int = 0,
) -> None:
    """Transactions from anywhere go in once, in id order (O8)."""
    record = turn.world.record(account_id)
    if record is None or record.book is None:
        return
    live, book = turn.live.account(account_id), record.book
    live.heard_ns = turn.now
    known_to = max(last_id, live.ahead.number if live.ahead is not None else 0)
    admission = live.door.admit(book.last_id, transactions, complete_to, known_to)
    for entry in admission.in_order:
        if isinstance(entry, int):
            turn.say(TransactionHole(account_id=account_id, transaction_id=entry))
        else:
            _apply(turn, account_id, book, entry, source)
    if admission.in_order:
        turn.live.books_moved(account_id)
        sure = not book.trades  # the balance is the venue's own figure
        losses.judge(turn, (account_id,), Witness(sure=sure))
    _note_gap(turn, live, book, missing=admission.missing)
    if complete_to:
        reducing.after_read(turn, account_id, last_id)
        sending.after_read(turn, account_id, last_id)
    # A stream often runs ahead of an answer by a moment; only a real gap is worth a read.
    if admission.missing and (source != "stream" or live.door.held):
        _fetch(turn, account_id, book)
    waiting = live.compare
    if waiting is not None and book.last_id >= int(waiting.last_transaction_id):
        live.compare = None
        on_account(turn, AccountSeen(account=waiting))


def _note_gap(turn: Turn, live: AccountLive, book: Book, *, missing: bool) -> None:
    """A gap is known from now on, or it is closed."""
    if not missing:
        live.behind_ns = None
    elif live.behind_ns is None:
        live.behind_ns = turn.now
    if live.ahead is not None and live.ahead.number <= book.last_id:
        live.ahead = None


def _apply(turn: Turn, account_id: AccountId, book: Book, tx: Transaction, source: str) -> None:
    name = sending.name_of(book, tx)
    changes = turn.say(TransactionApplied(account_id=account_id, transaction=tx, source=source))
    for opened in changes.opened:
        turn.say(opened)
    for closed in changes.closed:
        turn.say(closed)
        flow.on_closed(turn, closed)
    _tell_people(turn, account_id, tx, changes)
    for stranger in changes.strangers:
        _strange(turn, account_id, book, stranger)
    if name:
        sending.settle_by(turn, name, tx)
    reducing.settle_by(turn, account_id, book, tx)


def _strange(turn: Turn, account_id: AccountId, book: Book, client_id: str) -> None:
    """A9 where the account is ours alone; A8 where the order is in our own form (R6)."""
    if turn.world.plans[account_id].exclusive:
        hold(turn, "A9", _foreign(turn, book), account_id)
    if is_ours(client_id):
        diverged(turn, account_id, a8_nameless(client_id))


def _tell_people(turn: Turn, account_id: AccountId, tx: Transaction, changes: Changes) -> None:
    for problem in changes.problems:
        turn.alert(
            f"ledger:{account_id}:{tx.id}", Severity.WARNING, "The venue's figures do not add up",
            problem, account_id,
        )  # fmt: skip
    for stranger in changes.strangers:
        # Of our own form without an intent: a restored store, or another service of ours (R6).
        severity = Severity.CRITICAL if is_ours(stranger) else Severity.WARNING
        turn.alert(
            f"foreign:{account_id}:{tx.id}", severity, "An order that is not ours",
            f"{tx.type} {tx.id} {tx.units or ''} {tx.instrument or ''} {stranger}".strip(),
            account_id,
        )  # fmt: skip


def _foreign(turn: Turn, book: Book) -> str | None:
    trades = [trade.trade_id for trade in book.trades.values() if not trade.ours]
    orders = [
        order.order_id
        for order in book.orders.values()
        if order.is_entry and turn.state.intent_of(order.client_id) is None
    ]
    return a9_foreign(trades, orders)


# -- streams ---------------------------------------------------------------------------------------


def on_stream_beat(turn: Turn, beat: StreamBeat) -> None:
    record = turn.world.record(beat.account_id)
    if record is None:
        return
    live = turn.live.account(beat.account_id)
    live.heard_ns = turn.now
    if record.book is None or beat.last_transaction_id is None:
        return
    told = beat.last_transaction_id
    number = int(told) if told.isascii() and told.isdigit() else 0
    if number <= record.book.last_id:
        live.ahead = None
        if not live.door.held:
            live.behind_ns = None  # what an earlier line said of more was not so
    elif live.ahead is None:
        live.ahead = Ahead(number, turn.now)
    else:
        live.ahead = Ahead(max(number, live.ahead.number), live.ahead.since_ns)


def on_stream_up(turn: Turn, account_id: AccountId) -> None:
    """What happened while the stream was down is read at once."""
    record = turn.world.record(account_id)
    if record is not None and record.book is not None:
        _fetch(turn, account_id, record.book)


# -- each beat -------------------------------------------------------------------------------------


def keep_accounts(turn: Turn) -> None:
    for account_id in turn.world.account_ids:
        record, live = turn.state.accounts[account_id], turn.live.account(account_id)
        if turn.now - live.asked_ns >= _READ_EVERY_NS:
            live.asked_ns = turn.now
            turn.do(FetchAccount(account_id=account_id))
        if record.book is not None:
            _keep_log(turn, account_id, record.book)
            _keep_protected(turn, account_id, record, record.book)
            if turn.state.board.get("A9", account_id) is not None:
                hold(turn, "A9", _foreign(turn, record.book), account_id)
        _keep_known(turn, account_id, record)


def _keep_log(turn: Turn, account_id: AccountId, book: Book) -> None:
    """A heartbeat ahead of us for 2 s, or a silent stream: read what is missing."""
    live = turn.live.account(account_id)
    ahead = live.ahead is not None and turn.now - live.ahead.since_ns > _AHEAD_NS
    silent = live.heard_ns is None or turn.now - live.heard_ns > _POLL_NS
    if ahead or silent or live.door.held:
        _fetch(turn, account_id, book)


def _keep_known(turn: Turn, account_id: AccountId, record: AccountRecord) -> None:
    """A7, judged each second and left at once when all is known."""
    live, started = turn.live.account(account_id), turn.live.started_ns
    if not started:
        return
    grace = not record.differences and turn.now - started < 10 * NS_PER_S
    waiting = (*sending.unknown_of(turn, account_id), *sending.reductions_unknown(turn, account_id))
    known = Knowledge(
        reconciled=record.reconciled or grace,
        differences=record.differences,
        unknown_since_ns=min((intent.since_ns for intent in waiting), default=None),
        behind_ns=live.behind_ns
        if live.behind_ns is not None or live.ahead is None
        else live.ahead.since_ns,
        heard_ns=live.heard_ns if live.heard_ns is not None else started,
        valued=scene.nav_of(turn.world, account_id) is not None or record.book is None or grace,
    )
    evidence = a7_unknown(known, turn.now, turn.world.plan.breakers)
    trip = turn.state.board.get("A7", account_id)
    if evidence is not None and trip is None:
        turn.trip("A7", Scope.ACCOUNT, evidence, subject=account_id)
    elif evidence is None and trip is not None and not trip.latched:
        turn.reset("A7", Scope.ACCOUNT, account_id, "known again")


def _keep_protected(turn: Turn, account_id: AccountId, record: AccountRecord, book: Book) -> None:
    """O10: a trade of ours without a stop gets one after 2 s, or is closed after 5 s.

    O7: the trade of an order that came late is closed, again and again until it is gone.
    """
    naked = turn.live.account(account_id).naked
    ours = [trade for trade in book.trades.values() if trade.ours]
    late = {trade.trade_id for trade in ours if sending.is_late(turn, trade.intent_id)}
    bare = {t.trade_id: t for t in ours if not t.protected or t.trade_id in late}
    for gone in [trade_id for trade_id in naked if trade_id not in bare]:
        del naked[gone]
    for trade_id, trade in bare.items():
        seen = naked.setdefault(trade_id, [turn.now, 0])
        age = turn.now - seen[0]
        if age >= _PROTECT_AFTER_NS and turn.now - seen[1] >= _PROTECT_AFTER_NS:
            seen[1] = turn.now
            if trade_id in late:
                request = close_trade(account_id, trade_id)
                turn.do(Write(request=request, reason=f"late order {trade.intent_id} (O7)"))
            else:
                _protect(turn, account_id, record, trade, late=age >= _CLOSE_AFTER_NS)
        if age >= _CLOSE_AFTER_NS:
            evidence = a8_naked(trade_id) if trade_id not in late else None
            diverged(turn, account_id, evidence or a8_late(trade.intent_id, trade_id))


def _protect(
    turn: Turn, account_id: AccountId, record: AccountRecord, trade: OpenTrade, *, late: bool
) -> None:
    spec, stop = record.specs.get(trade.instrument), trade.initial_stop
    where = f"trade {trade.trade_id} of {account_id}"
    if late or spec is None or stop is None:
        request = close_trade(account_id, trade.trade_id)
        turn.do(Write(request=request, reason=f"{where} has no stop (O10)"))
        turn.alert(
            f"naked:{account_id}:{trade.trade_id}", Severity.CRITICAL,
            "A trade without a stop is being closed", where, account_id,
        )  # fmt: skip
        return
    request = protect(account_id, trade.trade_id, spec, stop)
    turn.do(Write(request=request, reason=f"{where} has no stop (O10)"))
