"""Warm connections for one purpose: kept open, opened again when lost, never more than asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from orchestrator.adapters.oanda.address import Endpoint, connect
from orchestrator.adapters.oanda.http import Connection
from orchestrator.adapters.oanda.seams import Nest
from orchestrator.adapters.oanda.turns import ConnectRank, ConnectTurns
from orchestrator.model.errors import VenueUnreachable


class ClientStats(msgspec.Struct):
    """Counters that only grow, for metrics. `requests`: (kind, status or what happened)."""

    requests: dict[tuple[str, str], int] = msgspec.field(default_factory=dict)
    connects: int = 0
    connect_failures: int = 0
    connections_lost: int = 0
    stream_connects: dict[str, int] = msgspec.field(default_factory=dict)
    stream_losses: dict[str, int] = msgspec.field(default_factory=dict)
    bad_lines: int = 0  # of streams: cut, unreadable, of unknown type
    blank_lines: int = 0
    bad_prices: int = 0  # delivered, but not finite, not positive or crossed
    bad_items: int = 0  # of lists: an instrument or price that cannot be used
    bad_changes: int = 0  # of an account: they did not follow on what we knew, so it was read anew
    limiter_waits: int = 0
    gate_refusals: int = 0
    queue_refusals: int = 0
    queue_timeouts: int = 0

    def count(self, kind: str, what: str) -> None:
        key = (kind, what)
        self.requests[key] = self.requests.get(key, 0) + 1


class Backoff:
    """Waits that double from `first_s` to `most_s`, each times 0.5 ... 1.0 by the dice."""

    def __init__(
        self, dice: Callable[[], float], first_s: float = 0.25, most_s: float = 30.0
    ) -> None:
        self._dice = dice
        self._first_s = first_s
        self._most_s = most_s
        self._failures = 0

    def next_s(self) -> float:
        wait = min(self._most_s, self._first_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return wait * (0.5 + 0.5 * self._dice())

    def reset(self) -> None:
        self._failures = 0


class Dialer(msgspec.Struct, frozen=True):
    """How connections are made: one endpoint, its turns, and how long one may take."""

    where: Endpoint
    turns: ConnectTurns
    timeout_s: float
    stats: ClientStats


class Keeper(Protocol):
    """Who hears of the pool."""

    def ready(self) -> None:
        """A connection became free."""
        ...

    def unreachable(self, reason: str) -> None:
        """A connect failed."""
        ...


class Pool:
    """At least `warm` and at most `most` connections."""

    def __init__(
        self, dialer: Dialer, nest: Nest, keeper: Keeper, backoff: Backoff, *, warm: int, most: int
    ) -> None:
        self._dialer = dialer
        self._nest = nest
        self._keeper = keeper
        self._backoff = backoff
        self._warm = warm
        self._most = most
        self._idle: list[Connection] = []
        self._live: set[Connection] = set()
        self._coming = 0
        self._again: asyncio.TimerHandle | None = None

    @property
    def hopeless(self) -> bool:
        """No connection, and none being made."""
        return not self._live and not self._coming

    def take(self) -> Connection | None:
        """A usable connection, the last used first; None leaves things as they are."""
        for at in range(len(self._idle) - 1, -1, -1):
            if self._idle[at].usable:
                return self._idle.pop(at)
        return None

    def put_back(self, connection: Connection) -> None:
        if not connection.closed:
            self._idle.append(connection)

    def has_unread(self) -> bool:
        """An idle connection exists that is not usable: the loop has yet to read it."""
        return any(not c.closed for c in self._idle)

    def want(self, connections: int, rank: ConnectRank) -> None:
        """See to it that so many more connections are coming, within `most`, at this rank."""
        room = self._most - len(self._live) - self._coming
        self._dialer.turns.hurry(self, rank)
        for _ in range(min(connections - self._coming, room)):
            self._coming += 1
            self._nest.spawn(self._dial(rank), "oanda.connect")

    def keep_warm(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if not self._nest.closed:
            self.want(self._warm - len(self._live), ConnectRank.WARM)

    async def _dial(self, rank: ConnectRank) -> None:
        connection = Connection(self)
        try:
            await self._dialer.turns.wait(self, rank)
            await connect(self._dialer.where, connection, self._dialer.timeout_s)
        except VenueUnreachable as error:
            self._coming -= 1
            self._failed(str(error))
            return
        except asyncio.CancelledError:
            self._coming -= 1
            raise
        self._coming -= 1
        self._dialer.stats.connects += 1
        self._live.add(connection)
        self._idle.append(connection)
        self._keeper.ready()

    def _failed(self, reason: str) -> None:
        self._dialer.stats.connect_failures += 1
        self._warm_later()
        self._keeper.unreachable(reason)

    def _warm_later(self) -> None:
        if self._again is None and not self._nest.closed and len(self._live) < self._warm:
            loop = asyncio.get_running_loop()
            self._again = loop.call_later(self._backoff.next_s(), self.keep_warm)

    def freed(self, connection: Connection) -> None:
        self._backoff.reset()  # only an answer proves that the venue is well
        self._idle.append(connection)
        self._keeper.ready()

    def lost(self, connection: Connection, reason: str) -> None:
        del reason  # whoever waits for an answer on it is told by the connection
        if connection not in self._live:
            return  # lost while connecting: `_dial` hears of that
        self._live.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._dialer.stats.connections_lost += 1
        self._warm_later()
        self._keeper.ready()  # so that who waits for it asks for another

    async def close(self) -> None:
        """The nest is closed already, so nothing connects any more."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        for connection in tuple(self._live):
            connection.abandon("the client is closing")
        while self._live:  # noqa: ASYNC110 - the loop's next round closes them
            await asyncio.sleep(0)
