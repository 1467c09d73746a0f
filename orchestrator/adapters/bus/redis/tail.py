"""Reading streams from a position on, each message by every reader: what agents hear, and say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from inspect import isawaitable

import structlog

from orchestrator.adapters.bus.redis.dialer import Where
from orchestrator.adapters.bus.redis.entries import Handle, entry_of, place_of, places
from orchestrator.adapters.bus.redis.group import asked
from orchestrator.adapters.bus.redis.link import Keeper
from orchestrator.adapters.bus.redis.pipe import Pipe
from orchestrator.adapters.bus.redis.words import Reply, Word, rows

log = structlog.get_logger()

_BLOCK_MS = 250
_BEGIN = "0-0"
STREAMS_MAX = 256

Lost = Callable[[str], None]


def _nothing(_: str) -> None:
    """For those who find gaps by their messages' own numbers."""


class TailReader:
    """Follows a changing set of streams; `handle` must not raise, a message comes once.

    `lost(stream)`: the stream has begun anew, so something was missed (a flush, a restart without
    data, an older copy); it is read from its beginning.
    """

    def __init__(
        self, where: Where, handle: Handle, *, name: str = "tail", at_once: int = 256,
        lost: Lost = _nothing, seed: int = 0,
    ) -> None:  # fmt: skip
        self._keeper = Keeper(where, name, seed=seed)
        self._handle = handle
        self._at_once = at_once
        self._lost = lost
        self._places: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self.foreign = 0
        self.ready = asyncio.Event()  # set while connected and at work

    def follow(self, stream: str, after: str = "$") -> None:
        """From now on; `after`: an entry's id, "0-0" from the beginning, "$" what comes new.

        ValueError when it follows too many.
        """
        if len(self._places) >= STREAMS_MAX and stream not in self._places:
            raise ValueError(f"follows {STREAMS_MAX} streams already")
        self._places[stream] = after
        self._changed.set()

    async def following(self, stream: str) -> None:
        """Until it really hears the stream: what is written from then on is not missed."""
        while self._places.get(stream) == "$":
            self._settled.clear()
            await self._settled.wait()

    def forget(self, stream: str) -> None:
        self._places.pop(stream, None)
        self._settled.set()

    def place(self, stream: str) -> str:
        """The last id that was handled; "" for a stream that is not followed."""
        return self._places.get(stream, "")

    async def run(self) -> None:
        """Runs until cancelled."""
        await self._keeper.run(self._serve)

    @property
    def trouble(self) -> str:
        return self._keeper.trouble

    async def _serve(self, pipe: Pipe) -> None:
        try:
            for stream in tuple(self._places):
                await self._look(pipe, stream)
            while True:
                await self._round(pipe)
        finally:
            self.ready.clear()

    async def _look(self, pipe: Pipe, stream: str) -> None:
        """Where the stream stands: resolves "$", and finds out when it has begun anew."""
        last = rows(await asked(pipe, 0, "XREVRANGE", stream, "+", "-", "COUNT", 1))
        newest = place_of(last[0]) if last else _BEGIN
        mine = self._places.get(stream)
        if mine == "$":
            self._places[stream] = newest
        elif mine is not None and order_of(newest) < order_of(mine):
            self._places[stream] = _BEGIN
            log.warning("bus.lost", stream=stream)
            self._lost(stream)

    async def _round(self, pipe: Pipe) -> None:
        self._changed.clear()
        for stream in [name for name, place in self._places.items() if place == "$"]:
            await self._look(pipe, stream)
        self._settled.set()
        streams = dict(self._places)
        self.ready.set()
        if not streams:
            await self._idle(pipe)
            return
        words: tuple[Word, ...] = (
            "XREAD", "COUNT", self._at_once, "BLOCK", _BLOCK_MS, "STREAMS",
            *streams, *streams.values(),
        )  # fmt: skip
        for stream, entries in places(await asked(pipe, _BLOCK_MS, *words)):
            for each in entries:
                await self._take(stream, each)

    async def _idle(self, pipe: Pipe) -> None:
        """Nothing to follow yet; a lost connection is noticed all the same."""
        await asked(pipe, 0, "PING")
        try:
            async with asyncio.timeout(_BLOCK_MS / 1000):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _take(self, stream: str, reply: Reply) -> None:
        if stream not in self._places:
            return  # forgotten meanwhile
        self._places[stream] = place_of(reply)
        entry = entry_of(stream, reply)
        if entry is None:
            self.foreign += 1
            log.warning("bus.foreign", stream=stream, entry=place_of(reply))
            return
        doing = self._handle(entry)
        if isawaitable(doing):
            await doing


def order_of(entry_id: str) -> tuple[int, int]:
    """Ids in the order of their streams: two numbers, not a text. Nonsense stands before all."""
    first, _, second = entry_id.partition("-")
    return (int(first), int(second)) if first.isdigit() and second.isdigit() else (0, 0)
