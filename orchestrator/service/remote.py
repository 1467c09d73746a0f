"""The agent at the other end of a link, as its seat and the host of agents elsewhere know it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from orchestrator.model.base import Message
from orchestrator.model.links import AgentLink
from orchestrator.model.time import NS_PER_MS, NS_PER_S
from orchestrator.service.seats import Seat

LEASE_NS = 5 * NS_PER_S
SAYS_PER_S = 200  # unasked, and so many at once
_KEPT_MAX = 200


class Host(Protocol):
    """What a remote asks of its host; `RemoteAgents` is it."""

    def mono_ns(self) -> int: ...

    def hear(self, remote: Remote, message: Message) -> None: ...

    def ping(self, remote: Remote) -> None: ...

    def drain(self, remote: Remote, reason: str, *, restart: bool = False) -> None: ...


class Remote:
    """The agent at the other end of a link: what `Seat.elsewhere` is. `link` None: it is away."""

    def __init__(self, agents: Host, seat: Seat) -> None:
        self._agents = agents
        self.seat = seat
        self.link: AgentLink | None = None
        self.life = ""
        self.synced = False  # it is told what happens
        self.sent = 0
        self.heard = 0  # the number of its last frame
        self.said_left = float(SAYS_PER_S)
        self.said_ns = 0
        self.seen_ns = 0
        self.ping_number = 0
        self.pong_number = 0  # of the last that was answered
        self.ping_sent_ns = 0  # of the ping that is out; 0: none is
        self.began_ns = 0
        self.kept: deque[tuple[int, Message]] = deque(maxlen=_KEPT_MAX)
        self.respawn: Callable[[str], None] | None = None  # a process of ours begins anew by this

    @property
    def at_work(self) -> bool:
        """Whether it may still answer what it was asked."""
        return self.link is not None and self.synced

    @property
    def link_ends_in_ms(self) -> int | None:
        if self.link is None:
            return None
        return max(0, self.seen_ns + LEASE_NS - self._agents.mono_ns()) // NS_PER_MS

    def hear(self, message: Message) -> None:
        self._agents.hear(self, message)

    def check(self) -> None:
        self._agents.ping(self)

    def restart(self, reason: str) -> None:
        if self.respawn is not None:
            self.respawn(reason)
        else:
            self._agents.drain(self, reason, restart=True)
