"""Emergency stops called out to every node at once, beside whatever else tells them (5.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from orchestrator.adapters.bus.redis.alarms import Alarm, Alarms
from orchestrator.adapters.bus.redis.broadcast import Subscriber
from orchestrator.adapters.bus.redis.dialer import Where
from orchestrator.adapters.bus.redis.link import Link
from orchestrator.adapters.bus.redis.names import Names
from orchestrator.adapters.bus.redis.words import Reply
from orchestrator.model.errors import BusError

log = structlog.get_logger()

# What another node called out; ValueError, MsgspecError for what cannot be read.
StopHeard = Callable[[bytes], None]


class StopLine:
    """Connections of its own, for as long as the process lives, whether its node leads or not.

    What comes in can stop, and nothing else (E2). What is foreign is dropped, counted and told.
    """

    def __init__(
        self, where: Where, *, node: str, namespace: str, alarm: Alarm, seed: int = 0
    ) -> None:
        """`node`: tells this life's calls from others'."""
        self._names = Names(namespace)
        self._head = node.encode()
        self._alarm = Alarms(alarm)
        self._link = Link(where, f"{namespace}.{node}.stop", seed=seed)
        self._subscriber = Subscriber(
            where, self._came, channels=(self._names.stop,),
            name=f"{namespace}.{node}.stops", seed=seed + 1,
        )  # fmt: skip
        self._heard: StopHeard | None = None
        self.foreign = 0

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run(), name="stop line")
            tasks.create_task(self._subscriber.run(), name="stops heard")

    @property
    def ready(self) -> bool:
        """Whether it hears, and is heard, now."""
        return self._link.connected and self._subscriber.ready.is_set()

    def on_stop(self, heard: StopHeard) -> None:
        self._heard = heard

    def broadcast(self, data: bytes) -> None:
        """Never blocks, never raises; where the broker is away others must tell them."""
        try:
            sent = self._link.publish(self._names.stop, self._head + b"\n" + data)
        except BusError as exc:
            log.warning("stop.not_broadcast", reason=str(exc))
        else:
            sent.add_done_callback(_judge)

    def _came(self, channel: str, data: bytes) -> None:
        node, line_end, rest = data.partition(b"\n")
        if node == self._head or self._heard is None:
            return  # our own; or nobody here can stop anything yet
        try:
            if not line_end:
                raise ValueError("it names no node")  # noqa: TRY301 -- as any other nonsense
            self._heard(rest)
        except (ValueError, msgspec.MsgspecError) as exc:
            self.foreign += 1
            log.warning("bus.foreign", channel=channel, reason=str(exc))
            self._alarm(f"A message on {channel} is not ours", f"it was dropped: {str(exc)[:200]}")


def _judge(sent: asyncio.Future[Reply]) -> None:
    if not sent.cancelled() and sent.exception() is not None:
        log.warning("stop.not_broadcast", reason=str(sent.exception()))
