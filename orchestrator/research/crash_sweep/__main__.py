"""`orchestrator crash-sweep`: every kill, a progress bar, and the line that repeats a failure."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.progress import track

from orchestrator.model.errors import StoreError
from orchestrator.research.brood import Brood, code_of, hearing_sigterm, word_of
from orchestrator.research.crash_sweep.run import (
    Kill,
    Result,
    Stage,
    kills,
    server_kills,
    sweep,
)
from orchestrator.research.crash_sweep.scenes import POSTGRES_SCENES
from orchestrator.research.crash_sweep.stages import OnFile, OnServer
from orchestrator.research.servers import Missing


def main(argv: Sequence[str] | None = None) -> int:
    """0 when everything held, 1 when not, 2 when the words name no kill or a program is missing;
    130 and 143 when it was ended.
    """
    wishes = _parser().parse_args(argv)
    chosen = _chosen(wishes)
    out = Console(soft_wrap=True, markup=False, highlight=False)
    if wishes.list:
        for kill in chosen:
            out.print(kill.name)
        return 0
    if not chosen:
        out.print(f"--only: nothing is named like {wishes.only!r}; see --list")
        return 2
    results: list[Result] = []
    try:
        with hearing_sigterm(), Brood("tso-sweep-") as brood:
            _run(out, chosen, wishes, brood.folder, results)
    except KeyboardInterrupt as end:
        failed = sum(bool(each.wrong) for each in results)
        out.print(f"{word_of(end)} after {len(results)} of {len(chosen)} kills, {failed} failed")
        return code_of(end)
    except (Missing, StoreError) as exc:
        out.print(f"orchestrator crash-sweep: needs {exc}")
        return 2
    return _report(out, results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="orchestrator crash-sweep",
        description="Real processes, killed before and after each durable write and each send.",
    )
    parser.add_argument("--only", default="", metavar="NAME", help="kills with this in their name")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="side by side (2)")
    parser.add_argument("--list", action="store_true", help="only name the kills")
    parser.add_argument(
        "--store", choices=("sqlite", "postgres"), default="sqlite",
        help="where the journal is kept (sqlite)",
    )  # fmt: skip
    parser.add_argument(
        "--database-url", default="", metavar="URL",
        help="with --store postgres: a server on which databases are made and dropped "
        "(DATABASE_URL; else one of the sweep's own, which is killed as well)",
    )  # fmt: skip
    return parser


def _url(wishes: argparse.Namespace) -> str:
    return str(wishes.database_url or os.environ.get("DATABASE_URL", ""))


def _chosen(wishes: argparse.Namespace) -> list[Kill]:
    if wishes.store == "sqlite":
        return kills(wishes.only)
    found = kills(wishes.only, POSTGRES_SCENES)
    return found if _url(wishes) else [*found, *server_kills(wishes.only)]


def _run(
    out: Console, chosen: list[Kill], wishes: argparse.Namespace, folder: Path,
    results: list[Result],
) -> None:  # fmt: skip
    if wishes.store == "sqlite":
        _swept(out, chosen, wishes.jobs, OnFile(), folder, results)
        return
    if _url(wishes):
        out.print("the server is given: it is not killed itself")
    with closing(OnServer(_url(wishes), folder)) as stage:
        _swept(out, chosen, wishes.jobs, stage, folder, results)


def _swept(
    out: Console, chosen: list[Kill], jobs: int, stage: Stage, folder: Path, results: list[Result]
) -> None:
    shown = track(
        sweep(chosen, max(1, jobs), stage, folder), description="killed", total=len(chosen),
        console=out, disable=not out.is_terminal,
    )  # fmt: skip
    store = "" if isinstance(stage, OnFile) else " --store postgres"
    for result in shown:
        results.append(result)
        if result.wrong:
            out.print(f"FAILED {result.kill.name}: {'; '.join(result.wrong)}")
            out.print(f"  repeat: orchestrator crash-sweep{store} --only {result.kill.name}")
            out.print("  " + result.words.replace("\n", "\n  "))
        elif not out.is_terminal:
            out.print(f"good {result.kill.name} {result.deaths} deaths {result.took_s:.1f} s")


def _report(out: Console, results: list[Result]) -> int:
    failed = [each.kill.name for each in results if each.wrong]
    unmet = sorted(each.kill.name for each in results if not each.deaths)
    twice = sum(each.deaths > 1 for each in results)
    out.print(
        f"{len(results)} kills, {len(results) - len(unmet)} struck, {twice} of them twice in a row,"
        f" {len(failed)} failed"
    )
    if unmet:
        out.print(f"not passed in their scene: {', '.join(unmet)}")
    for name in sorted(failed):
        out.print(f"FAILED {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
