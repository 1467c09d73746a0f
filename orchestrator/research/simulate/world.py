"""What outlives a life of the service: the venue, its market, the state folder, the judge."""

from __future__ import annotations

from pathlib import Path

from orchestrator.model.money import AccountId
from orchestrator.model.time import parse_time
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.paper.market import Market
from orchestrator.research.simulate.fates import Fates
from orchestrator.research.simulate.judge import Judge
from orchestrator.research.simulate.loop import SimLoop

# A Wednesday: at noon, far from the roll, and half a minute before 17:00 in New York.
STARTS_NS = (parse_time("2014-05-07T12:00:00Z"), parse_time("2014-05-07T20:59:30Z"))
# FX hours: a minute and a half before Friday's 16:00 (T2), before 16:45 (T1), and Sunday's opening.
FX_STARTS_NS = (
    parse_time("2014-05-09T19:58:30Z"),
    parse_time("2014-05-07T20:43:30Z"),
    parse_time("2014-05-11T21:14:00Z"),
)
# Sundays on which the clocks of New York changed: 17:00 is an hour earlier, or later, in UTC.
DST_STARTS_NS = (parse_time("2014-03-09T20:59:30Z"), parse_time("2014-11-02T21:59:30Z"))
ACCOUNTS = (AccountId("101-001-1000001-001"), AccountId("101-001-1000001-002"))
INSTALLATION = "simulation"


class World:
    """One run's surroundings."""

    def __init__(
        self, seed: int, loop: SimLoop, fates: Fates, market: Market, judge: Judge, folder: Path,
        storm_s: float,
    ) -> None:  # fmt: skip
        self.seed = seed
        self.loop = loop
        self.fates = fates
        self.market = market
        self.venue = InProcessVenue(market)
        self.judge = judge
        self.folder = folder
        self.storm_s = storm_s
        self.lives = 0
        self.signals = 0
        self.forgotten = 0  # so many of them a restored store may never have heard of
        self.copied_seq = 0
        self.stops = 0
        self.elsewhere = False  # whether it is another process that works just now

    @property
    def now_s(self) -> float:
        """Seconds since the run's begin; market time may have leapt ahead of it."""
        return self.loop.time()

    def inside(self, kind: str) -> bool:
        return self.fates.inside(kind, self.now_s)

    def tell(self, text: str) -> None:
        """Into the trace."""
        self.judge.tell(text)
