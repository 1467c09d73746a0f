"""`orchestrator run --replay ... --speed max`: service and venue in one process, in virtual time.

The same System as a live one: kernel, agents, journal, feeds. Only the venue is called instead of
dialled, and time passes when nothing is left to do. Same inputs and seed, same journal.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from orchestrator.adapters.store.sqlite import SqliteStore
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
from orchestrator.service.seams import VirtualClock, mono_ns
from orchestrator.service.supervisor import System
from orchestrator.service.virtual import VirtualLoop
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
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        try:
            summary = runner.run(_replay(settings, options.replay, quiet=options.quiet))
        except ExceptionGroup as group:
            cause = first_cause(group)
            if isinstance(cause, OrchestratorError):
                raise cause from group
            raise
    if options.summary is not None:
        write(summary, options.summary)
    print(as_text(summary))
    return 0


async def _replay(settings: Settings, files: Sequence[Path], *, quiet: bool) -> Summary:
    began = mono_ns()
    loop = asyncio.get_running_loop()
    feed = ReplayFeed(files)
    time = VenueTime(feed.start_ns, 1.0, lambda: round(loop.time() * 1e9), held=True)
    market = Market(feed, time, calendar="fx")
    open_accounts(market, [_account(each) for each in settings.paper_accounts], None)
    # What identifies the run is what went in, so that equal runs have equal journals.
    store = SqliteStore(
        settings.database_path, sync="normal", checkpoint_s=0,
        installation_id=f"replay-{settings.seed}",
    )  # fmt: skip
    market_store = open_market(settings, replay=True)
    try:
        system = build_system(
            settings, InProcessVenue(market), VirtualClock(time.now, loop), store,
            Gate(settings.state_dir), market_store,
            Hosting(calendar="fx", history=False, threads=False, taste="replay", node="replay"),
        )  # fmt: skip
        start_ns = time.now()
        with Progress(files, market, quiet=quiet or not sys.stderr.isatty()) as progress:
            system.accompany(market.run, progress.run)
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(system.run(), name="system")
                await _until_finished(market, system, running)
                await running
        return summarise(
            system, started_ns=start_ns, recorded=market.ticks, wall_ns=mono_ns() - began,
            began=_balances(settings), state=settings.state_dir, store=store,
        )  # fmt: skip
    finally:
        market_store.close()
        store.close()


async def _until_finished(market: Market, system: System, running: asyncio.Task[None]) -> None:
    while not market.finished and not running.done():  # noqa: ASYNC110 -- virtual time flies
        await asyncio.sleep(_LOOK_S)
    await asyncio.sleep(_SETTLE_S)
    system.shutdown()


def _account(account: PaperAccount) -> AccountConfig:
    return AccountConfig(
        account_id=AccountId(account.account_id), currency=Currency(account.currency),
        balance=account.balance, hedging=False,
    )  # fmt: skip


def _balances(settings: Settings) -> dict[str, Decimal]:
    return {account.account_id: account.balance for account in settings.paper_accounts}
