"""Our client under every fault that the paper venue knows, one by one and mixed by seed.

Goal: whatever the venue does or the line tells, once it is over our books are the venue's: same
orders, trades, positions and balance, each transaction in id order exactly once, no order made or
posted twice. A trader that keeps to SAFETY 7 writes; the venue's own history is the judge.

`CLIENT_FAULT_SEEDS=200 pytest tests/integration/test_client_faults.py` mixes more seeds.
"""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.integration.faulty_world import (
    BID,
    STOP,
    WRITES,
    World,
    each_write,
    told,
    trade_at_random,
)
from tests.integration.quick_loop import in_quick_time
from tests.integration.rogue_line import LINE_TRICKS, TRICKS

SEEDS = range(1, 1 + int(os.environ.get("CLIENT_FAULT_SEEDS", "3")))

ON_WRITES = {
    "reset before": {"drop": "before"},
    "reset after": {"drop": "after"},
    "503 before": {"status": 503},
    "503 after": {"status": 503, "when": "after"},
    "504 after": {"status": 504, "when": "after"},
    "500 before": {"status": 500},
    "429": {"status": 429},
    "maintenance": {"status": 503, "body": "html"},
    "maintenance after": {"status": 503, "body": "html", "when": "after"},
    "slow": {"delay_ms": 3000},
    "slow answer": {"delay_ms": 3000, "when": "after"},
    "answered too late": {"delay_ms": 7000, "when": "after"},
    "done too late": {"delay_ms": 7000},
    "done after it was given up": {"delay_ms": 40_000},
    "cut": {"body": "cut"},
    "garbage": {"body": "garbage"},
    "empty": {"body": "empty"},
    "html": {"body": "html"},
}
ON_READS = {
    "reads reset": {"drop": "before"},
    "reads 503": {"status": 503},
    "reads 401": {"status": 401},
    "reads 429": {"status": 429},
    "reads slow": {"delay_ms": 7000},
    "reads lag": {"stale": 2, "times": 4},
    "reads lag far": {"stale": 50, "times": 4},
    "reads cut": {"body": "cut"},
    "reads garbage": {"body": "garbage"},
    "reads empty": {"body": "empty"},
}
ON_STREAMS = {
    "lines lost": {"stream": "drop"},
    "lines doubled": {"stream": "double"},
    "lines swapped": {"stream": "swap"},
    "streams silent": {"stream": "silence"},
    "streams cut": {"stream": "disconnect"},
}


@pytest.mark.parametrize("trouble", ON_WRITES)
def test_a_fault_at_each_kind_of_write_leaves_one_truth(trouble):
    async def story(world: World) -> None:
        def strike(operation, account):
            world.fault(operation=operation, account=account, **ON_WRITES[trouble])

        await each_write(world, strike)
        assert world.server.faults.shown() == []  # each struck

    in_quick_time(told(len(WRITES), 1, story))


def test_bad_credentials_are_told_and_everything_goes_on_when_they_work_again():
    async def story(world: World) -> None:
        for name in world.names:
            world.fault(operation="orders.create", account=name, status=401)
        fates = [await driver.buy(100) for driver in world.drivers.values()]
        assert [fate.state for fate in fates] == ["refused"] * len(fates)
        fates = [await driver.buy(100) for driver in world.drivers.values()]
        assert [fate.state for fate in fates] == ["done"] * len(fates)

    in_quick_time(told(2, 1, story))


@pytest.mark.parametrize("trouble", ON_READS)
def test_a_fault_at_each_kind_of_read_while_an_order_is_unknown_leaves_one_truth(trouble):
    """The order's answer is lost; the reads that would settle it fail or lag as well."""

    async def story(world: World) -> None:
        for name in world.names:
            world.fault(operation="transactions.stream", account=name, stream="silence")
            world.fault(operation="orders.create", account=name, drop="after")
            for operation in ("transactions.since", "accounts.account", "accounts.changes"):
                world.fault(operation=operation, account=name, **ON_READS[trouble])
        for driver in world.drivers.values():
            fate = await driver.buy(100, stop=STOP)
            assert (fate.state, fate.seen) == ("done", True)

    in_quick_time(told(2, 1, story))


@pytest.mark.parametrize("trouble", ON_STREAMS)
def test_a_fault_of_a_stream_at_each_kind_of_write_leaves_one_truth(trouble):
    async def story(world: World) -> None:
        for name in world.names:
            world.fault(
                operation="transactions.stream", account=name, times=3, **ON_STREAMS[trouble]
            )
        await each_write(world, lambda *_: None)
        world.price(STOP)  # the venue acts by itself
        world.price(BID)

    in_quick_time(told(len(WRITES), 1, story))


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_with_the_answer_to_each_kind_of_write_leaves_one_truth(trick):
    """And with the next read of each account."""

    async def story(world: World) -> None:
        def strike(_operation, account):
            world.line.play(trick, on=b"(POST|PUT|PATCH).*" + account.encode())
            world.line.play(trick, on=b"GET.*" + account.encode() + b"/transactions/sinceid")

        await each_write(world, strike)
        assert world.line.met[trick] >= len(WRITES)

    in_quick_time(told(len(WRITES), 1, story))


@pytest.mark.parametrize("trick", LINE_TRICKS)
def test_a_trick_with_a_streams_line_leaves_one_truth(trick):
    async def story(world: World) -> None:
        def strike(_operation, account):
            world.line.play(trick, on=account.encode() + b"/transactions/stream")

        await each_write(world, strike)
        assert world.line.met[trick] >= 1

    in_quick_time(told(len(WRITES), 1, story))


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_mixed_by_seed_leave_one_truth(seed):
    async def story(world: World) -> None:
        mixed = [({"operation": ""}, f) for f in (ON_WRITES | ON_READS).values()]
        mixed += [({"operation": "transactions.stream"}, f) for f in ON_STREAMS.values()]
        for where, fault in mixed:
            often = {"probability": 0.02, "times": 1000, "silence_ms": 400}
            world.fault(**where | fault | often)
        world.line.chance = world.line.line_chance = 0.1
        async with asyncio.TaskGroup() as tasks:
            for driver in world.drivers.values():
                tasks.create_task(trade_at_random(world, driver, 30))

    world = in_quick_time(told(3, seed, story))
    assert world.line.met.total() > 10
