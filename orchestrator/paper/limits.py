"""OANDA's limits for one address: requests and new connections a second, streams at a time.

Source: fact sheet, section 1. Time here is the machine's, in seconds.
"""

from __future__ import annotations

from collections import deque

REQUESTS_A_SECOND = 120
CONNECTIONS_A_SECOND = 2
STREAMS = 20
_ADDRESSES_MAX = 10_000


class _Window:
    """At most so many in any second; what is refused does not count."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._at_s: deque[float] = deque()

    def admits(self, now_s: float) -> bool:
        while self._at_s and self._at_s[0] <= now_s - 1.0:
            self._at_s.popleft()
        if len(self._at_s) >= self._most:
            return False
        self._at_s.append(now_s)
        return True


class _Address:
    def __init__(self) -> None:
        self.requests = _Window(REQUESTS_A_SECOND)
        self.connections = _Window(CONNECTIONS_A_SECOND)
        self.streams = 0


class Limits:
    """What each address has used up. The longest known one is forgotten when they are too many."""

    def __init__(self) -> None:
        self._known: dict[str, _Address] = {}

    def _of(self, address: str) -> _Address:
        found = self._known.get(address)
        if found is None:
            found = self._known[address] = _Address()
            if len(self._known) > _ADDRESSES_MAX:
                del self._known[next(iter(self._known))]
        return found

    def admits_connection(self, address: str, now_s: float) -> bool:
        return self._of(address).connections.admits(now_s)

    def admits_request(self, address: str, now_s: float) -> bool:
        return self._of(address).requests.admits(now_s)

    def opens_stream(self, address: str) -> bool:
        """Counts one more stream, if there may be one."""
        known = self._of(address)
        if known.streams >= STREAMS:
            return False
        known.streams += 1
        return True

    def stream_ended(self, address: str) -> None:
        self._of(address).streams -= 1
