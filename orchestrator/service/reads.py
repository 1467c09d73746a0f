"""Reads of the venue that the kernel asks for, in the background; what they find is an event."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from orchestrator.model.acts import FetchTransactions
from orchestrator.model.errors import VenueError, VenueRefused
from orchestrator.model.events import (
    AccountSeen,
    CredentialsSeen,
    Event,
    ReadFailed,
    TransactionsSeen,
)
from orchestrator.model.money import AccountId
from orchestrator.model.ports import Clock, VenueReader
from orchestrator.service.nest import Nest, NestClosed

REFUSALS = (401, 403)  # statuses by which the venue refuses our credentials (A10)


class Reads:
    """One read of a kind at a time for each account. `hear` is the engine's mailbox."""

    def __init__(self, reader: VenueReader, clock: Clock, hear: Callable[[Event], None]) -> None:
        self._reader = reader
        self._clock = clock
        self._hear = hear
        self._tasks: Nest | None = None
        self._since: dict[AccountId, int] = {}
        self._accounts: set[AccountId] = set()
        self._closed = False

    def attach(self, tasks: Nest) -> None:
        """Whose children the reads are; before that, none is begun."""
        self._tasks = tasks

    def close(self) -> None:
        """No more reads are begun; what is on the wire ends by itself."""
        self._closed = True

    def transactions(self, act: FetchTransactions) -> None:
        """From `act.since` on; comes back as TransactionsSeen, or ReadFailed."""
        self._begin(self._transactions(act), f"fetch {act.account_id}")

    def account(self, account_id: AccountId) -> None:
        """Comes back as AccountSeen, or ReadFailed."""
        self._begin(self._account(account_id), f"read {account_id}")

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self._tasks is None or self._closed:
            work.close()
            return
        # This life ends just now, and the next one reads anew: no bug, which would close the gate's
        # word and so stop every node.
        with suppress(NestClosed):
            self._tasks.create_task(work, name=name)

    async def _transactions(self, act: FetchTransactions) -> None:
        account_id = act.account_id
        if act.after_ms:
            await self._clock.sleep(act.after_ms / 1000)
        if account_id in self._since and self._since[account_id] <= act.since:
            return  # one that reads at least as far back is under way
        self._since[account_id] = act.since
        try:
            found, last = await self._reader.transactions_since(account_id, act.since)
        except VenueError as exc:
            self._failed(account_id, exc)
            return
        finally:
            self._since.pop(account_id, None)
        self._hear(
            TransactionsSeen(
                account_id=account_id, transactions=found, last_transaction_id=last,
                source="gap_fill", complete_to=last,
            )
        )  # fmt: skip

    def _failed(self, account_id: AccountId, exc: VenueError) -> None:
        if isinstance(exc, VenueRefused) and exc.status in REFUSALS:
            self._hear(CredentialsSeen(account_id=account_id, ok=False, reason=str(exc)))
        self._hear(ReadFailed(account_id=account_id, reason=str(exc)))

    async def _account(self, account_id: AccountId) -> None:
        if account_id in self._accounts:
            return
        self._accounts.add(account_id)
        try:
            account = await self._reader.account(account_id)
        except VenueError as exc:
            self._failed(account_id, exc)
            return
        finally:
            self._accounts.discard(account_id)
        self._hear(AccountSeen(account=account))
