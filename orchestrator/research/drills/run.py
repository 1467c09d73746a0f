"""One drill from its first price to its report, in virtual time."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import structlog

from orchestrator.model.money import InstrumentName
from orchestrator.model.safety import Effect
from orchestrator.model.time import format_time
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.instruments import REFERENCE_MIDS
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market
from orchestrator.research.drills.feed import DrillFeed
from orchestrator.research.drills.report import AccountRow, BreakerRow, Report, Rule
from orchestrator.research.drills.rules import judge
from orchestrator.research.drills.stage import Maker, Stage
from orchestrator.research.drills.stories import STORIES, Story
from orchestrator.research.simulate.loop import SimLoop, seeded_seams
from orchestrator.service.nest import Nest

_REFUSALS_SHOWN = 12
_SETTLE_S = 5.0


def run_drill(
    name: str, maker: Maker, *, seed: int = 1, size: float | None = None,
    told: Callable[[float], None] = lambda _: None,
) -> Report:  # fmt: skip
    """Blocking; changes the seams of `service.seams` for its time. KeyError for no such drill.

    `told` hears the share that is done, 0 to 1.
    """
    story = STORIES[name]
    before = structlog.get_config()
    structlog.configure(processors=[_unsaid])
    try:
        with (
            tempfile.TemporaryDirectory(prefix="orchestrator-drill-", dir=_memory()) as folder,
            asyncio.Runner(loop_factory=SimLoop) as runner,
        ):
            loop = runner.get_loop()
            assert isinstance(loop, SimLoop)
            with seeded_seams(loop, story.starts_ns, seed):
                return runner.run(_play(name, story, maker, seed, size, Path(folder), loop, told))
    finally:
        structlog.configure(**before)


def _unsaid(*_: object) -> NoReturn:
    """No log: the report says it all."""
    raise structlog.DropEvent


def _memory() -> str | None:
    shm = "/dev/shm"  # noqa: S108 -- the folder in it is made by tempfile
    return shm if os.access(shm, os.W_OK) else None


async def _play(
    name: str, story: Story, maker: Maker, seed: int, size: float | None, folder: Path,
    loop: SimLoop, told: Callable[[float], None],
) -> Report:  # fmt: skip
    time = VenueTime(story.starts_ns, 1.0, lambda: round(loop.time() * 1e9))
    feed = DrillFeed(story.starts_ns, _quoted(maker), random.Random(f"drill {seed}"))  # noqa: S311
    market = Market(feed, time, calendar="fx")
    open_accounts(market, maker.accounts, None)
    async with asyncio.TaskGroup() as group:
        tasks = Nest(group)
        stage = Stage(maker, market, feed, folder, loop, tasks, told, size)
        tasks.create_task(market.run(), name="market")
        try:
            await story.play(stage)
            stage.progress(0.9)
            await stage.settle()
            await stage.wait(_SETTLE_S)
            stage.witness.close_books()
            judge(stage)
            last = stage.store.last_record()
            await stage.end()
        finally:
            tasks.cancel()
    stage.progress(1.0)
    return _report(name, story, stage, seed, b"" if last is None else last.hash)


def _quoted(maker: Maker) -> tuple[InstrumentName, ...]:
    """What is traded, and what converts its currencies into the accounts' own."""
    currencies = {str(account.currency) for account in maker.accounts}
    for name in maker.instruments:
        currencies.update(name.split("_"))
    pairs = (InstrumentName(n) for c in sorted(currencies) for n in (f"{c}_USD", f"USD_{c}"))
    return tuple(dict.fromkeys((*maker.instruments, *(n for n in pairs if n in REFERENCE_MIDS))))


def _report(name: str, story: Story, stage: Stage, seed: int, head: bytes) -> Report:
    witness = stage.witness
    orders = len(witness.first_bytes)
    size = () if not story.size_is else ((story.size_is, f"{stage.size or story.size:g}"),)
    return Report(
        drill=name, about=story.about, seed=seed,
        passed=all(r.passed for r in stage.rules) and all(f.passed for f in stage.figures),
        market_from=format_time(story.starts_ns)[:19] + "Z", market_s=witness.at_s(witness.now),
        settings=(*size, *stage.maker.described()), rules=_sorted(stage),
        figures=tuple(stage.figures), breakers=_breakers(stage), accounts=_accounts(stage),
        counts={
            "signals taken": len(witness.accepted), "orders sent": orders,
            "orders after a block": len(witness.after_block),
            "trades opened at the venue": len(witness.names),
            "alerts": len(witness.alerts), "lives of the service": stage.lives,
        },
        refusals=dict(witness.refusals.most_common(_REFUSALS_SHOWN)),
        timeline=tuple(sorted(witness.moments, key=lambda moment: moment.at_s)),
        audit_head=head.hex(),
    )  # fmt: skip


def _sorted(stage: Stage) -> tuple[Rule, ...]:
    """The failed ones first."""
    return tuple(sorted(stage.rules, key=lambda rule: rule.passed))


def _breakers(stage: Stage) -> tuple[BreakerRow, ...]:
    at_s = stage.witness.at_s
    return tuple(
        BreakerRow(
            breaker=trip.fact.breaker, subject=trip.fact.subject, effect=trip.effect.value,
            at_s=at_s(trip.at_ns), reset_s=None if trip.reset_ns is None else at_s(trip.reset_ns),
            evidence=trip.evidence,
        )
        for trip in stage.witness.trips
        if trip.effect is not Effect.SCALE or trip.fact.breaker != "T1"
    )  # fmt: skip


def _accounts(stage: Stage) -> tuple[AccountRow, ...]:
    rows: list[AccountRow] = []
    for account_id, money in stage.witness.money.items():
        rows.append(
            AccountRow(
                account_id=account_id, currency=money.currency, began=f"{money.began:,.2f}",
                ended=f"{money.ended:,.2f}", worst_loss=f"{money.lost:,.2f}",
                worst_loss_fraction=f"{money.lost_fraction:.2%}",
                limit=f"{stage.witness.limits[account_id]:.2%}",
            )
        )  # fmt: skip
    return tuple(rows)


def failed_rules(report: Report) -> Sequence[str]:
    """Their ids and names, figures too."""
    rules = [f"{rule.id} {rule.name}: {rule.text}" for rule in report.rules if not rule.passed]
    return [
        *rules,
        *(f"{f.name}: {f.value}, must {f.must}" for f in report.figures if not f.passed),
    ]


__all__ = ["STORIES", "failed_rules", "run_drill"]
