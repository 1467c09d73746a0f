"""The way out: limiter, connected socket, gate, first byte, in this order and nothing between."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest
import uvloop

from orchestrator.adapters.oanda.client import OandaVenue
from orchestrator.model.orders import Answered, NotSent
from tests.unit.adapters.oanda_server import (
    ACCOUNT,
    OTHER,
    QUICK,
    TOKEN,
    Outcomes,
    Script,
    answer,
    cancel,
    filled,
    market_ns,
    mono_ns,
    open_gate,
    order,
    saying,
    serving,
    until,
    venue_at,
    warm,
)

LOOPS = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


def waiting_bytes(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536, socket.MSG_DONTWAIT | socket.MSG_PEEK)
    except BlockingIOError:
        return b""


@LOOPS
def test_the_gate_is_asked_last_and_the_bytes_leave_in_the_same_breath(new_loop):
    """No byte at the peer when the gate is asked, all of them when submit returns.

    The loop does not run in between: the peer's end is a plain socket, read by the test itself.
    """

    async def scene() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            venue = OandaVenue(
                [ACCOUNT], TOKEN, rest_url=url, stream_url=url, now=market_ns,
                mono=mono_ns, dice=random.Random(1).random, limits=QUICK,
            )  # fmt: skip
            await warm(venue, 2)
            peers = [server.accept()[0] for _ in range(2)]
            seen_at_gate: list[bytes] = []

            def gate() -> None:
                seen_at_gate.extend(waiting_bytes(peer) for peer in peers)

            outcomes = Outcomes()
            venue.submit(order("i-1"), gate, outcomes.done())
            arrived = b"".join(waiting_bytes(peer) for peer in peers)
            assert seen_at_gate == [b"", b""]
            assert arrived.startswith(b"POST /v3/accounts/")
            assert arrived.endswith(order("i-1").body.encode())
            assert outcomes.all == []  # never inside submit
            await venue.close()
            for peer in peers:
                peer.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scene())


async def test_a_gate_that_refuses_lets_no_byte_out():
    script = Script()
    outcomes = Outcomes()
    async with serving(script), venue_at(script.url) as venue:
        await warm(venue)
        venue.submit(order(), lambda: "stopped", outcomes.done())
        assert outcomes.all == []
        assert await outcomes.wait() == [NotSent(reason="stopped", by_gate=True)]
        assert outcomes.all[0][2] == 0
        connects = venue.stats.connects
        venue.submit(order(), open_gate, outcomes.done())  # the connection is as good as before
        assert isinstance((await outcomes.wait(2))[1], Answered)
        assert venue.stats.connects == connects
    assert len(script.requests) == 1


async def test_a_refusal_costs_no_turn_at_the_limiter():
    script = Script()
    outcomes = Outcomes()
    limits = QUICK.__class__(requests_per_s=0.001, request_burst=1.0)
    async with serving(script), venue_at(script.url, limits) as venue:
        await warm(venue)
        for _ in range(5):
            venue.submit(order(), lambda: "stopped", outcomes.done())
        venue.submit(order(), open_gate, outcomes.done())
        assert isinstance((await outcomes.wait(6))[5], Answered)


async def test_a_gate_that_raises_is_a_closed_gate():
    script = Script()
    outcomes = Outcomes()

    def broken() -> None:
        raise RuntimeError("no")

    async with serving(script), venue_at(script.url) as venue:
        venue.submit(order(), broken, outcomes.done())
        (outcome,) = await outcomes.wait()
    assert isinstance(outcome, NotSent)
    assert outcome.by_gate
    assert script.requests == []


async def test_the_gate_is_asked_after_the_wait_for_a_connection():
    """An order that waits while the gate closes is refused when its turn comes."""
    script = Script()
    outcomes = Outcomes()
    closed = False
    async with serving(script), venue_at(script.url) as venue:
        venue.submit(order(), lambda: "stopped" if closed else None, outcomes.done())
        closed = True
        assert await outcomes.wait() == [NotSent(reason="stopped", by_gate=True)]
    assert script.requests == []


async def test_the_first_byte_has_the_markets_time():
    script = Script()
    outcomes = Outcomes()
    async with serving(script), venue_at(script.url) as venue:
        before = market_ns()
        venue.submit(order(), open_gate, outcomes.done())
        await outcomes.wait()
    assert before <= outcomes.all[0][2] <= market_ns()


async def test_urgent_requests_go_before_orders_that_wait_longer():
    """Orders of one account fill its two connections and a queue; cancels overtake them."""
    script = Script()
    let_go = asyncio.Event()

    async def held(peer, request):
        await let_go.wait()
        await peer.say(answer(201, filled(request)))

    script.answer = held
    outcomes = Outcomes()
    limits = QUICK.__class__(requests_per_s=0.0, connect_s=1.0)
    async with serving(script), venue_at(script.url, limits) as venue:
        await warm(venue)
        for number in range(6):
            venue.submit(order(f"i-{number}"), open_gate, outcomes.done(f"i-{number}"))
        for number in range(6):
            venue.submit(cancel(str(number + 1)), open_gate, outcomes.done(f"c-{number}"))
        await until(lambda: len(script.requests) == 6)
        let_go.set()
        await outcomes.wait(12)
    sent = [line.split("/")[-2:] for line in script.lines]
    cancels = [at for at, (_, last) in enumerate(sent) if last == "cancel"]
    orders = [at for at, (_, last) in enumerate(sent) if last == "orders"]
    assert len(cancels) == len(orders) == 6
    assert max(cancels) < orders[2]  # two orders were on their way before any cancel was asked


async def test_the_limiter_lets_urgent_requests_first_and_accounts_in_turns():
    """Ten orders of one account and two of another wait for turns; a cancel comes last."""
    script = Script()
    outcomes = Outcomes()
    limits = QUICK.__class__(requests_per_s=100.0, request_burst=1.0, urgent_debt=0.0)
    async with serving(script), venue_at(script.url, limits) as venue:
        await warm(venue)
        for number in range(10):
            venue.submit(order(f"a-{number}"), open_gate, outcomes.done(f"a-{number}"))
        for number in range(2):
            name = f"b-{number}"
            venue.submit(order(name, OTHER), open_gate, outcomes.done(name))
        venue.submit(cancel(), open_gate, outcomes.done("cancel"))
        await outcomes.wait(13)
        assert venue.stats.limiter_waits > 0
    assert outcomes.names[:2] == ["a-0", "cancel"]
    assert outcomes.names.index("b-1") <= 6


async def test_a_full_queue_refuses_with_a_reason():
    script = Script()
    script.answer = saying()
    outcomes = Outcomes()
    limits = QUICK.__class__(answer_s=0.1, queue_max=3, queue_s=0.05, requests_per_s=0.0)
    async with serving(script), venue_at(script.url, limits) as venue:
        await warm(venue)
        for number in range(10):
            venue.submit(order(f"i-{number}"), open_gate, outcomes.done(f"i-{number}"))
        await outcomes.wait(10)
    full = [o for o in outcomes.all if isinstance(o[1], NotSent) and "queue full" in o[1].reason]
    assert len(full) == 6  # one on its way, three wait
    assert len(script.requests) <= 4


async def test_who_waits_too_long_is_told_and_never_sent():
    script = Script()
    script.answer = saying()
    outcomes = Outcomes()
    limits = QUICK.__class__(answer_s=0.3, queue_s=0.05, requests_per_s=0.0)
    async with serving(script), venue_at(script.url, limits) as venue:
        await warm(venue)
        for number in range(3):
            venue.submit(order(f"i-{number}"), open_gate, outcomes.done(f"i-{number}"))
        await outcomes.wait(3)
    late = [o for o in outcomes.all if isinstance(o[1], NotSent)]
    assert [name for name, _, _ in late] == ["i-2"]
    assert "waited" in late[0][1].reason
    assert len(script.requests) == 2


async def test_a_429_makes_everybody_pause():
    script = Script()
    script.answer = saying(answer(429, {}, "Retry-After: 1\r\n"))
    outcomes = Outcomes()
    async with serving(script), venue_at(script.url) as venue:
        venue.submit(order("i-1"), open_gate, outcomes.done())
        await outcomes.wait()
        venue.submit(order("i-2"), open_gate, outcomes.done())
        await asyncio.sleep(0.05)
        assert len(script.requests) == 1


async def test_a_thousand_orders_in_a_burst_are_sent_once_each():
    script = Script()
    outcomes = Outcomes()
    limits = QUICK.__class__(requests_per_s=0.0)
    async with serving(script), venue_at(script.url, limits) as venue:
        for number in range(500):
            venue.submit(order(f"i-{number}"), open_gate, outcomes.done())
            venue.submit(order(f"j-{number}", OTHER), open_gate, outcomes.done())
        answers = await outcomes.wait(1000)
    assert all(isinstance(one, Answered) for one in answers)
    ids = [request.headers["clientrequestid"] for request in script.requests]
    assert len(ids) == len(set(ids)) == 1000
