"""Who goes when: closes overtake, accounts take turns, no second has more than the venue allows.

The outbox and the turns to connect run on a virtual-time loop, with connections that answer after
a round trip; so minutes of a flood pass in no time, and every instant is exact.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.adapters.oanda.client import ClientLimits
from orchestrator.adapters.oanda.http import Answer, Bounds
from orchestrator.adapters.oanda.limiter import TokenBucket
from orchestrator.adapters.oanda.outbox import Job, Outbox, Rank, Unsent
from orchestrator.adapters.oanda.pool import ClientStats
from orchestrator.adapters.oanda.turns import ConnectRank, ConnectTurns
from orchestrator.service.virtual import run_virtual

LIMITS = ClientLimits()
VENUE_PER_S = 120
STREAMS_PER_S = 2  # opening a stream is a request too; two connections a second
BOUNDS = Bounds(5.0, 5.0, 1000)
A, B, C = "account-a", "account-b", "account-c"


def mono_ns() -> int:
    return round(asyncio.get_running_loop().time() * 1e9)


class Lane:
    """A pool of connections, each busy for one round trip a request."""

    def __init__(self, line: Line, connections: int) -> None:
        self._line = line
        self._idle = [Wire(line, self) for _ in range(connections)]
        self.hopeless = False

    def take(self):
        return self._idle.pop() if self._idle else None

    def put_back(self, wire):
        self._idle.append(wire)

    def has_unread(self):
        return False

    def want(self, connections, rank):
        pass


class Wire:
    def __init__(self, line: Line, lane: Lane) -> None:
        self._line = line
        self._lane = lane

    def claim(self, ended, _bounds):
        self._ended = ended
        return self

    def release(self):
        self._ended = None

    def write(self, data):
        loop = asyncio.get_running_loop()
        self._line.sent.append((loop.time(), data.decode()))
        loop.call_later(self._line.trip_s, self._answer)

    def _answer(self):
        self._ended(Answer(200, {}, b""))
        self._lane.put_back(self)
        self._line.outbox.ready()


class Line:
    """A client's way out. `sent`: (time, name) of each first byte; `ends`: what came of each."""

    def __init__(self, trip_s: float = 0.02) -> None:
        self.trip_s = trip_s
        self.sent: list[tuple[float, str]] = []
        self.asked: dict[str, float] = {}
        self.ends: dict[str, object] = {}
        self.outbox = Outbox(
            TokenBucket(LIMITS.requests_per_s, LIMITS.request_burst, LIMITS.urgent_debt),
            mono_ns, mono_ns, ClientStats(), queue_max=LIMITS.queue_max, queue_s=LIMITS.queue_s,
        )  # fmt: skip
        self._orders = {name: Lane(self, 2) for name in (A, B, C)}
        self._urgents = {name: Lane(self, 4) for name in (A, B, C)}
        self._reads = Lane(self, 4)

    def put(self, rank: Rank, account: str, name: str, gate=None) -> None:
        orders, urgents = self._orders[account], self._urgents[account]
        pools = {
            Rank.URGENT: (urgents, orders), Rank.ORDER: (orders,), Rank.READ: (self._reads,),
        }[rank]  # fmt: skip

        def finished(end, _first_byte_ns):
            assert name not in self.ends
            self.ends[name] = end

        self.asked[name] = asyncio.get_running_loop().time()
        self.outbox.put(Job(rank, account, name.encode(), BOUNDS, pools, finished, gate))

    def waits(self, start: str) -> list[float]:
        return [at - self.asked[name] for at, name in self.sent if name.startswith(start)]

    def most_in_a_second(self) -> int:
        times = [at for at, _ in self.sent]
        return max(bisect_left(times, at + 1.0) - number for number, at in enumerate(times))


def played(story: Callable[[], Awaitable[Line]]) -> Line:
    async def run() -> Line:
        line = await story()
        await asyncio.sleep(30)
        line.outbox.close()
        return line

    return run_virtual(run())


def flood(line: Line, account: str, count: int = 1000) -> None:
    for number in range(count):
        line.put(Rank.ORDER, account, f"flood-{account}-{number}")


def test_others_wait_for_a_few_turns_only_while_one_account_floods():
    """1,000 orders of one account, and each 0.2 s an order and a read of two others."""

    async def story() -> Line:
        line = Line(trip_s=0.01)
        flood(line, A)
        for number in range(40):
            await asyncio.sleep(0.2)
            for account in (B, C):
                line.put(Rank.ORDER, account, f"order-{account}-{number}")
                line.put(Rank.READ, account, f"read-{account}-{number}")
        return line

    line = played(story)
    turn_s = 1 / LIMITS.requests_per_s
    # One of A's, one of the other's, one read between: then it is its turn.
    assert max(line.waits("order-")) <= 4 * turn_s + 1e-6
    # Two reads wait at a time, each for its fifth turn.
    assert max(line.waits("read-")) <= 12 * turn_s
    assert len(line.waits("order-")) == len(line.waits("read-")) == 80
    assert len(line.waits("flood-")) > 700  # and nobody's share is wasted
    assert line.most_in_a_second() + STREAMS_PER_S <= VENUE_PER_S


def test_closes_and_cancels_overtake_a_thousand_orders_of_the_same_account():
    async def story() -> Line:
        line = Line(trip_s=0.01)
        flood(line, A)
        await asyncio.sleep(1)
        for number in range(50):
            line.put(Rank.URGENT, A, f"close-{number}")
            line.put(Rank.URGENT, B, f"close-other-{number}")
        return line

    line = played(story)
    assert max(line.waits("close-")) <= 100 / LIMITS.requests_per_s
    first = [at for at, name in line.sent if name.startswith("close-")]
    assert first[:8] == [first[0]] * 8  # within the debt: at once
    begun, ended = first[0], first[-1]
    between = [name for at, name in line.sent if begun < at < ended and name.startswith("flood")]
    assert between == []  # not one order while a close waits
    assert line.most_in_a_second() + STREAMS_PER_S <= VENUE_PER_S


def test_a_flood_fills_its_own_queue_and_nobody_elses():
    async def story() -> Line:
        line = Line()
        flood(line, A, 1100)
        line.put(Rank.ORDER, B, "order")
        line.put(Rank.URGENT, A, "close")
        return line

    line = played(story)
    refused = [
        n for n, end in line.ends.items() if isinstance(end, Unsent) and "full" in end.reason
    ]
    assert 80 < len(refused) < 100
    assert all(name.startswith("flood") for name in refused)
    assert {"order", "close"} <= {name for _, name in line.sent}


def test_reads_of_one_account_leave_room_for_reads_of_others():
    async def story() -> Line:
        line = Line(trip_s=0.1)  # four connections: forty reads a second
        for number in range(300):
            line.put(Rank.READ, A, f"flood-{number}")
        await asyncio.sleep(1)
        line.put(Rank.READ, B, "read")
        return line

    assert max(played(story).waits("read")) <= 0.11


writes = st.lists(
    st.tuples(
        st.sampled_from(list(Rank)), st.sampled_from([A, B, C]), st.integers(1, 200),
        st.floats(0, 2), st.booleans(),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@given(writes, st.sampled_from([0.0, 0.003, 0.05, 0.7]))
@settings(max_examples=30)
def test_no_second_has_more_requests_than_the_venue_allows(bursts, trip_s):
    """Whatever is asked, by whom and how urgently: at most 120 in any second, each sent once, and
    each told its end once."""

    async def story() -> Line:
        line, number = Line(trip_s), 0
        for rank, account, count, pause_s, closed in bursts:
            for _ in range(count):
                number += 1
                gate = (lambda: "shut") if closed and rank is Rank.ORDER else None
                line.put(rank, account, f"{number}", gate)
            await asyncio.sleep(pause_s)
        return line

    line = played(story)
    if line.sent:
        assert line.most_in_a_second() + STREAMS_PER_S <= VENUE_PER_S
    names = [name for _, name in line.sent]
    assert len(names) == len(set(names))
    assert set(line.ends) == set(line.asked)
    for name, end in line.ends.items():
        assert isinstance(end, Unsent) is (name not in names)


# connections


def connected(wishes: list[tuple[float, ConnectRank, str]]) -> list[tuple[float, str]]:
    """When who may connect; wishes are (at, rank, name)."""
    made: list[tuple[float, str]] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        turns = ConnectTurns(TokenBucket(LIMITS.connects_per_s, 1.0), mono_ns)

        async def one(at: float, rank: ConnectRank, name: str) -> None:
            await asyncio.sleep(at)
            await turns.wait(name, rank)
            made.append((loop.time(), name))

        async with asyncio.TaskGroup() as tasks:
            for wish in wishes:
                tasks.create_task(one(*wish))

    run_virtual(run())
    return made


@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.sampled_from(list(ConnectRank)), st.just("")), max_size=30
    )
)
@settings(max_examples=30)
def test_no_second_has_more_than_two_new_connections(wishes):
    times = [at for at, _ in connected(wishes)]
    assert len(times) == len(wishes)
    assert all(later - earlier >= 0.999 for earlier, later in zip(times, times[2:], strict=False))


def test_what_must_close_connects_before_spare_lanes_and_streams():
    wishes = [(0.0, ConnectRank.WARM, f"warm-{n}") for n in range(4)]
    wishes += [(0.1, ConnectRank.STREAM, "stream"), (0.2, ConnectRank.URGENT, "close")]
    assert [name for _, name in connected(wishes)][:3] == ["warm-0", "close", "stream"]


async def test_a_spare_lane_that_is_needed_now_is_hurried():
    turns = ConnectTurns(TokenBucket(100.0, 1.0), mono_ns)
    order: list[str] = []

    async def one(name: str) -> None:
        await turns.wait(name, ConnectRank.WARM)
        order.append(name)

    async with asyncio.TaskGroup() as tasks:
        for name in ("first", "second", "third"):
            tasks.create_task(one(name))
        await asyncio.sleep(0)
        turns.hurry("third", ConnectRank.URGENT)
    assert order == ["first", "third", "second"]


async def test_who_gives_up_waiting_takes_no_turn():
    turns = ConnectTurns(TokenBucket(20.0, 1.0), mono_ns)
    await turns.wait("first", ConnectRank.WARM)
    waiting = asyncio.get_running_loop().create_task(turns.wait("second", ConnectRank.WARM))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(2):
        await turns.wait("third", ConnectRank.WARM)
