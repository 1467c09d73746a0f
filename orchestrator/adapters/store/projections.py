"""What each fact changes in the tables that people ask: statements of its transaction."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from orchestrator.model.facts import (
    AccountAdopted,
    AlertRaised,
    BreakerReset,
    BreakerTripped,
    Fact,
    IntentMoved,
    IntentWritten,
    SignalAccepted,
    SignalEnded,
    TransactionApplied,
)
from orchestrator.model.outcomes import TradeClosed, TradeOpened, TradeOutcome
from orchestrator.model.time import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from orchestrator.model.journal import Record
    from orchestrator.model.venue import Trade, Transaction

# A statement of sql/projections.sql by its name, and what it is given.
Change: TypeAlias = "tuple[str, tuple[Any, ...]]"
# Each handler takes its own type of fact; the table below pairs them.
Handler: TypeAlias = "Callable[[Record, Any], Iterable[Change]]"


def changes(records: Sequence[Record], facts: Sequence[Fact]) -> Iterator[Change]:
    """In the order in which they are to be made. Facts without any stand in the journal alone."""
    for record, fact in zip(records, facts, strict=True):
        handler = _HANDLERS.get(type(fact))
        if handler is not None:
            yield from handler(record, fact)


def _adopt_account(record: Record, fact: AccountAdopted) -> Iterator[Change]:
    account = fact.account
    yield "add_account", (account.id, account.currency, record.seq)
    for trade in account.trades or ():
        if trade.current_units != 0:
            yield _known_trade(account.id, trade)


def _known_trade(account_id: str, trade: Trade) -> Change:
    # Whose it is, the kernel says with TradeOpened; until then nobody's.
    units = trade.initial_units or trade.current_units
    return "add_known_trade", (
        account_id, trade.id, trade.instrument, str(units), str(trade.current_units),
        str(trade.price), _instant(trade.open_time), 0, "", "", "",
    )  # fmt: skip


def _accept_signal(record: Record, fact: SignalAccepted) -> Iterator[Change]:
    signal = fact.signal
    yield "add_signal", (record.seq, signal.signal_id, signal.strategy, signal.instrument)


def _end_signal(record: Record, fact: SignalEnded) -> Iterator[Change]:
    yield "add_refused_signal", (record.seq, fact.signal_id)
    yield "end_signal", (fact.signal_id, fact.account_id, fact.outcome.value, record.seq)


def _write_intent(record: Record, fact: IntentWritten) -> Iterator[Change]:
    intent = fact.intent
    proposal = intent.proposal
    yield (
        "add_intent",
        (
            record.seq, intent.intent_id, proposal.signal_id, proposal.account_id, proposal.leg,
            proposal.strategy, record.ts,
        ),
    )  # fmt: skip


def _move_intent(record: Record, fact: IntentMoved) -> Iterator[Change]:
    yield (
        "move_intent",
        (
            fact.state.value, fact.reason, record.ts, fact.order_id, fact.trade_id,
            fact.first_byte_ns, fact.latency_us, fact.intent_id,
        ),
    )  # fmt: skip


def _add_transaction(record: Record, fact: TransactionApplied) -> Iterator[Change]:
    transaction = fact.transaction
    number = transaction.number
    yield "add_transaction", (fact.account_id, number, record.seq)
    for kind, ref in links(transaction):
        yield "link_transaction", (fact.account_id, kind, ref, number)


def _open_trade(record: Record, fact: TradeOpened) -> Iterator[Change]:
    del record
    units = str(fact.units)
    yield (
        "open_trade",
        (
            fact.account_id, fact.trade_id, fact.instrument, units, units, str(fact.price),
            fact.opened_ns, int(fact.ours), fact.intent_id, fact.signal_id, fact.strategy,
            fact.regime, _text(fact.stop_price), _text(fact.target_price),
            _text(fact.reference_price), str(fact.half_spread_cost),
        ),
    )  # fmt: skip


def _close_trade(record: Record, fact: TradeClosed) -> Iterator[Change]:
    key = (fact.account_id, fact.trade_id)
    # A trade that was never seen opening (adopted as a summary) still has its close shown.
    yield (
        "add_known_trade",
        (
            *key, fact.instrument, str(fact.units + fact.remaining), str(fact.remaining), None,
            record.ts, int(fact.ours), "", fact.signal_id, fact.strategy,
        ),
    )  # fmt: skip
    yield (
        "close_trade",
        (
            str(fact.remaining), int(fact.remaining != 0), str(fact.realized_pl),
            str(fact.financing), str(fact.price), fact.reason, fact.closed_ns, *key,
        ),
    )  # fmt: skip


def _add_outcome(record: Record, fact: TradeOutcome) -> Iterator[Change]:
    multiple = str(fact.r_multiple)
    yield "add_outcome", (record.seq, fact.account_id, fact.trade_id, fact.strategy, multiple)


def _trip_breaker(record: Record, fact: BreakerTripped) -> Iterator[Change]:
    yield (
        "trip_breaker",
        (
            fact.breaker, fact.subject, fact.scope.value, record.seq, int(fact.latched),
            fact.effect.value, fact.evidence, record.ts, fact.until_ns, fact.actor,
        ),
    )  # fmt: skip


def _reset_breaker(record: Record, fact: BreakerReset) -> Iterator[Change]:
    key = (fact.breaker, fact.subject)
    yield "reset_breaker", (record.seq, record.ts, fact.actor, fact.reason, *key)


def _add_alert(record: Record, fact: AlertRaised) -> Iterator[Change]:
    yield "add_alert", (record.seq, fact.alert.severity.value)


_HANDLERS: dict[type[Any], Handler] = {
    AccountAdopted: _adopt_account,
    SignalAccepted: _accept_signal,
    SignalEnded: _end_signal,
    IntentWritten: _write_intent,
    IntentMoved: _move_intent,
    TransactionApplied: _add_transaction,
    TradeOpened: _open_trade,
    TradeClosed: _close_trade,
    TradeOutcome: _add_outcome,
    BreakerTripped: _trip_breaker,
    BreakerReset: _reset_breaker,
    AlertRaised: _add_alert,
}


def links(transaction: Transaction) -> set[tuple[str, str]]:
    """(kind, id) of the other orders, the trades and the client ids that it speaks of.

    A fill's client id is left out: its order has it.
    """
    found = {
        ("order", transaction.order_id),
        ("trade", transaction.trade_id),
        ("trade", transaction.closed_trade_id),
    }
    if transaction.client_extensions is not None:
        found.add(("client", transaction.client_extensions.id))
    for part in (transaction.trade_opened, transaction.trade_reduced):
        if part is not None:
            found.add(("trade", part.trade_id))
    found.update(("trade", closed.trade_id) for closed in transaction.trades_closed or ())
    for position in transaction.position_financings or ():
        found.update(("trade", part.trade_id) for part in position.open_trade_financings)
    return {(kind, ref) for kind, ref in found if ref}


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _instant(text: str) -> int:
    # The venue's text; its trades are worth showing even with a time that cannot be read.
    try:
        return parse_time(text)
    except ValueError:
        return 0
