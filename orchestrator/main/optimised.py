"""The first refusal of all: assertions stay on. Imports nothing that takes time."""

from __future__ import annotations

import sys


def refuse_optimised() -> None:
    """Assertions state what only a bug can break, and stay on (SAFETY K9)."""
    if sys.flags.optimize:
        raise SystemExit("orchestrator: python -O switches assertions off; start without -O")
