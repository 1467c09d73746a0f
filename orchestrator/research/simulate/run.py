"""One seed from its first price to its verdict."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import structlog

from orchestrator.model.money import Currency
from orchestrator.model.time import Instant
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market
from orchestrator.research.simulate.death import Killed
from orchestrator.research.simulate.fates import CLIMATES, Fates, dice_of, kinds_of
from orchestrator.research.simulate.feed import SimFeed
from orchestrator.research.simulate.judge import Judge
from orchestrator.research.simulate.life import Life, downtime_s
from orchestrator.research.simulate.loop import SimLoop, seeded_seams
from orchestrator.research.simulate.secret import LogReader
from orchestrator.research.simulate.shelf import handle_copies
from orchestrator.research.simulate.strangers import Bank, Stranger
from orchestrator.research.simulate.verdict import Verdict
from orchestrator.research.simulate.weather import hurt_snapshot, plan_weather, sleep_long
from orchestrator.research.simulate.world import (
    ACCOUNTS,
    DST_STARTS_NS,
    FX_STARTS_NS,
    STARTS_NS,
    World,
)

_STORMS_S = (40.0, 80.0, 160.0)
_CURRENCIES = (("USD", 100_000), ("EUR", 50_000))
_DEBUG, _CRITICAL = 10, 50  # alerts are as loud as that: they are built, and dropped


def simulate(
    seed: int,
    *,
    kinds: Sequence[str] | None = None,
    tracing: bool = False,
    storm_s: float | None = None,
) -> Verdict:
    """Run one seed. `kinds`: the faults allowed instead of the seed's own swarm; market seconds.

    Blocking; changes the seams of `service.seams` for its time: not for two threads at once.
    """
    allowed = tuple(kinds_of(seed) if kinds is None else kinds)
    storm = storm_s or dice_of(seed, "storm").choice(_STORMS_S)
    with (
        tempfile.TemporaryDirectory(prefix="orchestrator-sim-", dir=_memory()) as folder,
        _read_logs("echoes" in allowed) as reader,
        asyncio.Runner(loop_factory=SimLoop) as runner,
    ):
        loop = runner.get_loop()
        assert isinstance(loop, SimLoop)
        start_ns = _start_of(seed, allowed)
        with seeded_seams(loop, start_ns, seed):
            verdict = runner.run(
                _storm(seed, allowed, storm, start_ns, Path(folder), loop, tracing=tracing)
            )
    told = tuple(dict.fromkeys(reader.found))
    return msgspec.structs.replace(verdict, violations=(*verdict.violations, *told))


def _start_of(seed: int, kinds: Sequence[str]) -> Instant:
    rolls = dice_of(seed, "start")
    if "fx_hours" in kinds:
        return rolls.choice(FX_STARTS_NS)
    return rolls.choice(DST_STARTS_NS if "dst" in kinds else STARTS_NS)


def _memory() -> str | None:
    """A folder in memory where there is one: nothing of a run is worth a disk's time."""
    shm = "/dev/shm"  # noqa: S108 -- the folder in it is made by tempfile
    return shm if os.access(shm, os.W_OK) else None


@contextmanager
def _read_logs(every: bool) -> Generator[LogReader]:
    """Nothing is written; `every` line is made and read, else the critical ones only."""
    before, reader = structlog.get_config(), LogReader()
    loud = structlog.make_filtering_bound_logger(_DEBUG if every else _CRITICAL)
    structlog.configure(wrapper_class=loud, processors=[reader])
    try:
        yield reader
    finally:
        structlog.configure(**before)


async def _storm(
    seed: int,
    kinds: tuple[str, ...],
    storm_s: float,
    start_ns: Instant,
    folder: Path,
    loop: SimLoop,
    *,
    tracing: bool,
) -> Verdict:
    fates = Fates(seed, kinds, storm_s)
    time = VenueTime(start_ns, 1.0, lambda: round(loop.time() * 1e9))
    calendar = "fx" if "fx_hours" in kinds else "always"
    feed = SimFeed(start_ns, dice_of(seed, "prices"), fates, calendar)
    market = Market(feed, time, calendar=calendar)
    judge = Judge(market, folder / "gate", tracing=tracing)
    open_accounts(market, _accounts(), None)
    world = World(seed, loop, fates, market, judge, folder, storm_s)
    loop.set_exception_handler(lambda _, context: _on_stray(judge, context))
    loop.call_later(storm_s, _be_calm, world)
    plan_weather(world, feed)
    fates.struck.update(fates.kinds & CLIMATES)
    async with asyncio.TaskGroup() as tasks:
        trading = tasks.create_task(market.run(), name="market")
        strangers = [
            tasks.create_task(Stranger(world).work(), name="stranger"),
            tasks.create_task(Bank(world).work(), name="bank"),
        ]
        life = Life(world)
        while not await life.live():
            await asyncio.sleep(downtime_s(world))
            sleep_long(world)
            hurt_snapshot(world)
            handle_copies(world)
            life = Life(world)
        trading.cancel()
        for each in strangers:
            each.cancel()
    return Verdict(
        seed=seed, kinds=kinds, violations=tuple(judge.violations), head=life.head.hex(),
        market_s=world.now_s, lives=world.lives, signals=world.signals, orders=judge.orders,
        fills=len(judge.filled), stops=world.stops, struck=dict(sorted(fates.struck.items())),
        trace=tuple(judge.trace),
    )  # fmt: skip


def _be_calm(world: World) -> None:
    world.tell("the storm is over")
    world.fates.calm = True
    for name in world.market.feed.instruments:
        world.market.set_tradeable(name, tradeable=True)


def _on_stray(judge: Judge, context: dict[str, Any]) -> None:
    """What a callback raised: a kill, or something that nobody would have heard of."""
    cause = context.get("exception")
    if not isinstance(cause, Killed):
        judge.blame("stray", f"{context.get('message')}: {type(cause).__name__}: {cause}")


def _accounts() -> list[AccountConfig]:
    return [
        AccountConfig(account_id=account_id, currency=Currency(currency), balance=Decimal(balance))
        for account_id, (currency, balance) in zip(ACCOUNTS, _CURRENCIES, strict=True)
    ]
