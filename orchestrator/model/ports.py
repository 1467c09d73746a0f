"""The ports: what the service needs of the world, met by shape."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Protocol, runtime_checkable

from orchestrator.model.base import Message
from orchestrator.model.checkpoint import Checkpoint
from orchestrator.model.errors import StoreError
from orchestrator.model.events import BusSeen
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record, RecordFilter
from orchestrator.model.leading import LeaseView, StopNotice
from orchestrator.model.market import (
    Candle,
    MarketCondition,
    MarketSpan,
    StreamBeat,
    StreamDown,
    StreamUp,
    Tick,
)
from orchestrator.model.money import AccountId, InstrumentName, InstrumentSpec
from orchestrator.model.orders import GateQuestion, WriteOutcome, WriteRequest
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.safety import Alert
from orchestrator.model.time import Instant
from orchestrator.model.venue import Account, Transaction

StreamItem = Tick | StreamBeat | StreamUp | StreamDown | Transaction
StreamSink = Callable[[tuple[StreamItem, ...]], None]
WriteDone = Callable[[WriteOutcome, Instant], None]  # outcome, first byte's instant (0: none)
AppendDone = Callable[[StoreError | None], None]  # None: it is durable; else it never will be


class Clock(Protocol):
    """Two clocks: the market's (UTC of prices; in replay the recording's) and the machine's."""

    def now(self) -> Instant:
        """Market time, nanoseconds. Never goes back."""
        ...

    def mono_ns(self) -> int:
        """Machine's monotonic clock, nanoseconds, for time-outs, latencies, leases."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Machine time."""
        ...

    @property
    def speed(self) -> float:
        """Market seconds per machine second."""
        ...


class VenueClock(Message, frozen=True, kw_only=True, gc=False, tag="venue_clock"):
    """The paper venue's market clock (DESIGN, decision 12), as its control endpoint tells it.

    `speed`: market seconds per machine second; 0 means "as fast as it is read" (max).
    `finished`: a replay has no more prices. `calendar`: "fx" or "always".
    """

    now_ns: Instant
    speed: float
    calendar: str
    finished: bool
    ticks: int
    start_ns: Instant = 0


class VenueWriter(Protocol):
    """The only way to write to the venue; held by the gate's sender alone (SAFETY K2)."""

    def submit(self, request: WriteRequest, gate: GateQuestion, done: WriteDone) -> None:
        """Queue a write; never blocks, never raises for the venue's troubles.

        Path: rate limiter -> connected socket in hand -> `gate()` -> first byte. `done` is called
        once, from the event loop, never inside this call. Not retried, except when no byte was
        written, and then only through the gate again.
        """
        ...


class VenueReader(Protocol):
    """Reads and streams. Errors: VenueUnreachable, VenueSilent, VenueRefused, VenueNonsense."""

    async def account(self, account_id: AccountId) -> Account: ...

    async def refreshed(self, known: Account) -> Account:
        """`known`, brought up to date by what changed since: less to read than `account`.

        Where the venue no longer knows the changes, the account is read anew.
        """
        ...

    async def account_ids(self) -> tuple[AccountId, ...]: ...

    async def instruments(self, account_id: AccountId) -> tuple[InstrumentSpec, ...]: ...

    async def candles(
        self, instrument: InstrumentName, granularity: str, count: int
    ) -> tuple[Candle, ...]:
        """The latest `count` candles of bid and ask, oldest first; the last may be incomplete."""
        ...

    async def prices(
        self, account_id: AccountId, instruments: Sequence[InstrumentName]
    ) -> tuple[Tick, ...]: ...

    async def transactions_since(
        self, account_id: AccountId, since: int
    ) -> tuple[tuple[Transaction, ...], int]:
        """All transactions with id > since, ascending, and the account's last transaction id."""
        ...

    async def stream_prices(
        self, account_id: AccountId, instruments: Sequence[InstrumentName], sink: StreamSink
    ) -> None:
        """Runs until cancelled: reconnects by itself, says StreamUp and StreamDown to the sink."""
        ...

    async def stream_transactions(self, account_id: AccountId, sink: StreamSink) -> None:
        """As `stream_prices`; after each StreamUp the caller fills the gap by reading."""
        ...

    async def clock(self) -> VenueClock | None:
        """The paper venue's market clock; None where the venue has none (practice, live)."""
        ...

    @property
    def clock_offset_ns(self) -> int | None:
        """The venue's clock less our market clock, the least that its answers prove.

        None while unknown: nothing was answered in the last minutes, or a replay sets the pace.
        """
        ...

    async def close(self) -> None: ...


class Venue(VenueReader, VenueWriter, Protocol):
    """A venue as the service is given it."""


class Store(Protocol):
    """The journal and its projections. Synchronous, called in the event loop's thread.

    Every method may raise StoreError. One writer; a second service gets StoreLocked.
    """

    def last_record(self) -> Record | None: ...

    def append(self, records: Sequence[Record], facts: Sequence[Fact]) -> None:
        """Durably, in one transaction: journal rows, and the projections that the facts imply."""
        ...

    def records(self, wanted: RecordFilter) -> list[Record]: ...

    def facts_after(self, seq: int) -> Iterable[tuple[Record, Fact]]:
        """Facts in order from `seq` (exclusive), decoded; for recovery."""
        ...

    def signal_seen(self, signal_id: str) -> bool:
        """Whether this signal id was ever taken: a signal's id is unique for ever (C04)."""
        ...

    def save_snapshot(self, seq: int, state: bytes) -> None: ...

    def load_snapshot(self) -> tuple[int, bytes] | None: ...

    def installation_id(self) -> str:
        """Made at the first opening of the store; the audit chain starts from its hash."""
        ...

    def next_epoch(self, above: int = 0) -> int:
        """Raise and return the epoch, durably (H1: epochs only grow), to more than `above` too."""
        ...

    def trail_start(self) -> tuple[int, bytes]:
        """Number and hash of the last record that was pruned; (0, b"") when none was."""
        ...

    def close(self) -> None: ...


class Lease(Protocol):
    """Who may lead, told by a row that all nodes share (SAFETY H1). LeaseError: nobody knows now.

    Every method is bounded by its own time-outs. One caller at a time is not needed.
    """

    async def look(self) -> LeaseView: ...

    async def take(self, seen: LeaseView) -> int | None:
        """Lead from now on; the new epoch. None when the lease has moved since it was `seen`."""
        ...

    async def renew(self) -> bool:
        """False: it is another's by now, for good."""
        ...

    async def release(self) -> None:
        """At an orderly end: whoever stands by need not wait."""
        ...

    async def close(self) -> None: ...


class StopBoard(Protocol):
    """Emergency stops as all nodes see them (SAFETY 5.2). LeaseError: not to be read now."""

    async def standing(self) -> tuple[StopNotice, ...]:
        """Those that no resume has ended, oldest first."""
        ...

    async def find(self, stop_id: str) -> StopNotice | None: ...

    async def put(self, notice: StopNotice) -> None:
        """Add it, or widen the one of that id: accounts and liquidation are only ever added."""
        ...

    async def show(self, stop_id: str, receipt: str) -> None:
        """How far the leader has come with it."""
        ...

    async def end(self, stop_id: str, actor: str) -> None:
        """After a recorded resume: it, and what was joined to it."""
        ...

    def on_told(self, hear: Callable[[], None]) -> None:
        """Call this in the loop when somebody has put or ended a stop; a hint, not a promise."""
        ...


@runtime_checkable
class SoonStore(Protocol):
    """What a `Store` offers besides, when its commits take longer than a loop may wait.

    Both hand over and return at once. `done` is called exactly once, from the event loop of the
    caller and never inside the call, within a bound of the store's own. None: the batch is durable.
    Whoever hears a StoreError gives the very same records again, more behind them; a store that was
    killed in its commit finds out by them whether they stand, and then skips them.
    """

    def append_soon(
        self, records: Sequence[Record], facts: Sequence[Fact], done: AppendDone
    ) -> None:
        """As `Store.append`, beside the loop. One at a time: the next follows the answer.

        StoreFenced: another node leads; it is never tried again.
        """
        ...

    @property
    def append_s(self) -> float:
        """How long the append that is out takes by now, or the last one took, in the store itself:
        a loop that is busy elsewhere hears of its end later, and that is not the store's slowness.
        """
        ...

    def save_snapshot_soon(self, seq: int, state: bytes, done: AppendDone) -> None:
        """As `Store.save_snapshot`, beside the loop."""
        ...

    def probe_soon(self, done: AppendDone) -> None:
        """Whether the store is there, by a round trip that writes nothing; `done` within 3 s.

        StoreFenced, where the way to it had to be made anew and another node leads by now.
        """
        ...


class MarketStore(Protocol):
    """Ticks, candles and outcomes in batches, beside the path of orders."""

    def write_ticks(self, ticks: Sequence[Tick]) -> None: ...

    def write_candles(self, candles: Sequence[Candle]) -> None: ...

    def write_outcomes(self, outcomes: Sequence[TradeOutcome]) -> None: ...

    def condition(self) -> MarketCondition:
        """What became of the rows so far."""
        ...

    def close(self) -> None: ...


class MarketReader(Protocol):
    """Reads market data, oldest first, from `since_ns` and before `until_ns`. Blocking, for any
    thread; may raise StoreError.
    """

    def ticks(
        self, instrument: str, since_ns: Instant, until_ns: Instant, limit: int = 100_000
    ) -> list[Tick]: ...

    def candles(
        self,
        instrument: str,
        granularity: str,
        since_ns: Instant,
        until_ns: Instant,
        limit: int = 100_000,
    ) -> list[Candle]:
        """As the venue gave them, else rolled up from ticks: M1 to H1, and D (a trading day)."""
        ...

    def outcomes(self, since_ns: Instant = 0, limit: int = 100_000) -> list[TradeOutcome]: ...

    def spans(self) -> list[MarketSpan]:
        """What is there of each instrument."""
        ...


class MarketData(MarketStore, MarketReader, Protocol):
    """A market store as the service is given it."""


class Bus(Protocol):
    """Broadcast of facts to whoever listens (WebSocket, agents elsewhere)."""

    def condition(self) -> BusSeen | None:
        """How the broker does, for S6; None for one within the process, which cannot be away."""
        ...

    def publish(self, record: Record, fact: Fact) -> None:
        """Never blocks; a listener that cannot keep up loses its place and is told so."""
        ...

    def listen(
        self, limit: int = 1000, types: frozenset[str] = frozenset()
    ) -> AsyncIterator[tuple[Record, Fact]]:
        """From this call on. Raises ListenerTooSlow after the last one given to a listener cut off.

        `types` are record types ("signal.ended", ...); empty: all.
        """
        ...


class AlertSink(Protocol):
    """Where alerts go so that a person sees them."""

    @property
    def name(self) -> str:
        """The channel's name in the record of what was sent."""
        ...

    def send(self, alert: Alert) -> str:
        """Why it was not handed over, or "". Never blocks, never raises."""
        ...


class CheckpointBook(Protocol):
    """Signed checkpoints of the audit trail, kept outside the store. May be called in any thread.

    Errors: OSError when it cannot be written; ValueError for a book or a key that is no use.
    """

    def latest(self) -> Checkpoint | None:
        """The newest that was written whole; None when there is none."""
        ...

    def write(self, checkpoint: Checkpoint) -> Checkpoint:
        """Sign it and append it, flushed to the disk before this returns; as it was written."""
        ...

    def objection(self, checkpoint: Checkpoint) -> str:
        """Why its signature is not to be believed, or ""."""
        ...
