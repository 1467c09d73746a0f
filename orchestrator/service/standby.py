"""A node that stands by: it follows the journal, answers reads, and can stop everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import prometheus_client as prom
import structlog

from orchestrator.kernel.engine import Kernel
from orchestrator.model.errors import StoreError
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record
from orchestrator.model.leading import LeaseView
from orchestrator.model.money import AccountId
from orchestrator.model.ports import Bus, Clock, MarketReader, Store
from orchestrator.model.queries import Queries
from orchestrator.model.safety import StopReceipt
from orchestrator.model.time import fx_session
from orchestrator.service.gate import Gate
from orchestrator.service.gauges import rss_mb
from orchestrator.service.health_desk import About
from orchestrator.service.kernel_views import KernelViews, not_found
from orchestrator.service.reducing_desk import reductions_of
from orchestrator.service.stops import NodeStops
from orchestrator.service.views import (
    AccountLimitsView,
    AccountStatus,
    AgentView,
    BreakerView,
    ComponentHealth,
    Health,
    OpenTradeView,
    OrderView,
    OverrideView,
    PositionView,
    ReductionView,
    Refused,
)

log = structlog.get_logger()

_FOLLOW_S = 0.5
_BATCH = 2_000
_STALE_NS = 5_000_000_000


class Follower:
    """A kernel that takes over the journal's facts as they come, and decides nothing.

    `make` gives a kernel that knows nothing yet. What is shown is what the leader made durable.
    """

    def __init__(self, store: Store, make: Callable[[], Kernel], clock: Clock) -> None:
        self.kernel = make()
        self.seq = 0
        self._store = store
        self._make = make
        self._clock = clock
        self._read_ns = clock.mono_ns()  # when the journal was read last
        self.hear: Callable[[Record, Fact], None] = _unheard

    @property
    def stale(self) -> bool:
        """The journal could not be read for seconds: what is shown may be old."""
        return self._clock.mono_ns() - self._read_ns > _STALE_NS

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            try:
                await self.catch_up()
            except StoreError as exc:
                log.warning("standby.not_following", reason=str(exc))
            await self._clock.sleep(_FOLLOW_S)

    async def catch_up(self) -> None:
        """To the journal's end; StoreError. Reads in a thread, takes over in the loop."""
        if not self.seq:
            await self._begin()
        while True:
            found = await asyncio.to_thread(self._read)
            for record, fact in found:
                self.kernel.apply(fact, record.ts)
                self.seq = record.seq
                self.hear(record, fact)
            if len(found) < _BATCH:
                break
        self._read_ns = self._clock.mono_ns()

    async def _begin(self) -> None:
        saved = await asyncio.to_thread(self._store.load_snapshot)
        self.kernel = self._make()
        if saved is None:
            return
        try:
            self.kernel.restore(saved[1])
        except ValueError as exc:
            log.warning("snapshot.unreadable", reason=str(exc))
            self.kernel = self._make()
            return
        self.seq = saved[0]

    def _read(self) -> Sequence[tuple[Record, Fact]]:
        found: list[tuple[Record, Fact]] = []
        for each in self._store.facts_after(self.seq):
            found.append(each)
            if len(found) == _BATCH:
                break
        return found


def _unheard(_: Record, __: Fact) -> None:
    """Nobody listens."""


class StandbyDesk:
    """Meets `service.desk.Desk`: reads from the journal, the emergency stop in full, no more."""

    def __init__(
        self, follower: Follower, stops: NodeStops, gate: Gate, bus: Bus, queries: Queries,
        market: MarketReader, clock: Clock, about: About,
    ) -> None:  # fmt: skip
        self._follower = follower
        self._stops = stops
        self._gate = gate
        self._bus = bus
        self._queries = queries
        self._market = market
        self._clock = clock
        self._about = about
        self._began = clock.mono_ns()
        self.leader: LeaseView | None = None  # as it was seen last; None: nobody could tell

    @property
    def _views(self) -> KernelViews:
        return KernelViews(self._follower.kernel, self._clock)

    @property
    def leads(self) -> bool:
        """Whether another node leads, as far as is known."""
        return self.leader is not None and not self.leader.vacant and self.leader.left_ms > 0

    # -- reads -----------------------------------------------------------------------------------

    async def health(self) -> Health:
        now, kernel = self._clock.now(), self._follower.kernel
        parts = self._components()
        fine = all(part.ok for part in parts)
        always = self._about.calendar == "always"
        stop = self._stops.latch
        return Health(
            status="stopped" if stop is not None else "ok" if fine else "degraded",
            mode=kernel.mode, environment=self._about.environment, version=self._about.version,
            node=self._about.node,
            uptime_s=round((self._clock.mono_ns() - self._began) / 1e9, 1), market_time_ns=now,
            market_speed=self._clock.speed, market_hours="always" if always else fx_session(now),
            stop_id=stop.stop_id if stop is not None else kernel.stop_id, components=parts,
            rss_mb=round(rss_mb(), 1), role="standby", leader=self._address(),
        )  # fmt: skip

    def _components(self) -> tuple[ComponentHealth, ...]:
        stale = self._follower.stale
        return (
            ComponentHealth(
                name="gate", ok=not self._gate.stopped,
                text="closed by an emergency stop" if self._gate.stopped else "stands by",
            ),
            ComponentHealth(
                name="leader", ok=self.leads,
                text=self._address() or "an unnamed node" if self.leads else "no node leads now",
            ),
            ComponentHealth(
                name="store", ok=not stale,
                text="cannot be read: what is shown is old" if stale else "followed",
            ),
        )  # fmt: skip

    def _address(self) -> str:
        return self.leader.address if self.leads and self.leader is not None else ""

    def agents(self) -> tuple[AgentView, ...]:
        """They work for the leader."""
        return ()

    def accounts(self) -> tuple[AccountStatus, ...]:
        return self._views.accounts()

    def account(self, account_id: AccountId) -> AccountStatus | Refused:
        return self._views.account(account_id)

    def positions(self) -> tuple[PositionView, ...]:
        return self._views.positions()

    def open_trades(self) -> tuple[OpenTradeView, ...]:
        return self._views.open_trades()

    def pending_orders(self) -> tuple[OrderView, ...]:
        return self._views.pending_orders()

    def breakers(self) -> tuple[BreakerView, ...]:
        return self._views.breakers()

    def limits(self) -> tuple[AccountLimitsView, ...]:
        return self._views.limits()

    def overrides(self) -> tuple[OverrideView, ...]:
        return self._views.overrides()

    def reductions(self) -> tuple[ReductionView, ...]:
        return reductions_of(self._follower.kernel)

    def stop_receipt(self) -> StopReceipt | None:
        return self._stops.receipt()

    def queries(self) -> Queries:
        return self._queries

    def market(self) -> MarketReader:
        return self._market

    def listen(self) -> AsyncIterator[tuple[Record, Fact]]:
        return self._bus.listen()

    def metrics(self) -> bytes:
        registry = prom.CollectorRegistry()
        for name, text, value in (
            ("tso_leading", "1: this node leads", 0.0),
            ("tso_leader_known", "1: another node leads", float(self.leads)),
            ("tso_gate_closed", "1: an emergency stop is in force", float(self._gate.stopped)),
            ("tso_followed_records", "The journal's last record that was read", self._follower.seq),
            ("tso_resident_memory_bytes", "Resident memory", rss_mb() * 1e6),
        ):
            prom.Gauge(name, text, registry=registry).set(value)
        return prom.generate_latest(registry)

    # -- the stop --------------------------------------------------------------------------------

    async def emergency_stop(
        self,
        actor: str,
        reason: str,
        *,
        liquidate: bool = True,
        accounts: tuple[AccountId, ...] = (),
    ) -> StopReceipt | Refused:
        unknown = [a for a in accounts if a not in self._follower.kernel.account_ids]
        if unknown:
            return not_found("account", ", ".join(unknown))
        return await self._stops.emergency_stop(
            actor, reason, liquidate=liquidate, accounts=accounts
        )

    # -- everything else is the leader's ---------------------------------------------------------

    async def _elsewhere(self, *_: object, **__: object) -> Refused:
        """Whatever was asked."""
        where = self._address()
        if not where:
            return Refused(
                status=503, title="No leader",
                detail="This node stands by, and no node leads now; one takes over in seconds.",
            )  # fmt: skip
        return Refused(
            status=503, title="Standby", items=(where,),
            detail=f"This node stands by; ask the leader at {where}. Emergency stops work here.",
        )  # fmt: skip

    start = stop = resume = enable = _elsewhere
    trip_breaker = reset_breaker = set_override = end_override = _elsewhere
    check_agent = restart_agent = reduce = submit_signal = verify_audit = _elsewhere
