"""SAFETY 13's table in one command: `python -m benchmarks.safety [--n N] [--restarts N]`.

Stops, liquidations, alerts, the guard and recoveries, each with n, p50, p99, p99.9 and max beside
the machine's own noise of the same run. About ten minutes on a quiet machine.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from benchmarks import guard, liquidation, noise, recovery, stop
from benchmarks.figures import Section, table

_GUARDS = 5


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.safety", description=__doc__)
    parser.add_argument("--n", type=int, default=200, help="stops of each kind (200)")
    parser.add_argument("--restarts", type=int, default=20,
                        help="kills, and liquidations of each kind (20)")  # fmt: skip
    parser.add_argument("--only", action="append", metavar="NAME",
                        help="noise, stop, liquidation, guard or recovery; repeatable")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """0 when everything could be measured, else 1; a missed target is no failure."""
    asked = _arguments(words)
    ways = (stop.TRIP, *stop.WAYS, stop.BLOCKED)
    parts: dict[str, Callable[[], Section]] = {
        "noise": lambda: noise.run(False),
        "stop": lambda: stop.measure(ways * asked.n, liquidate=False),
        "liquidation": lambda: liquidation.measure(asked.restarts),
        "guard": lambda: guard.measure(min(_GUARDS, asked.restarts)),
        "recovery": lambda: recovery.measure(asked.restarts),
    }
    # The machine's own noise stands beside whatever is measured.
    wanted = dict.fromkeys(("noise", *asked.only)) if asked.only else parts
    sections = [_measured(name, parts[name]) for name in wanted]
    print(f"Python {platform.python_version()}, {platform.machine()}; us = microseconds; "
          "'?' = too few samples for that quantile")  # fmt: skip
    print(table(sections))
    if asked.json is not None:
        asked.json.write_bytes(msgspec.json.format(msgspec.json.encode(sections)) + b"\n")
    return int(any(not section.rows for section in sections))


def _measured(name: str, part: Callable[[], Section]) -> Section:
    began = time.monotonic()
    try:
        section = part()
    except Exception as exc:  # noqa: BLE001 -- the other rows are still worth having
        section = Section(title=name, rows=(), notes=(f"not measured: {exc}",))
    print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    return section


if __name__ == "__main__":
    sys.exit(main())
