"""What each fact changes in the tables that people ask; runs in the fact's own transaction."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from orchestrator.adapters.store.statements import statements
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
    import sqlite3
    from collections.abc import Callable, Sequence

    from orchestrator.model.journal import Record
    from orchestrator.model.venue import Trade, Transaction

# Each handler takes its own type of fact; the table below pairs them.
Handler: TypeAlias = "Callable[[sqlite3.Connection, Record, Any], None]"


class Projector:
    """Applies facts to the projections; the caller owns the transaction."""

    def __init__(self) -> None:
        self._sql = statements("projections")
        self._handlers: dict[type[Any], Handler] = {
            AccountAdopted: self._adopt_account,
            SignalAccepted: self._accept_signal,
            SignalEnded: self._end_signal,
            IntentWritten: self._write_intent,
            IntentMoved: self._move_intent,
            TransactionApplied: self._add_transaction,
            TradeOpened: self._open_trade,
            TradeClosed: self._close_trade,
            TradeOutcome: self._add_outcome,
            BreakerTripped: self._trip_breaker,
            BreakerReset: self._reset_breaker,
            AlertRaised: self._add_alert,
        }

    def project(
        self, db: sqlite3.Connection, records: Sequence[Record], facts: Sequence[Fact]
    ) -> None:
        """Facts without a handler stand in the journal alone. sqlite3.Error passes."""
        handlers = self._handlers
        for record, fact in zip(records, facts, strict=True):
            handler = handlers.get(type(fact))
            if handler is not None:
                handler(db, record, fact)

    def _adopt_account(self, db: sqlite3.Connection, record: Record, fact: AccountAdopted) -> None:
        account = fact.account
        db.execute(self._sql["add_account"], (account.id, account.currency, record.seq))
        for trade in account.trades or ():
            if trade.current_units != 0:
                self._add_known_trade(db, account.id, trade)

    def _add_known_trade(self, db: sqlite3.Connection, account_id: str, trade: Trade) -> None:
        # Whose it is, the kernel says with TradeOpened; until then nobody's.
        units = trade.initial_units or trade.current_units
        db.execute(
            self._sql["add_known_trade"],
            (
                account_id, trade.id, trade.instrument, str(units), str(trade.current_units),
                str(trade.price), _instant(trade.open_time), 0, "", "", "",
            ),
        )  # fmt: skip

    def _accept_signal(self, db: sqlite3.Connection, record: Record, fact: SignalAccepted) -> None:
        signal = fact.signal
        db.execute(
            self._sql["add_signal"],
            (record.seq, signal.signal_id, signal.strategy, signal.instrument),
        )

    def _end_signal(self, db: sqlite3.Connection, record: Record, fact: SignalEnded) -> None:
        db.execute(self._sql["add_refused_signal"], (record.seq, fact.signal_id))
        db.execute(
            self._sql["end_signal"],
            (fact.signal_id, fact.account_id, fact.outcome.value, record.seq),
        )

    def _write_intent(self, db: sqlite3.Connection, record: Record, fact: IntentWritten) -> None:
        intent = fact.intent
        proposal = intent.proposal
        db.execute(
            self._sql["add_intent"],
            (
                record.seq, intent.intent_id, proposal.signal_id, proposal.account_id,
                proposal.leg, proposal.strategy, record.ts,
            ),
        )  # fmt: skip

    def _move_intent(self, db: sqlite3.Connection, record: Record, fact: IntentMoved) -> None:
        db.execute(
            self._sql["move_intent"],
            (
                fact.state.value, fact.reason, record.ts, fact.order_id, fact.trade_id,
                fact.first_byte_ns, fact.latency_us, fact.intent_id,
            ),
        )  # fmt: skip

    def _add_transaction(
        self, db: sqlite3.Connection, record: Record, fact: TransactionApplied
    ) -> None:
        transaction = fact.transaction
        number = transaction.number
        db.execute(self._sql["add_transaction"], (fact.account_id, number, record.seq))
        db.executemany(
            self._sql["link_transaction"],
            [(fact.account_id, kind, ref, number) for kind, ref in links(transaction)],
        )

    def _open_trade(self, db: sqlite3.Connection, record: Record, fact: TradeOpened) -> None:
        del record
        units = str(fact.units)
        db.execute(
            self._sql["open_trade"],
            (
                fact.account_id, fact.trade_id, fact.instrument, units, units, str(fact.price),
                fact.opened_ns, fact.ours, fact.intent_id, fact.signal_id, fact.strategy,
                fact.regime, _text(fact.stop_price), _text(fact.target_price),
                _text(fact.reference_price), str(fact.half_spread_cost),
            ),
        )  # fmt: skip

    def _close_trade(self, db: sqlite3.Connection, record: Record, fact: TradeClosed) -> None:
        key = (fact.account_id, fact.trade_id)
        # A trade that was never seen opening (adopted as a summary) still has its close shown.
        db.execute(
            self._sql["add_known_trade"],
            (
                *key, fact.instrument, str(fact.units + fact.remaining), str(fact.remaining), None,
                record.ts, fact.ours, "", fact.signal_id, fact.strategy,
            ),
        )  # fmt: skip
        realized_pl, financing = db.execute(self._sql["trade_sums"], key).fetchone()
        db.execute(
            self._sql["close_trade"],
            (
                str(fact.remaining), fact.remaining != 0,
                str(Decimal(realized_pl) + fact.realized_pl),
                str(Decimal(financing) + fact.financing),
                str(fact.price), fact.reason, fact.closed_ns, *key,
            ),
        )  # fmt: skip

    def _add_outcome(self, db: sqlite3.Connection, record: Record, fact: TradeOutcome) -> None:
        db.execute(
            self._sql["add_outcome"],
            (record.seq, fact.account_id, fact.trade_id, fact.strategy, str(fact.r_multiple)),
        )

    def _trip_breaker(self, db: sqlite3.Connection, record: Record, fact: BreakerTripped) -> None:
        db.execute(
            self._sql["trip_breaker"],
            (
                fact.breaker, fact.subject, fact.scope.value, record.seq, fact.latched,
                fact.effect.value, fact.evidence, record.ts, fact.until_ns, fact.actor,
            ),
        )  # fmt: skip

    def _reset_breaker(self, db: sqlite3.Connection, record: Record, fact: BreakerReset) -> None:
        db.execute(
            self._sql["reset_breaker"],
            (record.seq, record.ts, fact.actor, fact.reason, fact.breaker, fact.subject),
        )

    def _add_alert(self, db: sqlite3.Connection, record: Record, fact: AlertRaised) -> None:
        db.execute(self._sql["add_alert"], (record.seq, fact.alert.severity.value))


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
