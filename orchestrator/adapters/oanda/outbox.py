"""Requests on their way out: who goes first, on which connection, and the gate before the byte.

SAFETY G1: rate limiter, connected socket in hand, gate, first byte. What waited meets the gate
after its wait, because only `_go` asks it, and `_go` writes in the same breath.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import TypeAlias

import msgspec

from orchestrator.adapters.oanda.http import Bounds, Connection, End
from orchestrator.adapters.oanda.limiter import FairQueue, TokenBucket
from orchestrator.adapters.oanda.pool import ClientStats, Pool
from orchestrator.adapters.oanda.turns import ConnectRank
from orchestrator.model import failpoints
from orchestrator.model.orders import GateQuestion
from orchestrator.model.time import NS_PER_S, Instant

_PAUSE_S_MAX = 10.0
_ORDERS_PER_READ = 4
_URGENT_PAUSE_S_MAX = 1.0  # what reduces risk asks again soon, whatever the venue wishes


class _Try(IntEnum):
    """What came of trying to send: gone (or refused by the gate), no turn yet, no connection."""

    GONE = 0
    NO_TURN = 1
    NO_CONNECTION = 2


class Rank(IntEnum):
    """Who goes first."""

    URGENT = 0
    ORDER = 1
    READ = 2


class Unsent(msgspec.Struct, frozen=True, gc=False):
    """Proof that no byte was written."""

    reason: str
    by_gate: bool = False


Finished: TypeAlias = Callable[[End | Unsent, Instant], None]


class Job(msgspec.Struct, eq=False):
    """One request: the exact bytes, and who is told how it ended. `pools`: in order of wish."""

    rank: Rank
    account: str
    data: bytes
    bounds: Bounds
    pools: tuple[Pool, ...]
    finished: Finished
    gate: GateQuestion | None = None
    place: str = "send.read"  # its failpoint
    first_byte_ns: Instant = 0
    timer: asyncio.TimerHandle | None = None


class Outbox:
    """One for each host: its rate limit and its three queues."""

    def __init__(
        self,
        bucket: TokenBucket,
        now: Callable[[], int],
        mono: Callable[[], int],
        stats: ClientStats,
        *,
        queue_max: int,
        queue_s: float,
    ) -> None:
        self._bucket = bucket
        self._now = now
        self._mono = mono
        self._stats = stats
        self._queue_max = queue_max
        self._queue_s = queue_s
        self._queues: tuple[FairQueue[Job], ...] = tuple(FairQueue[Job]() for _ in Rank)
        self._alarm: asyncio.TimerHandle | None = None  # set: there is no turn before it
        self._alarm_at = 0.0
        self._look_again: asyncio.TimerHandle | None = None
        self._orders_in_a_row = 0
        self._closed = False

    def put(self, job: Job) -> None:
        """Send now if that is possible, else queue; `job.finished` is called exactly once."""
        if self._closed:
            return job.finished(Unsent("the client is closed"), 0)
        queue = self._queues[job.rank]
        at_once = self._may_pass(job.rank) and not queue.waits_for(job.account)
        if at_once and self._try(job) is _Try.GONE:
            return None
        if queue.waiting(job.account) >= self._queue_max:  # its own bound: it fills nobody else's
            self._stats.queue_refusals += 1
            return job.finished(Unsent(f"queue full: {self._queue_max} requests are waiting"), 0)
        queue.add(job.account, job)
        loop = asyncio.get_running_loop()
        job.timer = loop.call_later(self._queue_s, self._gave_up, job)
        self._call_for_connections(job)
        return None

    def cancel(self, job: Job) -> None:
        """Nobody waits for it any more; if it is on the wire its answer is read and forgotten."""
        self._take_out(job)

    def pause(self, retry_after_s: float) -> None:
        """The venue said 429: nobody sends for so long, within reason."""
        now_ns = self._mono()
        pause_s = min(retry_after_s, _PAUSE_S_MAX)
        urgent_s = min(retry_after_s, _URGENT_PAUSE_S_MAX)
        self._bucket.shut(now_ns + round(pause_s * NS_PER_S), now_ns + round(urgent_s * NS_PER_S))

    def _may_pass(self, rank: Rank) -> bool:
        # While the limiter is the bottleneck, nobody overtakes who waits for it.
        return self._alarm is None or (rank is Rank.URGENT and not self._queues[Rank.URGENT])

    def _try(self, job: Job) -> _Try:
        for pool in job.pools:
            connection = pool.take()
            if connection is None:
                continue
            wait_ns = self._bucket.take(self._mono(), urgent=job.rank is Rank.URGENT)
            if wait_ns:
                pool.put_back(connection)
                self._wake_in(wait_ns / NS_PER_S)
                return _Try.NO_TURN
            self._go(job, connection, pool)
            return _Try.GONE
        return _Try.NO_CONNECTION

    def _go(self, job: Job, connection: Connection, pool: Pool) -> None:
        def ended(end: End) -> None:
            job.finished(end, job.first_byte_ns)

        transport = connection.claim(ended, job.bounds)
        failpoints.before(job.place)  # and not between the gate's answer and the byte (G1)
        refusal = _ask(job.gate)
        if refusal is None:
            transport.write(job.data)
            job.first_byte_ns = self._now()
            failpoints.after(job.place)
            return
        connection.release()
        pool.put_back(connection)
        self._bucket.put_back()
        self._stats.gate_refusals += 1
        job.finished(Unsent(refusal, by_gate=True), 0)

    # what waits

    def ready(self) -> None:
        """A connection came free, or was lost: let who waits go, urgent first, in turns."""
        if not any(self._queues):
            return
        while self._next_of(Rank.URGENT):
            pass
        if self._alarm is None:
            while self._next_of_the_rest():
                pass

    def _next_of_the_rest(self) -> bool:
        """Orders go before reads, but a flood of orders leaves each fifth turn to a read.

        Reads settle what is unknown and tell what must be closed: they must not starve.
        """
        if self._orders_in_a_row >= _ORDERS_PER_READ and self._next_of(Rank.READ):
            self._orders_in_a_row = 0
            return True
        if self._alarm is None and self._next_of(Rank.ORDER):
            self._orders_in_a_row += 1
            return True
        return self._alarm is None and self._next_of(Rank.READ)

    def _next_of(self, rank: Rank) -> bool:
        """One request of the account whose turn it is; False when none went."""
        for job in self._queues[rank].heads():
            result = self._try(job)
            if result is _Try.NO_TURN:
                return False
            if result is _Try.GONE:
                return self._take_out(job)
            self._call_for_connections(job)
        return False

    def _call_for_connections(self, job: Job) -> None:
        if any(pool.has_unread() for pool in job.pools):
            # The loop has not read a close yet; after its next round we know more.
            if self._look_again is None:
                self._look_again = asyncio.get_running_loop().call_later(0, self._looked)
        else:
            job.pools[0].want(1, ConnectRank(job.rank))

    def _looked(self) -> None:
        self._look_again = None
        self.ready()

    def _wake_in(self, wait_s: float) -> None:
        self._stats.limiter_waits += 1
        loop = asyncio.get_running_loop()
        wake_at = loop.time() + wait_s
        if self._alarm is not None:
            if self._alarm_at <= wake_at:
                return
            self._alarm.cancel()
        self._alarm_at = wake_at
        self._alarm = loop.call_at(wake_at, self._woken)

    def _woken(self) -> None:
        self._alarm = None
        self.ready()

    def _take_out(self, job: Job) -> bool:
        if job.timer is not None:
            job.timer.cancel()
            job.timer = None
        return self._queues[job.rank].remove(job.account, job)

    # what never goes

    def _gave_up(self, job: Job) -> None:
        if self._take_out(job):
            self._stats.queue_timeouts += 1
            job.finished(Unsent(f"waited {self._queue_s:g} s for a connection and a turn"), 0)

    def unreachable(self, reason: str) -> None:
        """A connect failed: who can only wait for such a connection need not wait longer."""
        for queue in self._queues:
            for job in list(queue):
                if all(pool.hopeless for pool in job.pools) and self._take_out(job):
                    job.finished(Unsent(f"no connection: {reason}"), 0)

    def close(self) -> None:
        self._closed = True
        for timer in (self._alarm, self._look_again):
            if timer is not None:
                timer.cancel()
        for queue in self._queues:
            for job in list(queue):
                self._take_out(job)
                job.finished(Unsent("the client is closed"), 0)


def _ask(gate: GateQuestion | None) -> str | None:
    if gate is None:
        return None
    try:
        return gate()
    except Exception as error:  # noqa: BLE001 - a gate that fails is a closed gate (SAFETY K1)
        return f"the gate failed: {type(error).__name__}: {error}"
