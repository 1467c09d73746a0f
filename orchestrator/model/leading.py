"""What nodes tell each other through the shared store: who leads, and which stops stand."""

from __future__ import annotations

from orchestrator.model.base import Message
from orchestrator.model.time import Instant


class LeaseView(Message, frozen=True, kw_only=True, gc=False, tag="lease_view"):
    """The lease as it was read. `node` "" and `holder` "": nobody holds it.

    `renewal` changes with each renewal, and is compared for equality only. `left_ms` is what is
    left of it by the database's clock; not above 0: it has run out. `lives`: the database still
    holds a session of the holder; without one its process is dead, or cut off and the cut known.
    """

    node: str
    holder: str
    address: str
    renewal: str
    left_ms: int
    lives: bool = True

    @property
    def vacant(self) -> bool:
        return not self.holder


class StopNotice(Message, frozen=True, kw_only=True, gc=False, tag="stop_notice"):
    """An emergency stop as all nodes read it. `accounts` empty: all.

    `joined_to`: the stop that was standing at the leader already, and by whose resume this one
    ends as well. `receipt`: how far the leader has come, as JSON; "" before it began.
    """

    stop_id: str
    node: str
    actor: str
    reason: str
    liquidate: bool
    closed_ns: Instant
    accounts: tuple[str, ...] = ()
    joined_to: str = ""
    receipt: str = ""
    ended_by: str = ""

    @property
    def ended(self) -> bool:
        return bool(self.ended_by)
