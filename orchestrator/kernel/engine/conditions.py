"""Why a breaker that a person wants to reset still holds (SAFETY B2: condition false)."""

from __future__ import annotations

from orchestrator.kernel.engine import flow, profiling, scene, sending
from orchestrator.kernel.engine.probing import still_troubled
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.safety.breakers.a2_drawdown import a2_drawdown
from orchestrator.kernel.safety.breakers.a8_divergence import a8_differs, a8_late, a8_naked
from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.time import NS_PER_S

_NAKED_NS = 5 * NS_PER_S


def still(turn: Turn, breaker: str, subject: str) -> str | None:
    """The condition that is still true; None: it is not, or it was an event that is over."""
    account_id = AccountId(subject)
    if breaker == "A2":
        return _drawdown(turn, account_id)
    if breaker == "A4":
        record = turn.world.record(account_id)
        return None if record is None else flow.still_repeating(turn, record)
    if breaker == "A8":
        return _divergence(turn, account_id)
    if breaker == "A11":
        return profiling.still(turn, account_id)
    if breaker == "S12":
        return turn.live.audit_trouble or None
    return still_troubled(turn, breaker, InstrumentName(subject))


def _drawdown(turn: Turn, account_id: AccountId) -> str | None:
    record, nav = turn.world.record(account_id), scene.nav_of(turn.world, account_id)
    if record is None or record.day is None or nav is None:
        return "the account's money is not known"
    limits, breakers = turn.world.limits(account_id), turn.world.plan.breakers
    level = a2_drawdown(nav, record.day.peak, limits, breakers)
    return f"{level.evidence}: rebase the peak" if level is not None and level.crossed else None


def _divergence(turn: Turn, account_id: AccountId) -> str | None:
    record = turn.world.record(account_id)
    if record is None or record.book is None or not record.reconciled:
        told = None if record is None else a8_differs(record.differences)
        return told or "the account is not reconciled"
    naked = turn.live.account(account_id).naked
    for trade in record.book.trades.values():
        if sending.is_late(turn, trade.intent_id):
            return a8_late(trade.intent_id, trade.trade_id)
        seen = naked.get(trade.trade_id)
        if seen is not None and turn.now - seen[0] >= _NAKED_NS:
            return a8_naked(trade.trade_id)
    return None
