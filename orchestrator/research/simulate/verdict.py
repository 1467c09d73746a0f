"""What a simulated run came to."""

from __future__ import annotations

import msgspec


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`violations` empty: every invariant held. `head`: the audit chain's last hash, in hex."""

    seed: int
    kinds: tuple[str, ...]  # the faults that were allowed
    violations: tuple[str, ...]
    head: str
    market_s: float
    lives: int
    signals: int
    orders: int
    fills: int
    stops: int
    struck: dict[str, int]  # kind of fault -> how often it struck
    trace: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return not self.violations

    @property
    def repeat(self) -> str:
        """The command that runs exactly this again."""
        kinds = ",".join(self.kinds) or "none"
        return f"orchestrator simulate --seed {self.seed} --kinds {kinds}"
