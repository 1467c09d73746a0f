"""`orchestrator simulate`: many seeds, or one with its whole story."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from orchestrator.research.brood import code_of, hearing_sigterm, word_of
from orchestrator.research.simulate.fates import EVERY, SWARMS, kinds_of
from orchestrator.research.simulate.many import FAILED, simulate_many
from orchestrator.research.simulate.patience import patiently
from orchestrator.research.simulate.run import simulate
from orchestrator.research.simulate.verdict import Verdict


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 when every invariant held in every run, 1 when not, 2 for bad words."""
    wishes = _parser().parse_args(argv)
    kinds = _kinds(wishes.kinds)
    out = Console(soft_wrap=True, markup=False, highlight=False)
    if wishes.seed is None:
        last = wishes.first_seed + wishes.seeds
        return simulate_many(out, range(wishes.first_seed, last), wishes.jobs, wishes.swarm)
    if kinds is None:
        kinds = kinds_of(wishes.seed, wishes.swarm)
    try:
        with hearing_sigterm():
            return _one(out, wishes.seed, kinds, tracing=wishes.trace)
    except KeyboardInterrupt as end:
        out.print(f"{word_of(end)} within seed {wishes.seed}")
        return code_of(end)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="orchestrator simulate",
        description="The whole house in virtual time under faults, judged by the venue's books.",
        epilog="Kinds of faults: " + "; ".join(f"{k}: {text}" for k, text in EVERY.items()),
    )
    parser.add_argument("--seeds", type=_positive, default=200, help="how many (200)")
    parser.add_argument("--first-seed", type=int, default=1, help="the first of them (1)")
    parser.add_argument("--jobs", type=_positive, default=1, help="processes side by side (1)")
    parser.add_argument(
        "--swarm", default="", choices=SWARMS, metavar="NAME",
        help="soon: the store commits beside the loop, as PostgreSQL does; wide: people close by "
        "hand, move limits, restore older copies",
    )  # fmt: skip
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
    unknown = [kind for kind in kinds if kind not in EVERY]
    if unknown:
        sys.stderr.write(f"--kinds: unknown: {', '.join(unknown)}; known: {', '.join(EVERY)}\n")
        raise SystemExit(2)
    return kinds


def _one(out: Console, seed: int, kinds: tuple[str, ...], *, tracing: bool) -> int:
    def run(number: int) -> Verdict:
        return simulate(number, kinds=kinds, tracing=tracing)

    verdict = patiently(run, seed, kinds)
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
    return 0 if verdict.good else FAILED


if __name__ == "__main__":
    sys.exit(main())
