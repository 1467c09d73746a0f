"""How much one client may ask: token buckets on the machine's clock, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import ceil

import msgspec

from orchestrator.model.time import NS_PER_S

CLIENTS_MAX = 1_024  # the longest silent one is forgotten: its bucket would be full again


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """Requests a second, and how many may come at once."""

    per_s: float
    burst: int


# SAFETY X4.
READS = Rate(per_s=50, burst=100)
WRITES = Rate(per_s=5, burst=10)
SOCKETS_PER_CLIENT = 10


class Buckets:
    """One bucket for each client."""

    def __init__(self, rate: Rate, mono_ns: Callable[[], int]) -> None:
        self._rate = rate
        self._mono_ns = mono_ns
        self._clients: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, client: str) -> int:
        """0 when the request may pass, else the whole seconds to wait."""
        now = self._mono_ns()
        left, since = self._clients.pop(client, (float(self._rate.burst), now))
        left = min(self._rate.burst, left + (now - since) / NS_PER_S * self._rate.per_s)
        wait_s = 0 if left >= 1 else max(1, ceil((1 - left) / self._rate.per_s))
        self._clients[client] = (left if wait_s else left - 1, now)
        if len(self._clients) > CLIENTS_MAX:
            self._clients.popitem(last=False)
        return wait_s

    def __len__(self) -> int:
        return len(self._clients)


class Sockets:
    """How many WebSockets each client holds."""

    def __init__(self, each_max: int = SOCKETS_PER_CLIENT) -> None:
        self._each_max = each_max
        self._open: dict[str, int] = {}

    def enter(self, client: str) -> bool:
        """False when the client has as many as it may."""
        count = self._open.get(client, 0)
        if count >= self._each_max:
            return False
        self._open[client] = count + 1
        return True

    def leave(self, client: str) -> None:
        count = self._open.get(client, 0) - 1
        if count > 0:
            self._open[client] = count
        else:
            self._open.pop(client, None)
