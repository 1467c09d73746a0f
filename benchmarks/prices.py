"""What prices cost the paper venue: seventy instruments, at their own pace and at 500 ticks/s.

`python -m benchmarks.prices [--quick]`. CPU time of one process on a market clock of its own, so
that neighbours on the machine change little; the floor is measured in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from decimal import Decimal

from benchmarks.children import resident_mb
from benchmarks.figures import Row, Section, table
from orchestrator.model.market import Tick
from orchestrator.model.money import AccountId, Currency, InstrumentName, Price
from orchestrator.model.time import NS_PER_S, parse_time
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.feeds.synthetic import SyntheticFeed
from orchestrator.paper.instruments import SPECS, USUAL
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market
from orchestrator.paper.routes.pricing import price_line
from orchestrator.paper.streams import LineCache, PriceStream

_START_NS = parse_time("2024-05-08T12:00:00Z")  # London and New York
_RATE = 500
_STREAMS = 2


def floor_s(ticks: int) -> float:
    """CPU seconds of a tick that is made of two numbers and printed once; nobody keeps it."""
    line, began = b"", time.process_time()
    for number in range(ticks):
        bid = Price(Decimal(108_500 + number % 40).scaleb(-5))
        ask = Price(Decimal(108_511 + number % 40).scaleb(-5))
        at_ns = _START_NS + number
        tick = Tick(instrument=InstrumentName("EUR_USD"), bid=bid, ask=ask, venue_ns=at_ns,
                    seen_ns=at_ns)  # fmt: skip
        line = price_line(tick)
    assert line
    return (time.process_time() - began) / ticks


class _Venue:
    """A market whose clock is turned by hand."""

    def __init__(self, names: tuple[InstrumentName, ...]) -> None:
        self._mono_ns = 0
        began = time.process_time()
        feed = SyntheticFeed(_START_NS, 1, instruments=names)
        clock = VenueTime(_START_NS, 1.0, lambda: self._mono_ns)
        self.market = Market(feed, clock, calendar="always")
        config = AccountConfig(
            account_id=AccountId("101-001-1000001-001"), currency=Currency("USD"),
            balance=Decimal(100_000),
        )  # fmt: skip
        open_accounts(self.market, [config], None)
        self.start_s = time.process_time() - began

    def live(self, seconds: float) -> tuple[int, float]:
        """Ticks and CPU seconds of so much market time."""
        ticks, began = self.market.ticks, time.process_time()
        ends_ns = self._mono_ns + round(seconds * NS_PER_S)
        while self._mono_ns < ends_ns:
            self._mono_ns += NS_PER_S // 4
            for tick in self.market.feed.due(self.market.time.now()):
                self.market.publish([tick])
        return self.market.ticks - ticks, time.process_time() - began


def _row(name: str, venue: _Venue, seconds: float, least: float) -> Row:
    ticks, cpu = venue.live(seconds)
    each = cpu / ticks
    return Row(
        name=f"{name}: {ticks / seconds:.0f} ticks/s",
        value=f"{cpu / seconds:.2%} of a core, {resident_mb():.0f} MB",
        floor=f"{each * 1e6:.0f} us a tick, x {each / least:.1f}; "
        f"{_RATE} ticks/s: {each * _RATE:.1%} of a core",
    )


async def _rows(seconds: float) -> tuple[list[Row], list[str], float]:
    least = floor_s(20_000)
    rows: list[Row] = []
    notes: list[str] = []
    kinds: tuple[tuple[str, tuple[InstrumentName, ...]], ...] = (
        (f"the usual {len(USUAL)}", USUAL), (f"all {len(SPECS)}", tuple(SPECS)),
    )  # fmt: skip
    for name, names in kinds:
        venue = _Venue(names)
        rows.append(_row(f"{name}, nobody listens", venue, seconds, least))
        streams = _listen(venue.market)
        rows.append(_row(f"{name}, {_STREAMS} streams of all", venue, seconds, least))
        for stream in streams:
            stream.close()
        notes.append(f"{name}: {venue.start_s:.1f} s of CPU from nothing to three days of candles")
    return rows, notes, least


def _listen(market: Market) -> list[PriceStream]:
    lines = LineCache(market)
    return [
        PriceStream(market, _forget, market.instruments, lines, snapshot=False)
        for _ in range(_STREAMS)
    ]


def _forget(_line: bytes) -> None:
    """A reader that costs nothing."""


def run(quick: bool) -> Section:
    """CPU of prices: making, matching, candles, and lines for streams."""
    rows, notes, least = asyncio.run(_rows(120.0 if quick else 900.0))
    return Section(
        title="Paper venue: what prices cost",
        rows=tuple(rows),
        notes=(
            f"floor: {least * 1e6:.0f} us to make a tick and print its line once",
            "streams conflate to four prices a second of an instrument, as OANDA does",
            *notes,
        ),
    )


if __name__ == "__main__":
    words = argparse.ArgumentParser(prog="python -m benchmarks.prices", description=__doc__)
    words.add_argument("--quick", action="store_true", help="less than half the time")
    print(table([run(words.parse_args().quick)]))
    sys.exit(0)
