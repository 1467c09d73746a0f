"""A program for a network apart: whoever leads is really cut off, in three ways; the other leads.

    python -m tests.integration.cut_cable FOLDER [WAY ...]

Signals flow at the leader when its cable is cut, or passes one direction only. It is mended when
the other one leads, with whatever the old leader's kernel still tries to send. In the end the
venue's books judge: no order of an older leader after one of a newer, none twice, none without
its intent. What is wrong is printed; the exit code is 1 then.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.integration.flow import Trader
from tests.integration.nodes import Apart, Nodes, NodeService
from tests.integration.processes import eventually, now_s
from tests.servers.netns import Place, come_apart

_ORDERS = 4
WAYS: dict[str, Callable[[Place], None]] = {
    "cut": Place.cut, "deaf": Place.deafen, "mute": Place.mute,
}  # fmt: skip


def judged(folder: Path, ways: list[str]) -> list[str]:
    """What is wrong in the end."""
    with (
        Apart(folder / "tls", 2) as apart,
        apart.postgres() as server,
        Nodes(folder, server.create(), apart=apart) as nodes,
    ):
        old, new = nodes.start()
        with Trader(old, random.Random(0)):
            eventually("orders flow", lambda: len(nodes.orders_heard()) >= _ORDERS, 60)
        for way in ways:
            _cut_off(old, new, way)
            old, new = new, old
        return _found(nodes)


def _cut_off(old: NodeService, new: NodeService, way: str) -> None:
    """Signals are given to the old leader all the time, and to the new one from its beginning."""
    assert old.place is not None
    with Trader(old, random.Random(1)):
        began = now_s()
        WAYS[way](old.place)
        eventually("the other node leads", new.leads, 60, 0.02)
        print(f"{way}: the other node leads after {now_s() - began:.1f} s", flush=True)
        with Trader(new, random.Random(2)):
            old.place.mend()
            eventually("the old one stands by", lambda: old.role() == "standby", 60)


def _found(nodes: Nodes) -> list[str]:
    found: list[str] = []

    def settled() -> bool:
        found[:] = nodes.judge()
        return not found

    with suppress(AssertionError):
        eventually("all is settled", settled, 60, 0.5)
    return found


def main(arguments: list[str]) -> int:
    come_apart()
    wrong = judged(Path(arguments[0]), arguments[1:] or list(WAYS))
    for each in wrong:
        print(f"WRONG: {each}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
