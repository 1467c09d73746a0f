"""Price and transaction streams: snapshot, conflation, heartbeats, one JSON object a line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName
from orchestrator.model.time import NS_PER_MS, Instant, format_time
from orchestrator.model.venue import Transaction
from orchestrator.paper.call import encode
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.market import Market
from orchestrator.paper.routes.pricing import home_conversions, price_line

# Each 5 s of market time, so that a quick replay's streams are never silent by its own clock; at
# least each 5 s of the machine's, as a client measures it, and not more often than it could read.
HEARTBEAT_S = 5.0
_HEARTBEAT_S_MIN = 0.02
WINDOW_NS = 250 * NS_PER_MS  # market time
Write = Callable[[bytes], None]


class LineCache:
    """The last price lines, so that ten streams do not print a price ten times."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._lines: dict[InstrumentName, tuple[Tick, bytes]] = {}

    def line(self, tick: Tick) -> bytes:
        kept = self._lines.get(tick.instrument)
        if kept is not None and kept[0] is tick:
            return kept[1]
        spec = self._market.spec(tick.instrument)
        line = price_line(tick, spec, self._market.depth) + b"\n"
        self._lines[tick.instrument] = (tick, line)
        return line


class _Stream:
    """Heartbeats while nothing ends it."""

    def __init__(self, market: Market, write: Write) -> None:
        self.market = market
        self.write = write
        self._loop = asyncio.get_running_loop()
        self._beat = self._loop.call_later(self._pause_s(), self._on_beat)

    def _pause_s(self) -> float:
        return max(_HEARTBEAT_S_MIN, HEARTBEAT_S / max(1.0, self.market.time.speed))

    def _on_beat(self) -> None:
        self._beat = self._loop.call_later(self._pause_s(), self._on_beat)
        self.write(self.heartbeat())

    def heartbeat(self) -> bytes:
        """The line that says "still here"."""
        at = format_time(self.market.time.now())
        return b'{"type":"HEARTBEAT","time":"%b"}\n' % at.encode()

    def close(self) -> None:
        self._beat.cancel()


class PriceStream(_Stream):
    """At most one price per instrument in 250 ms of market time: the last of the window."""

    def __init__(
        self,
        market: Market,
        write: Write,
        instruments: Sequence[InstrumentName],
        lines: LineCache,
        *,
        snapshot: bool,
        convert_for: Books | None = None,
    ) -> None:
        super().__init__(market, write)
        self._convert_for = convert_for  # with `homeConversions` of that account
        self._wanted = frozenset(instruments)
        self._lines = lines
        self._sent_ns: dict[InstrumentName, Instant] = {}
        self._waiting: dict[InstrumentName, Tick] = {}
        self._timer: asyncio.TimerHandle | None = None
        market.listen(self.on_ticks)
        if snapshot:
            known = (market.exchange.quotes.get(name) for name in instruments)
            self.write(b"".join(self._line(tick) for tick in known if tick is not None))

    def on_ticks(self, ticks: Sequence[Tick]) -> None:
        out: list[bytes] = []
        for tick in ticks:
            name = tick.instrument
            if name not in self._wanted:
                continue
            waiting = self._waiting.get(name)
            if waiting is not None and self._is_over(waiting, tick.venue_ns):
                out.append(self._take(waiting))
                waiting = None
            if waiting is not None or not self._is_over(tick, tick.venue_ns):
                self._waiting[name] = tick  # the later one of the window takes its place
            else:
                out.append(self._take(tick))
        if out:
            self.write(b"".join(out))
        if self._waiting and self._timer is None:
            self._arm()

    def _is_over(self, tick: Tick, at_ns: Instant) -> bool:
        """Whether the instrument's window, opened by what was sent last, has ended."""
        sent = self._sent_ns.get(tick.instrument)
        return sent is None or at_ns >= sent + WINDOW_NS

    def _take(self, tick: Tick) -> bytes:
        old = self._sent_ns.get(tick.instrument)
        self._sent_ns[tick.instrument] = (
            tick.venue_ns if old is None else max(tick.venue_ns, old + WINDOW_NS)
        )
        self._waiting.pop(tick.instrument, None)
        return self._line(tick)

    def _line(self, tick: Tick) -> bytes:
        line = self._lines.line(tick)
        if self._convert_for is None:
            return line
        found = home_conversions(self.market, self._convert_for, (tick.instrument,))
        return b'%b,"homeConversions":%b}\n' % (line[:-2], encode(found))

    def _arm(self) -> None:
        ends = min(self._sent_ns[name] + WINDOW_NS for name in self._waiting)
        wait = self.market.time.machine_seconds_until(ends)
        if self.market.time.speed == 0:
            wait = WINDOW_NS / 1e9
        self._timer = self._loop.call_later(wait, self._flush)

    def _flush(self) -> None:
        self._timer = None
        now = self.market.time.now()
        at_full_speed = self.market.time.speed == 0
        ready = [t for t in self._waiting.values() if at_full_speed or self._is_over(t, now)]
        if ready:
            self.write(b"".join(self._take(tick) for tick in ready))
        if self._waiting:
            self._arm()

    def close(self) -> None:
        super().close()
        if self._timer is not None:
            self._timer.cancel()
        self.market.unlisten(self.on_ticks)


class TransactionStream(_Stream):
    """Every transaction of one account from now on, in id order, as REST gives it."""

    def __init__(self, market: Market, write: Write, books: Books) -> None:
        super().__init__(market, write)
        self._books = books
        market.exchange.listeners.append(self.on_batch)

    def on_batch(
        self, books: Books, _made: Sequence[Transaction], encoded: Sequence[bytes]
    ) -> None:
        if books is self._books:
            self.write(b"\n".join(encoded) + b"\n")

    def heartbeat(self) -> bytes:
        at = format_time(self.market.time.now())
        return b'{"type":"HEARTBEAT","lastTransactionID":"%d","time":"%b"}\n' % (
            self._books.last_id, at.encode(),
        )  # fmt: skip

    def close(self) -> None:
        super().close()
        self.market.exchange.listeners.remove(self.on_batch)
