"""`orchestrator crash-sweep`: every kill, a progress bar, and the line that repeats a failure."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console
from rich.progress import track

from orchestrator.research.crash_sweep.run import Kill, Result, kills, sweep

_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """0 when everything held, 1 when not, 2 when the words name no kill."""
    wishes = _parser().parse_args(argv)
    chosen = kills(wishes.only)
    out = Console(soft_wrap=True, markup=False, highlight=False)
    if wishes.list:
        for kill in chosen:
            out.print(kill.name)
        return 0
    if not chosen:
        out.print(f"--only: nothing is named like {wishes.only!r}; see --list")
        return 2
    try:
        return _report(out, _run(out, chosen, wishes.jobs))
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="orchestrator crash-sweep",
        description="Real processes, killed before and after each durable write and each send.",
    )
    parser.add_argument("--only", default="", metavar="NAME", help="kills with this in their name")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="side by side (2)")
    parser.add_argument("--list", action="store_true", help="only name the kills")
    return parser


def _run(out: Console, chosen: list[Kill], jobs: int) -> list[Result]:
    results: list[Result] = []
    shown = track(
        sweep(chosen, max(1, jobs)), description="killed", total=len(chosen), console=out,
        disable=not out.is_terminal,
    )  # fmt: skip
    for result in shown:
        results.append(result)
        if result.wrong:
            out.print(f"FAILED {result.kill.name}: {'; '.join(result.wrong)}")
            out.print(f"  repeat: orchestrator crash-sweep --only {result.kill.name}")
            out.print("  " + result.words.replace("\n", "\n  "))
        elif not out.is_terminal:
            out.print(f"good {result.kill.name} {result.deaths} deaths {result.took_s:.1f} s")
    return results


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
