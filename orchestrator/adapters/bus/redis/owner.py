"""The owner of work streams: makes their groups, buries what nobody can handle, and notices when
the broker has come back without its data (SAFETY H5: then everything is derived anew).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import hiredis
import structlog

from orchestrator.adapters.bus.redis.alarms import Alarm
from orchestrator.adapters.bus.redis.group import TRIES_MAX
from orchestrator.adapters.bus.redis.link import Link
from orchestrator.adapters.bus.redis.words import Reply, Word, number, rows, text
from orchestrator.model.errors import BusError

log = structlog.get_logger()

LOOK_S = 0.5
DEAD_MAX = 1_000
_PAGE = 100
_SWEEP_EVERY = 20  # looks
_KEEP_S = 3600.0
_GONE_MS = 3_600_000

# The reason why data are lost.
Lost = Callable[[str], None]


def dead_letters(namespace: str, stream: str) -> str:
    """Where the messages of a stream go that could not be handled."""
    return f"{namespace}:dead:{stream.removeprefix(f'{namespace}:')}"


class Owner:
    """One node owns a work stream, or several do: all it does may be done twice."""

    def __init__(
        self, link: Link, namespace: str, mark: str, *, lost: Lost, alarm: Alarm,
        tries_max: int = TRIES_MAX, dead_after_ms: int = 500, keep_s: float = _KEEP_S,
    ) -> None:  # fmt: skip
        """`mark`: an id of this life; the broker keeps the first node's as long as its data live.

        Messages older than `keep_s` are cut off, done or not: no opinion is awaited so long.
        """
        self._link = link
        self._namespace = namespace
        self._mark = mark
        self._mark_key = f"{namespace}:mark"
        self._lost = lost
        self._alarm = alarm
        self._tries_max = tries_max
        self._dead_after_ms = dead_after_ms
        self._keep_s = keep_s
        self._groups: dict[tuple[str, str], None] = {}
        self._bounds: dict[str, int] = {}
        self._known = ""  # the mark that stood there when we last looked
        self._made_at = 0  # the connection on which the groups were last made
        self._marks = 0
        self._looks = 0
        self.buried = 0
        self.losses = 0

    def own(self, stream: str, group: str) -> None:
        """From the next look on; what stands on the stream already is the group's work, too."""
        self._groups[stream, group] = None
        self._made_at = 0

    def bound(self, stream: str, length_max: int) -> None:
        """Cut it to about this at each look, however much others write there; 0: no more."""
        if length_max:
            self._bounds[stream] = length_max
        else:
            self._bounds.pop(stream, None)

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._link.up.wait()
            try:
                async with asyncio.timeout(LOOK_S * 10):
                    await self.look()
            except (BusError, TimeoutError) as exc:
                log.info("bus.unowned", reason=str(exc))
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """One look at everything. BusError when the broker is away."""
        connects = self._link.connects
        if await self._is_new() or self._made_at != connects:
            await self._make_groups()
            self._made_at = connects
        for stream, group in tuple(self._groups):
            await self._bury(stream, group)
        await self._link.batch(
            [("XTRIM", stream, "MAXLEN", "~", most) for stream, most in self._bounds.items()]
        )
        self._looks += 1
        if self._looks % _SWEEP_EVERY == 0:
            await self._sweep()

    # -- data -----------------------------------------------------------------------------------

    async def _is_new(self) -> bool:
        """Whether the mark is another than we knew: a flush, an eviction, an empty restart."""
        found = await self._link.call("GET", self._mark_key)
        if found is None:
            # Never the same mark twice: the other nodes must see that it has changed.
            self._marks += 1
            await self._link.call("SET", self._mark_key, f"{self._mark}.{self._marks}", "NX")
            found = await self._link.call("GET", self._mark_key)
        mark, known = text(found), self._known
        self._known = mark
        if known and mark != known:
            self.losses += 1
            log.warning("broker.data_lost")
            self._lost("the broker has lost its data")
        return mark != known

    async def _make_groups(self) -> None:
        """From the stream's beginning: what came between a flush and this is not skipped."""
        commands: list[tuple[Word, ...]] = [
            ("XGROUP", "CREATE", stream, group, "0", "MKSTREAM") for stream, group in self._groups
        ]
        for reply in await self._link.batch(commands):
            if isinstance(reply, hiredis.ReplyError) and not str(reply).startswith("BUSYGROUP"):
                log.warning("bus.group_refused", reason=str(reply))

    # -- dead letters ---------------------------------------------------------------------------

    async def _bury(self, stream: str, group: str) -> None:
        ask = ("XPENDING", stream, group, "IDLE", self._dead_after_ms, "-", "+", _PAGE)
        try:
            pending = rows(await self._link.call(*ask))
        except BusError as exc:
            if str(exc).startswith("NOGROUP"):
                self._made_at = 0  # evicted, or deleted by hand
                return
            raise
        for each in pending:
            row = rows(each)
            if len(row) == 4 and number(row[3]) >= self._tries_max:  # noqa: PLR2004 -- see XPENDING
                await self._bury_one(stream, group, text(row[0]), text(row[1]), number(row[3]))

    async def _bury_one(
        self, stream: str, group: str, entry_id: str, consumer: str, tries: int
    ) -> None:
        found = rows(await self._link.call("XRANGE", stream, entry_id, entry_id))
        fields = rows(rows(found[0])[1]) if found else []
        reason = f"given {tries} times, last to {consumer}, and never finished"
        dead = dead_letters(self._namespace, stream)
        words = [word for word in fields if isinstance(word, bytes)]
        commands: list[tuple[Word, ...]] = [
            ("MULTI",),
            ("XADD", dead, "MAXLEN", "~", DEAD_MAX, "*", "reason", reason, "was", entry_id,
             "group", group, *words),
            ("XACK", stream, group, entry_id),
            ("EXEC",),
        ]  # fmt: skip
        replies = await self._link.batch(commands)
        if isinstance(replies[-1], hiredis.ReplyError):
            log.warning("bus.not_buried", stream=stream, reason=str(replies[-1]))
            return
        self.buried += 1
        log.error("bus.buried", stream=stream, entry=entry_id, reason=reason)
        self._alarm(f"A message of {stream} cannot be handled", f"{reason}; it lies in {dead}")

    # -- bounds ---------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """Old messages, and workers that are gone for good, are forgotten (INV-17)."""
        now = rows(await self._link.call("TIME"))
        oldest_ms = number(now[0]) * 1000 - round(self._keep_s * 1000) if now else 0
        for stream, group in tuple(self._groups):
            await self._link.call("XTRIM", stream, "MINID", "~", max(0, oldest_ms))
            await self._forget_workers(stream, group)

    async def _forget_workers(self, stream: str, group: str) -> None:
        for each in rows(await self._link.call("XINFO", "CONSUMERS", stream, group)):
            told = _named(each)
            if number(told.get("pending")) == 0 and number(told.get("idle")) > _GONE_MS:
                await self._link.call(
                    "XGROUP", "DELCONSUMER", stream, group, text(told.get("name"))
                )


def _named(reply: Reply) -> dict[str, Reply]:
    words = rows(reply)
    return {text(key): value for key, value in zip(words[::2], words[1::2], strict=False)}
