"""Links of agents over Redis: a stream to each instance, and one from it, which it alone writes.

An agent writes its hello onto its own stream and calls out where that stands, until it is heard;
whoever leads reads the stream from there on. So nothing falls between the call and the reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from orchestrator.adapters.bus.redis.alarms import Alarm
from orchestrator.adapters.bus.redis.broadcast import Subscriber
from orchestrator.adapters.bus.redis.dialer import Where
from orchestrator.adapters.bus.redis.entries import Entry
from orchestrator.adapters.bus.redis.link import Link
from orchestrator.adapters.bus.redis.names import Names
from orchestrator.adapters.bus.redis.owner import dead_letters
from orchestrator.adapters.bus.redis.sources import FromItsSource
from orchestrator.adapters.bus.redis.tail import STREAMS_MAX, TailReader
from orchestrator.adapters.bus.redis.words import Reply, Word, rows, text
from orchestrator.model.agent_words import LINE_MAX, Drain, DrainFrame
from orchestrator.model.errors import BusError
from orchestrator.model.links import LinkEnd, OpenLink, Peer
from orchestrator.model.signals import Role

log = structlog.get_logger()

_LENGTH_MAX = 5_000  # of a stream; an agent that falls further behind begins anew
_TRIM_S = 1.0
_BYTES_PER_S = 2_000_000  # from one agent; whoever writes more is not read any more
_INSTANCE_MAX = 64
_PAIR = 2


def _swallow(future: asyncio.Future[Reply]) -> None:
    """What became of it shows by its lack: a lease that ends, a number that is missing."""
    if not future.cancelled() and future.exception() is not None:
        log.debug("agent.unsent", why=str(future.exception()))


class _PeerLink:
    """The node's end of one instance's streams."""

    def __init__(self, host: RedisAgents, peer: Peer) -> None:
        self._host = host
        self._peer = peer
        self._count = 0
        self.name = f"{peer[0].value}:{peer[1]}"
        self.stream_to = host.names.to(peer[0].value, str(peer[1]))
        self.stream_from = host.names.sent(peer[0].value, str(peer[1]))
        self.end: LinkEnd | None = None
        self.read = 0  # bytes in this second

    @property
    def peer(self) -> Peer:
        return self._peer

    @property
    def where(self) -> str:
        return "remote"

    def send(self, line: bytes) -> bool:
        self._count += 1
        try:
            sent = self._host.link.add_soon(
                self.stream_to, f"{self._host.node}.{self._count}", "service", line,
                length_max=_LENGTH_MAX,
            )  # fmt: skip
        except BusError as exc:
            log.warning("agent.unsent", agent=self.name, why=str(exc))
            return False
        sent.add_done_callback(_swallow)
        return True

    def close(self) -> None:
        self._host.forget(self, "closed")


class RedisAgents:
    """Where agents come in over Redis; a `LinkHost`. `alarm(title, text)` is for a person."""

    def __init__(
        self, where: Where, names: Names, node: str, alarm: Alarm,
        *, bytes_per_s: int = _BYTES_PER_S,
    ) -> None:  # fmt: skip
        self.names = names
        self.node = node
        self.link = Link(where, "agents")
        self._alarm = alarm
        self._bytes_per_s = bytes_per_s
        took = FromItsSource(names, self._took, alarm)  # X8
        self._tail = TailReader(where, took, name="agents.heard", lost=self._lost)
        self._calls = Subscriber(
            where, self._called, patterns=(names.every_hello,), name="agents.calls"
        )
        self._peers: dict[str, _PeerLink] = {}  # by the stream that it writes
        self._opened: OpenLink | None = None

    async def run(self, opened: OpenLink) -> None:
        """Runs until cancelled."""
        self._opened = opened  # calls are heard from now on
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.link.run(), name="agents' link")
            tasks.create_task(self._tail.run(), name="agents' words")
            tasks.create_task(self._calls.run(), name="agents' calls")
            tasks.create_task(self._bound(), name="agents' bounds")
            tasks.create_task(self._wake(), name="agents' call")

    @property
    def any_here(self) -> bool:
        """Whether an agent is at work over this broker (S6)."""
        return bool(self._peers)

    def bury(self, role: Role, line: bytes, why: str) -> None:
        """A question that cost more than one instance: kept for a person to look at."""
        stream = dead_letters(self.names.namespace, self.names.ask(role.value))
        try:
            self.link.add_soon(stream, why[:200], "service", line).add_done_callback(_swallow)
        except BusError as exc:
            log.warning("agent.unburied", why=str(exc))

    # -- who comes ------------------------------------------------------------------------------

    def _called(self, channel: str, data: bytes) -> None:
        """Somebody is there; `data`: the place of its hello."""
        peer = _peer_of(self.names.source_of(channel))
        place = _before(data)
        if peer is None or place is None or self._opened is None:
            self._alarm("An agent's call was dropped", f"on {channel[:100]!r}")
            return
        stream = self.names.sent(peer[0].value, str(peer[1]))
        if stream in self._peers:
            return  # its stream is read already
        if len(self._peers) >= STREAMS_MAX:
            self._alarm("Too many agents", f"{channel[:100]!r} is not heard")
            return
        link = self._peers[stream] = _PeerLink(self, peer)
        link.end = self._opened(link)
        self._tail.follow(stream, place)

    def _took(self, entry: Entry) -> None:
        link = self._peers.get(entry.stream)
        if link is None or link.end is None:
            return
        link.read += len(entry.data)
        if link.read > self._bytes_per_s or len(entry.data) > LINE_MAX:
            self._alarm(f"Agent {link.name} floods", "it is not heard any more")
            self.forget(link, "it floods")
            return
        link.end.took(entry.data)

    def _lost(self, stream: str) -> None:
        link = self._peers.get(stream)
        if link is not None:
            self.forget(link, "the broker has lost its data")

    def forget(self, link: _PeerLink, why: str) -> None:
        """Until it calls again."""
        if self._peers.get(link.stream_from) is link:
            del self._peers[link.stream_from]
            self._tail.forget(link.stream_from)
        end, link.end = link.end, None
        if end is not None:
            end.gone(why)

    async def _wake(self) -> None:
        """Agents that were at work for an earlier life of the service call anew at once."""
        await self.link.up.wait()
        await self._calls.ready.wait()
        frame = DrainFrame(
            id=f"{self.node}.0", source=f"service/{self.node}",
            data=Drain(reason="the service began anew", restart=True),
        )  # fmt: skip
        cursor = b"0"
        try:
            while True:
                reply = await self.link.call(
                    "SCAN", cursor, "MATCH", f"{self.names.namespace}:to:*", "COUNT", 1000
                )
                if not (isinstance(reply, list) and len(reply) == _PAIR):
                    return
                cursor, found = reply
                for key in rows(found):
                    stream = text(key)
                    await self.link.add(
                        stream,
                        "wake",
                        "service",
                        msgspec.json.encode(frame),
                        length_max=_LENGTH_MAX,
                    )
                if cursor == b"0" or not isinstance(cursor, bytes):
                    return
        except BusError as exc:
            log.info("agents.not_called", why=str(exc))  # they call by themselves in some seconds

    async def _bound(self) -> None:
        """However much an agent writes, its stream does not fill the broker."""
        while True:
            await asyncio.sleep(_TRIM_S)
            commands: list[tuple[Word, ...]] = []
            for link in self._peers.values():
                link.read = 0
                commands.append(("XTRIM", link.stream_from, "MAXLEN", "~", _LENGTH_MAX))
            if commands and self.link.connected:
                try:
                    await self.link.batch(commands)
                except BusError as exc:
                    log.info("agents.unbounded", why=str(exc))


class RedisAgent:
    """The agent's end. `call` is said anew each second for as long as `welcomed()` is false."""

    def __init__(self, where: Where, names: Names, peer: Peer) -> None:
        self._names = names
        self._peer = peer
        role, instance = peer[0].value, str(peer[1])
        self._source = f"{role}:{instance}"
        self._to = names.to(role, instance)
        self._from = names.sent(role, instance)
        self._channel = names.hello(role, instance)
        self._link = Link(where, f"agent.{self._source}")
        self._tail = TailReader(where, self._took, name=f"agent.{self._source}.hears")
        self._end: LinkEnd | None = None
        self._count = 0
        self._sent: asyncio.Future[Reply] | None = None  # what was sent last

    @property
    def peer(self) -> Peer | None:
        return None

    @property
    def where(self) -> str:
        return "service"

    async def run(self, opened: OpenLink, greet: Callable[[], bool]) -> None:
        """Runs until cancelled. `greet()` sends a hello where one is due, and says whether."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run(), name="link")
            tasks.create_task(self._tail.run(), name="tail")
            tasks.create_task(self._come(opened, greet), name="come")

    async def _come(self, opened: OpenLink, greet: Callable[[], bool]) -> None:
        await self._link.up.wait()
        self._tail.follow(self._to)
        await self._tail.following(self._to)
        self._end = opened(self)
        while True:
            if self._link.connected:
                await self._call(greet)
            await asyncio.sleep(1.0)

    async def _call(self, greet: Callable[[], bool]) -> None:
        hello = self._last_sent() if greet() else None
        if hello is None:
            return
        try:
            place = await hello
            if isinstance(place, bytes):
                await self._link.publish(self._channel, place)
        except BusError as exc:
            log.warning("agent.uncalled", why=str(exc))

    def _last_sent(self) -> asyncio.Future[Reply] | None:
        return self._sent

    def _took(self, entry: Entry) -> None:
        if self._end is not None:
            self._end.took(entry.data)

    def send(self, line: bytes) -> bool:
        self._count += 1
        try:
            sent = self._link.add_soon(
                self._from, str(self._count), self._source, line, length_max=_LENGTH_MAX
            )
        except BusError as exc:
            log.warning("agent.unsent", why=str(exc))
            return False
        sent.add_done_callback(_swallow)
        self._sent = sent
        return True

    def close(self) -> None:
        self._end = None


def _peer_of(source: str) -> Peer | None:
    role, _, instance = source.partition(":")
    if not (instance.isascii() and instance.isdigit() and 1 <= int(instance) <= _INSTANCE_MAX):
        return None
    try:
        return Role(role), int(instance)
    except ValueError:
        return None


def _before(place: bytes) -> str | None:
    """Just before this entry: so that it is the first that is read. None for nonsense."""
    try:
        first, _, second = text(place).partition("-")
        at, number = int(first), int(second)
    except ValueError:
        return None
    return f"{at}-{number - 1}" if number else f"{max(0, at - 1)}-{2**64 - 1}"
