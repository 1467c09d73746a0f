"""What stands before the paper venue in a simulation: every read goes through one door."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from orchestrator.model.market import Candle, Tick
from orchestrator.model.money import AccountId, InstrumentName, InstrumentSpec
from orchestrator.model.ports import VenueClock
from orchestrator.model.time import Instant
from orchestrator.model.venue import Account, Transaction
from orchestrator.paper.in_process import InProcessVenue

T = TypeVar("T")


class ReadingStandIn(ABC):
    """The reading half of `model.ports.Venue`, handed on to `inner`; `read` is the door."""

    def __init__(self, inner: InProcessVenue) -> None:
        self._inner = inner

    @abstractmethod
    async def _read(self, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` finds, late, or an error of the venue's in its place."""

    async def account(self, account_id: AccountId) -> Account:
        return await self._read(lambda: self._inner.account(account_id))

    async def refreshed(self, known: Account) -> Account:
        return await self.account(known.id)

    async def account_ids(self) -> tuple[AccountId, ...]:
        return await self._read(self._inner.account_ids)

    async def instruments(self, account_id: AccountId) -> tuple[InstrumentSpec, ...]:
        return await self._read(lambda: self._inner.instruments(account_id))

    async def candles(
        self, instrument: InstrumentName, granularity: str, count: int
    ) -> tuple[Candle, ...]:
        return await self._read(lambda: self._inner.candles(instrument, granularity, count))

    async def prices(
        self, account_id: AccountId, instruments: Sequence[InstrumentName]
    ) -> tuple[Tick, ...]:
        return await self._read(lambda: self._inner.prices(account_id, instruments))

    async def transactions_since(
        self, account_id: AccountId, since: int
    ) -> tuple[tuple[Transaction, ...], int]:
        return await self._read(lambda: self._inner.transactions_since(account_id, since))

    async def clock(self) -> VenueClock | None:
        return await self._inner.clock()

    @property
    def clock_offset_ns(self) -> int | None:
        return self._inner.clock_offset_ns

    @property
    def now(self) -> Instant:
        """Of the market."""
        return self._inner.market.time.now()

    async def close(self) -> None:  # noqa: B027 -- nothing to do is what it does
        """The venue outlives a life of the service."""


def no_gate() -> str | None:
    """The gate was asked at the first byte; the venue knows none."""
    return None
