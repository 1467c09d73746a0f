"""Memory over hours of market time: the whole system and the paper venue in one process."""

from __future__ import annotations

import asyncio
import gc
import logging
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import structlog

from benchmarks.children import Child, resident_mb
from benchmarks.figures import Row, Section
from orchestrator.adapters.store.market_sqlite import SqliteMarketStore
from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.main.parts import Hosting, build_system
from orchestrator.model.money import AccountId, Currency
from orchestrator.model.time import parse_time
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.feeds.synthetic import SyntheticFeed
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market
from orchestrator.service.gate import Gate
from orchestrator.service.seams import VirtualClock
from orchestrator.service.supervisor import System
from orchestrator.service.virtual import VirtualLoop
from orchestrator.settings import Settings, load_settings

_START_NS = parse_time("2024-05-08T06:00:00Z")
_LOOK_S = 600.0  # of market time
_MUST_MB, _GOAL_MB = 2_000, 200


class Look(msgspec.Struct):
    """What the process held at a moment of market time."""

    market_s: float
    mb: float
    objects: int
    ticks: int
    signals: int


class Told(msgspec.Struct):
    looks: list[Look]
    wall_s: float


def replay(pipe: Connection, folder: str, wall_s: float) -> None:
    """Child: the synthetic market at full speed for so many seconds here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        pipe.send(runner.run(_replay(Path(folder), wall_s)))


async def _replay(folder: Path, wall_s: float) -> Told:
    settings = load_settings(env={"STATE_DIR": str(folder)}, env_file=None)
    market = _market(settings)
    store = SqliteStore(settings.database_path, sync="normal", installation_id="benchmark")
    ticks = SqliteMarketStore(settings.market_data_path)
    system = build_system(
        settings, InProcessVenue(market),
        VirtualClock(market.time.now, asyncio.get_running_loop()), store, Gate(folder), ticks,
        Hosting(calendar="always", history=True, threads=False, taste="demo", node="benchmark"),
    )  # fmt: skip
    system.accompany(market.run)
    try:
        return await _watched(system, market, wall_s)
    finally:
        ticks.close()
        store.close()


def _market(settings: Settings) -> Market:
    loop = asyncio.get_running_loop()
    clock = VenueTime(_START_NS, 1.0, lambda: round(loop.time() * 1e9))
    market = Market(SyntheticFeed(_START_NS, 1, hours="always"), clock, calendar="always")
    configs = [
        AccountConfig(account_id=AccountId(each.account_id), currency=Currency(each.currency),
                      balance=each.balance)
        for each in settings.paper_accounts
    ]  # fmt: skip
    open_accounts(market, configs, None)
    return market


async def _watched(system: System, market: Market, wall_s: float) -> Told:
    looks: list[Look] = []
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(system.run())
        await system.up.wait()
        while time.monotonic() - began < wall_s and not running.done():
            looks.append(_look(system, market))
            await asyncio.sleep(_LOOK_S)
        looks.append(_look(system, market))
        system.shutdown()
        await running
    return Told(looks, time.monotonic() - began)


def _look(system: System, market: Market) -> Look:
    gc.collect()
    return Look(
        market_s=(market.time.now() - _START_NS) / 1e9, mb=resident_mb(),
        objects=len(gc.get_objects()), ticks=market.ticks,
        signals=system.telemetry.counts["signal.accepted"],
    )  # fmt: skip


def run(quick: bool) -> Section:
    seconds = 6.0 if quick else 15.0
    with (
        tempfile.TemporaryDirectory(prefix="tso-bench-") as folder,
        Child(replay, folder, seconds) as child,
    ):
        told = child.hear(seconds * 4 + 60)
    assert isinstance(told, Told)
    looks, last = told.looks, told.looks[-1]
    middle = looks[len(looks) // 2]
    hours = (last.market_s - middle.market_s) / 3600
    growth = (last.mb - middle.mb) / hours if hours else 0.0
    rows = (
        Row(name="at its start, with six instruments' history", value=f"{looks[0].mb:.0f} MB"),
        Row(name=f"after {last.market_s / 3600:.1f} h of market time", value=f"{last.mb:.0f} MB",
            must="< 2 GB", must_met=last.mb < _MUST_MB,
            goal="< 200 MB", goal_met=last.mb < _GOAL_MB),
        Row(name="growth in the second half", value=f"{growth:+.2f} MB/h",
            floor=f"from {middle.mb:.0f} MB at {middle.market_s / 3600:.1f} h"),
        Row(name="speed of virtual time",
            value=f"{last.market_s / told.wall_s:,.0f} x",
            floor=f"{last.ticks / told.wall_s:,.0f} ticks/s, {last.signals:,} signals"),
    )  # fmt: skip
    notes = ("The paper venue, its candles and its books live in the same process here, and count.",
             "Flat over days is not shown by hours; the growth says where to look.")  # fmt: skip
    return Section(title="Memory: system and venue in one process, synthetic market, virtual time",
                   rows=rows, notes=notes)  # fmt: skip
