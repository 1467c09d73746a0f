"""A signal's story in order: who decided what, why, when, how fast, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orchestrator.adapters.store.codec import fact_of
from orchestrator.model.facts import (
    ChecksDecided,
    Fact,
    IntentMoved,
    IntentWritten,
    SignalAccepted,
    SignalEnded,
    StageDecided,
)
from orchestrator.model.money import round_money
from orchestrator.model.outcomes import TradeClosed, TradeOpened, TradeOutcome
from orchestrator.model.queries import (
    ChecksRow,
    Explanation,
    Found,
    IntentRow,
    Moment,
    MoveRow,
    OutcomeRow,
    SignalRow,
    StageRow,
    TradeRow,
    TransactionRow,
)
from orchestrator.model.time import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.model.journal import Record
    from orchestrator.model.venue import Transaction


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of one signal."""

    signal: SignalRow
    records: list[Record]
    intents: tuple[IntentRow, ...]
    trades: tuple[TradeRow, ...]
    transactions: tuple[TransactionRow, ...]
    outcomes: tuple[OutcomeRow, ...]


def explanation(ref: str, found: Sequence[Found], story: Story) -> Explanation:
    """`found` is what the reference may mean, the first of it is told."""
    told = [(record, fact_of(record)) for record in story.records]
    return Explanation(
        ref=ref,
        found=found[0],
        signal=story.signal,
        stages=tuple(
            StageRow(cursor=record.seq, at_ns=record.ts, decided=fact)
            for record, fact in told
            if isinstance(fact, StageDecided)
        ),
        checks=tuple(
            ChecksRow(cursor=record.seq, at_ns=record.ts, decided=fact)
            for record, fact in told
            if isinstance(fact, ChecksDecided)
        ),
        intents=story.intents,
        moves=tuple(
            MoveRow(cursor=record.seq, at_ns=record.ts, moved=fact)
            for record, fact in told
            if isinstance(fact, IntentMoved)
        ),
        transactions=story.transactions,
        trades=story.trades,
        outcomes=story.outcomes,
        timeline=_timeline(told, story),
        also=tuple(found[1:]),
    )


def trades_opened(records: Sequence[Record]) -> tuple[tuple[str, str], ...]:
    """(account, trade id) of the trades that a story's records opened, in order."""
    facts = (fact_of(record) for record in records if record.type == "trade.opened")
    return tuple(
        (fact.account_id, fact.trade_id) for fact in facts if isinstance(fact, TradeOpened)
    )


def _timeline(told: Sequence[tuple[Record, Fact]], story: Story) -> tuple[Moment, ...]:
    moments = {
        record.seq: Moment(
            seq=record.seq,
            at_ns=record.ts,
            account_id=_account_of(fact),
            what=record.type,
            who=record.actor,
            text=sentence(fact),
        )
        for record, fact in told
    }
    for row in story.transactions:
        moments.setdefault(
            row.seq,
            Moment(
                seq=row.seq,
                at_ns=row.at_ns,
                account_id=row.account_id,
                what="transaction.applied",
                who="venue",
                text=transaction_sentence(row.transaction),
            ),
        )
    return tuple(moments[seq] for seq in sorted(moments))


def _account_of(fact: Fact) -> str:
    """Whose moment it is; "" for what concerns all accounts."""
    if isinstance(fact, IntentWritten):
        return fact.intent.account_id
    return str(getattr(fact, "account_id", ""))


def sentence(fact: Fact) -> str:  # noqa: C901, PLR0911 - a list of one line per kind of fact
    """What a fact of a signal's story says, for a person."""
    match fact:
        case SignalAccepted(signal=signal):
            return (
                f"{signal.strategy} wishes to {signal.side.value} {signal.instrument} at"
                f" {signal.reference_price}, stop {signal.stop_distance} away, confidence"
                f" {signal.confidence}, until {format_time(signal.expires_ns)}"
            )
        case StageDecided():
            verdict = "passed" if fact.passed else "rejected"
            reason = f": {fact.reason}" if fact.reason else ""
            return f"{fact.stage.value} {verdict} in {fact.latency_us} µs{reason}"
        case ChecksDecided():
            if fact.passed:
                return f"all {len(fact.checks)} checks passed"
            return f"checks refused: {'; '.join(fact.objections)}"
        case IntentWritten(intent=intent):
            proposal = intent.proposal
            return (
                f"intent {intent.intent_id} written: {proposal.units} {proposal.instrument},"
                f" stop {proposal.stop_price}, target {proposal.target_price or 'none'},"
                f" risk {round_money(intent.reservation.risk)}"
            )
        case IntentMoved():
            return _move_sentence(fact)
        case TradeOpened():
            return f"trade {fact.trade_id} opened: {fact.units} {fact.instrument} at {fact.price}"
        case TradeClosed():
            return (
                f"trade {fact.trade_id} closed by {fact.reason} at {fact.price}: P/L"
                f" {fact.realized_pl}, financing {fact.financing}, {fact.remaining} units remain"
            )
        case TradeOutcome():
            return f"trade {fact.trade_id} came to {fact.r_multiple} times its risk"
        case SignalEnded():
            by = f" by {fact.stage}" if fact.stage else ""
            reason = f": {fact.reason}" if fact.reason else ""
            return f"ended {fact.outcome.value}{by}{reason}"
        case _:  # facts that only name the signal in passing
            return type(fact).__name__


def _move_sentence(moved: IntentMoved) -> str:
    parts = [f"intent {moved.intent_id} is {moved.state.value}"]
    if moved.order_id:
        parts.append(f"order {moved.order_id}")
    if moved.trade_id:
        parts.append(f"trade {moved.trade_id}")
    if moved.first_byte_ns:
        parts.append(f"first byte {format_time(moved.first_byte_ns)}")
    if moved.latency_us:
        parts.append(f"took {moved.latency_us} µs")
    return ", ".join(parts) + (f": {moved.reason}" if moved.reason else "")


def transaction_sentence(transaction: Transaction) -> str:
    """The venue's own words, with what matters of the numbers."""
    parts = [f"transaction {transaction.id} {transaction.type}"]
    parts += [
        f"{name} {value}"
        for name, value in (
            ("reason", transaction.reason),
            ("rejected", transaction.reject_reason),
            ("order", transaction.order_id),
            ("trade", transaction.trade_id),
            ("units", transaction.units),
            ("price", transaction.price),
            ("P/L", transaction.pl),
            ("balance", transaction.account_balance),
        )
        if value is not None
    ]
    return ", ".join(parts)
