"""Where a drill plays: the user's System, the market, the venue; and what a story can do there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.model.errors import StoreError
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record
from orchestrator.model.money import AccountId, InstrumentName, Price, Side
from orchestrator.model.time import NS_PER_S
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.paper.instruments import spec_of
from orchestrator.paper.market import Market
from orchestrator.research.drills.feed import DrillFeed
from orchestrator.research.drills.report import Figure, Rule
from orchestrator.research.drills.venue import DrillVenue
from orchestrator.research.drills.witness import Witness
from orchestrator.service.desk import SignalWish
from orchestrator.service.gate import Gate, Latch
from orchestrator.service.nest import Nest
from orchestrator.service.seams import VirtualClock
from orchestrator.service.supervisor import System
from orchestrator.service.views import Refused, SignalTaken

if TYPE_CHECKING:
    from orchestrator.service.virtual import VirtualLoop

# A drill's time is virtual; how long closing the gate takes is this machine's own.
machine_ns = time.perf_counter_ns  # noqa: TID251

WHO = "drill"
_STOP = Decimal("0.0015")  # of the price
_APART_S = 3.0
_SETTLE_S = 120


class Maker(Protocol):
    """The user's settings, as far as a drill needs them; met by the wiring."""

    @property
    def accounts(self) -> tuple[AccountConfig, ...]: ...

    @property
    def instruments(self) -> tuple[InstrumentName, ...]: ...

    def described(self) -> tuple[tuple[str, str], ...]:
        """What the report says about them."""
        ...

    def system(
        self, venue: DrillVenue, clock: VirtualClock, store: SqliteStore, gate: Gate, folder: Path
    ) -> System:
        """A whole System of these settings; nothing of it has started."""
        ...


class Disk:
    """The disk under the state folder; the story fills it."""

    full = False


class DrillStore(SqliteStore):
    """SQLite itself, on a disk that may be full; the witness hears what is durable."""

    def __init__(self, folder: Path, disk: Disk, witness: Witness) -> None:
        self._disk = disk
        self._witness = witness
        super().__init__(
            folder / "orchestrator.db", sync="normal", checkpoint_s=0, installation_id="drill"
        )

    def _check(self) -> None:
        if self._disk.full:
            raise StoreError("not written: database or disk is full")

    def append(self, records: Sequence[Record], facts: Sequence[Fact]) -> None:
        self._check()
        super().append(records, facts)
        self._witness.durable(records, facts)

    def save_snapshot(self, seq: int, state: bytes) -> None:
        self._check()
        super().save_snapshot(seq, state)


class DrillGate(Gate):
    """The word and the latch, on the same disk."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._disk = disk
        self.closed_at_ns = 0  # of the machine
        super().__init__(folder)

    def close(self) -> None:
        super().close()
        self.closed_at_ns = self.closed_at_ns or machine_ns()

    def latch(self, latch: Latch) -> None:
        if self._disk.full:
            raise OSError(28, "No space left on device")
        super().latch(latch)


class Stage:
    """One drill's surroundings. `told` hears how far it has come, for a progress bar."""

    def __init__(
        self, maker: Maker, market: Market, feed: DrillFeed, folder: Path, loop: VirtualLoop,
        tasks: Nest, told: Callable[[float], None], size: float | None,
    ) -> None:  # fmt: skip
        self.maker = maker
        self.market = market
        self.feed = feed
        self.folder = folder
        self.size = size
        self.witness = Witness(market)
        self.venue = DrillVenue(InProcessVenue(market), self.witness)
        self.disk = Disk()
        self.rules: list[Rule] = []
        self.figures: list[Figure] = []
        self.lives = 0
        self._loop = loop
        self._tasks = tasks
        self._told = told
        self._signals = 0
        self.system: System
        self.store: DrillStore
        self.gate: DrillGate
        self._running: asyncio.Task[None] | None = None

    # -- a life of the service --------------------------------------------------------------------

    async def start(self) -> None:
        """A life begins, on what the one before left."""
        self.lives += 1
        self.store = DrillStore(self.folder, self.disk, self.witness)
        gate = self.gate = DrillGate(self.folder, self.disk)
        clock = VirtualClock(self.market.time.now, self._loop)
        self.system = self.maker.system(self.venue, clock, self.store, gate, self.folder)
        for account_id in self.system.kernel.account_ids:
            self.witness.limits[account_id] = self.system.kernel.limits_of(
                account_id
            ).max_daily_loss
        self._running = self._tasks.create_task(self.system.run(), name="life")
        while not (self.system.up.is_set() or self._running.done()):  # noqa: ASYNC110 -- virtual
            await asyncio.sleep(0.1)

    async def end(self) -> None:
        """In order."""
        running, self._running = self._running, None
        if running is None:
            return
        self.system.shutdown()
        try:
            await running
        finally:
            self.store.close()

    async def kill(self) -> None:
        """The process is gone; what was durable stays."""
        running, self._running = self._running, None
        assert running is not None
        running.cancel()
        await asyncio.wait((running,))
        self.store.close()
        self.say("the service is killed")

    # -- the story --------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        self.witness.tell("story", text)

    def progress(self, share: float) -> None:
        self._told(share)

    async def wait(self, seconds: float) -> None:
        """Of market time; a life that ends meanwhile ends the drill."""
        until = self.market.time.now() + round(seconds * NS_PER_S)
        while self.market.time.now() < until:
            await asyncio.sleep(min(1.0, (until - self.market.time.now()) / NS_PER_S + 1e-6))
            if self._running is not None and self._running.done():
                self._running.result()
                raise RuntimeError("the service has ended by itself")

    async def signal(
        self, name: InstrumentName, side: Side, stop: Decimal = _STOP
    ) -> SignalTaken | Refused:
        """One of the drill's own, through the same path as any other."""
        self._signals += 1
        quote = self.market.exchange.quotes.get(name)
        assert quote is not None, "the market has no price yet"
        distance = (quote.bid * stop).quantize(spec_of(name).tick)
        return await self.system.desk.submit_signal(
            SignalWish(
                instrument=name, side=side, stop_distance=Price(distance),
                target_distance=Price(2 * distance), confidence=Decimal("0.6"),
                strategy=WHO, signal_id=f"drill-{self._signals}",
            ),
            WHO,
        )  # fmt: skip

    async def fill_up(self, side: Side = Side.BUY, rounds: int = 6) -> None:
        """Positions in the ordinary way, as many as the settings take, mostly on one side."""
        names = self.maker.instruments
        for turn in range(rounds):
            for at, name in enumerate(names):
                other = Side.SELL if side is Side.BUY else Side.BUY
                await self.signal(name, side if (turn + at) % 3 < 2 else other)  # noqa: PLR2004
                await self.wait(_APART_S)
        held = {a: len(b.trades) for a, b in self.market.exchange.accounts.items()}
        self.say(f"trades are open: {', '.join(f'{a} {n}' for a, n in held.items())}")

    async def keep_signalling(self, seconds: float) -> None:
        """A signal each few seconds, whatever happens: what blocks must hold it."""
        until = self.market.time.now() + round(seconds * NS_PER_S)
        turn = 0
        while self.market.time.now() < until:
            name = self.maker.instruments[turn % len(self.maker.instruments)]
            await self.signal(name, (Side.BUY, Side.SELL)[turn // 2 % 2])
            turn += 1
            await self.wait(_APART_S)

    async def settle(self) -> str:
        """Until all is known and equal again; what is not, after two minutes."""
        for _ in range(_SETTLE_S):
            wrong = self.unsettled()
            if not wrong:
                return ""
            await self.wait(1.0)
        return self.unsettled()

    def unsettled(self) -> str:
        kernel = self.system.kernel
        wrong = [f"{a} is not reconciled" for a in kernel.account_ids if not kernel.reconciled(a)]
        wrong += [f"{r.intent.intent_id} is {r.state}" for r in kernel.in_flight()]
        if kernel.signals_in_flight():
            wrong.append(f"{kernel.signals_in_flight()} signals are on their way")
        if kernel.storage_blocked or not self.system.engine.durable:
            wrong.append("the store has not healed")
        wrong += [
            f"{a} lacks {len(log) - len(self.witness.applied.get(a, ()))} transactions"
            for a, log in self.witness.log.items()
            if len(log) > len(self.witness.applied.get(a, ()))
        ]
        return "; ".join(wrong)

    # -- measuring --------------------------------------------------------------------------------

    def open_trades(self, accounts: Sequence[AccountId] = ()) -> int:
        """At the venue."""
        return sum(
            len(books.trades)
            for account_id, books in self.market.exchange.accounts.items()
            if not accounts or account_id in accounts
        )

    def rule(self, id_: str, name: str, text: str, *, passed: bool) -> None:
        self.rules.append(Rule(id=id_, name=name, passed=passed, text=text))

    def figure(self, name: str, value: str, must: str, *, passed: bool) -> None:
        self.figures.append(Figure(name=name, value=value, must=must, passed=passed))
