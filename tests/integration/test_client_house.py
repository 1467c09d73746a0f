"""The whole house over HTTP, its line full of tricks: the kernel settles what the client cannot.

Goal: with our own client between the execution engine and the paper venue, faults of the venue and
tricks of the line by seed, the house ends with the venue's books, each intent at most once at the
venue. `CLIENT_FAULT_SEEDS=50` runs more seeds.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.adapters.oanda.client import ClientLimits, OandaVenue
from orchestrator.kernel.orders.reconcile import differences
from orchestrator.model.errors import VenueError
from orchestrator.model.money import Side
from orchestrator.paper.faults import Fault
from orchestrator.paper.server import Connection, Server
from orchestrator.service.desk import SignalWish
from tests.house import EUR_ACCOUNT, EUR_USD, USD_ACCOUNT, House, new_market
from tests.integration.flow import BUSY, BUSY_TOML
from tests.integration.quick_loop import in_quick_time
from tests.integration.rogue_line import RogueLine

TOKEN = "secret"
ACCOUNTS = (USD_ACCOUNT, EUR_ACCOUNT)
FAULTS = (
    {"operation": "orders.create", "drop": "before"},
    {"operation": "orders.create", "drop": "after"},
    {"operation": "orders.create", "status": 503},
    {"operation": "orders.create", "status": 504, "when": "after"},
    {"operation": "orders.create", "delay_ms": 7000},
    {"operation": "orders.create", "body": "cut"},
    {"operation": "transactions.since", "stale": 3},
    {"operation": "transactions.since", "status": 503},
    {"operation": "accounts.account", "stale": 3},
    {"operation": "transactions.stream", "stream": "drop"},
    {"operation": "transactions.stream", "stream": "double"},
    {"operation": "transactions.stream", "stream": "disconnect"},
)
SIGNALS = 8
SEEDS = range(1, 1 + max(1, int(os.environ.get("CLIENT_FAULT_SEEDS", "0"))))


def _mono_ns() -> int:
    return round(asyncio.get_running_loop().time() * 1e9)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_house_ends_with_the_venues_books(tmp_path, seed):
    async def story() -> None:
        market, line = new_market(), RogueLine(seed)
        server = Server(market, TOKEN, with_control=True, seed=seed)
        listening = await asyncio.get_running_loop().create_server(
            lambda: Connection(server), "127.0.0.1", 0
        )
        async with line.between(listening.sockets[0].getsockname()[1]):
            venue = OandaVenue(
                ACCOUNTS, TOKEN, rest_url=line.url, stream_url=line.url, now=market.time.now,
                mono=_mono_ns, dice=line.dice.random, limits=ClientLimits(backoff_most_s=5.0),
            )  # fmt: skip
            async with House(tmp_path, market, venue=venue, **_environment(tmp_path)) as house:
                await _traded(house, server, line)
                await _settled(house)
                _judge(house, await _told(house, venue))
            await venue.close()
        listening.close()
        server.close()
        await asyncio.sleep(1)  # what was cut hears of it before the loop ends

    in_quick_time(story, speed=40.0)


def _environment(folder: Path) -> dict[str, str]:
    """Limits that let orders pass: their fate is asked here, not whether they may go."""
    config = folder / "orchestrator.toml"
    loose = "[limits]\ncurrency_exposure_max = 50\n"
    assert "[limits]\n" in BUSY_TOML
    config.write_text(BUSY_TOML.replace("[limits]\n", loose), "utf-8")
    return {**BUSY, "ORCHESTRATOR_CONFIG": str(config)}


async def _traded(house: House, server: Server, line: RogueLine) -> None:
    """Signals through calm and storm; then the storm is over."""
    await house.calm(8)
    for fault in FAULTS:
        server.faults.add(Fault(probability=0.15, times=1000, **fault))
    line.chance = line.line_chance = 0.1
    for number in range(SIGNALS):
        wish = SignalWish(
            instrument=EUR_USD, side=Side.BUY, stop_distance=Decimal("0.00300"),
            target_distance=Decimal("0.00600"), confidence=Decimal("0.6"),
            strategy=f"hand-{number}",
        )  # fmt: skip
        await house.desk.submit_signal(wish, "anna")  # refused while a breaker stands: fine
        await house.calm(4)
    server.faults.clear()
    line.stop()


async def _settled(house: House) -> None:
    async with asyncio.timeout(4000):
        while house.kernel.in_flight() or not all(house.kernel.reconciled(a) for a in ACCOUNTS):
            await house.calm(1)
    await house.calm(40)  # the next comparison with the venue's books


async def _told(house: House, venue: OandaVenue) -> list[str]:
    """What differs from the venue's own view; on a busy machine quick time may run out."""
    said: list[str] = []
    async with asyncio.timeout(4000):
        for name in ACCOUNTS:
            account = None
            while account is None:
                try:
                    account = await venue.account(name)
                except VenueError:
                    await asyncio.sleep(1.0)
            said += differences(house.kernel.books[name], account)
    return said


def _judge(house: House, said: list[str]) -> None:
    assert said == []
    created: Counter[str] = Counter()
    for name in ACCOUNTS:
        books = house.market.exchange.accounts[name]
        created += Counter(
            order.client_extensions.id
            for order in (*books.pending.values(), *books.finished_orders.values())
            if order.client_extensions is not None and order.instrument == EUR_USD
        )  # fmt: skip
    assert set(created.values()) == {1}
