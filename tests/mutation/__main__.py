"""`make mutation`: prints one line a room; exit code 1 when less than nine in ten were found.

    python -m tests.mutation                       all of them (half an hour on two cores)
    python -m tests.mutation --every 20            each 20th, evenly over all files
    python -m tests.mutation --only kernel/ledger  files whose path has this in it
    python -m tests.mutation --survivors           those that the last run did not find or meet
    python -m tests.mutation --untyped             without asking the type checker
    python -m tests.mutation --slow 60             with the tests that take long, too

A mutant is found by the type checker (`make types` would refuse it) or by a test of the kernel.
What was found and what survived is kept in mutants/results.jsonl, as it is found; the changes that
no test noticed stand in mutants/survivors.txt. Ctrl-C ends it and shows what is known so far.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.mutation.mutants import Mutant, break_file
from tests.mutation.rounds import Rounds, Verdict
from tests.mutation.typed import refused

_KERNEL = Path("orchestrator/kernel")
_FOLDER = Path("mutants")
_RESULTS = _FOLDER / "results.jsonl"
_SURVIVORS = _FOLDER / "survivors.txt"
_MUST = 0.90
_UNIT, _PROPERTIES = "tests/unit/kernel", Path("tests/property")
_STORMS = "tests/simulation/test_recorded_storms.py"
_LOST = ("survived", "no test")
# Plain assertions, since nobody reads why one failed; a test that hangs has a limit of its own.
_PYTEST = (
    "-q", "--assert=plain", "--tb=native", "-p", "no:xdist", "-p", "no:cacheprovider",
    "--timeout=0",
)  # fmt: skip


def main() -> int:
    """The exit code."""
    asked = _arguments()
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"
    _FOLDER.mkdir(exist_ok=True)
    files = [f for f in sorted(_KERNEL.rglob("*.py")) if asked.only in str(f)]
    screen = Console(file=os.fdopen(os.dup(2), "w"))
    screen.print(f"thinking of mutants in {len(files)} files ...")
    with ProcessPoolExecutor(asked.jobs) as pool:
        broken = [file for file in pool.map(break_file, files) if file.mutants]
    every = [mutant for file in broken for mutant in file.mutants]
    known = _known() if asked.survivors else {}
    chosen = [m for m in every[:: asked.every] if known.get(_key(m), ("survived",))[0] in _LOST]
    known = {_key(m): known[_key(m)] for m in every if _key(m) in known}
    new = {_key(m) for m in chosen if not asked.untyped} - set(known)
    told: dict[str, str] = {}
    if new:
        screen.print(f"asking the type checker about {len(new)} mutants (some minutes) ...")
        told = refused(
            [f for f in broken if any(_key(m) in new for m in f.mutants)], sys.executable
        )
    known |= {_key(m): ("types", told[m.name]) for m in chosen if m.name in told}
    chosen = [m for m in chosen if m.name not in told]
    try:
        code = _run(chosen, asked, known, screen)
    except KeyboardInterrupt:
        code = pytest.ExitCode.INTERRUPTED
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.INTERRUPTED):
        return 2
    return _report(every, known)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--only", default="", metavar="TEXT")
    parser.add_argument("--survivors", action="store_true")
    parser.add_argument("--untyped", action="store_true")
    parser.add_argument("--slow", type=float, default=1.5, metavar="SECONDS")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def _key(mutant: Mutant) -> str:
    return f"{mutant.target}\n{mutant.source}"


def _known() -> dict[str, tuple[str, str]]:
    """What earlier runs found, by what was changed; a changed function is not known any more."""
    if not _RESULTS.exists():
        return {}
    known: dict[str, tuple[str, str]] = {}
    for line in _RESULTS.read_text().splitlines():
        with suppress(json.JSONDecodeError):  # the last one of a run that was killed
            key, how, by = json.loads(line)
            known[key] = (how, by)
    return known


def _run(
    chosen: list[Mutant],
    asked: argparse.Namespace,
    known: dict[str, tuple[str, str]],
    screen: Console,
) -> int:
    lost: Counter[str] = Counter()
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), console=screen, disable=not screen.is_terminal,
    )  # fmt: skip
    with _RESULTS.open("w") as results, bar:
        for key, (how, by) in known.items():
            results.write(json.dumps([key, how, by]) + "\n")
        task = bar.add_task("mutants", total=len(chosen))

        def told(verdict: Verdict) -> None:
            known[_key(verdict.mutant)] = (verdict.how, verdict.by)
            results.write(json.dumps([_key(verdict.mutant), verdict.how, verdict.by]) + "\n")
            results.flush()
            lost[verdict.how] += 1
            bar.update(task, advance=1, description=f"{lost['survived']} survived")

        rounds = Rounds(chosen, asked.jobs, asked.slow, told)
        tests = [
            str(f) for f in _PROPERTIES.glob("test_*.py") if "orchestrator.kernel" in f.read_text()
        ]
        return pytest.main([_UNIT, _STORMS, *sorted(tests), *_PYTEST], plugins=[rounds])


def _report(every: list[Mutant], known: dict[str, tuple[str, str]]) -> int:
    ran = [m for m in every if _key(m) in known]
    rooms: dict[str, list[Mutant]] = {}
    for mutant in ran:
        rooms.setdefault(_room(mutant), []).append(mutant)
    heads = ("mutants", "types", "tests", "score", "survived", "texts", "no test")
    print("\n" + "room".ljust(24), *(head.rjust(8) for head in heads))
    for room, mutants in sorted(rooms.items()):
        print(_line(room, mutants, known))
    print(_line("kernel", ran, known))
    unnoticed = [m for m in ran if known[_key(m)][0] in _LOST]
    _SURVIVORS.write_text("".join(f"{m.name}  (line {m.line})\n{m.change}\n\n" for m in unnoticed))
    print(
        "\ntypes: refused by the type checker. texts: survivors that change nothing but the words"
    )
    print(f"of a text. What survived, change by change: {_SURVIVORS}")
    return 0 if ran and 1 - len(unnoticed) / len(ran) >= _MUST else 1


def _room(mutant: Mutant) -> str:
    inside = Path(mutant.path).relative_to(_KERNEL).parts
    return "/".join(inside[:2]) if inside[0] == "safety" else inside[0]


def _line(room: str, mutants: list[Mutant], known: dict[str, tuple[str, str]]) -> str:
    how = Counter(known[_key(m)][0] for m in mutants)
    texts = sum(m.text_only and known[_key(m)][0] in _LOST for m in mutants)
    lost = sum(how[each] for each in _LOST)
    score = f"{1 - lost / max(1, len(mutants)):.1%}"
    figures = (len(mutants), how["types"], how["found"] + how["hung"], score, how["survived"],
               texts, how["no test"])  # fmt: skip
    return room.ljust(24) + " " + " ".join(str(figure).rjust(8) for figure in figures)


if __name__ == "__main__":
    sys.exit(main())
