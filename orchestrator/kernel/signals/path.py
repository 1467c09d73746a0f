"""Where each signal stands between its stages: questions asked and not yet answered."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.money import ONE, ZERO, AccountId, Units
from orchestrator.model.signals import (
    Allocation,
    AskAllocation,
    Proposal,
    Question,
    Role,
    Score,
    Signal,
    Sizing,
    Verdict,
)
from orchestrator.model.time import Instant

EVERYWHERE = AccountId("")  # the allocation's account: it is asked once for all of them


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A question that waits for its answer. A crash forgets it: its signal then has failed."""

    ask_id: int
    role: Role
    signal_id: str
    account_id: AccountId
    question: Question
    deadline_ns: Instant


class Progress(msgspec.Struct, kw_only=True):
    """What the stages have said so far of one signal at one account."""

    weight: Decimal = ONE
    confidence: Decimal = ZERO
    score: Score | None = None
    sizing: Sizing | None = None


class Paths:
    """All open questions and progresses of this life. Bounded by the signals' times to live."""

    def __init__(self) -> None:
        self.asks: dict[int, Ask] = {}
        self._asked: dict[tuple[str, AccountId], int] = {}  # one open question at a time
        self.progress: dict[tuple[str, AccountId], Progress] = {}
        self._count = 0

    def next_id(self, epoch: int) -> int:
        """Unique over lives, so that an answer to an earlier life's question fits none of ours."""
        self._count += 1
        return epoch * 1_000_000_000 + self._count

    def open(self, ask: Ask) -> None:
        self.asks[ask.ask_id] = ask
        self._asked[ask.signal_id, ask.account_id] = ask.ask_id

    def close(self, ask_id: int) -> Ask | None:
        """Take an open question; None for one that was never asked, or answered already."""
        ask = self.asks.pop(ask_id, None)
        if ask is not None and self._asked.get((ask.signal_id, ask.account_id)) == ask_id:
            del self._asked[ask.signal_id, ask.account_id]
        return ask

    def late(self, now: Instant) -> list[Ask]:
        return [ask for ask in self.asks.values() if now > ask.deadline_ns]

    def forget(self, signal_id: str, account_id: AccountId) -> None:
        """The signal has ended there: nothing more is expected of it."""
        self.progress.pop((signal_id, account_id), None)
        ask_id = self._asked.pop((signal_id, account_id), None)
        if ask_id is not None:
            self.asks.pop(ask_id, None)


def shares_of(question: AskAllocation, answer: Allocation) -> list[tuple[AccountId, Decimal, str]]:
    """(account, weight, reason) in the order in which the accounts were asked about."""
    by_account = {share.account_id: share for share in answer.shares}
    return [
        (view.account_id, by_account[view.account_id].weight, by_account[view.account_id].reason)
        for view in question.accounts
    ]


def proposal_of(
    signal: Signal, account_id: AccountId, progress: Progress, sizing: Sizing, units: Units
) -> Proposal:
    """What the kernel checks: the signal as this account would trade it."""
    return Proposal(
        signal_id=signal.signal_id, account_id=account_id, strategy=signal.strategy,
        regime=signal.regime, instrument=signal.instrument, side=signal.side, units=units,
        reference_price=signal.reference_price, stop_price=sizing.stop_price,
        target_price=sizing.target_price, confidence=progress.confidence,
        score=progress.score.score if progress.score is not None else ZERO,
        created_ns=signal.created_ns, expires_ns=signal.expires_ns,
    )  # fmt: skip


def scaled_units(sizing: Sizing, verdict: Verdict) -> Decimal:
    """Before rounding: what Learning Safety leaves of the size."""
    return sizing.units * verdict.scale
