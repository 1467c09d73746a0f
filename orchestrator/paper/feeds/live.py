"""Prices as another v20 venue says them now; where it is silent, ours stand still and say so.

A price is told again only to say that nobody can trade on it; none is made up. Who connects to the
source is handed in: this room knows no client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from orchestrator.model.errors import FeedError, VenueError, VenueRefused
from orchestrator.model.market import Candle, StreamBeat, StreamDown, StreamUp, Tick
from orchestrator.model.money import AccountId, Currency, InstrumentName, InstrumentSpec, Price
from orchestrator.model.ports import StreamItem, VenueReader
from orchestrator.model.time import HOUR_NS, MINUTE_NS, NS_PER_S, Instant
from orchestrator.paper.candles import Bar
from orchestrator.paper.feeds.base import History

SILENT_S = 10.0  # heartbeats come each 5 s: after two of them missing, nobody trades
_HOURS, _MINUTES = 500, 1440  # of history
_UNAUTHORISED = 401
_REFUSED = frozenset({400, 403, 404})
_DOLLAR = "USD"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where live prices come from. `where`: practice, live, or an address; `stream`: its streams'
    where it is another one. `account`: empty for the first that the token may use.
    """

    where: str
    token: str
    stream: str = ""
    account: str = ""


Connect = Callable[[Source], VenueReader]


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """What GET /control/clock tells of the source. `silent_s`: since anything was heard of it."""

    where: str
    account: str
    connected: bool
    silent: bool
    silent_s: float
    reason: str
    ticks: int
    bad: int


class LiveFeed:
    """Meets `Feed`; its prices go straight to whom `tell` names, as they arrive."""

    def __init__(
        self,
        reader: VenueReader,
        source: Source,
        specs: Sequence[InstrumentSpec],
        past: Sequence[History],
        *,
        start_ns: Instant,
        calendar: str,
        mono: Callable[[], int],
        say: Callable[[str], None],
    ) -> None:
        self.reader = reader
        self.start_ns = start_ns
        self.calendar = calendar
        self.specs = {spec.name: spec for spec in specs}
        self.instruments: tuple[InstrumentName, ...] = tuple(self.specs)
        self._source = source
        self._past = past
        self._mono = mono
        self._say = say
        self._now: Callable[[], Instant] = lambda: start_ns
        self._publish: Callable[[Sequence[Tick]], None] = lambda _: None
        self._next = start_ns
        self._last: dict[InstrumentName, Tick] = {}
        self._stamped_ns = 0
        self._heard_ns = mono()
        self._connected = False
        self._silent = False
        self._lost = False  # since the last silence began, the connection broke
        self._reason = "not connected yet"
        self._ticks = self._bad = 0

    def history(self) -> Iterable[History]:
        return self._past

    def next_ns(self) -> Instant | None:
        return self._next

    def due(self, now: Instant) -> list[Tick]:
        """Nothing, unless the source fell silent: then each last price, not tradeable."""
        self._next = now + NS_PER_S
        if self._silent or self._silence_s() <= SILENT_S:
            return []
        self._silent = True
        self._say(f"the source is silent ({self._reason}): prices stand and cannot be traded on")
        halted = [_halted(tick, now) for tick in self._last.values()]
        return [self._at(tick, now) for tick in halted]

    def tell(self, publish: Callable[[Sequence[Tick]], None], now: Callable[[], Instant]) -> None:
        """Where prices go, and market time."""
        self._publish, self._now = publish, now

    async def run(self) -> None:
        """The source's stream, until cancelled; it reconnects by itself."""
        await self.reader.stream_prices(
            AccountId(self._source.account), self.instruments, self._on_items
        )

    def state(self) -> SourceState:
        """How the source does."""
        return SourceState(
            where=self._source.where, account=self._source.account, connected=self._connected,
            silent=self._silent, silent_s=round(self._silence_s(), 3), reason=self._reason,
            ticks=self._ticks, bad=self._bad,
        )  # fmt: skip

    def _silence_s(self) -> float:
        return (self._mono() - self._heard_ns) / NS_PER_S

    # --- what the stream says ----------------------------------------------------------------

    def _on_items(self, items: tuple[StreamItem, ...]) -> None:
        told: list[Tick] = []
        for item in items:
            match item:
                case Tick():
                    told += self._take(item)
                case StreamBeat():
                    told += self._standing()
                    self._hear()
                case StreamUp():
                    self._connected, self._reason = True, ""
                case StreamDown():
                    self._connected, self._reason = False, item.reason
                    self._lost = True
                    self._say(f"the source's stream is down: {item.reason}")
                case _:
                    pass  # transactions are not asked for
        if told:
            now = self._now()
            told.sort(key=lambda tick: tick.venue_ns)
            self._publish([self._at(tick, now) for tick in told])

    def _standing(self) -> list[Tick]:
        """What was said last, once a heartbeat shows that the line had only stalled.

        A new connection says all its prices itself: before them, nothing of the old one holds.
        """
        return list(self._last.values()) if self._silent and not self._lost else []

    def _hear(self) -> None:
        self._heard_ns = self._mono()
        self._lost = self._lost and not self._connected
        if self._silent:
            self._silent = False
            self._say("the source is back")

    def _take(self, tick: Tick) -> list[Tick]:
        """What can be used of it; the rest is counted."""
        spec = self.specs.get(tick.instrument)
        sound = tick.bid.is_finite() and tick.ask.is_finite() and 0 < tick.bid <= tick.ask
        if spec is None or not sound:
            self._bad += 1
            return []
        self._hear()
        self._ticks += 1
        bid, ask = spec.round_price(tick.bid), spec.round_price(tick.ask)
        kept = msgspec.structs.replace(tick, bid=Price(bid), ask=Price(ask))
        self._last[tick.instrument] = kept
        return [kept]

    def _at(self, tick: Tick, now: Instant) -> Tick:
        """By the source's time, where that is not ahead of ours; market time never goes back."""
        at_ns = self._stamped_ns = max(self._stamped_ns, min(tick.venue_ns, now))
        return msgspec.structs.replace(tick, venue_ns=at_ns, seen_ns=at_ns)


def _halted(tick: Tick, now: Instant) -> Tick:
    return msgspec.structs.replace(tick, venue_ns=now, tradeable=False)


async def open_live(
    connect: Connect,
    source: Source,
    wanted: Sequence[InstrumentName],
    currencies: Sequence[Currency],
    *,
    named: bool,
    wall_ns: Callable[[], Instant],
    mono: Callable[[], int],
    say: Callable[[str], None],
) -> LiveFeed:
    """`wanted`: empty for all that the source has; `named`: one that it lacks is an error.

    FeedError tells what the source refused or lacks. The feed's reader is then to be closed.
    """
    source = await _with_account(connect, source)
    reader = connect(source)
    try:
        specs = {each.name: each for each in await reader.instruments(AccountId(source.account))}
        names = _chosen(specs, wanted, named=named)
        names = _with_conversions(specs, names, currencies)
        past = [bars for name in names for bars in await _past(reader, name)]
        told = await reader.clock()
    except VenueError as error:
        await reader.close()
        raise _plain(source, error) from error
    except FeedError:
        await reader.close()
        raise
    if told is not None and told.speed != 1:
        await reader.close()
        raise FeedError(f"--source {source.where}: its clock does not run at the pace of ours")
    return LiveFeed(
        reader, source, [specs[name] for name in names], past,
        start_ns=wall_ns() if told is None else told.now_ns,
        calendar="fx" if told is None else told.calendar, mono=mono, say=say,
    )  # fmt: skip


async def _with_account(connect: Connect, source: Source) -> Source:
    if source.account:
        return source
    probe = connect(source)
    try:
        found = await probe.account_ids()
    except VenueError as error:
        raise _plain(source, error) from error
    finally:
        await probe.close()
    if not found:
        raise FeedError(f"--source {source.where}: the token may use no account")
    return msgspec.structs.replace(source, account=found[0])


def _plain(source: Source, error: VenueError) -> FeedError:
    where = f"--source {source.where}"
    if isinstance(error, VenueRefused) and error.status == _UNAUTHORISED:
        return FeedError(f"{where}: refuses the token (PAPER_SOURCE_TOKEN): {error}")
    if isinstance(error, VenueRefused) and error.status in _REFUSED:
        return FeedError(f"{where}: refuses account {source.account or '?'}: {error}")
    return FeedError(f"{where}: cannot be read: {error}")


def _chosen(
    specs: dict[InstrumentName, InstrumentSpec], wanted: Sequence[InstrumentName], *, named: bool
) -> list[InstrumentName]:
    missing = [name for name in wanted if name not in specs]
    if named and missing:
        raise FeedError(f"--instruments: the source has no {', '.join(missing)}")
    chosen = [name for name in (wanted or specs) if name in specs]
    if not chosen:
        raise FeedError("--instruments: the source has none of them")
    return chosen


def _with_conversions(
    specs: dict[InstrumentName, InstrumentSpec],
    names: Sequence[InstrumentName],
    currencies: Sequence[Currency],
) -> list[InstrumentName]:
    """The pairs too that turn currencies into the accounts': none is priced by a constant here."""
    chosen = dict.fromkeys(names)
    for currency in dict.fromkeys((*(specs[name].quote for name in names), *currencies)):
        pairs = [InstrumentName(f"{currency}_USD"), InstrumentName(f"USD_{currency}")]
        if currency == _DOLLAR or any(pair in chosen for pair in pairs):
            continue
        there = [pair for pair in pairs if pair in specs]
        if not there:
            raise FeedError(f"--source: has no price that converts {currency} to {_DOLLAR}")
        chosen[there[0]] = None
    return list(chosen)


async def _past(reader: VenueReader, name: InstrumentName) -> list[History]:
    """Hours up to where the minutes begin, then minutes."""
    minutes = [c for c in await reader.candles(name, "M1", _MINUTES) if c.complete]
    hours = [c for c in await reader.candles(name, "H1", _HOURS) if c.complete]
    if minutes:
        # At a whole hour: minutes of an hour that is there already would make it twice.
        begins = -(-minutes[0].start_ns // HOUR_NS) * HOUR_NS
        minutes = [c for c in minutes if c.start_ns >= begins]
        hours = [c for c in hours if c.start_ns < begins]
    return [(name, HOUR_NS, _bars(hours)), (name, MINUTE_NS, _bars(minutes))]


def _bars(candles: Sequence[Candle]) -> list[Bar]:
    made: list[Bar] = []
    for one in candles:
        bid = [one.bid_o, one.bid_h, one.bid_l, one.bid_c]
        ask = [one.ask_o, one.ask_h, one.ask_l, one.ask_c]
        mid = [(low + high) / 2 for low, high in zip(bid, ask, strict=True)]
        made.append(Bar(one.start_ns, one.volume, [*bid], [*ask], mid))
    return made
