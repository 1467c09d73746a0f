"""An agent that commits crimes on its own process, link and service: a signal's note says which."""

from __future__ import annotations

import ctypes
import json
import os
import select
import socket
import sys
from decimal import Decimal
from itertools import count

from orchestrator.agents.base import Agent, Role, Says, hears
from orchestrator.model.signals import AskScore, Score


class Outlaw(Agent):
    """Approves everything, unless asked to do worse."""

    role = Role.STRATEGY_ANALYSIS
    name = "outlaw"
    says = (Score,)

    def __init__(self, *, folder: str = "") -> None:
        self._folder = folder

    @hears(AskScore)
    def on_ask(self, ask: AskScore) -> Says:
        crime = getattr(self, "_" + ask.signal.note.replace(" ", "_").replace(".", "_"), None)
        if crime is not None and self._first(ask.signal.signal_id):
            crime(ask)
        return (_yes(ask),)

    def _first(self, signal_id: str) -> bool:
        """Each crime is committed once: whoever is asked after that is honest."""
        try:
            os.close(os.open(f"{self._folder}/{signal_id}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _loops(self, _: AskScore) -> None:
        for _ in count():
            pass

    def _exits(self, _: AskScore) -> None:
        sys.exit(3)

    def _dies(self, _: AskScore) -> None:
        os._exit(0)

    def _crashes(self, _: AskScore) -> None:
        ctypes.string_at(8)

    def _takes_memory(self, _: AskScore) -> None:
        kept = []
        while True:
            kept.append(bytearray(50_000_000))

    def _floods(self, ask: AskScore) -> None:
        for number in range(20_000):
            _send({"type": "agent.trouble", "data": {"text": f"{number} {ask.signal.note}"}})

    def _says_garbage(self, _: AskScore) -> None:
        _write(b"\xff\x00{[" * 50 + b"\n" + b"[" * 20_000 + b"\n" + b'{"type":5}\n')

    def _says_a_long_line(self, _: AskScore) -> None:
        for _ in range(100):
            _write(b"x" * 1_000_000)

    def _speaks_as_another(self, ask: AskScore) -> None:
        _send(
            {"type": "agent.say", "source": "agent/learning_safety/1",
             "data": {"message": {"type": "signal"}}}
        )  # fmt: skip
        _send({"type": "agent.answered", "source": "agent/learning_safety/1",
               "data": {"ask_id": 1, "answer": None}})  # fmt: skip
        _send({"type": "c.start", "data": {"actor": "outlaw"}})
        _send({"type": "service.drain", "data": {"reason": ask.signal.note}})

    def _answers_all(self, _: AskScore) -> None:
        for number in range(1_000_000_000, 1_000_000_010):
            _send({"type": "agent.answered", "data": {"ask_id": number, "answer": None}})


SOURCE = f"agent/strategy_analysis/{os.environ.get('ORCHESTRATOR_AGENT_INSTANCE')}"


def _yes(ask: AskScore) -> Score:
    return Score(
        signal_id=ask.signal.signal_id, account_id=ask.account.account_id, approved=True,
        score=Decimal(1), expected_r=Decimal("0.2"), win_rate=ask.confidence, samples=0,
        reasons=("yes",),
    )  # fmt: skip


def _send(frame: dict[str, object]) -> None:
    told = {"id": "x", "source": SOURCE, **frame}
    _write(json.dumps(told).encode() + b"\n")


def _write(words: bytes) -> None:
    """On its own link, behind the back of its host."""
    with socket.socket(fileno=os.dup(int(sys.argv[-1]))) as link:
        _write_all(link, words)


def _write_all(link: socket.socket, words: bytes) -> None:
    """Never blocking: the host reads from the same socket."""
    left = memoryview(words)
    while left:
        select.select((), (link,), (), 5)
        left = left[link.send(left) :]
