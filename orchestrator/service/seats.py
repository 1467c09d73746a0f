"""A seat: one agent instance, here or elsewhere, and everything that is known of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from orchestrator.agents.base import Agent
from orchestrator.model.base import Message
from orchestrator.model.signals import Role
from orchestrator.model.time import Instant
from orchestrator.service.views import AgentView

ERRORS_KEPT = 20
RESTARTS_KEPT = 5

AgentFactory = Callable[[], Agent]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Who an agent is. `hears`, `says`: the types of messages; of strangers those we know."""

    role: Role
    name: str
    version: str
    hears: tuple[type[Message], ...] = ()
    says: tuple[type[Message], ...] = ()
    learns_when_asked: bool = False


def about(agent: Agent) -> About:
    """What the class of an agent says of itself."""
    kind = type(agent)
    return About(
        role=kind.role, name=kind.name, version=kind.version, hears=kind.heard(), says=kind.says,
        learns_when_asked=kind.learns_when_asked,
    )  # fmt: skip


class Elsewhere(Protocol):
    """What is done with an agent that is not in this process."""

    @property
    def link_ends_in_ms(self) -> int | None:
        """How long its lease still holds; None while it has none."""
        ...

    def hear(self, message: Message) -> None: ...

    def check(self) -> None:
        """Begin a round trip."""
        ...

    def restart(self, reason: str) -> None: ...


class Seat:
    """One agent instance, its statistics and its state."""

    def __init__(
        self, agent_id: str, told: About, *, where: str = "in-process", instance: int = 1,
        agent: Agent | None = None, factory: AgentFactory | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:  # fmt: skip
        self.agent_id = agent_id
        self.about = told
        self.where = where
        self.instance = instance
        self.agent = agent
        self.factory = factory
        self.elsewhere = elsewhere
        self.state = "starting"
        self.reason = ""
        self.since_ns: Instant = 0
        self.handled = 0
        self.errors = 0
        self.last_error = ""
        self.last_check_ns: Instant = 0
        self.latencies: deque[int] = deque(maxlen=1000)
        self.error_times: deque[int] = deque(maxlen=ERRORS_KEPT)
        self.restarts: deque[int] = deque(maxlen=RESTARTS_KEPT)
        self.restart_count = 0
        self.round_trip_ns = 0
        self.overdue = False  # it owes an answer longer than is usual: others are asked first
        self._turned_ns = 0
        self._up_ns = 0
        self._down_ns = 0

    @property
    def works(self) -> bool:
        return self.state in ("healthy", "degraded")

    def move(self, state: str, reason: str, now: Instant, mono: int) -> None:
        """Into another state; the time in the old one counts for its availability."""
        self._count(mono)
        self.state, self.reason, self.since_ns = state, reason, now

    def _count(self, mono: int) -> None:
        passed = mono - self._turned_ns if self._turned_ns else 0
        self._turned_ns = mono
        if self.works:
            self._up_ns += passed
        elif self.state != "starting" or self._up_ns:
            self._down_ns += passed  # its first start is nobody's outage

    def availability(self, mono: int) -> float:
        """The part of its time, since it first worked, that it worked."""
        self._count(mono)
        whole = self._up_ns + self._down_ns
        return self._up_ns / whole if whole else 0.0

    def view(self, mono: int) -> AgentView:
        ordered = sorted(self.latencies)
        told = self.about
        return AgentView(
            agent_id=self.agent_id, role=told.role, name=told.name, version=told.version,
            state=self.state, where=self.where, since_ns=self.since_ns, reason=self.reason,
            handled=self.handled, errors=self.errors,
            error_rate=self.errors / self.handled if self.handled else 0.0,
            p50_us=ordered[len(ordered) // 2] / 1000 if ordered else 0.0,
            p99_us=ordered[int(len(ordered) * 0.99)] / 1000 if ordered else 0.0,
            last_error=self.last_error, last_check_ns=self.last_check_ns,
            restarts=self.restart_count, instance=self.instance,
            lease_ms=None if self.elsewhere is None else self.elsewhere.link_ends_in_ms,
            round_trip_us=self.round_trip_ns / 1000, availability=self.availability(mono),
            hears=tuple(sorted(m.__name__ for m in told.hears)),
            says=tuple(sorted(m.__name__ for m in told.says)),
        )  # fmt: skip
