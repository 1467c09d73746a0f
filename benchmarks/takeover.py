"""Takeover of a leader that was killed, frozen or cut off, and a stop across nodes; real processes.

    python -m benchmarks.takeover [--n 20] [--only killed frozen cut unplugged deaf mute stop redis]

Two nodes on one PostgreSQL and one paper venue of their own take turns. `unplugged`, `deaf` and
`mute` run two others, each in a network of its own whose cable is cut, or passes one direction
only; where no network can be made they are left out, with a word. After all rounds the judge
reads the journal and the venue's books; what it finds is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import noise
from benchmarks.figures import Row, Section, spread, table
from orchestrator.model.time import parse_time
from orchestrator.service.seams import new_id
from tests.integration.cut_cable import WAYS
from tests.integration.nodes import Apart, Nodes, NodeService
from tests.integration.processes import eventually, now_s, pause, wall_ns
from tests.servers import netns
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

_MUST_US, _GOAL_US = 30_000_000, 5_000_000
_STOP_MUST_US, _STOP_GOAL_US = 1_000_000, 20_000
_BOUND_S = 60.0
_LOOK_S = 0.01
_EVERY = 4  # rounds in which orders flow, too: they wait for the market's pace


def _kill(node: NodeService) -> None:
    node.kill()


def _freeze(node: NodeService) -> None:
    node.send(signal.SIGSTOP)


def _cut(node: NodeService) -> None:
    node.wire.cut()


def _by_cable(way: Callable[[netns.Place], None]) -> Callable[[NodeService], None]:
    def strike(node: NodeService) -> None:
        assert node.place is not None
        way(node.place)

    return strike


_HERE: dict[str, Callable[[NodeService], None]] = {
    "killed": _kill, "frozen": _freeze, "cut": _cut,
}  # fmt: skip
_APART = {
    {"cut": "unplugged"}.get(name, name): _by_cable(way) for name, way in WAYS.items()
}  # fmt: skip
_STRIKES = {**_HERE, **_APART}
_STOPS = {
    "stop": "stop at the standby: leader's gate closed (LISTEN)",
    "redis": "stop at the standby: leader's gate closed (Redis)",
}
_WITHIN = "TAKEOVER_WITHIN"  # set for the process that runs in a network apart


class Rounds:
    """Whoever leads is struck, again and again."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.leader, self.other = nodes.start()
        self.took: dict[str, list[int]] = {}
        self.ordered: dict[str, list[int]] = {}
        self.stops: list[int] = []

    def strike(self, kind: str) -> None:
        """Until the other one leads, trading on; some times also until its first order is there."""
        ordered = self.ordered.setdefault(kind, [])
        took = self.took.setdefault(kind, [])
        whole = len(took) % _EVERY == 0
        if whole:
            self._trade(self.leader)
        heard = len(self.nodes.orders_heard())
        at_ns, began = wall_ns(), now_s()
        _STRIKES[kind](self.leader)
        eventually("the other node leads", self.other.leads, _BOUND_S, _LOOK_S)
        took.append(int((now_s() - began) * 1e9))
        if whole:
            self._trade(self.other, heard)
            ordered.append(self.nodes.orders_heard()[heard]["received_ns"] - at_ns)
        self._back(self.leader)
        self.leader, self.other = self.other, self.leader

    def _trade(self, node: NodeService, heard: int | None = None) -> None:
        """Signals until one becomes an order."""
        before = len(self.nodes.orders_heard()) if heard is None else heard

        def ordered() -> bool:
            node.trade(new_id("bench"))
            pause(0.05)
            return len(self.nodes.orders_heard()) > before

        eventually("an order is at the venue", ordered, _BOUND_S, 0.02)

    def _back(self, node: NodeService) -> None:
        node.wire.mend()
        if node.place is not None:
            node.place.mend()
        if node.process is None or node.process.poll() is not None:
            node.start()
        else:
            node.send(signal.SIGCONT)
        eventually("the old leader stands by", lambda: node.role() == "standby", _BOUND_S)
        pause(1.0)

    def stop(self) -> None:
        """From the request at the standby to the leader's closed gate; ended by a resume."""
        asked_ns = wall_ns()
        answer = self.other.ask("POST", "/emergency-stop", {"reason": "a drill"})
        stop_id = answer.body["stop_id"]
        eventually("it is flat", lambda: self._receipt()["state"] == "stopped_flat", _BOUND_S)
        self.stops.append(parse_time(self._receipt()["gate_closed_at"]) - asked_ns)
        body = {"stop_id": stop_id, "reason": "the drill is over"}
        eventually(
            "a person resumes",
            lambda: self.leader.ask("POST", "/resume", body).status == 200, _BOUND_S, 0.2,
        )  # fmt: skip
        assert self.leader.ask("POST", "/start", {"reason": "on"}).status == 200
        eventually("it has ended at the standby", self._over, _BOUND_S)

    def _receipt(self) -> dict[str, str]:
        answer = self.leader.ask("GET", "/emergency-stop")
        return answer.body if answer.status == 200 else {"state": ""}

    def _over(self) -> bool:
        return self.other.ask("GET", "/emergency-stop").status == 404

    def judge(self) -> list[str]:
        found: list[str] = []

        def good() -> bool:
            found[:] = self.nodes.judge()
            return not found

        try:
            eventually("all is settled", good, _BOUND_S, 1.0)
        except AssertionError:
            return found
        return []


def section(took: Mapping[str, list[int]], ordered: Mapping[str, list[int]]) -> Section:
    rows: list[Row] = []
    for kind, each in took.items():
        of = spread(each)
        if of is None:
            continue
        stopped = kind in _STOPS
        must_us, goal_us = (_STOP_MUST_US, _STOP_GOAL_US) if stopped else (_MUST_US, _GOAL_US)
        rows.append(
            Row(
                name=_STOPS[kind] if stopped else f"{kind}: leads, trading is on", spread=of,
                must="1 s" if stopped else "30 s", must_met=of.max < must_us,
                goal="20 ms" if stopped else "5 s", goal_met=of.p99 < goal_us,
            )
        )  # fmt: skip
        if not stopped and ordered[kind]:
            rows.append(
                Row(name=f"{kind}: its first order at the venue", spread=spread(ordered[kind]))
            )
    notes = (
        "cut: the wire to the database passes no byte, closes nothing; the venue stays in reach.",
        "unplugged: the cable of the leader's network is down, database and venue are beyond it.",
        "deaf: it sends, and no packet reaches it; mute: the other way round.",
    )
    return Section(title="Leader and standby", rows=tuple(rows), notes=notes)


class Series:
    """What all groups of rounds came to."""

    def __init__(self, n: int) -> None:
        self._n = n
        self.took: dict[str, list[int]] = {}
        self.ordered: dict[str, list[int]] = {}
        self.wrong: list[str] = []
        self._over = False

    def here(self, kinds: Sequence[str], stops: Sequence[str]) -> None:
        with self._folder() as folder, PostgresServer() as server:
            with Nodes(folder / "plain", server.create()) as nodes:
                self._measure(nodes, kinds, [kind for kind in stops if kind == "stop"])
            if "redis" in stops:
                with (
                    RedisServer(folder / "redis") as redis,
                    Nodes(folder / "r", server.create(), MESSAGE_BROKER_URL=redis.url) as nodes,
                ):
                    self._measure(nodes, (), ("redis",))

    def apart(self, kinds: Sequence[str]) -> None:
        """In the network apart that this process is in."""
        with (
            self._folder() as folder,
            Apart(folder / "tls", 2) as apart,
            apart.postgres() as server,
            Nodes(folder, server.create(), apart=apart) as nodes,
        ):
            self._measure(nodes, kinds, ())

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="orchestrator-takeover-") as name:
            yield Path(name)

    def _measure(self, nodes: Nodes, kinds: Sequence[str], stops: Sequence[str]) -> None:
        if self._over or not (kinds or stops):
            return
        rounds = Rounds(nodes)
        try:
            # Stops last: after a resume the accounts are probing, and orders come slower.
            for number, kind in itertools.product(range(self._n), kinds):
                _progress(kind, number, self._n)
                rounds.strike(kind)
            for number, kind in itertools.product(range(self._n), stops):
                _progress(kind, number, self._n)
                rounds.stop()
        except KeyboardInterrupt:
            self._over = True  # what was measured by then is shown
        self.wrong += rounds.judge()
        self.took |= rounds.took | dict.fromkeys(stops, rounds.stops)
        self.ordered |= rounds.ordered


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.takeover", description=__doc__)
    parser.add_argument("--n", type=int, default=20, help="rounds of each kind (20)")
    parser.add_argument("--only", nargs="+", choices=[*_STRIKES, *_STOPS])
    asked = parser.parse_args(arguments)
    wanted = asked.only or [*_STRIKES, *_STOPS]
    far = [kind for kind in wanted if kind in _APART]
    if far and netns.hindrance():
        print(f"left out: {', '.join(far)}: no network can be made: {netns.hindrance()}")
        far = []
    if far and _WITHIN not in os.environ:
        os.environ[_WITHIN] = "1"
        words = netns.apart((sys.executable, "-m", "benchmarks.takeover", *arguments))
        os.execvp(words[0], words)  # noqa: S606 -- the same program again, in a network apart
    near, stops = ([k for k in wanted if k in known] for known in (_HERE, _STOPS))
    if not (near or stops or far):
        return 1
    series = Series(asked.n)
    if far:
        netns.come_apart()
    if near or stops:
        series.here(near, stops)
    if far:
        series.apart(far)
    print(file=sys.stderr)
    print(table((noise.run(quick=True), section(series.took, series.ordered))))
    for each in series.wrong:
        print(f"WRONG: {each}")
    good = not series.wrong
    print("judge: the journal and the venue's books agree" if good else "judge: NOT good")
    return 0 if good else 1


def _progress(kind: str, number: int, of: int) -> None:
    print(f"\r{kind} {number + 1}/{of} ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
