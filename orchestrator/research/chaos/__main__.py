"""`orchestrator chaos`: a campaign of minutes, its verdict, and how soon trading was back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from orchestrator.research.brood import Brood, code_of, hearing_sigterm, word_of
from orchestrator.research.chaos.house import Cast
from orchestrator.research.chaos.run import Outcome, campaign, quantiles
from orchestrator.research.servers import Missing

_LESS_S = 60.0


def main(argv: Sequence[str] | None = None) -> int:
    """0 when everything held, 1 when not, 2 when a program is missing."""
    words = sys.argv[1:] if argv is None else argv
    wishes = _parser().parse_args(words)
    out = Console(soft_wrap=True, markup=False, highlight=False)
    seconds = wishes.minutes * 60
    cast = Cast(
        redis=not wishes.no_redis, postgres=not wishes.no_postgres,
        nodes=1 if wishes.no_postgres else wishes.nodes, agents=wishes.agents,
        instances=wishes.instances,
    )  # fmt: skip
    pause_s = wishes.pause or (4.0 if seconds > _LESS_S else 2.0)
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        out.print(text)

    try:
        with hearing_sigterm(), Brood("tso-chaos-") as brood:
            outcome = campaign(wishes.seed, seconds, cast, pause_s, tell, brood.folder)
    except Missing as exc:
        out.print(f"orchestrator chaos: needs {exc}")
        return 2
    except KeyboardInterrupt as end:
        out.print(f"{word_of(end)} after: {told[-1] if told else 'nothing'}; nothing was judged")
        return code_of(end)
    _report(out, outcome)
    if outcome.wrong:
        out.print(f"repeat the plan: orchestrator chaos {' '.join(words)}".rstrip())
    return 1 if outcome.wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="orchestrator chaos",
        description="Real servers, nodes and agents in processes, any of which is killed, frozen "
        "or emptied at random while orders flow; then the venue's books judge. Needs a Redis and "
        "a PostgreSQL: the machine's, or the wheels that the tests use.",
    )
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="default: 10")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="the plan's seed (1)")
    parser.add_argument(
        "--pause", type=float, default=0.0, metavar="S", help="between deeds, about (4)"
    )
    parser.add_argument("--nodes", type=int, default=2, metavar="N", help="leader, standbys (2)")
    parser.add_argument(
        "--agents", choices=("remote", "process", "service"), default="remote",
        help="where the four roles that are asked work (remote: over Redis)",
    )  # fmt: skip
    parser.add_argument("--instances", type=int, default=2, metavar="N", help="of each role (2)")
    parser.add_argument("--no-redis", action="store_true", help="the bus within the process")
    parser.add_argument("--no-postgres", action="store_true", help="SQLite, so one node")
    return parser


def _report(out: Console, outcome: Outcome) -> None:
    out.print(
        f"seed {outcome.seed}: {outcome.deeds} deeds, {outcome.given} signals, "
        f"{outcome.promised} promised, {outcome.filled} filled, {outcome.records} records, "
        f"{len(outcome.wrong)} wrong"
    )
    for kind, values in sorted(outcome.back_s.items()):
        p50, p99, most = quantiles(values)
        out.print(
            f"  back after {kind}: n {len(values)}, p50 {p50:.2f} s, p99 {p99:.2f} s, "
            f"max {most:.2f} s"
        )
    for each in outcome.wrong:
        out.print(f"WRONG {each}")
    if outcome.wrong:
        out.print(outcome.words)


if __name__ == "__main__":
    raise SystemExit(main())
