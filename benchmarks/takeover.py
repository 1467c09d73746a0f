"""Takeover of a leader that was killed, frozen or cut off, and a stop across nodes; real processes.

    python -m benchmarks.takeover [--n 20] [--only killed frozen cut stop]

Two nodes on one PostgreSQL and one paper venue of their own take turns. After all rounds the judge
reads the journal and the venue's books; what it finds is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks import noise
from benchmarks.figures import Row, Section, spread, table
from orchestrator.model.time import parse_time
from orchestrator.service.seams import new_id
from tests.integration.nodes import Nodes, NodeService
from tests.integration.processes import eventually, now_s, pause, wall_ns
from tests.servers.postgres import PostgresServer

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


_STRIKES: dict[str, Callable[[NodeService], None]] = {
    "killed": _kill, "frozen": _freeze, "cut": _cut,
}  # fmt: skip


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


def section(rounds: Rounds) -> Section:
    rows: list[Row] = []
    for kind, took in rounds.took.items():
        of = spread(took)
        assert of is not None
        rows.append(
            Row(
                name=f"{kind}: leads, trading is on", spread=of, must="30 s",
                must_met=of.max < _MUST_US, goal="5 s", goal_met=of.p99 < _GOAL_US,
            )
        )  # fmt: skip
        rows.append(
            Row(name=f"{kind}: its first order at the venue", spread=spread(rounds.ordered[kind]))
        )
    if rounds.stops:
        of = spread(rounds.stops)
        assert of is not None
        rows.append(
            Row(
                name="stop at the standby: leader's gate closed", spread=of, must="1 s",
                must_met=of.max < _STOP_MUST_US, goal="20 ms", goal_met=of.p99 < _STOP_GOAL_US,
            )
        )  # fmt: skip
    note = (
        "cut: the wire to the database passes no byte and closes nothing; the venue stays in reach."
        " No Redis: the stop goes by PostgreSQL's LISTEN."
    )
    return Section(title="Leader and standby", rows=tuple(rows), notes=(note,))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.takeover", description=__doc__)
    parser.add_argument("--n", type=int, default=20, help="rounds of each kind (20)")
    parser.add_argument("--only", nargs="+", default=[*_STRIKES, "stop"])
    asked = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="orchestrator-takeover-") as name,
        PostgresServer() as server,
        Nodes(Path(name), server.create()) as nodes,
    ):
        rounds = Rounds(nodes)
        with suppress(KeyboardInterrupt):  # what was measured by then is shown
            # Stops last: after a resume the accounts are probing, and orders come slower.
            strikes = [kind for kind in asked.only if kind != "stop"]
            for number in range(asked.n):
                for kind in strikes:
                    _progress(kind, number, asked.n)
                    rounds.strike(kind)
            for number in range(asked.n if "stop" in asked.only else 0):
                _progress("stop", number, asked.n)
                rounds.stop()
        wrong = rounds.judge()
        shown = section(rounds)
    print(file=sys.stderr)
    print(table((noise.run(quick=True), shown)))
    for each in wrong:
        print(f"WRONG: {each}")
    print("judge: the journal and the venue's books agree" if not wrong else "judge: NOT good")
    return 1 if wrong else 0


def _progress(kind: str, number: int, of: int) -> None:
    print(f"\r{kind} {number + 1}/{of} ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
