"""What a run came to: counted, in words for a person and as JSON for a program."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.model.ports import Store
from orchestrator.model.time import NS_PER_S, Instant, format_time
from orchestrator.service.supervisor import System
from orchestrator.service.telemetry import Telemetry

STAGES = (
    "disagreement", "strategy_analysis", "parameter_optimization", "learning_safety", "checks",
)  # fmt: skip


class StageSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How often a stage passed and rejected, and why it rejected (numbers taken out)."""

    passed: int
    rejected: int
    reasons: dict[str, int]


class AccountSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An account at the end; money in its home currency as text."""

    currency: str
    balance: str
    nav: str | None
    realized_pl: str
    open_trades: int
    last_transaction_id: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """`orchestrator run --summary FILE`. Latencies in microseconds of this machine."""

    market_from: str
    market_to: str
    wall_s: float
    ticks_recorded: int
    ticks_heard: int
    signals: int
    stages: dict[str, StageSummary]
    other_rejections: dict[str, dict[str, int]]
    outcomes: dict[str, int]
    orders: int
    fills: int
    trades_closed: int
    accounts: dict[str, AccountSummary]
    latency: dict[str, dict[str, float | int]]
    journal_records: int
    audit_head: str
    state_dir: str


def stages_of(telemetry: Telemetry) -> dict[str, StageSummary]:
    return {
        stage: StageSummary(
            passed=telemetry.passed[stage], rejected=sum(_reasons(telemetry, stage).values()),
            reasons=_reasons(telemetry, stage),
        )
        for stage in STAGES
    }  # fmt: skip


def _reasons(telemetry: Telemetry, stage: str) -> dict[str, int]:
    found = {reason: n for (where, reason), n in telemetry.rejections.items() if where == stage}
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def others_of(telemetry: Telemetry) -> dict[str, dict[str, int]]:
    stages = sorted({where for where, _ in telemetry.rejections if where not in STAGES})
    return {stage: _reasons(telemetry, stage) for stage in stages}


def accounts_of(system: System, began: dict[str, Decimal]) -> dict[str, AccountSummary]:
    """`began`: the balances with which the run started."""
    return {
        status.account_id: AccountSummary(
            currency=status.currency, balance=str(status.balance),
            nav=None if status.nav is None else str(status.nav),
            realized_pl=str(status.balance - began.get(status.account_id, status.balance)),
            open_trades=status.open_trades, last_transaction_id=status.last_transaction_id,
        )
        for status in system.desk.accounts()
    }  # fmt: skip


def write(summary: Summary, path: Path) -> None:
    """As readable JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")


def as_text(summary: Summary) -> str:
    """For a terminal, 80 columns."""
    counts = (
        f"{summary.ticks_recorded:,} ticks recorded, {summary.ticks_heard:,} heard, "
        f"{summary.signals:,} signals,\n{summary.orders:,} orders, {summary.fills:,} fills, "
        f"{summary.trades_closed:,} trades closed"
    )
    lines = [
        "",
        f"Market time {summary.market_from} to {summary.market_to}, {summary.wall_s:.1f} s here",
        counts,
        "",
        f"{'stage':<26}{'passed':>9}{'rejected':>10}  most frequent reason",
    ]
    for name, stage in summary.stages.items():
        top = next(iter(stage.reasons), "")
        lines.append(f"{name:<26}{stage.passed:>9,}{stage.rejected:>10,}  {top[:34]}")
    for where, reasons in summary.other_rejections.items():
        total = sum(reasons.values())
        lines.append(f"{where:<26}{'':>9}{total:>10,}  {next(iter(reasons), '')[:34]}")
    lines += ["", f"{'account':<24}{'balance':>16}{'NAV':>16}{'result':>14}{'open':>6}"]
    for name, account in summary.accounts.items():
        nav = "-" if account.nav is None else f"{Decimal(account.nav):,.2f}"
        lines.append(
            f"{name:<24}{Decimal(account.balance):>12,.2f} {account.currency}{nav:>16}"
            f"{Decimal(account.realized_pl):>14,.2f}{account.open_trades:>6}"
        )
    lines += ["", f"{'latency, us':<26}{'n':>9}{'p50':>10}{'p99':>10}{'max':>12}"]
    for name, figures in _latency_rows(summary):
        lines.append(
            f"{name:<26}{figures['n']:>9,}{figures['p50_us']:>10,.0f}"
            f"{figures['p99_us']:>10,.0f}{figures['max_us']:>12,.0f}"
        )
    lines += ["", f"State and journal: {summary.state_dir} ({summary.journal_records:,} records)"]
    return "\n".join(lines)


def _latency_rows(summary: Summary) -> list[tuple[str, dict[str, Any]]]:
    return [(name, figures) for name, figures in summary.latency.items() if figures.get("n")]


def summarise(
    system: System, *, started_ns: Instant, recorded: int, wall_ns: int,
    began: dict[str, Decimal], state: Path, store: Store,
) -> Summary:  # fmt: skip
    """At the end of a run, while the system's last state is still in memory."""
    telemetry = system.telemetry
    last = store.last_record()
    return Summary(
        market_from=format_time(started_ns), market_to=format_time(system.clock.now()),
        wall_s=round(wall_ns / NS_PER_S, 2), ticks_recorded=recorded,
        ticks_heard=telemetry.ticks_heard, signals=telemetry.counts["signal.accepted"],
        stages=stages_of(telemetry), other_rejections=others_of(telemetry),
        outcomes=dict(sorted(telemetry.outcomes.items())), orders=telemetry.counts["orders"],
        fills=telemetry.outcomes["filled"], trades_closed=telemetry.counts["trade.closed"],
        accounts=accounts_of(system, began),
        latency={name: kept.summary() for name, kept in sorted(telemetry.latency.items())},
        journal_records=0 if last is None else last.seq,
        audit_head="" if last is None else last.hash.hex(), state_dir=str(state),
    )  # fmt: skip
