"""`make mutation`: breaks the kernel in small ways, one at a time, and shows which no test noticed.

Run from the root of the repository. `mutmut` does the work (settings in pyproject.toml); this file
starts it, prints one line a room, and ends with exit code 1 when less than nine in ten were found.

    python tests/mutation.py                    all of them (an hour or two)
    python tests/mutation.py --every 10         each tenth, evenly over all files
    python tests/mutation.py 'orchestrator.kernel.ledger*'
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

_FOLDER = Path("mutants/orchestrator/kernel")
_UNNOTICED = {0: "survived", 5: "no test", 33: "no test"}  # mutmut's exit codes; others: found
_MUST = 0.90


def _room(file: Path) -> str:
    inside = file.relative_to(_FOLDER).parts
    return "/".join(inside[:2]) if inside[0] == "safety" else inside[0]


def _results() -> dict[str, dict[str, int]]:
    """Room -> mutant -> exit code of the tests; mutants that were not run are left out."""
    rooms: dict[str, dict[str, int]] = {}
    for file in sorted(_FOLDER.rglob("*.meta")):
        codes = json.loads(file.read_text())["exit_code_by_key"]
        ran = {name: code for name, code in codes.items() if code is not None}
        rooms.setdefault(_room(file).removesuffix(".py.meta"), {}).update(ran)
    return rooms


def _line(room: str, codes: list[int]) -> str:
    lost = Counter(_UNNOTICED[code] for code in codes if code in _UNNOTICED)
    found = len(codes) - lost.total()
    return (
        f"{room:24} {len(codes):6} {found:6} {found / max(1, len(codes)):7.1%}"
        f" {lost['survived']:9} {lost['no test']:8}"
    )


def _mutmut(*names: str) -> int:
    return subprocess.run([sys.executable, "-m", "mutmut", "run", *names], check=False).returncode


def _every(step: int) -> list[str]:
    """Names of each `step`-th mutant; mutmut writes all of them down before it tests one."""
    _mutmut("orchestrator.kernel.no_such_mutant")
    names: list[str] = []
    for file in sorted(_FOLDER.rglob("*.meta")):
        names.extend(json.loads(file.read_text())["exit_code_by_key"])
    return names[::step]


def main() -> int:
    """Run what was asked for on the command line (names of mutants, with *), or all."""
    asked = sys.argv[1:]
    if asked[:1] == ["--every"]:
        asked = _every(int(asked[1]))
    if _mutmut(*asked):
        return 2
    rooms = _results()
    every = [code for codes in rooms.values() for code in codes.values()]
    print(
        f"\n\n{'room':24} {'mutants':>6} {'found':>6} {'score':>6} {'survived':>9} {'no test':>8}"
    )
    for room, codes in rooms.items():
        if codes:
            print(_line(room, list(codes.values())))
    print(_line("kernel", every))
    unnoticed = [n for codes in rooms.values() for n, code in codes.items() if code in _UNNOTICED]
    print("\nLook at one with `mutmut show NAME`:", *unnoticed, sep="\n  ")
    return 0 if every and 1 - len(unnoticed) / len(every) >= _MUST else 1


if __name__ == "__main__":
    sys.exit(main())
