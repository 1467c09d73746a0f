"""`orchestrator drill`: the user's own settings on a stage, never their venue or folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from orchestrator import __version__
from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.main.parts import Hosting, build_system, kernel_plan
from orchestrator.model.errors import FeedError, OrchestratorError
from orchestrator.model.money import AccountId, Currency, InstrumentName
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.instruments import REFERENCE_MIDS
from orchestrator.research.brood import code_of, hearing_sigterm, word_of
from orchestrator.research.corpus.recording import Recorder, replay
from orchestrator.research.drills.report import Report, as_json, as_markdown, verdict, write
from orchestrator.research.drills.run import STORIES, failed_rules, run_drill
from orchestrator.research.drills.venue import DrillVenue
from orchestrator.research.simulate.store import NoMarketStore
from orchestrator.service.gate import Gate
from orchestrator.service.seams import VirtualClock
from orchestrator.service.supervisor import System
from orchestrator.settings import Settings, SettingsError, load_settings
from orchestrator.settings.settings import PLACES

_USD = Currency("USD")
_BALANCE = Decimal(100_000)
_SIZE_MAX = 1_000
_ENDINGS = (".html", ".htm", ".md", ".json")
_SHOWN = ("MAX_CONCURRENT_TRADES", "RISK_PER_TRADE", "MAX_DAILY_LOSS", "CIRCUIT_BREAKER_THRESHOLD",
          "INSTRUMENTS", "MAX_ORDER_NOTIONAL")  # fmt: skip


class OwnSettings:
    """Meets `research.drills.stage.Maker`: everything that decides is the user's."""

    def __init__(self, settings: Settings, recorder: Recorder | None = None) -> None:
        self._settings = settings
        self._recorder = recorder
        known = {each.account_id: each for each in settings.paper_accounts}
        self._accounts = tuple(
            AccountConfig(
                account_id=AccountId(account_id),
                currency=Currency(known[account_id].currency) if account_id in known else _USD,
                balance=known[account_id].balance if account_id in known else _BALANCE,
            )
            for account_id in settings.account_ids
        )
        self._instruments = tuple(
            InstrumentName(name) for name in settings.instruments if name in REFERENCE_MIDS
        )
        if not self._instruments:
            raise ValueError("INSTRUMENTS: a drill knows a price of none of them")

    @property
    def accounts(self) -> tuple[AccountConfig, ...]:
        return self._accounts

    @property
    def instruments(self) -> tuple[InstrumentName, ...]:
        return self._instruments

    def described(self) -> tuple[tuple[str, str], ...]:
        """The limits by name, what differs from the defaults, and the digest of it all."""
        rows = [row for row in self._settings.describe() if row.name not in PLACES]
        chosen = [(r.name, r.value) for r in rows if r.name in _SHOWN or r.source != "default"]
        return (*chosen, ("digest of all", self._settings.fingerprint()))

    def system(
        self, venue: DrillVenue, clock: VirtualClock, store: SqliteStore, gate: Gate, folder: Path
    ) -> System:
        settings = self._settings.model_copy(
            update={
                "oanda_environment": "paper", "state_dir": folder, "auto_start": True,
                "instruments": tuple(str(name) for name in self._instruments),
            }
        )  # fmt: skip
        system = build_system(
            settings, venue, clock, store, gate, NoMarketStore(),
            Hosting(calendar="fx", history=False, threads=False, taste="demo", node="drill"),
        )  # fmt: skip
        if self._recorder is not None:
            self._recorder.attach(system.kernel, kernel_plan(settings, "fx"))
        return system


def main(words: Sequence[str]) -> int:
    """The exit code: 0 when every rule held, 1 when one did not, 2 for what cannot be played."""
    asked = _parser().parse_args(list(words))
    problem = _objection(asked)
    if problem:
        sys.stderr.write(f"orchestrator: {problem}\n")
        return 2
    if asked.replay:
        return _replay(asked.replay)
    recorder = Recorder(__version__, f"drill {asked.drill}") if asked.record else None
    try:
        maker = OwnSettings(load_settings(), recorder)
    except (SettingsError, OrchestratorError, ValueError) as exc:
        sys.stderr.write(f"orchestrator: {exc}\n")
        return 2
    names = list(STORIES) if asked.all else [asked.drill]
    reports: list[Report] = []
    try:
        with hearing_sigterm():
            reports.extend(_one(name, maker, asked) for name in names)
    except KeyboardInterrupt as end:
        sys.stderr.write(
            f"orchestrator: {word_of(end)} after {len(reports)} of {len(names)} drills\n"
        )
        return code_of(end)
    _tell(reports, asked)
    if asked.report is not None:
        for report in reports:
            write(report, _target(asked.report, report, len(reports)))
    if recorder is not None:
        print(f"{recorder.write(asked.record):,} events in {asked.record}")
    return 0 if all(report.passed for report in reports) else 1


def _parser() -> argparse.ArgumentParser:
    known = "\n".join(
        f"  {name:<18}{story.about}"
        + (f"\n{'':<20}--size: {story.size_is} ({story.size:g})" if story.size_is else "")
        for name, story in STORIES.items()
    )
    parser = argparse.ArgumentParser(
        prog="orchestrator drill",
        description="A bad day on your own settings, in virtual time, on the paper venue: your "
        "broker, your folder and your money are not touched.",
        epilog=f"drills:\n{known}\n\nexit codes: 0 every rule held, 1 one did not, 2 not played",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("drill", nargs="?", choices=list(STORIES), metavar="DRILL",
                        help="one of those below")  # fmt: skip
    parser.add_argument("--all", action="store_true", help="one after the other")
    parser.add_argument("--seed", type=int, default=1, help="of all chance (1)")
    parser.add_argument("--size", type=float, help="how bad; what it means is the drill's")
    parser.add_argument("--json", action="store_true", help="the whole report, for programs")
    parser.add_argument("--report", type=Path, metavar="FILE", help="also as .html, .md or .json")
    parser.add_argument("--record", type=Path, metavar="FILE",
                        help="keep all that the kernel heard and decided (.jsonl.gz)")  # fmt: skip
    parser.add_argument("--replay", type=Path, metavar="FILE", nargs="+",
                        help="no drill: are decisions as in these recordings?")  # fmt: skip
    return parser


def _replay(files: Sequence[Path]) -> int:
    """1 when a decision differs, with what is new and what is gone; 2 for what is no recording."""
    code = 0
    for file in files:
        try:
            played = replay(file)
        except FeedError as exc:
            sys.stderr.write(f"orchestrator: {exc}\n")
            return 2
        same = "the same decisions" if not played.differences else "OTHER DECISIONS"
        print(f"{file}: {played.what} of version {played.version}, {played.events:,} events, "
              f"{played.decisions:,} decisions: {same}")  # fmt: skip
        for difference in played.differences:
            print(difference)
        code = max(code, int(bool(played.differences)))
    return code


def _objection(asked: argparse.Namespace) -> str:
    """The first thing that makes no sense, or ""."""
    report: Path | None = asked.report
    wrong = {
        "--record keeps one drill": asked.record is not None and asked.all,
        f"name one drill, or --all: {', '.join(STORIES)}": asked.all == (asked.drill is not None),
        # Written so that NaN fails it, too.
        "--size must be above 0 and below 1000": asked.size is not None
        and not 0 < asked.size < _SIZE_MAX,
        f"--report {report}: a report is a .html, .md or .json file": report is not None
        and report.suffix.lower() not in _ENDINGS,
    }
    for file in filter(None, (report, asked.record)):
        wrong[f"there is no folder {file.parent}"] = not file.absolute().parent.is_dir()
    if asked.replay:
        return ""
    return next((text for text, holds in wrong.items() if holds), "")


def _one(name: str, maker: OwnSettings, asked: argparse.Namespace) -> Report:
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), disable=asked.json or not sys.stderr.isatty(),
    )  # fmt: skip
    with bar:
        task = bar.add_task(name, total=1.0)
        return run_drill(
            name, maker, seed=asked.seed, size=asked.size,
            told=lambda share: bar.update(task, completed=share),
        )  # fmt: skip


def _tell(reports: Sequence[Report], asked: argparse.Namespace) -> None:
    if asked.json:
        texts = [as_json(report).rstrip() for report in reports]
        print(texts[0] if len(texts) == 1 else "[" + ",\n".join(texts) + "]")
        return
    for report in reports:
        if not asked.all:
            print(as_markdown(report))
    for report in reports:
        print(f"{report.drill:<18}{verdict(report)}")
        for line in failed_rules(report):
            print(f"{'':<18}{line}")


def _target(path: Path, report: Report, count: int) -> Path:
    return path if count == 1 else path.with_name(f"{path.stem}-{report.drill}{path.suffix}")
