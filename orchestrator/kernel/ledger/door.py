"""The one door into the ledger: transactions from anywhere go in once, in id order (SAFETY O8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from orchestrator.model.venue import Transaction

HELD_MAX = 10_000  # beyond it what is held is dropped: the gap's read brings it again
ABSENT_MAX = 1_000  # ids that are being watched as possible holes
READS_FOR_HOLE = 2

Entry: TypeAlias = Transaction | int


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """What may be applied now. `in_order` mixes transactions and holes (bare ids), ascending.

    `missing`: something before what we know of is not here yet; fetch from the books' last id.
    """

    in_order: tuple[Entry, ...] = ()
    missing: bool = False

    @property
    def ready(self) -> tuple[Transaction, ...]:
        return tuple(entry for entry in self.in_order if not isinstance(entry, int))

    @property
    def holes(self) -> tuple[int, ...]:
        return tuple(entry for entry in self.in_order if isinstance(entry, int))


class Door(msgspec.Struct, kw_only=True):
    """What waits at one account's door. Volatile: after a restart the venue's log is read again."""

    held: dict[int, Transaction] = msgspec.field(default_factory=dict[int, Transaction])
    absent: dict[int, int] = msgspec.field(default_factory=dict[int, int])

    def admit(
        self,
        last_id: int,
        transactions: Sequence[Transaction],
        complete_to: int = 0,
        known_to: int = 0,
    ) -> Admission:
        """Take in a batch, in any order, with repeats; give what the books may apply.

        `last_id`: the books' last id. `complete_to`: a whole read from `last_id` or earlier
        proved that there are no others up to this id. `known_to`: the highest id that the venue
        has spoken of. What was given out must be applied before the next call.
        """
        self._forget(last_id)
        for tx in transactions:
            if tx.number > last_id:
                self.held.setdefault(tx.number, tx)
        if complete_to > last_id:
            self._count_absent(last_id, complete_to)
        in_order = self._take(last_id)
        reached = _number(in_order[-1]) if in_order else last_id
        missing = bool(self.held) or max(known_to, complete_to) > reached
        if len(self.held) > HELD_MAX:
            self.held.clear()
        return Admission(in_order=in_order, missing=missing)

    def _forget(self, last_id: int) -> None:
        for waiting in (self.held, self.absent):
            for number in [n for n in waiting if n <= last_id]:
                del waiting[number]

    def _count_absent(self, last_id: int, complete_to: int) -> None:
        """One more whole read has shown these ids not to exist."""
        gaps = complete_to - last_id - sum(1 for number in self.held if number <= complete_to)
        if not 0 < gaps <= ABSENT_MAX:
            return
        for number in range(last_id + 1, complete_to + 1):
            if number not in self.held:
                self.absent[number] = self.absent.get(number, 0) + 1

    def _take(self, last_id: int) -> tuple[Entry, ...]:
        taken: list[Entry] = []
        number = last_id + 1
        while True:
            tx = self.held.pop(number, None)
            if tx is not None:
                taken.append(tx)
            elif self.absent.get(number, 0) >= READS_FOR_HOLE:
                taken.append(number)
            else:
                return tuple(taken)
            self.absent.pop(number, None)
            number += 1


def _number(entry: Entry) -> int:
    return entry if isinstance(entry, int) else entry.number
