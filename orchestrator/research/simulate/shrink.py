"""A failing seed with as few kinds of faults as still make it fail."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from orchestrator.research.simulate.patience import patiently
from orchestrator.research.simulate.run import simulate
from orchestrator.research.simulate.verdict import Verdict


def shrink(failed: Verdict, told: Callable[[Verdict], None] = lambda _: None) -> Verdict:
    """Drop one kind at a time while it still fails; `told` hears each smaller failure."""
    smallest = failed
    for kind in failed.kinds:
        fewer = tuple(each for each in smallest.kinds if each != kind)
        verdict = patiently(partial(simulate, kinds=fewer), failed.seed, fewer)
        if not verdict.good:
            smallest = verdict
            told(verdict)
    return smallest
