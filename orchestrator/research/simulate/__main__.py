"""`python -m orchestrator.research.simulate`: many seeds, or one with its whole story."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator.research.simulate.fates import KINDS
from orchestrator.research.simulate.run import simulate
from orchestrator.research.simulate.shrink import shrink
from orchestrator.research.simulate.verdict import Verdict
from orchestrator.service.seams import mono_ns

_CHUNK = 4
_NAMED_MAX = 50  # seeds listed in the last line
_SHRUNK_MAX = 5  # failing seeds that are made smaller


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 when every invariant held in every run, 1 when not, 2 for bad words."""
    wishes = _parser().parse_args(argv)
    kinds = _kinds(wishes.kinds)
    out = Console(soft_wrap=True, markup=False, highlight=False)
    if wishes.seed is not None:
        return _one(out, wishes.seed, kinds, tracing=wishes.trace)
    return _many(out, range(wishes.first_seed, wishes.first_seed + wishes.seeds), wishes.jobs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestrator.research.simulate",
        description="The whole house in virtual time under faults, judged by the venue's books.",
        epilog="Kinds of faults: " + "; ".join(f"{k}: {text}" for k, text in KINDS.items()),
    )
    parser.add_argument("--seeds", type=_positive, default=200, help="how many (200)")
    parser.add_argument("--first-seed", type=int, default=1, help="the first of them (1)")
    parser.add_argument("--jobs", type=_positive, default=1, help="processes side by side (1)")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--kinds", help="with --seed: only these faults, comma-separated, or none")
    parser.add_argument("--trace", action="store_true", help="with --seed: tell everything")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _kinds(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    kinds = tuple(kind for kind in text.split(",") if kind and kind != "none")
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        sys.stderr.write(f"--kinds: unknown: {', '.join(unknown)}; known: {', '.join(KINDS)}\n")
        raise SystemExit(2)
    return kinds


def _one(out: Console, seed: int, kinds: tuple[str, ...] | None, *, tracing: bool) -> int:
    verdict = simulate(seed, kinds=kinds, tracing=tracing)
    for line in verdict.trace:
        out.print(line)
    out.print(
        f"seed {seed}: {verdict.market_s:.0f} s of market time, {verdict.lives} lives, "
        f"{verdict.signals} signals, {verdict.orders} orders, {verdict.fills} fills, "
        f"{verdict.stops} emergency stops"
    )
    out.print(f"faults: {', '.join(f'{k} {n}' for k, n in verdict.struck.items()) or 'none'}")
    out.print(f"audit head: {verdict.head or 'none'}")
    for violation in verdict.violations:
        out.print(f"VIOLATED {violation}")
    return 0 if verdict.good else 1


def _many(out: Console, seeds: range, jobs: int) -> int:
    began = mono_ns()
    failed: list[Verdict] = []
    totals = {"orders": 0, "lives": 0, "stops": 0}
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with bar:
        task = bar.add_task("simulating", total=len(seeds))
        for verdict in _verdicts(seeds, jobs):
            for name in totals:
                totals[name] += getattr(verdict, name)
            if not verdict.good:
                failed.append(verdict)
                bar.console.print(f"seed {verdict.seed} fails: {verdict.violations[0]}")
            bar.update(task, advance=1, description=f"simulating, {len(failed)} failed")
    took_s = (mono_ns() - began) / 1e9
    out.print(
        f"{len(seeds)} seeds in {took_s:.1f} s ({len(seeds) / took_s:.1f} seeds/s): "
        f"{totals['orders']} orders, {totals['lives']} lives, {totals['stops']} emergency stops; "
        f"{len(failed)} failed"
    )
    return _report(out, failed) if failed else 0


def _verdicts(seeds: range, jobs: int) -> Iterator[Verdict]:
    if jobs == 1:
        yield from map(simulate, seeds)
        return
    # Spawned, not forked: a run starts from a fresh interpreter on every platform.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(simulate, seeds, chunksize=_CHUNK)


def _report(out: Console, failed: Sequence[Verdict]) -> int:
    for verdict in failed[:_SHRUNK_MAX]:
        smallest = shrink(verdict)
        out.print(f"seed {smallest.seed}, with {len(smallest.kinds)} kinds of faults left:")
        for violation in smallest.violations:
            out.print(f"  {violation}")
        out.print(f"  repeat: {smallest.repeat} --trace")
    out.print(f"failed seeds: {_named(verdict.seed for verdict in failed)}")
    return 1


def _named(seeds: Iterable[int]) -> str:
    every = [str(seed) for seed in seeds]
    more = f" and {len(every) - _NAMED_MAX} more" if len(every) > _NAMED_MAX else ""
    return ", ".join(every[:_NAMED_MAX]) + more


if __name__ == "__main__":
    sys.exit(main())
