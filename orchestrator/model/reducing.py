"""What a person asks of what is open: close, cancel, tighten; it never adds risk (SAFETY 3)."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from orchestrator.model.base import Message
from orchestrator.model.money import AccountId, InstrumentName, Price, Side
from orchestrator.model.orders import WriteKind, WriteRequest
from orchestrator.model.time import Instant


class ReduceKind(StrEnum):
    """What is asked; all of it takes risk away."""

    CLOSE_TRADE = "close_trade"
    CLOSE_POSITION = "close_position"
    CANCEL_ORDER = "cancel_order"
    TIGHTEN_STOP = "tighten_stop"

    @property
    def closes(self) -> bool:
        return self in {ReduceKind.CLOSE_TRADE, ReduceKind.CLOSE_POSITION}


class ReductionState(StrEnum):
    """Terminal: all but written and unknown. Refused is the venue's word, not sent is ours."""

    WRITTEN = "written"
    UNKNOWN = "unknown"
    DONE = "done"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    ABSENT = "absent"


_WRITES = {
    ReduceKind.CLOSE_TRADE: WriteKind.CLOSE_TRADE,
    ReduceKind.CLOSE_POSITION: WriteKind.CLOSE_POSITION,
    ReduceKind.CANCEL_ORDER: WriteKind.CANCEL,
    ReduceKind.TIGHTEN_STOP: WriteKind.PROTECT,
}


class Reduction(Message, frozen=True, kw_only=True, gc=False, tag="reduction"):
    """One such wish that passed its checks; `body` is the exact JSON that will be put.

    `target`: the trade, instrument or order. `units`: so many, above 0; None: all. `side`: of what
    is closed, None for both. `price`: the new stop. `most`: the units that it may close, at most.
    `command_id`: the caller's, which makes a repeated call harmless. `reduction_id`: the request's
    id, and the client id where the venue takes one.
    """

    reduction_id: str
    command_id: str
    kind: ReduceKind
    account_id: AccountId
    instrument: InstrumentName
    target: str
    units: Decimal | None
    side: Side | None
    price: Price | None
    most: Decimal
    actor: str
    reason: str
    body: str
    watermark: int
    epoch: int
    written_ns: Instant
    expires_ns: Instant

    @property
    def repeatable(self) -> bool:
        """Whether it may be asked again without harm (O9): nothing but a part of a close."""
        return self.units is None

    @property
    def request(self) -> WriteRequest:
        return WriteRequest(
            kind=_WRITES[self.kind], account_id=self.account_id, target=self.target,
            body=self.body, client_request_id=self.reduction_id,
        )  # fmt: skip
