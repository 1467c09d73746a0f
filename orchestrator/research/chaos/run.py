"""One campaign: the house comes up, is struck again and again, settles, and is judged."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from orchestrator.model.facts import SignalAccepted, SignalEnded
from orchestrator.research.chaos.deeds import Deed, plan
from orchestrator.research.chaos.house import Cast, House, Node
from orchestrator.research.chaos.trader import Trader
from orchestrator.research.crash_sweep.judge import unsettled, violations
from orchestrator.research.crash_sweep.process import Died
from orchestrator.research.crash_sweep.scenes import Story
from orchestrator.research.servers import Program, Redis
from orchestrator.research.waiting import Late, eventually
from orchestrator.service.seams import block_s, mono_ns

_SETTLE_S = 180.0
_UP_S = 120.0
_STEP_S = 0.05
_FIRST_S = 90.0

Tell = Callable[[str], None]


class Outcome(msgspec.Struct, kw_only=True):
    """`back_s`: for each deed, until an order that was wished after it was filled."""

    seed: int
    deeds: int = 0
    given: int = 0
    promised: int = 0
    filled: int = 0
    records: int = 0
    wrong: list[str] = []
    back_s: dict[str, list[float]] = {}
    words: str = ""


def campaign(
    seed: int, seconds: float, cast: Cast, pause_s: float, tell: Tell, within: Path | None = None
) -> Outcome:
    """Missing when a program is not on this machine. `within`: the folder of all its folders."""
    folder = Path(tempfile.mkdtemp(prefix="tso-chaos-", dir=within))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    outcome = Outcome(seed=seed)
    house = House(folder, cast)
    try:
        _run(house, seconds, pause_s, outcome, tell)
    except (Late, Died, OSError, KeyError, ValueError) as exc:
        outcome.wrong.append(f"{type(exc).__name__}: {exc}")
    finally:
        if outcome.wrong:
            outcome.words = "\n".join(house.last_words())
        house.clear_away()
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _run(house: House, seconds: float, pause_s: float, outcome: Outcome, tell: Tell) -> None:
    house.start()
    tell("the house is up")
    with Trader(house, f"c{outcome.seed}") as trader:
        eventually("the first signal is taken", trader.promised, _FIRST_S)
        tell("orders flow")
        strikes = Strikes(house, tell)
        names = tuple(strikes.targets)
        deeds = plan(outcome.seed, seconds, names, pause_s)
        began_ns = mono_ns()
        for deed in deeds:
            _wait_until(began_ns + int(deed.at_s * 1e9))
            strikes.strike(deed)
        _wait_until(began_ns + int(seconds * 1e9))
        strikes.end()
        before = len(trader.promised())
        tell("all is left in peace")
        try:
            eventually("signals are taken again", lambda: len(trader.promised()) > before, _UP_S)
        except Late as late:
            raise Late(f"{late}; the last answer: {trader.last_answer[:1500]}") from late
    story = Story(promised=trader.promised())
    try:
        eventually("settled", lambda: _settled(house), _SETTLE_S)
    except Late as late:
        outcome.wrong += [str(late), unsettled(house)]
    outcome.wrong += violations(house, story)
    outcome.wrong += strikes.wrong
    outcome.deeds, outcome.given = len(strikes.done), len(trader.given)
    outcome.promised = len(story.promised)
    _measure(house, trader, strikes, outcome)


def _settled(house: House) -> bool:
    block_s(0.5)
    try:
        return not unsettled(house)
    except (Late, OSError):
        return False


def _wait_until(at_ns: int) -> None:
    while (left_s := (at_ns - mono_ns()) / 1e9) > 0:
        block_s(min(_STEP_S, left_s))


class Strikes:
    """Deeds at work, each in a thread of its own that also puts right what it did."""

    def __init__(self, house: House, tell: Tell) -> None:
        self.targets: dict[str, Program | None] = {p.name: p for p in house.programs}
        if house.cast.agents == "process":
            self.targets["an agent"] = None
        self.done: list[tuple[Deed, int]] = []
        self.wrong: list[str] = []
        self._house = house
        self._tell = tell
        self._threads: list[threading.Thread] = []

    def strike(self, deed: Deed) -> None:
        thread = threading.Thread(target=self._do, args=(deed,), name=str(deed), daemon=True)
        self._threads.append(thread)
        thread.start()

    def end(self) -> None:
        """Everybody stands again; Late when not."""
        for thread in self._threads:
            thread.join(_UP_S)
        for program in self.targets.values():
            if program is not None:
                program.thaw()
                self._revive(program)

    def _do(self, deed: Deed) -> None:
        self._tell(str(deed))
        self.done.append((deed, mono_ns()))
        program = self.targets[deed.who]
        try:
            if program is None:
                self._strike_child(deed)
            elif deed.kind == "freeze":
                program.freeze()
                block_s(deed.for_s)
                program.thaw()
            elif isinstance(program, Redis) and deed.kind == "flush":
                program.flush()
            else:
                program.kill()
                block_s(deed.for_s)
            if program is not None:
                self._revive(program)
        except (Late, OSError) as exc:
            self.wrong.append(f"{deed}: {exc}")

    def _revive(self, program: Program) -> None:
        """As a supervisor would: what has ended is begun again, until it stays."""
        ends_ns = mono_ns() + int(_UP_S * 1e9)
        while not program.alive:
            if mono_ns() > ends_ns:
                raise Late(f"{program.name} does not come up: {program.last_words()[-600:]}")
            program.start()
            self._watch_start(program)

    def _watch_start(self, program: Program) -> None:
        """Until it serves or has ended; a node whose servers are away ends with a clear word."""
        ends_ns = mono_ns() + int(_UP_S * 1e9)
        while program.alive and not program.ready() and mono_ns() < ends_ns:
            block_s(0.1)
        if not program.alive:
            block_s(0.3)

    def _strike_child(self, deed: Deed) -> None:
        """One of the agents that a node has started itself; the node begins it again."""
        pids = [pid for node in self._house.nodes for pid in node.agents()]
        if pids:
            _end_process(pids[int(deed.for_s * 1000) % len(pids)])


def _end_process(pid: int) -> None:
    import os  # noqa: PLC0415
    import signal  # noqa: PLC0415

    os.kill(pid, signal.SIGKILL)


# -- figures --------------------------------------------------------------------------------------


def _measure(house: House, trader: Trader, strikes: Strikes, outcome: Outcome) -> None:
    """How soon after each deed an order that was wished after it was filled."""
    records, _ = house.journal()
    outcome.records = len(records)
    accepted: dict[str, int] = {}
    took: dict[str, int] = {}
    for record, fact in records:
        if isinstance(fact, SignalAccepted):
            accepted[fact.signal.signal_id] = record.ts
        elif isinstance(fact, SignalEnded) and fact.outcome.value == "filled":
            took.setdefault(fact.signal_id, record.ts - accepted.get(fact.signal_id, record.ts))
    outcome.filled = len(took)
    filled = [(g.sent_ns, g.answered_ns + took[g.name]) for g in trader.given if g.name in took]
    for deed, at_ns in strikes.done:
        after = [done_ns for sent_ns, done_ns in filled if sent_ns >= at_ns]
        if after:
            key = f"{deed.kind} {_kind_of(deed.who)}"
            outcome.back_s.setdefault(key, []).append((min(after) - at_ns) / 1e9)


def _kind_of(name: str) -> str:
    return "an agent" if name.startswith("agent ") else name.partition("-")[0]


def quantiles(values: list[float]) -> Iterator[float]:
    """p50, p99, max."""
    ordered = sorted(values)
    for part in (0.5, 0.99, 1.0):
        yield ordered[min(len(ordered) - 1, int(part * len(ordered)))]


__all__ = ["Node", "Outcome", "campaign", "quantiles"]
