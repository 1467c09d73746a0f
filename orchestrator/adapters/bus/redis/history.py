"""The records of the last hours on a stream, and called out live: beside the path, in batches.

The journal is the truth, so this may lose what the broker does not take; it counts what it loses.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque

import hiredis
import structlog

from orchestrator.adapters.bus.redis.alarms import Alarm
from orchestrator.adapters.bus.redis.link import Link
from orchestrator.adapters.bus.redis.names import Names
from orchestrator.adapters.bus.redis.words import Reply, Word, number, rows
from orchestrator.model.errors import BrokerAway, BusError
from orchestrator.model.journal import Record, to_line

log = structlog.get_logger()

WAITING_MAX = 20_000
LENGTH_MAX = 100_000
_BATCH_MAX = 256
_ANSWER_S = 3.0
_PROBE_S = 1.0


class History:
    """`keep` is quick and never fails; `run` carries on what was kept."""

    def __init__(
        self, link: Link, names: Names, node: str, alarm: Alarm, *, hours: int,
        waiting_max: int = WAITING_MAX, length_max: int = LENGTH_MAX,
    ) -> None:  # fmt: skip
        self._link = link
        self._names = names
        self._head = node.encode() + b"\n"
        self._alarm = alarm
        self._keep_ms = hours * 3_600_000
        self._waiting: deque[tuple[float, Record]] = deque()
        self._waiting_max = waiting_max
        self._length_max = length_max
        self._something = asyncio.Event()
        self._server_ms = 0
        self._live_at = 0.0  # whether anybody listens is tried again from then on
        self._listeners = 0
        self._whole = True  # nothing lost since the last batch that was taken
        self.written = 0
        # Of what is not in the history: overflow, unknown (no answer came), refused.
        self.lost: Counter[str] = Counter()

    def keep(self, record: Record, now_s: float) -> None:
        """In the loop's thread. The oldest gives way when too many wait."""
        if len(self._waiting) >= self._waiting_max:
            self._waiting.popleft()
            self._lose("overflow", 1, "the broker has been away for too long")
        self._waiting.append((now_s, record))
        self._something.set()

    def lag_s(self, now_s: float) -> float:
        """How long the oldest has waited."""
        return now_s - self._waiting[0][0] if self._waiting else 0.0

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._something.wait()
            await self._link.up.wait()
            try:
                await self._write_some()
            except BrokerAway:
                await asyncio.sleep(0.05)  # the link tells when it is up again

    async def flush(self, limit_s: float) -> None:
        """At the end of a life: what waits goes out, if the broker takes it in time."""
        try:
            async with asyncio.timeout(limit_s):
                while self._waiting and self._link.connected:
                    await self._write_some()
        except (BusError, TimeoutError):
            return

    async def _write_some(self) -> None:
        batch = [record for _, record in list(self._waiting)[:_BATCH_MAX]]
        lines = [to_line(record) for record in batch]
        commands: list[tuple[Word, ...]] = [self._entry(line) for line in lines]
        calls_out = self._calls_out()
        if calls_out:
            commands.append(("PUBLISH", self._names.live, self._head + b"\n".join(lines)))
        commands.append(("XTRIM", self._names.history, "MAXLEN", "~", self._length_max))
        commands.append(("TIME",))
        answer = self._link.batch(commands)  # BrokerAway: all of it still waits
        for _ in batch:
            self._waiting.popleft()
        if not self._waiting:
            self._something.clear()
        try:
            async with asyncio.timeout(_ANSWER_S):
                replies = await answer
        except (BusError, TimeoutError) as exc:
            # Not sent again: nobody knows whether it stands there already.
            self._lose("unknown", len(batch), str(exc) or "no answer")
            return
        if calls_out:
            self._listeners = number(replies[-3])
        self._server_ms = number(rows(replies[-1])[0]) * 1000 if rows(replies[-1]) else 0
        self._judge(replies[: len(batch)])

    def _entry(self, line: bytes) -> tuple[Word, ...]:
        oldest_ms = max(0, self._server_ms - self._keep_ms)
        return ("XADD", self._names.history, "MINID", "~", oldest_ms, "*", "r", line)

    def _calls_out(self) -> bool:
        """Where nobody listens, that is tried once a second only."""
        now = asyncio.get_running_loop().time()
        if self._listeners == 0 and now < self._live_at:
            return False
        self._live_at = now + _PROBE_S
        return True

    def _judge(self, replies: list[Reply]) -> None:
        refused = [str(each) for each in replies if isinstance(each, hiredis.ReplyError)]
        self.written += len(replies) - len(refused)
        if refused:
            self._lose("refused", len(refused), refused[0])
        else:
            self._whole = True

    def _lose(self, kind: str, count: int, reason: str) -> None:
        self.lost[kind] += count
        if not self._whole:
            return  # one alarm for each hole
        self._whole = False
        log.warning("history.incomplete", kind=kind, reason=reason)
        self._alarm(
            "The broker's history has a hole",
            f"records are missing there, not in the journal: {reason}",
        )
