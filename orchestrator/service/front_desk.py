"""The desk at work: what faces see of the kernel, and what they ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import msgspec
import prometheus_client as prom

from orchestrator.kernel.audit import AuditChain, verify
from orchestrator.model.errors import StoreError
from orchestrator.model.events import (
    AuditTrouble,
    Drained,
    EnableAccount,
    EndOverride,
    Event,
    Noted,
    ResetBreaker,
    Resume,
    SignalSeen,
    StartTrading,
    StopTrading,
    TripBreaker,
)
from orchestrator.model.facts import Fact, OperatorActed, SignalAccepted, SignalEnded
from orchestrator.model.journal import Record, RecordFilter
from orchestrator.model.money import AccountId, Price, Side
from orchestrator.model.ports import Bus, Clock, MarketData, MarketReader, Store
from orchestrator.model.queries import PAGE_ROWS_MAX, Queries
from orchestrator.model.safety import StopReceipt, SystemMode
from orchestrator.model.signals import STAGES, Signal
from orchestrator.model.time import fx_session
from orchestrator.service.agent_manager import AgentManager
from orchestrator.service.desk import SignalWish
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.gauges import BLOCKING, Gauges, rss_mb
from orchestrator.service.kernel_views import KernelViews, not_found
from orchestrator.service.limits_desk import OverrideWish, command_of
from orchestrator.service.reducing_desk import ReduceWish, ReducingDesk
from orchestrator.service.safety_monitor import SafetyMonitor
from orchestrator.service.seams import new_id
from orchestrator.service.telemetry import Telemetry
from orchestrator.service.views import (
    AccountLimitsView,
    AccountStatus,
    AgentView,
    BreakerView,
    ComponentHealth,
    Done,
    Health,
    OpenTradeView,
    OrderView,
    OverrideView,
    PositionView,
    ReductionView,
    Refused,
    SignalTaken,
)


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What this service is: environment paper | practice | live, version, node, market hours."""

    environment: str
    version: str
    node: str
    calendar: str


_AT_WORK = ("healthy", "degraded")


class FrontDesk:
    """Meets `service.desk.Desk`. `drain` stops new signals and waits for what is in flight."""

    def __init__(
        self, engine: ExecutionEngine, agents: AgentManager, safety: SafetyMonitor, bus: Bus,
        store: Store, chain: AuditChain, queries: Queries, telemetry: Telemetry, clock: Clock,
        about: About, market: MarketData,
        *, threads: bool = True,
    ) -> None:  # fmt: skip
        self._threads = threads
        self._engine = engine
        self._kernel = engine.kernel
        self._agents = agents
        self._safety = safety
        self._bus = bus
        self._store = store
        self._chain = chain
        self._installation_id = store.installation_id()
        self._queries = queries
        self._market = market
        self._telemetry = telemetry
        self._clock = clock
        self._seen = KernelViews(engine.kernel, clock)
        self._about = about
        self._began = clock.mono_ns()
        self.loop_lag_ms = 0.0
        self._resumed = ""
        self._gauges = Gauges(telemetry)
        self._reducing = ReducingDesk(engine, clock)

    # -- system ---------------------------------------------------------------------------------

    async def health(self) -> Health:
        now = self._clock.now()
        parts = self._components(now)
        mode = self._kernel.mode
        if mode in (SystemMode.STARTING, SystemMode.RECONCILING):
            status = "starting"
        elif mode is SystemMode.STOPPED:
            status = "stopped"
        else:
            status = "ok" if all(part.ok for part in parts) else "degraded"
        calendar = self._about.calendar
        return Health(
            status=status, mode=mode, environment=self._about.environment,
            version=self._about.version, node=self._about.node,
            uptime_s=round((self._clock.mono_ns() - self._began) / 1e9, 1), market_time_ns=now,
            market_speed=self._clock.speed,
            market_hours="always" if calendar == "always" else fx_session(now),
            stop_id=self._kernel.stop_id, components=parts, loop_lag_ms=round(self.loop_lag_ms, 2),
            rss_mb=round(rss_mb(), 1),
        )  # fmt: skip

    def _components(self, now: int) -> tuple[ComponentHealth, ...]:
        blocking = [b for b in self._kernel.breakers(now) if b.state in BLOCKING]
        system = [b for b in blocking if b.subject == "system"]
        lagging = [s.value for s in STAGES if not self._agents.healthy(s)]
        unknown = [b.subject for b in blocking if b.breaker == "A7"]
        market = self._market.condition()
        return (
            ComponentHealth(
                name="gate", ok=self._safety.gate_is_open,
                text="open" if self._safety.gate_is_open else "closed by an emergency stop",
            ),
            ComponentHealth(
                name="venue", ok=not unknown,
                text="reconciled" if not unknown else f"not known: {', '.join(unknown)}",
            ),
            ComponentHealth(
                name="store", ok=not self._kernel.storage_blocked,
                text="durable" if not self._kernel.storage_blocked else "writes fail (S5)",
            ),
            ComponentHealth(
                name="agents", ok=not lagging, text=self._agents_text(lagging),
            ),
            ComponentHealth(
                name="breakers", ok=not system,
                text=f"{len(blocking)} tripped" if blocking else "none tripped",
            ),
            ComponentHealth(
                name="market_data", ok=not market.problem,
                text=f"{market.problem}; {market.spooled:,} rows wait on this machine's disk"
                if market.problem else "stored",
            ),
        )  # fmt: skip

    def _agents_text(self, lagging: list[str]) -> str:
        """Roles that nobody serves come first: they keep every signal from being traded."""
        unwell = [a.agent_id for a in self._agents.views() if a.state not in _AT_WORK]
        told = [f"no healthy agent of role {', '.join(lagging)}"] if lagging else []
        told += [f"not working: {', '.join(unwell)}"] if unwell else []
        return "; ".join(told) or "all roles served"

    async def start(self, actor: str, reason: str = "") -> Done | Refused:
        return await self._command(StartTrading(actor=actor, reason=reason), "trading is on")

    async def stop(self, actor: str, reason: str = "", *, close: bool = False) -> Done | Refused:
        event = StopTrading(actor=actor, reason=reason, close_positions=close)
        answer = await self._command(
            event, "draining: no new signals; what is in flight ends first"
        )
        if isinstance(answer, Refused):
            return answer
        for _ in range(_DRAIN_POLLS):
            if not self._kernel.in_flight() and not (close and self.open_trades()):
                break
            await asyncio.sleep(_DRAIN_POLL_S)
        self._engine.handle(Drained())
        trades, orders = self.open_trades(), self.pending_orders()
        text = f"stopped: {len(trades)} trades stay open, with their stops at the venue"
        return Done(
            text="stopped: nothing is open" if not trades else text, mode=self._kernel.mode,
            open_trades=trades, pending_orders=orders,
        )  # fmt: skip

    async def emergency_stop(
        self,
        actor: str,
        reason: str,
        *,
        liquidate: bool = True,
        accounts: tuple[AccountId, ...] = (),
    ) -> StopReceipt | Refused:
        unknown = [a for a in accounts if a not in self._kernel.account_ids]
        if unknown:
            no = not_found("account", ", ".join(unknown))
            return self._refused(actor, "emergency stop", no)
        return await self._safety.emergency_stop(
            actor, reason, liquidate=liquidate, accounts=accounts
        )

    async def resume(
        self, actor: str, stop_id: str, reason: str, open_trades: tuple[str, ...] = ()
    ) -> Done | Refused:
        if not self._safety.stopped:
            no = Refused(status=409, title="Not stopped", detail="No emergency stop is in force.")
            return self._refused(actor, "resume", no)
        if await self._safety.take_up_other_stop():
            return self._refused(actor, "resume", _STOPPED_ANEW)
        if self._kernel.stop_id is None and self._resumed == stop_id:
            return await self._resume_again(actor, reason)
        epoch = await self._epoch_of_resume()
        if isinstance(epoch, Refused):
            return self._refused(actor, "resume", epoch)
        event = Resume(
            stop_id=stop_id, actor=actor, reason=reason, open_trades=open_trades, epoch=epoch,
        )  # fmt: skip
        stood, raised = self._kernel.stop_id, self._safety.raised
        refused = self._refusal(event)
        if stood == stop_id and self._kernel.stop_id is None:
            self._resumed = stop_id
        answer = refused or await self._promise("resumed; the system is ready, start it to trade")
        return await self._reopen(answer, raised) if isinstance(answer, Done) else answer

    async def _resume_again(self, actor: str, reason: str) -> Done | Refused:
        """Resumed already, but the latch could not be removed, or the resume not be written down
        at once: only that is left to do, and it takes a person with a reason, too.
        """
        if not (actor.strip() and reason.strip()):
            return self._refused(actor, "resume", _NOBODY)
        raised = self._safety.raised
        self._engine.handle(Noted(actor=actor, action="resume", text=f"again: {reason}"))
        answer = await self._promise("resumed")
        return await self._reopen(answer, raised) if isinstance(answer, Done) else answer

    async def _epoch_of_resume(self) -> int | Refused:
        """A new epoch, when the audit chain verifies and nobody has stopped again meanwhile."""
        raised = self._safety.raised
        try:
            verified = await self.verify_audit()
            epoch = await self._engine.new_epoch()
        except StoreError:
            return _NOT_WRITTEN
        if isinstance(verified, Refused):
            return verified
        return epoch if self._safety.raised == raised else _STOPPED_ANEW

    async def _reopen(self, done: Done, raised: int) -> Done | Refused:
        """Only after a resume that is written down: the latch goes, then the gate opens.

        `raised`: how often a stop was raised when the kernel heard the resume.
        """
        if self._safety.raised != raised:
            return _STOPPED_ANEW
        try:
            reopened = self._safety.reopened()
        except OSError as exc:
            return Refused(
                status=503, title="The latch cannot be removed",
                detail=f"Still stopped: {exc}. Mend the state folder, then resume again.",
            )  # fmt: skip
        if reopened:
            return done
        await self._safety.take_up_other_stop()  # the kernel hears of it before anyone resumes
        return _STOPPED_ANEW

    async def verify_audit(self) -> Done | Refused:
        broken = await asyncio.to_thread(self._verify) if self._threads else self._verify()
        if broken is not None or self._kernel.audit_blocked:
            # A trail that is found whole only lets a person reset what stands (S12).
            self._engine.handle(AuditTrouble(ok=broken is None, reason=broken or ""))
        if broken is not None:
            return Refused(status=409, title="The audit chain is broken", detail=broken)
        return Done(text="the audit chain verifies", mode=self._kernel.mode)

    def _verify(self) -> str | None:
        # Up to where the chain stands in memory, so that a shortened journal is found too.
        known = (self._chain.seq, self._chain.head) if self._chain.seq else None
        start, prev = self._store.trail_start()
        records = self._records_after(start)
        broken = verify(records, self._installation_id, start + 1, prev or None, known)
        return None if broken is None else f"record {broken.seq}: {broken.what}"

    def _records_after(self, seq: int) -> Iterator[Record]:
        while True:
            wanted = RecordFilter(after_seq=seq, ascending=True, limit=PAGE_ROWS_MAX)
            page = self._queries.records(wanted)
            yield from page
            if len(page) < PAGE_ROWS_MAX:
                return
            seq = page[-1].seq

    def _refused(self, actor: str, action: str, answer: Refused) -> Refused:
        """A refusal that the kernel never heard of is written down all the same (D2).

        Not while the store fails: what waits for it must stay bounded.
        """
        if self._engine.storing:
            self._engine.note(
                OperatorActed(actor=actor, action=action, text="", refused=answer.detail[:500])
            )
        return answer

    async def _command(self, event: Event, done: str) -> Done | Refused:
        """What the kernel made of a command, once that is durable (INV-15)."""
        return self._refusal(event) or await self._promise(done)

    async def _promise(self, done: str) -> Done | Refused:
        if await self._engine.settled(_WRITTEN_WITHIN_S):
            return Done(text=done, mode=self._kernel.mode)
        return _NOT_YET_WRITTEN if self._engine.waiting else _NOT_WRITTEN

    def _refusal(self, event: Event) -> Refused | None:
        """The kernel's own refusal of a command is a recorded fact; None: it has done as told."""
        if not self._engine.storing:
            return _NOT_WRITTEN
        for fact in self._engine.command(event):
            if isinstance(fact, OperatorActed) and fact.refused:
                return Refused(
                    status=409, title="Refused", detail=fact.refused,
                    items=tuple(part.strip() for part in fact.refused.split(";") if part.strip()),
                )  # fmt: skip
        return None

    # -- agents ---------------------------------------------------------------------------------

    def agents(self) -> tuple[AgentView, ...]:
        return self._agents.views()

    async def check_agent(self, agent_id: str) -> AgentView | Refused:
        return self._agents.check(agent_id) or not_found("agent", agent_id)

    async def restart_agent(self, agent_id: str, actor: str) -> AgentView | Refused:
        found = self._agents.restart(agent_id)
        if found is None:
            return self._refused(actor, "agent restart", not_found("agent", agent_id))
        self._engine.handle(Noted(actor=actor, action="agent restart", text=agent_id))
        return found

    # -- accounts and risk ----------------------------------------------------------------------

    def accounts(self) -> tuple[AccountStatus, ...]:
        return self._seen.accounts()

    def account(self, account_id: AccountId) -> AccountStatus | Refused:
        return self._seen.account(account_id)

    def positions(self) -> tuple[PositionView, ...]:
        return self._seen.positions()

    def open_trades(self) -> tuple[OpenTradeView, ...]:
        return self._seen.open_trades()

    def pending_orders(self) -> tuple[OrderView, ...]:
        return self._seen.pending_orders()

    def breakers(self) -> tuple[BreakerView, ...]:
        return self._seen.breakers()

    def stop_receipt(self) -> StopReceipt | None:
        return self._safety.receipt()

    async def enable(
        self, account_id: AccountId, actor: str, reason: str = "", *, enabled: bool = True
    ) -> Done | Refused:
        if account_id not in self._kernel.account_ids:
            return self._refused(actor, "enable", not_found("account", account_id))
        event = EnableAccount(account_id=account_id, enabled=enabled, actor=actor, reason=reason)
        return await self._command(event, f"{account_id} is {'enabled' if enabled else 'disabled'}")

    async def trip_breaker(
        self, breaker: str, subject: str, actor: str, reason: str
    ) -> Done | Refused:
        event = TripBreaker(breaker=breaker, subject=subject, actor=actor, reason=reason)
        return await self._command(event, f"{breaker} is tripped for {subject}")

    async def reset_breaker(
        self, breaker: str, subject: str, actor: str, reason: str, *, rebase: bool = False
    ) -> Done | Refused:
        event = ResetBreaker(
            breaker=breaker, subject=subject, actor=actor, reason=reason, rebase=rebase
        )
        return await self._command(event, f"{breaker} is reset for {subject}")

    # -- limits ---------------------------------------------------------------------------------

    def limits(self) -> tuple[AccountLimitsView, ...]:
        return self._seen.limits()

    def overrides(self) -> tuple[OverrideView, ...]:
        return self._seen.overrides()

    async def set_override(self, wish: OverrideWish, actor: str, role: str) -> Done | Refused:
        event = command_of(self._kernel, wish, actor, role, self._clock.now())
        if wish.value is None:
            return await self._command(event, f"{wish.limit} is reset for {wish.subject}")
        text = f"{wish.limit} is {wish.value} for {wish.subject}: {event.override_id}"
        return await self._command(event, text)

    async def end_override(
        self, override_id: str, actor: str, role: str, reason: str
    ) -> Done | Refused:
        event = EndOverride(override_id=override_id, actor=actor, role=role, reason=reason)
        return await self._command(event, f"override {override_id} has ended")

    # -- reducing -------------------------------------------------------------------------------

    async def reduce(self, wish: ReduceWish, actor: str) -> ReductionView | Refused:
        return await self._reducing.reduce(wish, actor)

    def reductions(self) -> tuple[ReductionView, ...]:
        return self._reducing.reductions()

    # -- signals --------------------------------------------------------------------------------

    async def submit_signal(self, wish: SignalWish, actor: str) -> SignalTaken | Refused:
        quote = self._kernel.quotes.tick(wish.instrument)
        if quote is None:
            no = Refused(
                status=422, title="No price",
                detail=f"There is no price of {wish.instrument}; configured instruments: "
                + ", ".join(self._kernel.instruments),
            )  # fmt: skip
            return self._refused(actor, "signal", no)
        signal = Signal(
            signal_id=wish.signal_id or new_id("manual"), strategy=wish.strategy,
            instrument=wish.instrument, side=wish.side,
            reference_price=quote.ask if wish.side is Side.BUY else quote.bid,
            stop_distance=Price(wish.stop_distance),
            target_distance=None if wish.target_distance is None else Price(wish.target_distance),
            confidence=wish.confidence, created_ns=self._clock.now(), ttl_ms=wish.ttl_ms,
            source=f"person:{actor}", note=wish.note, accounts=wish.accounts,
        )  # fmt: skip
        if self._engine.stuck:
            return _NOT_WRITTEN  # it would only wait for its end
        taken = self._taken(signal, self._engine.command(SignalSeen(signal=signal)))
        promised = await self._promise("")
        return taken if isinstance(promised, Done) else promised

    def _taken(self, signal: Signal, facts: tuple[Fact, ...]) -> SignalTaken | Refused:
        reasons = tuple(dict.fromkeys(f.reason for f in facts if isinstance(f, SignalEnded)))
        ended = {f.account_id for f in facts if isinstance(f, SignalEnded)}
        for fact in facts:
            if isinstance(fact, SignalAccepted) and not ended.issuperset(fact.accounts):
                return SignalTaken(signal_id=signal.signal_id, accounts=fact.accounts)
        detail = reasons[0] if reasons else f"signal {signal.signal_id} was seen before"
        return Refused(status=409, title="Signal refused", detail=detail, items=reasons)

    @property
    def mode(self) -> SystemMode:
        return self._kernel.mode

    @property
    def gate_is_open(self) -> bool:
        return self._safety.gate_is_open

    # -- history and metrics --------------------------------------------------------------------

    def queries(self) -> Queries:
        return self._queries

    def market(self) -> MarketReader:
        return self._market

    def listen(self) -> AsyncIterator[tuple[Record, Fact]]:
        return self._bus.listen()

    def metrics(self) -> bytes:
        self._gauges.set(self)
        return prom.generate_latest(self._telemetry.registry)


_STOPPED_ANEW = Refused(
    status=409, title="Stopped anew", detail="Somebody has stopped again while this was resumed."
)
_NOBODY = Refused(
    status=409, title="Still stopped", detail="A resume names its actor and gives its reason."
)
_NOT_WRITTEN = Refused(
    status=503, title="Not written down",
    detail="The store cannot write, so nothing is promised; look at breaker S5 and at the disk.",
)  # fmt: skip
_NOT_YET_WRITTEN = Refused(
    status=503, title="Not written down yet",
    detail="The store has not answered in time. What you asked for is in force here and may yet be"
    " written down, or be lost with this process: look at the state, then ask for it again.",
)  # fmt: skip
_WRITTEN_WITHIN_S = 2.0
_DRAIN_POLL_S = 0.05
_DRAIN_POLLS = 200
