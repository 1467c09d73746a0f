"""The port between the agent manager and an agent elsewhere: lines in order, both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from orchestrator.model.signals import Role

Peer: TypeAlias = tuple[Role, int]  # the role and the instance's number


class AgentLink(Protocol):
    """One connection to whoever is at its other end. Nothing here waits or raises."""

    @property
    def peer(self) -> Peer | None:
        """Who the other end must be, where the link itself proves it; None: whoever came."""
        ...

    @property
    def where(self) -> str:
        """ "process" | "remote": for people."""
        ...

    def send(self, line: bytes) -> bool:
        """One frame, without its end of line. False: it is gone, or cannot keep up."""
        ...

    def close(self) -> None: ...


class LinkEnd(Protocol):
    """Who hears a link; called in the event loop's thread, one line at a time."""

    def took(self, line: bytes) -> None: ...

    def gone(self, why: str) -> None:
        """No more lines come; called once, also after our own `close`."""
        ...


OpenLink: TypeAlias = Callable[[AgentLink], LinkEnd]


class LinkHost(Protocol):
    """Where links of agents come in, for as long as it runs."""

    async def run(self, opened: OpenLink) -> None:
        """Runs until cancelled."""
        ...


class ProcessLinks(Protocol):
    """Makes the two ends of a link to a child process of this machine."""

    async def pair(self, peer: Peer, opened: OpenLink) -> int:
        """The file descriptor that the child inherits; the caller closes its own copy of it."""
        ...
