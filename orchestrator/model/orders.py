"""An order's words on our side: intent, states, the request to the venue, and its outcome."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from orchestrator.model.base import Message
from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.signals import Proposal
from orchestrator.model.time import Instant
from orchestrator.model.venue import Transaction


class IntentState(StrEnum):
    """SAFETY 7. Terminal: filled, cancelled, rejected, absent, blocked, expired."""

    WRITTEN = "written"
    SENDING = "sending"
    PENDING = "pending"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    ABSENT = "absent"
    BLOCKED = "blocked"
    EXPIRED = "expired"


class Reservation(Message, frozen=True, kw_only=True, gc=False, tag="reservation"):
    """What an intent may cost at its worst, home currency; counted from check to settlement."""

    risk: Decimal
    notional: Decimal
    margin: Decimal


class Intent(Message, frozen=True, kw_only=True, gc=False, tag="intent"):
    """A proposal that passed everything, durable before its order is sent (SAFETY O1, O2).

    `intent_id` is the order's and the trade's client id and the ClientRequestID header.
    `body` is the exact JSON that will be posted. `watermark` is the account's last transaction id
    seen before sending. `generation` is the breaker and limit generation of its checks.
    """

    intent_id: str
    proposal: Proposal
    body: str
    watermark: int
    epoch: int
    generation: int
    checked_ns: Instant
    expires_ns: Instant
    reservation: Reservation

    @property
    def account_id(self) -> AccountId:
        return self.proposal.account_id

    @property
    def signal_id(self) -> str:
        return self.proposal.signal_id

    @property
    def instrument(self) -> InstrumentName:
        return self.proposal.instrument


class WriteKind(StrEnum):
    """What a write to the venue does; only ORDER and REPLACE can add risk."""

    ORDER = "order"  # POST orders
    REPLACE = "replace"  # PUT orders/{target}: one request, never cancel and then new (O9)
    PROTECT = "protect"  # PUT trades/{target}/orders: place or tighten a stop
    CANCEL = "cancel"  # PUT orders/{target}/cancel
    CLOSE_TRADE = "close_trade"  # PUT trades/{target}/close
    CLOSE_POSITION = "close_position"  # PUT positions/{target}/close
    ORDER_EXTENSIONS = "order_extensions"  # PUT orders/{target}/clientExtensions
    TRADE_EXTENSIONS = "trade_extensions"  # PUT trades/{target}/clientExtensions
    CONFIGURE = "configure"  # PATCH configuration


_URGENT = frozenset(
    {WriteKind.PROTECT, WriteKind.CANCEL, WriteKind.CLOSE_TRADE, WriteKind.CLOSE_POSITION}
)


class WriteRequest(Message, frozen=True, kw_only=True, gc=False, tag="write_request"):
    """One write to the venue: `target` is the order, trade or instrument in the path."""

    kind: WriteKind
    account_id: AccountId
    target: str = ""
    body: str = ""
    client_request_id: str = ""

    @property
    def urgent(self) -> bool:
        """Cancels and closes go before orders in every queue (SPEC 7)."""
        return self.kind in _URGENT

    @property
    def makes_order(self) -> bool:
        """Whether a new order comes of it, which may add risk: the gate has a say."""
        return self.kind in {WriteKind.ORDER, WriteKind.REPLACE}


class Answered(Message, frozen=True, kw_only=True, gc=False, tag="answered"):
    """2xx. The transactions that the answer carried, in id order; a 201 is not yet a fill."""

    status: int
    transactions: tuple[Transaction, ...]
    last_transaction_id: int


class Rejected(Message, frozen=True, kw_only=True, gc=False, tag="rejected"):
    """4xx with a whole, readable body: proof that nothing was accepted."""

    status: int
    code: str
    message: str
    transactions: tuple[Transaction, ...] = ()
    last_transaction_id: int = 0


class Unknown(Message, frozen=True, kw_only=True, gc=False, tag="unknown"):
    """Time-out, reset, 5xx, cut or unreadable body: it may have been accepted (K5)."""

    reason: str


class NotSent(Message, frozen=True, kw_only=True, gc=False, tag="not_sent"):
    """Proof that no byte was written, or 429: `by_gate` when the gate refused."""

    reason: str
    by_gate: bool = False


WriteOutcome: TypeAlias = Answered | Rejected | Unknown | NotSent

# None: the write may go. A text: why not. Asked with the connected socket in hand, and never
# followed by an await, callback or lock before the first byte (SAFETY G1).
GateQuestion: TypeAlias = Callable[[], str | None]
