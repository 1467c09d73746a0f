"""Reads beyond the port: orders, trades, positions, transactions and candles, page by page.

Pages are asked for by numbers that we computed: an address that the venue names in an answer is
read for its numbers and never followed, so that no token goes to another host.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

import msgspec

from orchestrator.adapters.oanda.wire import (
    AccountAnswer,
    CandleList,
    TransactionList,
    candle_of,
    checked_account,
    read,
    transaction_of,
    whole_number,
)
from orchestrator.model.errors import VenueError, VenueNonsense
from orchestrator.model.market import Candle
from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.time import Instant, format_time
from orchestrator.model.venue import Account, Order, Position, Trade, Transaction, Wire

_PAGE = 500  # orders, trades: the venue's most (fact sheet, section 3)
_TRANSACTIONS = 1000
_CANDLES = 5000
_PAGES_MAX = 10_000  # a list without an end is none

Get = Callable[[str, AccountId, str, Mapping[str, str] | None], Awaitable[bytes]]

W = TypeVar("W")


class _Listed(Protocol):
    @property
    def id(self) -> str: ...


L = TypeVar("L", bound=_Listed)


class OrderList(Wire, frozen=True, kw_only=True, gc=False):
    """GET orders, pendingOrders."""

    orders: tuple[Order, ...]
    last_transaction_id: str = "0"


class OrderAnswer(Wire, frozen=True, kw_only=True, gc=False):
    order: Order


class TradeList(Wire, frozen=True, kw_only=True, gc=False):
    """GET trades, openTrades."""

    trades: tuple[Trade, ...]
    last_transaction_id: str = "0"


class TradeAnswer(Wire, frozen=True, kw_only=True, gc=False):
    trade: Trade


class PositionList(Wire, frozen=True, kw_only=True, gc=False):
    """GET positions, openPositions."""

    positions: tuple[Position, ...]


class PositionAnswer(Wire, frozen=True, kw_only=True, gc=False):
    position: Position


class TransactionAnswer(Wire, frozen=True, kw_only=True, gc=False):
    transaction: msgspec.Raw


class TransactionPages(Wire, frozen=True, kw_only=True, gc=False):
    """GET transactions: where they are, none inside."""

    pages: tuple[str, ...]
    count: int = 0


class LatestCandles(Wire, frozen=True, kw_only=True, gc=False):
    """GET accounts/{id}/candles/latest."""

    latest_candles: tuple[CandleList, ...]


class Lists:
    """`get` gives the plain body of a 2xx answer, as `OandaVenue` reads. Errors as there."""

    def __init__(self, get: Get) -> None:
        self._get = get

    async def summary(self, account_id: AccountId) -> Account:
        """The account without its trades, positions and orders."""
        body = await self._read("summary", account_id, "summary")
        with reading("summary"):
            return checked_account(read(body, AccountAnswer), account_id)

    # orders, trades, positions

    async def orders(
        self,
        account_id: AccountId,
        *,
        state: str = "PENDING",
        instrument: InstrumentName | None = None,
        ids: Sequence[str] = (),
    ) -> tuple[Order, ...]:
        """All pages, newest first. `state`: PENDING, FILLED, TRIGGERED, CANCELLED or ALL."""

        def page(body: bytes) -> Sequence[Order]:
            return read(body, OrderList).orders

        return await self._paged("orders", account_id, _wanted(state, instrument, ids), page)

    async def trades(
        self,
        account_id: AccountId,
        *,
        state: str = "OPEN",
        instrument: InstrumentName | None = None,
        ids: Sequence[str] = (),
    ) -> tuple[Trade, ...]:
        """All pages, newest first. `state`: OPEN, CLOSED, CLOSE_WHEN_TRADEABLE or ALL."""

        def page(body: bytes) -> Sequence[Trade]:
            return read(body, TradeList).trades

        return await self._paged("trades", account_id, _wanted(state, instrument, ids), page)

    async def order(self, account_id: AccountId, specifier: str) -> Order:
        """By id, or @ and a client id, which finds pending ones only (fact sheet, section 2)."""
        body = await self._read("order", account_id, f"orders/{_part(specifier)}")
        with reading("order"):
            return read(body, OrderAnswer).order

    async def trade(self, account_id: AccountId, specifier: str) -> Trade:
        """With its dependent orders. A closed one may be denied: the log is the truth (15.7)."""
        body = await self._read("trade", account_id, f"trades/{_part(specifier)}")
        with reading("trade"):
            return read(body, TradeAnswer).trade

    async def positions(
        self, account_id: AccountId, *, only_open: bool = False
    ) -> tuple[Position, ...]:
        """Of every instrument that was ever traded, or the open ones."""
        path = "openPositions" if only_open else "positions"
        body = await self._read("positions", account_id, path)
        with reading("positions"):
            return read(body, PositionList).positions

    async def position(self, account_id: AccountId, instrument: InstrumentName) -> Position:
        """VenueRefused 404 for an instrument that was never traded."""
        body = await self._read("position", account_id, f"positions/{_part(instrument)}")
        with reading("position"):
            return read(body, PositionAnswer).position

    async def _paged(
        self,
        what: str,
        account_id: AccountId,
        query: Mapping[str, str],
        page_of: Callable[[bytes], Sequence[L]],
    ) -> tuple[L, ...]:
        found: dict[int, L] = {}
        before: int | None = None
        for _ in range(_PAGES_MAX):
            asked = {**query, "count": str(_PAGE)}
            if before is not None:
                asked["beforeID"] = str(before)
            body = await self._read(what, account_id, what, asked)
            with reading(what):
                page = page_of(body)
                fresh = {whole_number(one.id): one for one in page}
            found |= fresh
            # `beforeID` is the largest id that is still given (inclusive).
            if len(page) < _PAGE or min(fresh) <= 1:
                break
            if before is not None and min(fresh) > before:
                raise VenueNonsense(f"{what}: a page that starts after {before}")
            before = min(fresh) - 1
        return tuple(found[number] for number in sorted(found, reverse=True))

    # transactions

    async def transaction(self, account_id: AccountId, transaction_id: str) -> Transaction:
        body = await self._read("transaction", account_id, f"transactions/{_part(transaction_id)}")
        with reading("transaction"):
            (found,) = _belonging((read(body, TransactionAnswer).transaction,), account_id)
            return found

    async def transactions_between(
        self, account_id: AccountId, first: int, last: int
    ) -> tuple[Transaction, ...]:
        """Ids `first` to `last`, both inclusive, ascending; a page at a time."""
        found: dict[int, Transaction] = {}
        for at in range(first, last + 1, _TRANSACTIONS):
            query = {"from": str(at), "to": str(min(last, at + _TRANSACTIONS - 1))}
            body = await self._read("transactions", account_id, "transactions/idrange", query)
            with reading("transactions"):
                page = _belonging(read(body, TransactionList).transactions, account_id)
            found |= {one.number: one for one in page if first <= one.number <= last}
        return tuple(found[number] for number in sorted(found))

    async def transactions_in(
        self, account_id: AccountId, from_ns: Instant, to_ns: Instant
    ) -> tuple[Transaction, ...]:
        """By their time, both ends inclusive; at most a year (the venue's rule)."""
        query = {
            "from": format_time(from_ns), "to": format_time(to_ns), "pageSize": str(_TRANSACTIONS),
        }  # fmt: skip
        body = await self._read("transactions", account_id, "transactions", query)
        with reading("transactions"):
            spans = [_span(page) for page in read(body, TransactionPages).pages]
        found: dict[int, Transaction] = {}
        for first, last in spans:
            page = await self.transactions_between(account_id, first, last)
            found |= {one.number: one for one in page}
        return tuple(found[number] for number in sorted(found))

    # candles

    async def candles_between(
        self,
        account_id: AccountId,
        instrument: InstrumentName,
        granularity: str,
        from_ns: Instant,
        to_ns: Instant,
    ) -> tuple[Candle, ...]:
        """Of bid and ask, oldest first, from the one that `from_ns` falls in to before `to_ns`."""
        found: dict[Instant, Candle] = {}
        at_ns = from_ns
        while at_ns < to_ns:
            query = {
                "price": "BA", "granularity": granularity, "from": format_time(at_ns),
                "count": str(_CANDLES),
            }  # fmt: skip
            path = f"instruments/{_part(instrument)}/candles"
            body = await self._read("candles", account_id, path, query)
            with reading("candles"):
                answer = read(body, CandleList)
                if (answer.instrument, answer.granularity) != (instrument, granularity):
                    raise ValueError(f"candles of {answer.instrument} {answer.granularity}")
                page = [candle_of(one, instrument, granularity) for one in answer.candles]
            fresh = {one.start_ns: one for one in page if one.start_ns not in found}
            found |= {start: one for start, one in fresh.items() if start < to_ns}
            if len(page) < _CANDLES or not fresh:
                break
            at_ns = max(fresh) + 1
        return tuple(found[start] for start in sorted(found))

    async def latest_candles(
        self, account_id: AccountId, specifications: Sequence[tuple[InstrumentName, str]]
    ) -> dict[tuple[InstrumentName, str], tuple[Candle, ...]]:
        """The candle under way and the one before it, for each (instrument, granularity)."""
        wanted = ",".join(f"{name}:{granularity}:BA" for name, granularity in specifications)
        query = {"candleSpecifications": wanted}
        body = await self._read("candles", account_id, "candles/latest", query)
        with reading("candles"):
            return {
                (one.instrument, one.granularity): tuple(
                    candle_of(stick, one.instrument, one.granularity) for stick in one.candles
                )
                for one in read(body, LatestCandles).latest_candles
            }

    async def _read(
        self,
        kind: str,
        account_id: AccountId,
        below: str,
        query: Mapping[str, str] | None = None,
    ) -> bytes:
        return await self._get(kind, account_id, f"/v3/accounts/{account_id}/{below}", query)


def _wanted(state: str, instrument: InstrumentName | None, ids: Sequence[str]) -> dict[str, str]:
    query = {"state": state}
    if instrument is not None:
        query["instrument"] = instrument
    if ids:
        query["ids"] = ",".join(ids)
    return query


def _part(text: str) -> str:
    """As one part of a path. VenueError for what is none."""
    if not text or len(text) > 200:  # noqa: PLR2004 - a client id has 128
        raise VenueError(f"not an id: {text[:50]!r}")
    return quote(text, safe="@")


def _span(page: str) -> tuple[int, int]:
    query = parse_qs(urlsplit(page).query)
    first, last = (whole_number(query.get(name, [""])[0]) for name in ("from", "to"))
    return first, last


def _belonging(raws: Sequence[msgspec.Raw], account_id: AccountId) -> list[Transaction]:
    found = [transaction_of(raw) for raw in raws]
    for one in found:
        if one.account_id and one.account_id != account_id:
            raise ValueError(f"transaction {one.id} belongs to another account")
    return found


@contextmanager
def reading(what: str) -> Generator[None]:
    """An answer that cannot be read becomes VenueNonsense."""
    try:
        yield
    except ValueError as error:
        raise VenueNonsense(f"{what}: {error}") from error
