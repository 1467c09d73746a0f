"""A connection that is made again whenever it is lost, and knows how it does (breaker S6)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import structlog

from orchestrator.adapters.bus.redis.dialer import Where, dial
from orchestrator.adapters.bus.redis.pipe import Pipe
from orchestrator.adapters.bus.redis.words import Reply, Word, text
from orchestrator.model.errors import BrokerAway, BusError
from orchestrator.model.events import BusSeen

log = structlog.get_logger()

BEAT_S = 0.5
SILENT_S = 3.0  # so long without a word though it was asked: the connection is dead
_WAIT_FIRST_S, _WAIT_MOST_S = 0.05, 2.0
_FRESH_S = 1.0
# The longest message that is taken; a stream of such must still fit into the broker's memory.
DATA_BYTES_MAX = 4_000_000

Serve = Callable[[Pipe], Awaitable[None]]


class Keeper:
    """Connects, serves, and connects again after a jittered wait that doubles; for ever."""

    def __init__(self, where: Where, name: str, *, seed: int = 0) -> None:
        self._where = where
        self.name = name
        self._dice = random.Random(seed)  # noqa: S311 -- jitter
        self.trouble = "not connected yet"
        self.connects = 0
        self.lost_at: float | None = None

    async def run(self, serve: Serve) -> None:
        """Runs until cancelled. What `serve` raises beyond BusError comes out of here."""
        failures = 0
        while True:
            began = asyncio.get_running_loop().time()
            try:
                pipe = await dial(self._where, self.name)
            except BusError as exc:
                self._told(exc)
            else:
                self.connects += 1
                self.trouble = ""
                log.info("broker.connected", link=self.name)
                await self._serve(pipe, serve)
                if asyncio.get_running_loop().time() - began > _WAIT_MOST_S:
                    failures = 0  # it was of some use: what is refused at once waits longer
            failures += 1
            wait_s = min(_WAIT_MOST_S, _WAIT_FIRST_S * 2.0 ** min(failures, 10))
            spent_s = asyncio.get_running_loop().time() - began
            await asyncio.sleep(max(0.0, wait_s * (0.5 + 0.5 * self._dice.random()) - spent_s))

    async def _serve(self, pipe: Pipe, serve: Serve) -> None:
        try:
            await serve(pipe)
        except BusError as exc:
            self._told(exc)
        except ValueError as exc:  # what no Redis says: as good as no answer
            self._told(BrokerAway(f"the broker answered nonsense: {exc}"))
        finally:
            pipe.close("given up")
        self.trouble = self.trouble or "the connection was lost"

    def _told(self, exc: BusError) -> None:
        if str(exc) != self.trouble:
            log.warning("broker.away", link=self.name, reason=str(exc))
        self.trouble = str(exc)


async def watch(pipe: Pipe) -> None:
    """Until the connection is lost: asks when nothing was heard, and gives up on silence."""
    while not pipe.closed.done():
        await asyncio.wait((pipe.closed,), timeout=BEAT_S)
        silent_s = pipe.silent_s()
        if silent_s > SILENT_S:
            pipe.close(f"the broker was silent for {silent_s:.1f} s")
        elif silent_s >= BEAT_S / 2 and not pipe.closed.done():
            pipe.say("PING")
    raise BrokerAway(pipe.closed.result())


class Link:
    """The connection for commands. `run` keeps it; everything else works only while it stands."""

    def __init__(self, where: Where, name: str, *, seed: int = 0) -> None:
        self._keeper = Keeper(where, name, seed=seed)
        self._pipe: Pipe | None = None
        self._heard_at: float | None = None
        self.up = asyncio.Event()  # set while connected

    async def run(self) -> None:
        """Runs until cancelled."""
        self._heard_at = asyncio.get_running_loop().time()
        await self._keeper.run(self._serve)

    async def _serve(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self.up.set()
        try:
            await watch(pipe)
        finally:
            self._pipe = None
            self._heard_at = pipe.heard_at
            self.up.clear()

    @property
    def connected(self) -> bool:
        return self._pipe is not None and not self._pipe.closed.done()

    @property
    def connects(self) -> int:
        """How often it was connected; a new number means that something may have been missed."""
        return self._keeper.connects

    @property
    def trouble(self) -> str:
        """Why it is not connected, for a person; "" while it is."""
        return "" if self.connected else self._keeper.trouble

    def condition(self) -> BusSeen:
        """Silent for so long (S6); 0 while the broker answers."""
        pipe = self._pipe
        heard_at = self._heard_at if pipe is None else pipe.heard_at
        if heard_at is None:
            return BusSeen(silent_ms=0)  # not begun
        silent_s = asyncio.get_running_loop().time() - heard_at
        if self.connected and silent_s < _FRESH_S:
            return BusSeen(silent_ms=0)
        return BusSeen(silent_ms=round(silent_s * 1000))

    # -- commands -------------------------------------------------------------------------------

    def _standing(self) -> Pipe:
        if self._pipe is None:
            raise BrokerAway(self._keeper.trouble)
        return self._pipe

    def call(self, *words: Word) -> asyncio.Future[Reply]:
        """Sent before this returns; BrokerAway when it was not. See `Pipe.call`."""
        return self._standing().call(*words)

    def batch(self, commands: Sequence[tuple[Word, ...]]) -> asyncio.Future[list[Reply]]:
        return self._standing().batch(commands)

    async def add(
        self, stream: str, event_id: str, source: str, data: bytes, *, length_max: int = 10_000
    ) -> str:
        """One message onto a stream, which is kept to about `length_max`; its place there.

        BrokerAway: not sent. BrokerSilent: nobody knows, so whoever reads must know it by its id.
        """
        reply = await self.add_soon(stream, event_id, source, data, length_max=length_max)
        return text(reply)

    def add_soon(
        self, stream: str, event_id: str, source: str, data: bytes, *, length_max: int = 10_000
    ) -> asyncio.Future[Reply]:
        """As `add`, sent before this returns."""
        if len(data) > DATA_BYTES_MAX:
            raise BusError(f"a message of {len(data)} bytes is too long, limit {DATA_BYTES_MAX}")
        return self.call(
            "XADD", stream, "MAXLEN", "~", length_max, "*", "id", event_id, "src", source, "d", data
        )

    def publish(self, channel: str, data: bytes) -> asyncio.Future[Reply]:
        """To whoever is subscribed just now; the reply is how many heard it on this broker."""
        return self.call("PUBLISH", channel, data)
