"""An exact replay, `--speed max` or `--exact`: service and venue in one process, in virtual time.

The same System as a live one: kernel, agents, journal, feeds. Only the venue is called instead of
dialled, and time passes when nothing is left to do, or at the pace that is wanted. Same inputs and
seed, same journal. Agents elsewhere are real, over real links: market time waits for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from decimal import Decimal
from functools import partial
from typing import Any

from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.main.elsewhere import ExactHosting
from orchestrator.main.hosting import first_cause
from orchestrator.main.logs import set_up_logs
from orchestrator.main.market import open_market
from orchestrator.main.parts import Hosting, build_system
from orchestrator.main.progress import Progress
from orchestrator.main.summary import Summary, as_text, summarise, write
from orchestrator.model.errors import OrchestratorError, StoreError
from orchestrator.model.money import AccountId, Currency
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.feeds.replay import ReplayFeed
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market
from orchestrator.service.cli.backend import RunOptions
from orchestrator.service.gate import Gate
from orchestrator.service.real_time import RealTime
from orchestrator.service.seams import VirtualClock, block_s, mono_ns
from orchestrator.service.supervisor import System
from orchestrator.service.virtual import Pace, VirtualLoop
from orchestrator.settings import PaperAccount, Settings
from orchestrator.settings.urls import is_postgres

_LOOK_S = 60.0  # market time between two looks at whether the recording has ended
_SETTLE_S = 2.0


def run_replay(settings: Settings, options: RunOptions) -> int:
    """The exit code: 0 when the recording was played to its end."""
    set_up_logs(options.log_level or "error")
    folder = settings.state_dir
    if is_postgres(settings.database_url):
        raise StoreError(
            "DATABASE_URL names a PostgreSQL server, and a replay at full speed keeps its journal"
            " in a file of its own: leave DATABASE_URL empty for this run (DATABASE_URL= ...)"
        )
    if (folder / "orchestrator.db").exists():
        raise StoreError(
            f"{folder} holds an earlier run; a replay at full speed starts from nothing: "
            "give --state with an empty or new folder"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner, Wish() as wish:
        try:
            summary = runner.run(_replay(settings, options, wish))
        except ExceptionGroup as group:
            cause = first_cause(group)
            if isinstance(cause, OrchestratorError):
                raise cause from group
            raise
    if options.summary is not None:
        write(summary, options.summary)
    print(as_text(summary))
    return 128 + wish.signal if wish.signal else 0


class Wish:
    """Ctrl-C, once: the replay ends in order, wherever it is. Twice: at once."""

    def __init__(self) -> None:
        self.signal = 0
        self.come = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Wish:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def tell(self, loop: asyncio.AbstractEventLoop) -> None:
        """This loop is woken."""
        self._loop = loop

    def wants_end(self) -> bool:
        return self.signal != 0

    def _take(self, number: int, _frame: object) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.come.set)


async def _replay(settings: Settings, options: RunOptions, wish: Wish) -> Summary:
    began = mono_ns()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "market time is virtual"
    wish.tell(loop)
    feed = ReplayFeed(options.replay)
    time = VenueTime(feed.start_ns, 1.0, lambda: round(loop.time() * 1e9), held=True)
    market = Market(feed, time, calendar="fx")
    open_accounts(market, [_account(each) for each in settings.paper_accounts], None)
    # What identifies the run is what went in, so that equal runs have equal journals.
    store = SqliteStore(
        settings.database_path, sync="normal", checkpoint_s=0,
        installation_id=f"replay-{settings.seed}",
    )  # fmt: skip
    market_store = open_market(settings, replay=True)
    real_time = RealTime()
    exact = ExactHosting(
        real_time=real_time, interrupted=wish.wants_end,
        tell=_silent if options.quiet else _tell,
    )  # fmt: skip
    try:
        system = build_system(
            settings, InProcessVenue(market), VirtualClock(time.now, loop), store,
            Gate(settings.state_dir), market_store,
            Hosting(
                calendar="fx", history=False, threads=False, taste="replay", node="replay",
                exact=exact,
            ),
        )  # fmt: skip
        start_ns = time.now()
        quiet = options.quiet or not sys.stderr.isatty()
        with Progress(options.replay, market, quiet=quiet) as progress:
            system.accompany(market.run, progress.run, partial(_pace, system, options, exact))
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(system.run(), name="system")
                await _until_finished(market, system, running, wish)
                await running
        return summarise(
            system, started_ns=start_ns, recorded=market.ticks, wall_ns=mono_ns() - began,
            began=_balances(settings), state=settings.state_dir, store=store,
        )  # fmt: skip
    finally:
        for each in exact.made:
            each.close()
        real_time.close()
        market_store.close()
        store.close()


async def _pace(system: System, options: RunOptions, exact: ExactHosting) -> None:
    """From the moment that the system is up, no more than so many market seconds in a second."""
    if options.speed == "max":
        return
    await system.up.wait()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "market time is virtual"
    wait = exact.made[0].pump if exact.made else block_s
    loop.pause_by(Pace(float(options.speed), wait, exact.interrupted))


async def _until_finished(
    market: Market, system: System, running: asyncio.Task[None], wish: Wish
) -> None:
    while not market.finished and not running.done() and not wish.wants_end():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_S):
                await wish.come.wait()
    await asyncio.sleep(_SETTLE_S)
    system.shutdown()


def _tell(text: str) -> None:
    print(f"orchestrator: {text}", file=sys.stderr, flush=True)


def _silent(_text: str) -> None:
    """Asked to be quiet."""


def _account(account: PaperAccount) -> AccountConfig:
    return AccountConfig(
        account_id=AccountId(account.account_id), currency=Currency(account.currency),
        balance=account.balance, hedging=False,
    )  # fmt: skip


def _balances(settings: Settings) -> dict[str, Decimal]:
    return {account.account_id: account.balance for account in settings.paper_accounts}
