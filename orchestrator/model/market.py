"""Prices as they arrive: ticks, candles, and what is said of a stream."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.model.base import Message
from orchestrator.model.money import AccountId, InstrumentName, Price
from orchestrator.model.time import Instant


class Tick(Message, frozen=True, kw_only=True, gc=False, tag="tick"):
    """Best prices of one instrument. Source: OANDA pricing stream, first bucket of each side.

    Not validated here: a bad tick must reach breaker M5, which counts and drops it.
    """

    instrument: InstrumentName
    bid: Price
    ask: Price
    venue_ns: Instant  # stamped by the venue
    seen_ns: Instant  # stamped by us on arrival, market clock
    tradeable: bool = True

    @property
    def spread(self) -> Decimal:
        return self.ask - self.bid

    @property
    def mid(self) -> Decimal:
        return (self.bid + self.ask) / 2


class StreamBeat(Message, frozen=True, kw_only=True, gc=False, tag="stream_beat"):
    """A heartbeat of a stream; `last_transaction_id` only on transaction streams."""

    stream: str  # "prices" | "transactions"
    account_id: AccountId
    venue_ns: Instant
    seen_ns: Instant
    last_transaction_id: str | None = None


class StreamUp(Message, frozen=True, kw_only=True, gc=False, tag="stream_up"):
    """A stream is connected (again)."""

    stream: str
    account_id: AccountId
    seen_ns: Instant


class StreamDown(Message, frozen=True, kw_only=True, gc=False, tag="stream_down"):
    """A stream ended or fell silent; the client is reconnecting."""

    stream: str
    account_id: AccountId
    seen_ns: Instant
    reason: str


class Candle(Message, frozen=True, kw_only=True, gc=False, tag="candle"):
    """A finished or running candle of bid and ask. Times: start, market clock."""

    instrument: InstrumentName
    granularity: str  # OANDA's: S5 ... D
    start_ns: Instant
    volume: int
    complete: bool
    bid_o: Price
    bid_h: Price
    bid_l: Price
    bid_c: Price
    ask_o: Price
    ask_h: Price
    ask_l: Price
    ask_c: Price


class History(Message, frozen=True, kw_only=True, gc=False, tag="history"):
    """Candles from the venue, oldest first, given to agents before they hear live prices."""

    instrument: InstrumentName
    granularity: str
    candles: tuple[Candle, ...]


class Beat(Message, frozen=True, kw_only=True, gc=False, tag="beat"):
    """A second of market time has passed (in replay: at most one per second of the recording)."""

    now_ns: Instant


class MarketCondition(Message, frozen=True, kw_only=True, gc=False, tag="market_condition"):
    """What became of the market data that a store was given, in rows since its start.

    `written`: stored. `refused`: cannot be stored (a price that is not a number). `dropped`: thrown
    away because too many waited. `failed`: lost to an error. `waiting`: in memory; `spooled`: on
    this machine's disk until the server is back. `problem`: why nothing is written; "" when well.
    `layout`: how the server keeps it, for a person.
    """

    written: int = 0
    refused: int = 0
    dropped: int = 0
    failed: int = 0
    waiting: int = 0
    spooled: int = 0
    problem: str = ""
    layout: str = ""


class MarketSpan(Message, frozen=True, kw_only=True, gc=False, tag="market_span"):
    """What a market store holds of one instrument: minutes with a price, and their ticks."""

    instrument: InstrumentName
    minutes: int
    first_ns: Instant  # start of the first minute
    last_ns: Instant  # start of the last one
    ticks: int  # that made the minutes; older ticks themselves may be gone
