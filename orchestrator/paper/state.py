"""The venue's memory in a file: one line a batch, written before the answer; a torn line is cut."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from orchestrator.model.errors import FeedError
from orchestrator.model.money import AccountId
from orchestrator.model.venue import Order, Transaction
from orchestrator.paper.exchange.books import Books


class Note(msgspec.Struct):
    """Where a pending order stands: what no transaction carries."""

    order: str
    trailing: Decimal | None = None
    initial: Decimal | None = None


class Kept(msgspec.Struct):
    """What the file knows of an account; the last note of an order counts."""

    transactions: list[Transaction] = []
    notes: dict[str, Note] = {}


class _Line(msgspec.Struct):
    account: AccountId
    transactions: list[Transaction] = []
    note: Note | None = None


_decoder = msgspec.json.Decoder(_Line)


_transactions = msgspec.json.Decoder(tuple[Transaction, ...])


def read_transactions(encoded: Sequence[bytes]) -> tuple[Transaction, ...]:
    """Transactions of a history, decoded."""
    return _transactions.decode(b"[" + b",".join(encoded) + b"]")


class StateFile:
    """Appends; every line ends with a newline, or it was never answered."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise FeedError(f"--state {path}: another paper venue keeps its state here") from error

    def load(self) -> dict[AccountId, Kept]:
        """All that is known, by account. FeedError names the line that cannot be read."""
        data = self._path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.ftruncate(self._fd, whole)
        found: dict[AccountId, Kept] = {}
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                read = _decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, ArithmeticError) as error:
                raise FeedError(f"--state {self._path}: line {number}: {error}") from error
            kept = found.setdefault(read.account, Kept())
            kept.transactions.extend(read.transactions)
            if read.note is not None:
                kept.notes[read.note.order] = read.note
        return found

    def listen(self, books: Books, _made: Sequence[Transaction], encoded: Sequence[bytes]) -> None:
        """Write a batch as one line, in one call: it is there whole, or not at all."""
        account = msgspec.json.encode(books.account_id)
        line = b'{"account":%b,"transactions":[%b]}\n' % (account, b",".join(encoded))
        self._write(line)

    def listen_note(self, books: Books, order: Order) -> None:
        """Write where an order stands now."""
        note = Note(order.id, order.trailing_stop_value, order.initial_market_price)
        self._write(msgspec.json.encode(_Line(books.account_id, note=note)) + b"\n")

    def _write(self, line: bytes) -> None:
        view = memoryview(line)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            # The books are ahead of the file now, and nothing was answered yet: to go on would
            # leave a hole in the file. A torn line is cut at the next start.
            sys.stderr.write(f"orchestrator paper: --state {self._path}: {error}; stopping\n")
            sys.stderr.flush()
            os._exit(1)

    def close(self) -> None:
        os.close(self._fd)
