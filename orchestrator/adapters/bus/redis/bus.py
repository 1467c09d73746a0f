"""The bus with a broker: listeners in this process as ever, history and live views by Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from orchestrator.adapters.bus.in_process import InProcessBus, Listener
from orchestrator.adapters.bus.redis.alarms import Alarm, Alarms
from orchestrator.adapters.bus.redis.broadcast import Subscriber
from orchestrator.adapters.bus.redis.dialer import Where
from orchestrator.adapters.bus.redis.history import History
from orchestrator.adapters.bus.redis.link import Link
from orchestrator.adapters.bus.redis.names import Names
from orchestrator.adapters.bus.redis.owner import Owner
from orchestrator.model.events import BusSeen
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record, from_line

log = structlog.get_logger()

_FLUSH_S = 1.0

Needed = Callable[[], bool]
_fact_of = msgspec.json.Decoder(Fact).decode


def _always() -> bool:
    return True


class RedisBus:
    """Meets `ports.Bus`; to be used in the event loop's thread only. `run` keeps it going.

    A broker that is away costs nobody here anything but the history; whether it blocks new risk
    (S6) depends on whether anything elsewhere is `needed` (SAFETY H5).
    """

    def __init__(
        self, where: Where, *, node: str, mark: str, alarm: Alarm, hours: int,
        namespace: str = "tso", needed: Needed = _always, views: bool = False, seed: int = 0,
    ) -> None:  # fmt: skip
        """`node`: tells this life's messages from others'. `mark`: a fresh id.

        `views`: hear what other nodes' records say, and tell it to the listeners here.
        """
        self._local = InProcessBus()
        self._alarm = Alarms(alarm)
        self.needed = needed
        self._node = node
        self.names = Names(namespace)
        self.link = Link(where, f"{namespace}.{node}", seed=seed)
        self.history = History(self.link, self.names, node, self._alarm, hours=hours)
        self.lost_data: list[Callable[[str], None]] = []
        self.owner = Owner(
            self.link, namespace, mark, lost=self._data_lost, alarm=self._alarm,
        )  # fmt: skip
        self._subscriber: Subscriber | None = None
        if views:
            self._subscriber = Subscriber(
                where, self._heard, channels=(self.names.live,),
                name=f"{namespace}.{node}.heard", seed=seed + 1,
            )  # fmt: skip
        self.foreign = 0

    # -- life -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Runs until cancelled; then what waits for the history still goes out."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.link.run(), name="broker")
            tasks.create_task(self.owner.run(), name="broker's data")
            tasks.create_task(self.history.run(), name="history")
            if self._subscriber is not None:
                tasks.create_task(self._subscriber.run(), name="heard")
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

    # -- what comes in --------------------------------------------------------------------------

    def _heard(self, channel: str, data: bytes) -> None:
        node, line_end, rest = data.partition(b"\n")
        if node == self._node.encode():
            return  # our own
        try:
            if not line_end:
                raise ValueError("it names no node")  # noqa: TRY301 -- as any other nonsense
            self._show(rest)
        except (ValueError, msgspec.MsgspecError) as exc:
            self._drop(channel, str(exc))

    def _show(self, lines: bytes) -> None:
        for line in lines.split(b"\n"):
            record = from_line(line)
            self._local.publish(record, _fact_of(record.data))

    def _drop(self, channel: str, reason: str) -> None:
        self.foreign += 1
        log.warning("bus.foreign", channel=channel, reason=reason)
        self._alarm(f"A message on {channel} is not ours", f"it was dropped: {reason[:200]}")

    def _data_lost(self, reason: str) -> None:
        self._alarm("The broker has lost its data", "what was under way there is asked anew")
        for tell in self.lost_data:
            tell(reason)
