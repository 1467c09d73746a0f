"""What streams and channels are called; several installations may share a Redis by namespace."""

from __future__ import annotations

import msgspec


class Names(msgspec.Struct, frozen=True):
    """Of one installation. An agent's source is its ROLE:INSTANCE."""

    namespace: str = "tso"

    @property
    def stop(self) -> str:
        """Channel: an emergency stop, for every node."""
        return f"{self.namespace}:stop"

    @property
    def live(self) -> str:
        """Channel: the leader's records as they become durable, for the other nodes' views."""
        return f"{self.namespace}:live"

    @property
    def history(self) -> str:
        """Stream: the records of the last hours (EVENT_RETENTION_HOURS)."""
        return f"{self.namespace}:history"

    def to(self, role: str, instance: str) -> str:
        """Stream: what one agent hears. It can read this one only."""
        return f"{self.namespace}:to:{role}:{instance}"

    def sent(self, role: str, instance: str) -> str:
        """Stream: what one agent says. It can write this one only (SAFETY X8)."""
        return f"{self.namespace}:from:{role}:{instance}"

    def ask(self, role: str) -> str:
        """Stream: work that the instances of a role share."""
        return f"{self.namespace}:ask:{role}"

    def hello(self, role: str, instance: str) -> str:
        """Channel: an agent that has come up, until it is welcomed."""
        return f"{self.namespace}:hello:{role}:{instance}"

    @property
    def every_hello(self) -> str:
        """The pattern by which nodes hear them all."""
        return f"{self.namespace}:hello:*"

    def source_of(self, place: str) -> str:
        """Whose a stream (`sent`) or channel (`hello`) is; "" for any other.

        What stands there under another source is forged: it is dropped, with an alert (X8).
        """
        for kind in ("from", "hello"):
            head = f"{self.namespace}:{kind}:"
            if place.startswith(head) and place.count(":") == head.count(":") + 1:
                return place.removeprefix(head)
        return ""
