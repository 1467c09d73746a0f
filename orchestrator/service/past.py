"""What agents that (re)start must know of the past, kept in memory beside a store across a network.

Such a store may be away just when an agent is begun anew, and the loop must not wait for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeAlias

from orchestrator.model.base import Message
from orchestrator.model.facts import Fact, SignalAccepted
from orchestrator.model.money import AccountId
from orchestrator.model.outcomes import ChangeProposed, TradeOpened, TradeOutcome

REMEMBERED = 1_000
# Signals of which a trade may yet come; the oldest are forgotten first.
_SIGNALS_MAX = 10_000

Open: TypeAlias = Callable[[], Iterable[tuple[AccountId, str]]]


class Past:
    """Read once, from the store; then kept up by the facts that become durable.

    `read` gives it oldest first: finished trades, proposals, signals of open trades, their
    openings. `still_open`: the trades that stand just now.
    """

    def __init__(self, read: Callable[[], Iterable[Message]], still_open: Open) -> None:
        self._read = read
        self._still_open = still_open
        self._known = False
        self._finished: deque[TradeOutcome] = deque(maxlen=REMEMBERED)
        self._proposed: deque[ChangeProposed] = deque(maxlen=REMEMBERED)
        self._signals: dict[str, SignalAccepted] = {}
        self._opened: dict[tuple[AccountId, str], TradeOpened] = {}

    def __call__(self) -> tuple[Message, ...]:
        """StoreError at the first call, when the store cannot be read."""
        if not self._known:
            for message in self._read():
                self._keep(message)
            self._known = True
        standing = set(self._still_open())
        opened = [each for key, each in self._opened.items() if key in standing]
        signals = [self._signals.get(each.signal_id) for each in opened]
        told = [each for each in signals if each is not None]
        return (*self._finished, *self._proposed, *told, *opened)

    def heard(self, fact: Fact) -> None:
        """This is durable now. Before the first call the store will tell it."""
        if self._known:
            self._keep(fact)

    def _keep(self, message: Message) -> None:
        match message:
            case TradeOutcome():
                self._finished.append(message)
                self._opened.pop((message.account_id, message.trade_id), None)
            case ChangeProposed():
                self._proposed.append(message)
            case SignalAccepted():
                self._signals[message.signal.signal_id] = message
                self._forget_signals()
            case TradeOpened():
                self._opened[message.account_id, message.trade_id] = message
                self._forget_opened()
            case _:
                pass

    def _forget_signals(self) -> None:
        """Those of open trades are needed for as long as these are open."""
        if len(self._signals) <= 2 * _SIGNALS_MAX:
            return
        needed = {each.signal_id for each in self._opened.values()}
        old = list(self._signals)[:_SIGNALS_MAX]
        for signal_id in old:
            if signal_id not in needed:
                del self._signals[signal_id]

    def _forget_opened(self) -> None:
        """A trade may end without an outcome of its own."""
        if len(self._opened) > REMEMBERED:
            standing = set(self._still_open())
            self._opened = {key: each for key, each in self._opened.items() if key in standing}
