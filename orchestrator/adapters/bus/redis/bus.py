"""The bus with a broker: listeners in this process as ever; history, and live records, by Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestrator.adapters.bus.in_process import InProcessBus, Listener
from orchestrator.adapters.bus.redis.alarms import Alarm, Alarms
from orchestrator.adapters.bus.redis.dialer import Where
from orchestrator.adapters.bus.redis.history import History
from orchestrator.adapters.bus.redis.link import Link
from orchestrator.adapters.bus.redis.names import Names
from orchestrator.adapters.bus.redis.owner import Owner
from orchestrator.model.events import BusSeen
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record

_FLUSH_S = 1.0

Needed = Callable[[], bool]


def _always() -> bool:
    return True


class RedisBus:
    """Meets `ports.Bus`; to be used in the event loop's thread only. `run` keeps it going.

    A broker that is away costs nobody here anything but the history; whether it blocks new risk
    (S6) depends on whether anything elsewhere is `needed` (SAFETY H5).
    """

    def __init__(
        self, where: Where, *, node: str, mark: str, alarm: Alarm, hours: int,
        namespace: str = "tso", needed: Needed = _always, seed: int = 0,
    ) -> None:  # fmt: skip
        """`node`: tells this life's messages from others'. `mark`: a fresh id."""
        self._local = InProcessBus()
        self._alarm = Alarms(alarm)
        self.needed = needed
        self.names = Names(namespace)
        self.link = Link(where, f"{namespace}.{node}", seed=seed)
        self.history = History(self.link, self.names, node, self._alarm, hours=hours)
        self.owner = Owner(
            self.link, namespace, mark, lost=self._data_lost, alarm=self._alarm,
        )  # fmt: skip

    # -- life -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Runs until cancelled; then what waits for the history still goes out."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.link.run(), name="broker")
            tasks.create_task(self.owner.run(), name="broker's data")
            tasks.create_task(self.history.run(), name="history")
            try:
                await asyncio.Event().wait()
            finally:
                await self.history.flush(_FLUSH_S)

    def close(self) -> None:
        """Every listener ends after what is waiting for it."""
        self._local.close()

    # -- ports.Bus ------------------------------------------------------------------------------

    def publish(self, record: Record, fact: Fact) -> None:
        self._local.publish(record, fact)
        self.history.keep(record, asyncio.get_running_loop().time())

    def listen(self, limit: int = 1000, types: frozenset[str] = frozenset()) -> Listener:
        return self._local.listen(limit, types)

    @property
    def listeners(self) -> int:
        return self._local.listeners

    def condition(self) -> BusSeen:
        """For S6; a broker that nothing depends on blocks nobody."""
        if not self.needed():
            return BusSeen(silent_ms=0)
        lag_s = self.history.lag_s(asyncio.get_running_loop().time())
        seen = self.link.condition()
        return BusSeen(silent_ms=seen.silent_ms, lag_ms=round(lag_s * 1000))

    def _data_lost(self, _: str) -> None:
        self._alarm("The broker has lost its data", "what was under way there is asked anew")
