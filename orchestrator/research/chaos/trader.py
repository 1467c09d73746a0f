"""Signals without a pause, to whichever node leads; and what became of each."""

from __future__ import annotations

import threading
from http import HTTPStatus

import msgspec

from orchestrator.research.chaos.house import House, Node
from orchestrator.research.crash_sweep.process import ACCOUNTS, Died
from orchestrator.service.seams import mono_ns

_EVERY_S = 0.15
_ANSWER_S = 5.0


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that was answered; monotonic nanoseconds."""

    name: str
    sent_ns: int
    answered_ns: int
    taken: bool  # answered 202: a promise that must survive everything


class Trader:
    """Works in a thread of its own for as long as the `with` lasts."""

    def __init__(self, house: House, prefix: str) -> None:
        self.given: list[Given] = []
        self.unanswered = 0
        self.last_answer = ""
        self._house = house
        self._prefix = prefix
        self._count = 0
        self._node: Node | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="trader", daemon=True)

    def __enter__(self) -> Trader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    def promised(self) -> list[str]:
        return [each.name for each in self.given if each.taken]

    def _work(self) -> None:
        while not self._over.wait(_EVERY_S):
            try:
                self.give()
            except Died:
                self.unanswered += 1
                self._node = None

    def give(self) -> bool:
        """One signal; whether it was taken. Died when nobody answers."""
        node = self._node = self._node or self._house.leader
        if node is None:
            return False
        self._count += 1
        name = f"{self._prefix}-{self._count:05d}"
        sent_ns = mono_ns()
        status, said = node.ask("POST", "/signals", _wish(name, self._count), _ANSWER_S)
        if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.CONFLICT}:
            self._node = None  # perhaps it leads no more
        if "A3 losing run" in str(said):
            self._go_on(node)
        taken = status == HTTPStatus.ACCEPTED
        self.last_answer = f"{status} {said}"
        self.given.append(Given(name=name, sent_ns=sent_ns, answered_ns=mono_ns(), taken=taken))
        return taken

    def _go_on(self, node: Node) -> None:
        """Trades that are closed again at once lose their spread; an operator knows why."""
        for account in ACCOUNTS:
            wish = {"subject": account, "reason": "a campaign loses spreads, and nothing else"}
            node.ask("POST", "/breakers/A3/reset", wish, _ANSWER_S)


def _wish(name: str, count: int) -> dict[str, object]:
    """One way and then the other: what is opened is closed again, and places stay free."""
    instrument = ("EUR_USD", "USD_JPY")[count % 2]
    far = 1 if instrument == "EUR_USD" else 130
    return {
        "signal_id": name, "instrument": instrument, "side": ("buy", "sell")[count // 2 % 2],
        "stop_distance": f"{0.003 * far:.5f}", "target_distance": f"{0.006 * far:.5f}",
        "confidence": "0.6", "strategy": f"hand-{count % 7}", "ttl_ms": 20_000,
    }  # fmt: skip
