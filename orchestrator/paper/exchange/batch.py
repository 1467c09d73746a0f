"""Transactions made together: one batch id, one time, ids one after the other."""

from __future__ import annotations

from typing import Any

from orchestrator.model.time import Instant, format_time
from orchestrator.model.venue import Transaction
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.entries import apply


class Batch:
    """Writes transactions into one account's books; `request_id` is absent when nobody asked."""

    def __init__(self, books: Books, now_ns: Instant, request_id: str | None = None) -> None:
        self.books = books
        self.now_ns = now_ns
        self.made: list[Transaction] = []
        self.encoded: list[bytes] = []
        self._request_id = request_id
        self._time = format_time(now_ns)
        self._batch_id = str(books.last_id + 1)
        self._user_id = 1 if request_id is not None else 0

    def add(self, kind: str, **fields: Any) -> Transaction:  # noqa: ANN401  # Transaction's fields
        """Make the next transaction and put it into the books."""
        transaction = Transaction(
            id=str(self.books.last_id + 1),
            type=kind,
            account_id=self.books.account_id,
            time=self._time,
            user_id=self._user_id,
            batch_id=self._batch_id,
            request_id=self._request_id,
            **fields,
        )
        self.encoded.append(apply(self.books, transaction))
        self.made.append(transaction)
        return transaction
