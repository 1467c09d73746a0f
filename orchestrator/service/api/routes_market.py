"""The routes of market data: ticks and candles as they were stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field
from starlette.responses import Response

from orchestrator.model.market import Candle, MarketSpan, Tick
from orchestrator.model.ports import MarketReader
from orchestrator.model.time import Instant
from orchestrator.service.api.describe import route
from orchestrator.service.api.door import AtDoor
from orchestrator.service.api.paging import stale_cursor
from orchestrator.service.api.shapes import CandleItem, Listed, SpanItem, TickItem
from orchestrator.service.api.views import PageQuery, bounded

router = APIRouter()
MARKET: dict[str, Any] = {"tags": ["market"]}

_LATEST_NS = 2**62
_AT_ONCE_MAX = 10_000  # ticks of one instant: they are never parted between two pages
T = TypeVar("T")


class SpanQuery(PageQuery):
    """Which instrument, and from when to when; oldest first."""

    instrument: Annotated[
        str, Field(pattern=r"^[A-Z0-9]{2,12}_[A-Z]{3}$", description="As EUR_USD.")
    ]
    since: Annotated[
        AwareDatetime | None, Field(description="Not older than this: RFC 3339 with a zone.")
    ] = None
    until: Annotated[
        AwareDatetime | None, Field(description="Older than this: RFC 3339 with a zone.")
    ] = None

    @property
    def since_ns(self) -> Instant:
        """Where this page begins. Problem 422 for a cursor that is none of ours."""
        if not self.place:
            return bounded(self.since)
        if not (self.place.isascii() and self.place.isdigit()) or int(self.place) >= _LATEST_NS:
            raise stale_cursor()
        return max(bounded(self.since), int(self.place))

    @property
    def until_ns(self) -> Instant:
        return min(_LATEST_NS, bounded(self.until) or _LATEST_NS)


class CandlesQuery(SpanQuery):
    granularity: Annotated[
        str,
        Field(pattern="^[A-Z][0-9]{0,2}$", description="As OANDA names it: M1, M5, H1, D ..."),
    ] = "M1"


@router.get("/ticks", summary="Prices as they came", **MARKET, **route(TickItem, page=True))
async def ticks(door: AtDoor, asked: Annotated[SpanQuery, Query()]) -> Response:
    """One instrument's prices, oldest first, as long as they are kept (TICK_RETENTION_DAYS). The
    newest may be a second away from being stored.
    """
    since_ns = asked.since_ns
    return await door.market(lambda market: _ticks(market, asked, since_ns))


def _ticks(market: MarketReader, asked: SpanQuery, since_ns: Instant) -> Listed:
    found = market.ticks(asked.instrument, since_ns, asked.until_ns, asked.limit + 1)
    kept: Sequence[Tick] = found[: asked.limit]
    if len(found) > asked.limit and found[asked.limit].venue_ns == kept[-1].venue_ns:
        last_ns = kept[-1].venue_ns
        kept = [tick for tick in kept if tick.venue_ns < last_ns] or market.ticks(
            asked.instrument, last_ns, last_ns + 1, _AT_ONCE_MAX
        )
    more = len(found) > asked.limit
    return _page(kept, _tick_item, kept[-1].venue_ns + 1 if more else None)


@router.get("/candles", summary="Candles of bid and ask", **MARKET, **route(CandleItem, page=True))
async def candles(door: AtDoor, asked: Annotated[CandlesQuery, Query()]) -> Response:
    """As the venue gave them, else rolled up from our ticks: M1, M2, M4, M5, M10, M15, M30, H1,
    and D (17:00 to 17:00 New York); other granularities only as the venue gave them.
    """
    since_ns = asked.since_ns
    return await door.market(lambda market: _candles(market, asked, since_ns))


def _candles(market: MarketReader, asked: CandlesQuery, since_ns: Instant) -> Listed:
    found = market.candles(
        asked.instrument, asked.granularity, since_ns, asked.until_ns, asked.limit + 1
    )
    kept = found[: asked.limit]
    more = len(found) > len(kept)
    return _page(kept, _candle_item, kept[-1].start_ns + 1 if more else None)


@router.get("/market-data", summary="What is stored of the market", **MARKET,
            **route(SpanItem, page=True))  # fmt: skip
async def market_data(door: AtDoor, asked: Annotated[PageQuery, Query()]) -> Response:
    """Minutes with a price, and the ticks that made them, by instrument."""
    return await door.market(lambda market: _spans(market.spans(), asked))


def _spans(found: Sequence[MarketSpan], asked: PageQuery) -> Listed:
    rest = [span for span in found if span.instrument > asked.place]
    kept = rest[: asked.limit]
    more = len(rest) > len(kept)
    items = tuple(SpanItem(**msgspec.structs.asdict(span)) for span in kept)
    return Listed(items=items, next=kept[-1].instrument if more else None)


def _page(rows: Sequence[T], item: Callable[[T], msgspec.Struct], after: int | None) -> Listed:
    return Listed(items=tuple(map(item, rows)), next=None if after is None else str(after))


def _tick_item(tick: Tick) -> TickItem:
    return TickItem(**msgspec.structs.asdict(tick))


def _candle_item(candle: Candle) -> CandleItem:
    return CandleItem(**msgspec.structs.asdict(candle))
