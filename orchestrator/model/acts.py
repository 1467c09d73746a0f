"""What the kernel asks its host to do, after the facts of the same step are durable."""

from __future__ import annotations

from typing import TypeAlias

from orchestrator.model.base import Message
from orchestrator.model.money import AccountId
from orchestrator.model.orders import WriteRequest
from orchestrator.model.safety import Alert
from orchestrator.model.signals import Question, Role
from orchestrator.model.time import Instant


class AskStage(Message, frozen=True, kw_only=True, gc=False, tag="a.ask"):
    """Ask a role; the answer comes back as `StageAnswered` with this `ask_id`."""

    ask_id: int
    role: Role
    signal_id: str
    question: Question
    deadline_ns: Instant  # market clock


class SendOrder(Message, frozen=True, kw_only=True, gc=False, tag="a.send"):
    """Send a durable intent through the gate; the outcome comes back as `SendFinished`.

    A person's reduction goes this way, too, under its own id. `repeatable`: it may be sent though
    it could not be written down: asked twice it does no harm, and reducing is never blocked (K1).
    """

    intent_id: str
    request: WriteRequest
    repeatable: bool = False


class Write(Message, frozen=True, kw_only=True, gc=False, tag="a.write"):
    """A write that only reduces risk (protect, cancel, close); transactions come by the door."""

    request: WriteRequest
    reason: str


class FetchTransactions(Message, frozen=True, kw_only=True, gc=False, tag="a.fetch_transactions"):
    """Read `sinceid` (exclusive); comes back as `TransactionsSeen` with `complete_to`."""

    account_id: AccountId
    since: int
    after_ms: int = 0  # wait so long (machine clock) before reading


class FetchAccount(Message, frozen=True, kw_only=True, gc=False, tag="a.fetch_account"):
    """Read the account; comes back as `AccountSeen`."""

    account_id: AccountId


class Liquidate(Message, frozen=True, kw_only=True, gc=False, tag="a.liquidate"):
    """Cancel entry orders and close all positions of these accounts until flat (SAFETY 5)."""

    stop_id: str  # or the breaker's key, for effect flatten
    accounts: tuple[AccountId, ...]
    reason: str


class CloseGate(Message, frozen=True, kw_only=True, gc=False, tag="a.close_gate"):
    """Effect `stop`: the host raises an emergency stop at once."""

    actor: str
    reason: str


class SendAlert(Message, frozen=True, kw_only=True, gc=False, tag="a.alert"):
    alert: Alert


Act: TypeAlias = (
    AskStage | SendOrder | Write | FetchTransactions | FetchAccount | Liquidate | CloseGate
    | SendAlert
)  # fmt: skip
