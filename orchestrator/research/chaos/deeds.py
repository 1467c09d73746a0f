"""What is done to whom, and when: a plan drawn from a seed before anything begins."""

from __future__ import annotations

import random

import msgspec

# Of a hundred deeds, about so many.
_KINDS = (("kill", 60), ("freeze", 30), ("flush", 10))
_DOWN_S = (0.0, 3.0)
_FROZEN_S = (0.3, 8.0)


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """`at_s` after the campaign's beginning; `for_s`: so long it is dead, or frozen."""

    at_s: float
    who: str
    kind: str
    for_s: float

    def __str__(self) -> str:
        return f"{self.at_s:6.1f} s  {self.kind} {self.who}, {self.for_s:.1f} s"


def plan(seed: int, seconds: float, names: tuple[str, ...], pause_s: float) -> list[Deed]:
    """Deeds may overlap, but nobody is struck while he lies down; the same seed, the same plan."""
    dice = random.Random(f"chaos {seed}")  # noqa: S311 -- a plan that can be repeated
    deeds: list[Deed] = []
    down_until = dict.fromkeys(names, 0.0)
    at_s = pause_s
    while at_s < seconds:
        who = dice.choice(names)
        kind = dice.choices([k for k, _ in _KINDS], [w for _, w in _KINDS])[0]
        if (kind == "flush" and who != "redis") or who == "an agent":
            kind = "kill"
        for_s = dice.uniform(*(_FROZEN_S if kind == "freeze" else _DOWN_S))
        if at_s >= down_until[who]:
            deeds.append(Deed(at_s=at_s, who=who, kind=kind, for_s=for_s))
            down_until[who] = at_s + for_s + pause_s
        at_s += pause_s * dice.uniform(0.3, 1.7)
    return deeds
