"""Our system for a benchmark: the shipped parts over real HTTP, with limits far away."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import zlib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import structlog

from benchmarks.venue import EUR_USD, OURS, TOKEN, TRIGGER
from orchestrator.adapters.oanda.client import ClientLimits, OandaVenue
from orchestrator.adapters.store.market_sqlite import SqliteMarketStore
from orchestrator.adapters.store.postgres import PostgresStore
from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.agents.base import NOTHING, Agent, Message, Role, Says, hears
from orchestrator.main.parts import Hosting, build_system
from orchestrator.model.events import SignalSeen
from orchestrator.model.facts import SignalEnded
from orchestrator.model.market import Tick
from orchestrator.model.money import AccountId, Price, Side
from orchestrator.model.ports import MarketData
from orchestrator.model.safety import SystemMode
from orchestrator.model.signals import STAGES, Signal
from orchestrator.model.time import Instant
from orchestrator.service.gate import Gate
from orchestrator.service.seams import SystemClock, dice, mono_ns
from orchestrator.service.supervisor import System
from orchestrator.settings import Settings, load_settings

STOP = Price(Decimal("0.00200"))
TARGET = Price(Decimal("0.00600"))
_STEP = Decimal("0.00001")
_STRATEGY = "benchmark"
_UP_S = 60.0
_BALANCE = 10_000_000
# Every rule works; only its number is beyond what the benchmark sends.
_TABLES = """
[limits]
duplicate_window_s = 0
size_median_factor = 100
orders_per_s = 100000
orders_burst = 100000
orders_per_min = 6000000
orders_per_min_total = 6000000
strategy_interval_s = 0

[breakers]
entries_per_h = 100000000
orders_in_10_s = 1000000
losing_run = 100
stop_outs = 100
rejects = 1000
unclean_starts = 1000
loop_lag_ms_max = 2000

[agents.pattern_detection]
params = { account_orders = 1000000, strategy_orders = 1000000, signals_per_min = 1000000, \
duplicate_s = 0.000001, losses = 1000000, herd_accounts = 1000000 }
"""


def settings_of(folder: Path, more: str = "", **more_environment: str) -> Settings:
    """One instrument, two accounts, and limits far above the benchmark's rates.

    `more`: tables, and variables, beside them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = folder / "benchmark.toml"
    tables.write_text(_TABLES + more)
    environment = {
        "STATE_DIR": str(folder), "INSTRUMENTS": EUR_USD, "MAX_CONCURRENT_TRADES": "10000",
        "RISK_PER_TRADE": "0.0001", "MAX_ORDER_NOTIONAL": "1000000000",
        "PAPER_ACCOUNTS": f"{OURS[0]}:USD:{_BALANCE},{OURS[1]}:EUR:{_BALANCE}",
        **more_environment,
    }  # fmt: skip
    return load_settings(env=environment, env_file=None, config=tables)


class Trigger(Agent):
    """Signals on each trigger tick: as little as a strategy can do."""

    role: ClassVar[Role] = Role.MARKET_ANALYSIS
    name: ClassVar[str] = "trigger"
    says: ClassVar[tuple[type[Message], ...]] = (Signal,)

    @hears(Tick)
    def on_tick(self, tick: Tick) -> Says:
        if tick.bid != TRIGGER:
            return NOTHING
        return (signal_of(tick_name(tick.venue_ns), tick.ask, tick.seen_ns, OURS[:1]),)


class Witness(Agent):
    """Tells the benchmark of each signal that ended."""

    role: ClassVar[Role] = Role.CONTINUOUS_IMPROVEMENT
    name: ClassVar[str] = "witness"

    def __init__(self, told: Callable[[SignalEnded], None]) -> None:
        self._told = told

    @hears(SignalEnded)
    def on_end(self, ended: SignalEnded) -> Says:
        self._told(ended)
        return NOTHING


def tick_name(venue_ns: Instant) -> str:
    """The signal's id for a trigger tick."""
    return f"tick-{venue_ns}"


def signal_of(
    name: str, price: Decimal, now: Instant, accounts: tuple[AccountId, ...] = ()
) -> Signal:
    # Stops differ, so sizes do: like orders in one turn are duplicates, and would trip A4.
    stop = Price(STOP + _STEP * (zlib.crc32(name.encode()) % 97))
    return Signal(
        signal_id=name, strategy=_STRATEGY, instrument=EUR_USD, side=Side.BUY,
        reference_price=Price(price), stop_distance=stop, target_distance=TARGET,
        confidence=Decimal("0.6"), created_ns=now, accounts=accounts,
    )  # fmt: skip


def _store(path: Path, sync: str) -> SqliteStore | PostgresStore:
    if sync.startswith("postgresql://"):
        return PostgresStore(sync)
    assert sync in {"full", "normal"}
    return SqliteStore(path, sync="full" if sync == "full" else "normal")


class House:
    """A running system on a state folder, connected to the venue's port; an async context."""

    def __init__(
        self, folder: Path, port: int, sync: str, *, trigger: bool = False,
        market: MarketData | None = None, more: str = "", **environment: str,
    ) -> None:  # fmt: skip
        """`sync`: SQLite's "full" or "normal", or the URL of an empty database on PostgreSQL."""
        # Stops and trips are asked for here; a run prints its table and nothing else.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        self.settings = settings_of(folder, more, **environment)
        self.clock = SystemClock()
        url = f"http://127.0.0.1:{port}"
        self.venue = OandaVenue(
            accounts=OURS, token=TOKEN, rest_url=url, stream_url=url, now=self.clock.now,
            mono=mono_ns, dice=dice(0).random,
            limits=ClientLimits(requests_per_s=1e6, request_burst=1e6),
        )  # fmt: skip
        self._store = _store(self.settings.database_path, sync)
        self._market = market or SqliteMarketStore(self.settings.market_data_path)
        self.gate = Gate(folder)
        self.system: System = build_system(
            self.settings, self.venue, self.clock, self._store, self.gate, self._market,
            Hosting(calendar="always", history=False, threads=True, node="benchmark"),
        )  # fmt: skip
        self.ended: list[SignalEnded] = []
        self.on_end: Callable[[SignalEnded], None] = self.ended.append
        self.system.agents.register(lambda: Witness(self._tell))
        if trigger:
            self.system.agents.register(Trigger)
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.get_running_loop().create_task(self.system.run())
        until = time.monotonic() + _UP_S
        while self.system.mode is not SystemMode.RUNNING or not self._warm():
            if self._running.done():
                await self._running
            if time.monotonic() > until:
                raise RuntimeError(f"not trading after {_UP_S:g} s: {self.system.mode}")
            await asyncio.sleep(0.01)
        # As the service does it (main/hosting.py).
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        return self

    def _tell(self, ended: SignalEnded) -> None:
        self.on_end(ended)

    def _warm(self) -> bool:
        kernel = self.system.kernel
        reconciled = all(kernel.reconciled(account) for account in OURS)
        staffed = all(self.system.agents.healthy(role) for role in STAGES)
        return reconciled and staffed and kernel.quotes.tick(EUR_USD) is not None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._running is not None:
            self.system.shutdown()
            await self._running
        await self.venue.close()
        self._store.close()
        self._market.close()

    def give(self, name: str) -> int:
        """Hand in a signal for any account; the instant just before, machine time."""
        quote = self.system.kernel.quotes.tick(EUR_USD)
        assert quote is not None
        signal = signal_of(name, quote.ask, self.clock.now())
        began = time.monotonic_ns()
        self.system.engine.handle(SignalSeen(signal=signal))
        return began

    def reasons(self) -> list[str]:
        """Why signals ended otherwise than filled, the most frequent first."""
        counts = self.system.telemetry.rejections.most_common(3)
        return [f"{count} x {stage}: {reason}" for (stage, reason), count in counts]
