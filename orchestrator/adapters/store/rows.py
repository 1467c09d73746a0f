"""Columns into the rows that readers get; the columns' order is that of sql/queries.sql."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from orchestrator.adapters.store.codec import DbRow, read
from orchestrator.model.facts import (
    AlertRaised,
    IntentWritten,
    SignalAccepted,
    SignalEnded,
    TransactionApplied,
)
from orchestrator.model.money import Price, Units
from orchestrator.model.orders import IntentState
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.queries import (
    AlertRow,
    BreakerRow,
    IntentRow,
    OutcomeRow,
    SignalOutcomeRow,
    SignalRow,
    TradeRow,
    TransactionRow,
)
from orchestrator.model.safety import Effect, Scope

if TYPE_CHECKING:
    from collections.abc import Sequence


def signal_row(row: DbRow, ended: Sequence[DbRow]) -> SignalRow:
    seq, at_ns, signal_id, accepted, data = row
    outcomes = tuple(
        SignalOutcomeRow(cursor=one[0], at_ns=one[1], ended=read(SignalEnded, one[0], one[2]))
        for one in ended
    )
    fact = read(SignalAccepted, seq, data) if accepted else None
    return SignalRow(
        cursor=seq,
        at_ns=at_ns,
        signal_id=signal_id,
        signal=fact.signal if fact else None,
        accounts=fact.accounts if fact else tuple(one.ended.account_id for one in outcomes),
        outcomes=outcomes,
    )


def intent_row(row: DbRow) -> IntentRow:
    return IntentRow(
        cursor=row[0], at_ns=row[1], intent=read(IntentWritten, row[0], row[2]).intent,
        state=IntentState(row[3]), moved_ns=row[4], reason=row[5], order_id=row[6],
        trade_id=row[7], first_byte_ns=row[8], latency_us=row[9],
    )  # fmt: skip


def transaction_row(row: DbRow) -> TransactionRow:
    fact = read(TransactionApplied, row[2], row[4])
    return TransactionRow(
        cursor=row[0], at_ns=row[1], seq=row[2], account_id=row[3], source=fact.source,
        transaction=fact.transaction,
    )  # fmt: skip


def trade_row(row: DbRow) -> TradeRow:
    return TradeRow(
        cursor=row[0], account_id=row[1], trade_id=row[2], instrument=row[3],
        units=Units(Decimal(row[4])), open_units=Units(Decimal(row[5])), price=_price(row[6]),
        opened_ns=row[7], ours=bool(row[8]), intent_id=row[9], signal_id=row[10],
        strategy=row[11], regime=row[12], stop_price=_price(row[13]), target_price=_price(row[14]),
        reference_price=_price(row[15]), half_spread_cost=Decimal(row[16]),
        realized_pl=Decimal(row[17]), financing=Decimal(row[18]), close_price=_price(row[19]),
        close_reason=row[20], closed_ns=row[21],
    )  # fmt: skip


def outcome_row(row: DbRow) -> OutcomeRow:
    return OutcomeRow(cursor=row[0], at_ns=row[1], outcome=read(TradeOutcome, row[0], row[2]))


def alert_row(row: DbRow) -> AlertRow:
    return AlertRow(cursor=row[0], alert=read(AlertRaised, row[0], row[1]).alert)


def breaker_row(row: DbRow) -> BreakerRow:
    return BreakerRow(
        cursor=row[0], breaker=row[1], scope=Scope(row[2]), subject=row[3], tripped=bool(row[4]),
        latched=bool(row[5]), effect=Effect(row[6]), evidence=row[7], since_ns=row[8],
        until_ns=row[9], trips=row[10], actor=row[11], reset_ns=row[12], reset_by=row[13],
        reset_reason=row[14],
    )  # fmt: skip


def _price(text: str | None) -> Price | None:
    return None if text is None else Price(Decimal(text))
