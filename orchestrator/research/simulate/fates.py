"""Which faults a seed brings, and when: drawn from the seed alone, each kind with its own dice."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable

from orchestrator.service.seams import dice

# Kind -> what happens. A window kind lasts for seconds; the others strike single events.
KINDS: dict[str, str] = {
    "answer_lost": "the venue accepts a write, and its answer never comes",
    "request_lost": "a write is lost on its way to the venue",
    "late_arrival": "an order reaches the venue long after its sender gave up",
    "slow_answers": "answers to writes take up to 4.5 s",
    "slow_sending": "a write waits up to 3 s for the limiter before the gate",
    "http_5xx": "a write is answered by a 5xx, done or not",
    "http_429": "a write is answered by a 429",
    "refused": "a write is refused with a 400 that proves it was not accepted",
    "reads_fail": "a read fails: silence, 5xx, nonsense, refused connection",
    "reads_slow": "a read takes up to 4 s, and tells what was true before",
    "reads_stale": "a read comes from a copy that lags behind",
    "log_drop": "a frame of the transaction stream is lost, heartbeats go on",
    "log_double": "a frame of the transaction stream comes twice",
    "log_late": "a frame of the transaction stream comes late, out of order",
    "log_silent": "window: the transaction stream is down",
    "prices_gap": "window: the price stream is down",
    "bad_ticks": "the price stream tells nonsense",
    "wild_market": "prices jump",
    "halted": "window: nothing can be traded, prices go on",
    "stranger": "somebody else trades on the accounts, and takes stops away",
    "venue_away": "window: the venue cannot be reached at all",
    "store_fails": "window: nothing can be written down",
    "latch_fails": "window: the stop's latch cannot be written",
    "crash": "the process is killed, any time",
    "crash_at_write": "the process is killed right before or after a durable write",
    "crash_at_send": "the process is killed right before or after an order's first byte",
    "crash_early": "the process is killed while it recovers",
    "crash_in_stop": "the process is killed while an emergency stop liquidates",
    "agent_raises": "an agent raises",
    "agent_nonsense": "an agent answers NaN, huge numbers, or for others",
    "agent_silent": "an agent does not answer",
    "agent_blocks": "an agent blocks the loop for some seconds",
    "op_stop": "the operator stops trading, with or without closing",
    "op_emergency": "the operator raises an emergency stop",
    "op_emergency_account": "the operator raises an emergency stop for one account",
    "op_local_stop": "another process closes the gate's word, and writes a latch later or never",
    "op_breakers": "the operator trips and resets breakers",
    "op_accounts": "the operator disables and enables accounts",
    "op_agents": "the operator restarts agents",
    "maintenance": "window: the venue answers everything with a 503",
    "throttled": "window: the venue answers everything with a 429",
    "credentials": "window: the venue answers everything with a 401 or 403",
    "rejects": "the venue rejects an order, or takes it and cancels it at once",
    "funds": "money is paid in, or so much is taken out that the venue calls for margin",
    "gap": "window: no prices, and then others",
    "store_slow": "a durable write takes up to a second",
    "store_doubt": "the database reports the failure of a write that it did, or did not do",
    "snapshot_torn": "between two lives the snapshot is damaged",
    "bus_slow": "listeners read slowly, or never",
    "agent_dies": "an agent raises what only a dying process raises",
    "agent_twice": "an agent answers twice",
    "agent_foreign": "an agent answers about another account or another signal",
    "agent_floods": "an agent says hundreds of signals at once",
    "agent_forges": "an agent says signals that are none: NaN, ids of others, the far future",
    "clock_steps": "the wall clock is set, forward and back",
    "loop_frozen": "the event loop gets no turn for up to eight seconds",
    "fx_hours": "the market keeps FX hours, and its week or day ends or begins in the run",
    "dst": "the clocks of New York have changed on this day",
    "long_down": "between two lives hours or days go by",
    "op_wrong_resume": "the operator resumes with wrong words",
    "op_settings": "the settings of a next life are tighter",
    "op_repeats": "an emergency stop is raised again and again, and for more",
    "tight_limits": "the limits are so tight that losses reach them",
    "crash_at_failpoint": "the process is killed at a named failpoint",
    "disk_fails": "a write to the disk fails at a named failpoint, before or after it was done",
}

# A family that came later, drawn by dice of its own, so that a seed of before keeps its meaning:
# the store commits beside the loop, as one across a network does.
SOON: dict[str, str] = {
    "commit_soon": "the store commits beside the loop, in some milliseconds",
    "commit_slow": "such a commit takes up to three seconds",
    "commit_hangs": "window: such a commit gets no answer, and fails after ten seconds",
    "commit_fails": "such a commit fails",
    "commit_doubt": "such a commit stands, and its failure is reported",
    "commit_late": "such a commit stands, and that is told long after",
    "crash_in_commit": "the process is killed while such a commit is out, which may yet stand",
    "op_races": "somebody stops while another's resume is being written down",
}
# Another one, in the same way: what people do beside the operator.
WIDE: dict[str, str] = {
    "op_reduce": "a person closes, cancels and tightens by hand: twice, too much, in a stop",
    "close_late": "a close by hand reaches the venue long after its sender gave up",
    "op_overrides": "a person moves limits: tighter, looser for a while, and where nobody may",
    "older_store": "between two lives an older copy of the store is put back; kills, too",
    "echoes": "a proxy puts our own token into its errors; every log line is read",
    "profiles": "the accounts have profiles: static, end-of-day and trailing drawdown, targets",
}
EVERY = KINDS | SOON | WIDE
SWARMS = ("", "soon", "wide")

CRASHES = frozenset((
    "crash", "crash_at_write", "crash_at_send", "crash_early", "crash_in_stop",
    "crash_at_failpoint", "crash_in_commit", "older_store",
))  # fmt: skip
_WINDOWS = (
    "halted", "log_silent", "prices_gap", "venue_away", "store_fails", "latch_fails",
    "maintenance", "throttled", "credentials", "gap", "commit_hangs",
)  # fmt: skip
_SHARES = (0.03, 0.08, 0.2, 0.5)
# Not things that happen, but what a whole run is like: these would hide the others.
CLIMATES = frozenset((
    "fx_hours", "dst", "tight_limits", "op_settings", "commit_soon", "profiles",
))  # fmt: skip
_CLIMATE_SHARE = 0.15
_RATES = (0.01, 0.03, 0.1, 0.3)
# A run has a handful of orders, and thousands of ticks: what strikes writes must strike often.
_WRITES = (
    "answer_lost",
    "request_lost",
    "late_arrival",
    "slow_answers",
    "slow_sending",
    "http_5xx",
    "http_429",
    "rejects",
    "close_late",
    "echoes",
)
_WRITE_RATES = (0.05, 0.2, 0.5)
_RARER = {
    "crash_at_write": 0.1, "agent_raises": 0.3, "agent_blocks": 0.1, "bad_ticks": 0.3,
    "store_slow": 0.1, "agent_dies": 0.3, "agent_floods": 0.01, "agent_forges": 0.1,
    "crash_at_failpoint": 0.05, "disk_fails": 0.3, "commit_slow": 0.3, "commit_late": 0.3,
    "commit_fails": 0.1, "commit_doubt": 0.1, "crash_in_commit": 0.1, "op_races": 3.0,
}  # fmt: skip
_OF_WIDE, _OVER_SOON = 0.6, 0.25
_WINDOW_S = (1.0, 25.0)
_WINDOWS_AT_MOST = 4


def dice_of(seed: int, name: str) -> random.Random:
    """Chance that depends on the seed and a name only, not on who else rolls."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return dice(int.from_bytes(digest[:8], "big"))


def kinds_of(seed: int, swarm: str = "") -> tuple[str, ...]:
    """The swarm of a seed: few kinds or many, so that rare mixtures come up too.

    `swarm`: "", or "soon" for the same over a store that commits beside the loop, or "wide" for
    the same with what people do beside the operator, over such a store at times.
    """
    if not swarm:
        return _drawn(dice_of(seed, "swarm"))
    rolls = dice_of(seed, f"swarm {swarm}")
    return (*kinds_of(seed), *(_soon(rolls) if swarm == "soon" else _wide(rolls)))


def _soon(rolls: random.Random) -> tuple[str, ...]:
    share = rolls.choice(_SHARES)
    others = (kind for kind in SOON if kind != "commit_soon")
    return ("commit_soon", *(kind for kind in others if rolls.random() < share))


def _wide(rolls: random.Random) -> tuple[str, ...]:
    own = tuple(kind for kind in WIDE if rolls.random() < _OF_WIDE)
    return (*own, *(_soon(rolls) if rolls.random() < _OVER_SOON else ()))


def _drawn(swarm: random.Random) -> tuple[str, ...]:
    share = swarm.choice(_SHARES)
    chances = {kind: _CLIMATE_SHARE if kind in CLIMATES else share for kind in KINDS}
    return tuple(kind for kind, chance in chances.items() if swarm.random() < chance)


class Fates:
    """Asked at every point where something may go wrong. When `calm`, nothing does any more."""

    def __init__(self, seed: int, kinds: Iterable[str], storm_s: float) -> None:
        self.kinds = frozenset(kinds)
        self.calm = False
        self.struck: Counter[str] = Counter()
        self._dice = {kind: dice_of(seed, kind) for kind in EVERY}
        self._rates = {
            kind: rolls.choice(_WRITE_RATES if kind in _WRITES else _RATES) * _RARER.get(kind, 1.0)
            for kind, rolls in self._dice.items()
        }
        self._windows = {kind: self._draw_windows(kind, storm_s) for kind in _WINDOWS}

    def _draw_windows(self, kind: str, storm_s: float) -> tuple[tuple[float, float], ...]:
        rolls = self._dice[kind]
        found: list[tuple[float, float]] = []
        for _ in range(rolls.randint(1, _WINDOWS_AT_MOST)):
            begin = rolls.uniform(0.0, storm_s)
            found.append((begin, begin + rolls.uniform(*_WINDOW_S)))
        return tuple(found)

    def has(self, kind: str) -> bool:
        """Whether this kind may happen now at all."""
        return kind in self.kinds and not self.calm

    def strikes(self, kind: str) -> bool:
        """Whether it happens to this event."""
        if not self.has(kind) or self._dice[kind].random() >= self._rates[kind]:
            return False
        self.struck[kind] += 1
        return True

    def windows(self, kind: str) -> tuple[tuple[float, float], ...]:
        """Begin and end of each, in seconds since the run's begin; none of a kind that is not."""
        return self._windows[kind] if kind in self.kinds else ()

    def inside(self, kind: str, at_s: float) -> bool:
        """Whether a window of this kind is open, at seconds since the run's begin."""
        if not self.has(kind) or not any(a <= at_s < b for a, b in self._windows[kind]):
            return False
        self.struck[kind] += 1
        return True

    def forget(self, kinds: Iterable[str]) -> None:
        """These have happened often enough."""
        self.kinds -= frozenset(kinds)

    def dice(self, kind: str) -> random.Random:
        """The kind's own dice, for how it happens."""
        return self._dice[kind]
