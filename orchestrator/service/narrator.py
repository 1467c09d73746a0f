"""Tells the log what a person would want to read of the journal: one line for each such fact."""

from __future__ import annotations

import structlog

from orchestrator.model.facts import (
    AccountAdopted,
    AccountReconciled,
    AccountSwitched,
    BreakerMoved,
    BreakerReset,
    BreakerTripped,
    Fact,
    ModeChanged,
    OperatorActed,
    ReductionMoved,
    Resumed,
    SignalEnded,
    Stopped,
)
from orchestrator.model.outcomes import ChangeProposed, PatternSeen, TradeClosed, TradeOpened
from orchestrator.model.safety import Severity
from orchestrator.model.signals import Outcome

log = structlog.get_logger()


def narrate(fact: Fact) -> None:  # noqa: C901, PLR0912 -- one table
    """Most facts say nothing here: the journal has them all."""
    match fact:
        case TradeOpened():
            log.info(
                "trade.opened", account=fact.account_id, trade=fact.trade_id,
                instrument=fact.instrument, units=str(fact.units), price=str(fact.price),
                stop=str(fact.stop_price), strategy=fact.strategy, signal=fact.signal_id,
            )  # fmt: skip
        case TradeClosed():
            log.info(
                "trade.closed", account=fact.account_id, trade=fact.trade_id,
                instrument=fact.instrument, units=str(fact.units), price=str(fact.price),
                result=str(fact.realized_pl), reason=fact.reason, strategy=fact.strategy,
            )  # fmt: skip
        case SignalEnded(outcome=Outcome.FAILED):
            log.warning(
                "signal.failed", signal=fact.signal_id, account=fact.account_id, reason=fact.reason
            )
        case SignalEnded():
            log.debug(
                "signal.ended", signal=fact.signal_id, account=fact.account_id,
                outcome=fact.outcome.value, stage=fact.stage, reason=fact.reason,
            )  # fmt: skip
        case BreakerTripped():
            log.warning(
                "breaker.tripped", breaker=fact.breaker, subject=fact.subject,
                effect=fact.effect.value, evidence=fact.evidence,
            )  # fmt: skip
        case BreakerMoved():
            log.info(
                "breaker.moved", breaker=fact.breaker, subject=fact.subject,
                state=fact.state.value, why=fact.reason,
            )  # fmt: skip
        case BreakerReset():
            log.info("breaker.reset", breaker=fact.breaker, subject=fact.subject, why=fact.reason)
        case ModeChanged():
            log.info("mode.changed", mode=fact.mode.value, actor=fact.actor, reason=fact.reason)
        case AccountAdopted():
            account = fact.account
            log.info(
                "account.adopted", account=account.id, currency=account.currency,
                balance=str(account.balance), transaction=account.last_transaction_id,
            )  # fmt: skip
        case AccountReconciled(differences=differences) if differences:
            log.error("account.differs", account=fact.account_id, differences=differences)
        case AccountSwitched():
            log.warning("account.switched", account=fact.account_id, enabled=fact.enabled)
        case OperatorActed():
            log.info("operator.acted", actor=fact.actor, action=fact.action, refused=fact.refused)
        case ReductionMoved():
            log.info(
                "reduction.moved", reduction=fact.reduction_id, account=fact.account_id,
                state=fact.state.value, why=fact.reason,
            )  # fmt: skip
        case Stopped():
            log.error("stop.raised", stop=fact.stop_id, actor=fact.actor, reason=fact.reason)
        case Resumed():
            log.warning("stop.resumed", stop=fact.stop_id, actor=fact.actor, reason=fact.reason)
        case PatternSeen(severity=Severity.WARNING | Severity.CRITICAL):
            log.warning("pattern.seen", kind=fact.kind, text=fact.text)
        case ChangeProposed():
            log.info("change.proposed", strategy=fact.strategy, what=fact.proposal)
        case _:
            return
