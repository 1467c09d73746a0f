"""Facts that the contract of the stores is tested with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.model.facts import (
    SignalEnded,
    TransactionApplied,
)
from orchestrator.model.signals import Outcome
from orchestrator.model.venue import Transaction
from tests.unit.adapters.store import samples

MakeStore = Callable[..., Any]


def ended(signal_id: str = "s1", outcome: Outcome = Outcome.REJECTED) -> SignalEnded:
    return SignalEnded(
        signal_id=signal_id, account_id=samples.ACCOUNT, outcome=outcome, stage="checks",
        reason="C05",
    )  # fmt: skip


def applied(number: int, kind: str = "DAILY_FINANCING") -> TransactionApplied:
    return TransactionApplied(
        account_id=samples.ACCOUNT, source="stream",
        transaction=Transaction(id=str(number), type=kind),
    )  # fmt: skip
