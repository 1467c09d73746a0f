"""The order of start, running and shutdown: crash and start are one path (SAFETY 8)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import msgspec
import structlog

from orchestrator.kernel.audit import AuditChain
from orchestrator.kernel.engine import Kernel
from orchestrator.kernel.orders.identity import epoch_of
from orchestrator.model.base import Message
from orchestrator.model.errors import OrchestratorError, VenueError
from orchestrator.model.events import (
    AccountSeen,
    AuditTrouble,
    HistoriesSeen,
    LoopSeen,
    SpecsSeen,
    Started,
    StartTrading,
    TransactionsSeen,
)
from orchestrator.model.facts import (
    ConfigurationUsed,
    ServiceStopped,
)
from orchestrator.model.journal import RecordFilter
from orchestrator.model.market import History
from orchestrator.model.money import AccountId, InstrumentName, InstrumentSpec
from orchestrator.model.ports import Clock, Store, VenueReader
from orchestrator.model.safety import SystemMode
from orchestrator.model.time import NS_PER_S
from orchestrator.model.venue import Account, ClientExtensions, Order, Trade
from orchestrator.service.agent_manager import AgentManager
from orchestrator.service.agents_elsewhere import Away
from orchestrator.service.checkpoints import Checkpoints
from orchestrator.service.earlier_lives import EarlierLives
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.feeds import Feeds
from orchestrator.service.front_desk import FrontDesk
from orchestrator.service.gate import Gate
from orchestrator.service.nest import Nest
from orchestrator.service.recorder import Recorder
from orchestrator.service.safety_monitor import SafetyMonitor
from orchestrator.service.telemetry import Telemetry

log = structlog.get_logger()

_RETRY_S = (0.25, 0.5, 1.0, 2.0, 5.0)
_HISTORY = (("M1", 600), ("H1", 200))
_LAG_S = 0.1
_MEET_S = 30.0
_MEET_LOOK_S = 0.02
_PUT_AWAY_S = 1.5


class InstrumentMissing(OrchestratorError):
    """INSTRUMENTS names what the venue does not offer."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How this life is to be: who it is, and what it does by itself."""

    version: str
    node: str
    config_digest: str
    accounts: tuple[AccountId, ...]
    instruments: tuple[InstrumentName, ...]
    auto_start: bool
    history: bool = True  # candles from the venue warm the agents; a replay warms from its ticks
    health_interval_s: float = 30.0
    shutdown_s: float = 8.0
    config: tuple[str, ...] = ()  # NAME=value, without secrets, for the record
    real_time: bool = True  # false on a virtual-time loop, which cannot lag


class System:
    """A whole service, wired. `run` lives until `shutdown` is called or something breaks."""

    def __init__(
        self, plan: Plan, kernel: Kernel, chain: AuditChain, store: Store, gate: Gate,
        engine: ExecutionEngine, agents: AgentManager, safety: SafetyMonitor, feeds: Feeds,
        recorder: Recorder, desk: FrontDesk, reader: VenueReader, clock: Clock,
        telemetry: Telemetry,
        *, speed: Callable[[], float], past: Callable[[], Iterable[Message]],
        checkpoints: Checkpoints | None = None, elsewhere: Away | None = None,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.checkpoints = checkpoints
        self._elsewhere = elsewhere
        self.kernel = kernel
        self.engine = engine
        self.agents = agents
        self.safety = safety
        self.desk = desk
        self.clock = clock
        self.telemetry = telemetry
        self._chain = chain
        self._store = store
        self._earlier = EarlierLives(kernel, engine, store, gate, safety)
        self._feeds = feeds
        self._recorder = recorder
        self._reader = reader
        self._speed = speed
        self._past = past
        self._histories: tuple[History, ...] = ()
        self._first_life = False
        self._companions: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = ()
        self._met = {account_id: asyncio.Event() for account_id in plan.accounts}
        self._ending = asyncio.Event()
        self._fallen: asyncio.Queue[Exception] = asyncio.Queue()
        self.up = asyncio.Event()
        engine.hooks.broken = self._fallen.put_nowait
        agents.remember_with(self._memory)

    def accompany(self, *companions: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Work that lives as long as this system does; given before `run`."""
        self._companions += companions

    # -- life -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start in SAFETY's order (R1), serve until `shutdown`, end in reverse order."""
        async with asyncio.TaskGroup() as group:
            nest = Nest(group)
            self.engine.attach(nest)
            self.safety.attach(nest)
            self._begin_life()
            nest.create_task(self._watch(), name="watch")
            if self._elsewhere is not None:
                nest.create_task(self._elsewhere.run(), name="agents")
            for companion in self._companions:
                nest.create_task(companion(), name="companion")
            try:
                # The start may wait long for the venue; a shutdown in the meantime ends it, too.
                nest.create_task(self._come_up(nest), name="come up")
                await self._ending.wait()
                await self._wind_down(nest)
            finally:
                nest.cancel()
        await self._end_life()

    def shutdown(self) -> None:
        """Ask for an orderly end; `run` returns within `plan.shutdown_s` and a little."""
        self._ending.set()

    # -- start ----------------------------------------------------------------------------------

    def _begin_life(self) -> None:
        last = self._store.last_record()
        broken = self._earlier.recover()
        seen = max(map(self.kernel.epoch_seen, self.plan.accounts), default=0)
        epoch = self._store.next_epoch(seen)
        latch = self._earlier.standing_stop()
        unclean = last is not None and last.type != "service.stopped"
        self._first_life = last is None or self._earlier.never_ran()
        self.engine.handle(self._started(epoch, unclean=unclean))
        log.info("service.started", epoch=epoch, unclean=unclean, stopped=latch is not None)
        self._record_settings()
        if broken:
            self.engine.handle(AuditTrouble(ok=False, reason=broken))
        if self.checkpoints is not None:
            self.checkpoints.compare(self._store)

    def _started(self, epoch: int, *, unclean: bool) -> Started:
        latch = self.safety.latch
        return Started(
            version=self.plan.version, node=self.plan.node, epoch=epoch, unclean=unclean,
            config_digest=self.plan.config_digest, breakers_lost=self._earlier.breakers_lost(),
            latched_stop_id=latch.stop_id if latch and not latch.accounts else None,
        )  # fmt: skip

    def _record_settings(self) -> None:
        """When they are not those that stand in the record already (D2)."""
        plan = self.plan
        found = self._store.records(RecordFilter(types=("configuration.used",), limit=1))
        last = msgspec.json.decode(found[0].data, type=ConfigurationUsed) if found else None
        if plan.config and (last is None or last.digest != plan.config_digest):
            self.engine.note(ConfigurationUsed(digest=plan.config_digest, values=plan.config))

    async def _come_up(self, nest: Nest) -> None:
        for account_id in self.plan.accounts:
            nest.create_task(self._serve_account(account_id), name=f"account {account_id}")
        first = await self._met_some()
        if self.plan.history:
            await self._read_histories()
            self.engine.handle(HistoriesSeen(histories=self._histories))
        memory = tuple(self._memory())
        self.agents.bring_up(memory)
        if self._elsewhere is not None:
            await self._elsewhere.come_up(memory)
        nest.create_task(self._feeds.prices(first), name="prices")
        nest.create_task(self._feeds.beat(self._speed), name="beat")
        nest.create_task(self._recorder.run(), name="recorder")
        nest.create_task(self._health_checks(), name="health")
        if self.checkpoints is not None:
            nest.create_task(self.checkpoints.run(), name="checkpoints")
        self.safety.continue_at_start()
        if self.plan.auto_start and self._first_life and not self.safety.stopped:
            self.engine.handle(StartTrading(actor="service", reason="first start (AUTO_START)"))
        self.up.set()

    async def _serve_account(self, account_id: AccountId) -> None:
        """Meet an account however long it takes, then hear its transactions; its trouble alone."""
        await self._meet_account(account_id)
        self._met[account_id].set()
        await self._feeds.transactions(account_id)

    async def _met_some(self) -> AccountId:
        """All accounts met, or 30 s over and at least one: the others trade on (R3)."""
        began = self.clock.mono_ns()
        while True:
            met = [account_id for account_id, event in self._met.items() if event.is_set()]
            waited_s = (self.clock.mono_ns() - began) / NS_PER_S
            if len(met) == len(self._met) or (met and waited_s > _MEET_S):
                return met[0]
            await self.clock.sleep(_MEET_LOOK_S)

    async def _meet_account(self, account_id: AccountId) -> None:
        """Rules, what was missed, the account as the venue has it; waits for the venue."""
        attempt = 0
        while True:
            try:
                specs = await self._reader.instruments(account_id)
                self._refuse_unknown(account_id, specs)
                self.engine.handle(SpecsSeen(account_id=account_id, specs=specs))
                book = self.kernel.books.get(account_id)
                if book is not None:
                    await self._fill_gap(account_id, book.last_id)
                account = await self._reader.account(account_id)
                await self._outgrow(account_id, (x.client_extensions for x in _named(account)))
                self.engine.handle(AccountSeen(account=account))
            except VenueError as exc:
                wait_s = _RETRY_S[min(attempt, len(_RETRY_S) - 1)]
                log.warning("venue.away", account=account_id, reason=str(exc), retry_s=wait_s)
                attempt += 1
                await self.clock.sleep(wait_s)
            else:
                return

    def _refuse_unknown(self, account_id: AccountId, specs: Sequence[InstrumentSpec]) -> None:
        """One instrument that the venue does not know would silence the whole price stream."""
        offered = {spec.name for spec in specs}
        missing = [name for name in self.plan.instruments if name not in offered]
        if missing:
            raise InstrumentMissing(
                f"INSTRUMENTS: the venue does not offer {', '.join(missing)} to account "
                f"{account_id}; it offers {', '.join(sorted(offered)[:12])} ..."
            )

    async def _fill_gap(self, account_id: AccountId, since: int) -> None:
        found, last = await self._reader.transactions_since(account_id, since)
        await self._outgrow(account_id, (tx.client_extensions for tx in found))
        self.engine.handle(
            TransactionsSeen(
                account_id=account_id, transactions=found, last_transaction_id=last,
                source="gap_fill", complete_to=last,
            )
        )  # fmt: skip

    async def _outgrow(
        self, account_id: AccountId, seen: Iterable[ClientExtensions | None]
    ) -> None:
        """A store that was restored from an older copy begins above the epochs that its lost
        lives have used (R6): what the venue's tags tell is read before anything is sent. The kernel
        may have heard of them already, in this life or in one that was killed right after.
        """
        highest = max(map(epoch_of, seen), default=0)
        highest = max(highest, self.kernel.epoch_seen(account_id))
        if highest < self.kernel.epoch:
            return  # an account that is being met has no order of this life yet
        epoch = await self.engine.new_epoch(highest)
        log.warning("epoch.raised", seen=highest, epoch=epoch)
        self.engine.handle(self._started(epoch, unclean=False))

    async def _read_histories(self) -> None:
        """A venue without candles only makes agents start cold; they warm from ticks."""
        found: list[History] = []
        for instrument in self.plan.instruments:
            for granularity, count in _HISTORY:
                try:
                    candles = await self._reader.candles(instrument, granularity, count)
                except VenueError as exc:
                    log.warning("history.missing", instrument=instrument, reason=str(exc))
                    continue
                done = tuple(c for c in candles if c.complete)
                self._recorder.keep_candles(done)
                found.append(History(instrument=instrument, granularity=granularity, candles=done))
        self._histories = tuple(found)

    def _memory(self) -> Sequence[Message]:
        return (*self._histories, *self._past())

    # -- running --------------------------------------------------------------------------------

    async def _watch(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.safety.watch_gate(), name="gate")
            tasks.create_task(self._fall(), name="fall")
            if self.plan.real_time:
                tasks.create_task(self._measure_lag(), name="lag")

    async def _fall(self) -> None:
        """What no caller could be told, since it came from the store: it ends this life."""
        raise await self._fallen.get()

    async def _measure_lag(self) -> None:
        while True:
            # To come up takes its time, and nothing is traded meanwhile.
            counts, before = self.up.is_set(), self.clock.mono_ns()
            await self.clock.sleep(_LAG_S)
            lag_ms = (self.clock.mono_ns() - before) / 1e6 - _LAG_S * 1000
            self.desk.loop_lag_ms = max(0.0, lag_ms)
            if counts:
                self.engine.handle(LoopSeen(lag_ms=round(self.desk.loop_lag_ms)))

    async def _health_checks(self) -> None:
        while True:
            await self.clock.sleep(self.plan.health_interval_s)
            self.agents.check_all()

    # -- shutdown -------------------------------------------------------------------------------

    async def _wind_down(self, nest: Nest) -> None:
        """No new prices, so no new signals; what is on the wire ends, or is the next life's.

        A liquidation goes on as long as there is time, and in the next life where it was cut off.
        """
        log.info("service.ending", in_flight=len(self.kernel.in_flight()))
        nest.cancel("prices")
        deadline = self.clock.mono_ns() + int(self.plan.shutdown_s * NS_PER_S)
        while self._busy() and self.clock.mono_ns() < deadline:
            await self.clock.sleep(0.02)
        self.engine.close()
        if self._elsewhere is not None:
            await self._elsewhere.drain()

    def _busy(self) -> bool:
        return self.engine.writes_open > 0 or self.safety.flattening

    async def _end_life(self) -> None:
        self.agents.stop_all()
        self._recorder.flush()
        self.engine.note(ServiceStopped(reason="shutdown"))
        self.engine.maybe_snapshot(force=True)
        if not await self.engine.put_away(_PUT_AWAY_S):
            log.warning("store.slow", text="the last records may be lost: an unclean end")
        if self.checkpoints is not None:
            self.checkpoints.at_end()
        log.info("service.stopped")

    @property
    def mode(self) -> SystemMode:
        return self.kernel.mode


def _named(account: Account) -> tuple[Trade | Order, ...]:
    return (*(account.trades or ()), *(account.orders or ()))
