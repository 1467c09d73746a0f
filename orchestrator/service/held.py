"""What follows from facts that the store has not confirmed yet: in order, and with patience."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from orchestrator.model.acts import Act, SendOrder
from orchestrator.model.facts import Fact


class Held(NamedTuple):
    """What follows from a turn once its facts are durable: after the journal's fact `said`."""

    said: int
    acts: list[Act]
    facts: Sequence[Fact]
    said_left: int  # how much agents may still say to what began with this turn


class Waiting:
    """Turns whose facts are on their way to the store, oldest first."""

    def __init__(self) -> None:
        self._held: deque[Held] = deque()

    def __bool__(self) -> bool:
        return bool(self._held)

    def put(self, held: Held) -> None:
        self._held.append(held)

    def next_by(self, saved: int) -> Held | None:
        """The oldest, if its facts are among the first `saved`; it waits no more then."""
        return self._held.popleft() if self._held and self._held[0].said <= saved else None

    def next(self) -> Held | None:
        """The oldest, whatever became of its facts."""
        return self._held.popleft() if self._held else None

    def take_urgent(self) -> Iterator[Act]:
        """What need not wait for its facts any longer; what may be sent only once stays."""
        for held in self._held:
            urgent = [act for act in held.acts if not _needs_its_word(act)]
            held.acts[:] = [act for act in held.acts if _needs_its_word(act)]
            yield from urgent

    @property
    def orders(self) -> int:
        return sum(type(act) is SendOrder for each in self._held for act in each.acts)


def _needs_its_word(act: Act) -> bool:
    """Whether it must never leave before it is written down: whatever may be sent only once."""
    return type(act) is SendOrder and not act.repeatable
