"""`python -m benchmarks [--quick] [--only NAME ...] [--json FILE]`: all rows, one table."""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.figures import Section, table

# name -> module, function, seconds that it takes about.
BENCHMARKS = {
    "noise": ("benchmarks.noise", "run", 4),
    "signals": ("benchmarks.signals", "run", 55),
    "ticks": ("benchmarks.ticks", "run", 75),
    "throughput": ("benchmarks.signals", "run_flat_out", 25),
    "stores": ("benchmarks.stores", "run", 70),
    "stop": ("benchmarks.stop", "run", 30),
    "recovery": ("benchmarks.recovery", "run", 20),
    "memory": ("benchmarks.memory", "run", 18),
    "audit": ("benchmarks.audit", "run", 25),
    "market_data": ("benchmarks.market_data", "run", 150),
    "paper_venue": ("benchmarks.paper_venue", "run", 30),
    "bus": ("benchmarks.bus", "run", 15),
    "agents": ("benchmarks.agents", "run", 150),
    "database": ("benchmarks.database", "run", 20),
}


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer samples, in half the time")
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), metavar="NAME",
                        help=f"one of {', '.join(BENCHMARKS)}; may be repeated")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """0 when everything could be measured, else 1; a missed target is no failure."""
    asked = _arguments(words)
    sections: list[Section] = []
    failed = False
    for name in asked.only or BENCHMARKS:
        module, function, seconds = BENCHMARKS[name]
        print(f"{name}: about {seconds // 2 if asked.quick else seconds} s ...",
              file=sys.stderr, flush=True)  # fmt: skip
        began = time.monotonic()
        try:
            section = getattr(importlib.import_module(module), function)(asked.quick)
        except Exception as exc:  # noqa: BLE001 -- the other rows are still worth having
            failed = True
            section = Section(title=name, rows=(), notes=(f"not measured: {exc}",))
        sections.append(section)
        print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    print(f"Python {platform.python_version()}, {platform.machine()}; us = microseconds; "
          "'?' = too few samples for that quantile; compare ratios, not machines")  # fmt: skip
    print(table(sections))
    if asked.json is not None:
        asked.json.write_bytes(msgspec.json.format(msgspec.json.encode(sections)) + b"\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
