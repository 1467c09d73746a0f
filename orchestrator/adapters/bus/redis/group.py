"""One worker of a stream: instances of a group share what is on it, and take over from the dead.

A message is acknowledged after its effect. What a worker took and did not finish, because it died
or raised, is taken over by any worker of the group once it has lain for `claim_after_ms`; after
`tries_max` tries it is left to the stream's owner, who moves it to the dead letters.
"""

from __future__ import annotations

import asyncio
from inspect import isawaitable

import structlog

from orchestrator.adapters.bus.redis.dialer import Where
from orchestrator.adapters.bus.redis.entries import Entry, Handle, entry_of, place_of, places
from orchestrator.adapters.bus.redis.link import SILENT_S, Keeper
from orchestrator.adapters.bus.redis.pipe import Pipe
from orchestrator.adapters.bus.redis.words import Reply, Word, number, rows, text
from orchestrator.model.errors import BrokerRefused, BrokerSilent

log = structlog.get_logger()

TRIES_MAX = 5
CLAIM_AFTER_MS = 500
_BLOCK_MS_MAX = 1000
_NO_GROUP_S = 0.1
_CLAIMED_AT_ONCE = 64
_PENDING = 4  # a row of XPENDING: id, owner, idle, tries


class Counts:
    """Of a worker, for metrics; they only grow."""

    def __init__(self) -> None:
        self.handled = 0
        self.failed = 0
        self.claimed = 0
        self.foreign = 0  # no message of ours


class GroupReader:
    """`handle` is called for one message at a time. A slow one should be quicker than the claim."""

    def __init__(
        self, where: Where, stream: str, group: str, consumer: str, handle: Handle, *,
        claim_after_ms: int = CLAIM_AFTER_MS, tries_max: int = TRIES_MAX, at_once: int = 1,
        seed: int = 0,
    ) -> None:  # fmt: skip
        """`at_once`: messages taken in one go; those behind a slow one wait for it, or a claim."""
        self._keeper = Keeper(where, f"{group}.{consumer}", seed=seed)
        self._stream = stream
        self._group = group
        self._consumer = consumer
        self._handle = handle
        self._claim_after_ms = claim_after_ms
        self._tries_max = tries_max
        self._at_once = at_once
        self._claim_at = 0.0
        self.counts = Counts()
        self.ready = asyncio.Event()  # connected, and the group is there

    async def run(self) -> None:
        """Runs until cancelled."""
        await self._keeper.run(self._serve)

    @property
    def trouble(self) -> str:
        """Why it is not connected, for a person; "" while it is."""
        return self._keeper.trouble

    async def _serve(self, pipe: Pipe) -> None:
        try:
            while True:
                await self._round(pipe)
        finally:
            self.ready.clear()

    async def _round(self, pipe: Pipe) -> None:
        try:
            await self._take_over(pipe)
            found = await self._read(pipe)
        except BrokerRefused as exc:
            if not str(exc).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            # A flush, or the first start: the stream's owner makes the group (H5).
            self.ready.clear()
            await asyncio.sleep(_NO_GROUP_S)
            return
        self.ready.set()
        for _, entries in places(found):
            for each in entries:
                await self._work(pipe, each, 1)

    async def _read(self, pipe: Pipe) -> Reply:
        block_ms = max(1, min(_BLOCK_MS_MAX, self._claim_after_ms // 2))
        return await asked(
            pipe, block_ms, "XREADGROUP", "GROUP", self._group, self._consumer,
            "COUNT", self._at_once, "BLOCK", block_ms, "STREAMS", self._stream, ">",
        )  # fmt: skip

    # -- what others left -----------------------------------------------------------------------

    async def _take_over(self, pipe: Pipe) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._claim_at:
            return
        self._claim_at = now + self._claim_after_ms / 2000
        left = rows(
            await asked(
                pipe, 0, "XPENDING", self._stream, self._group, "IDLE", self._claim_after_ms,
                "-", "+", _CLAIMED_AT_ONCE,
            )
        )  # fmt: skip
        self.ready.set()
        for each in left:
            row = rows(each)
            # What was tried often enough is left to the owner, and not touched: it must lie still.
            if len(row) == _PENDING and (tries := number(row[3])) < self._tries_max:
                await self._claim(pipe, text(row[0]), tries + 1)

    async def _claim(self, pipe: Pipe, entry_id: str, tries: int) -> None:
        """Nobody else can: whoever comes later finds that it no longer lies idle."""
        who = (self._stream, self._group, self._consumer)
        for each in rows(await asked(pipe, 0, "XCLAIM", *who, self._claim_after_ms, entry_id)):
            self.counts.claimed += 1
            await self._work(pipe, each, tries)

    # -- the work -------------------------------------------------------------------------------

    async def _work(self, pipe: Pipe, reply: Reply, tries: int) -> None:
        entry = entry_of(self._stream, reply, tries)
        if entry is None:
            self.counts.foreign += 1
            log.warning("bus.foreign", stream=self._stream, entry=place_of(reply))
        elif not await self._done(entry):
            return
        pipe.say("XACK", self._stream, self._group, place_of(reply))

    async def _done(self, entry: Entry) -> bool:
        try:
            doing = self._handle(entry)
            if isawaitable(doing):
                await doing
        except Exception as exc:  # noqa: BLE001 -- whatever it died of, the message is given again
            self.counts.failed += 1
            reason = f"{type(exc).__name__}: {exc}"
            log.warning("bus.failed", stream=entry.stream, event_id=entry.event_id, reason=reason)
            return False
        self.counts.handled += 1
        return True


async def asked(pipe: Pipe, block_ms: int, *words: Word) -> Reply:
    """BrokerSilent, and a closed connection, when the answer takes longer than it may."""
    limit_s = block_ms / 1000 + SILENT_S
    try:
        async with asyncio.timeout(limit_s):
            return await pipe.call(*words)
    except TimeoutError:
        pipe.close(f"no answer within {limit_s:g} s")
        raise BrokerSilent(f"no answer of the broker to {words[0]}") from None
