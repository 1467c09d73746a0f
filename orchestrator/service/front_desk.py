"""The desk at work: what faces see of the kernel, and what they ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import prometheus_client as prom

from orchestrator.kernel.audit import AuditChain
from orchestrator.model.events import (
    Drained,
    EnableAccount,
    EndOverride,
    Noted,
    ResetBreaker,
    SignalSeen,
    StartTrading,
    StopTrading,
    TripBreaker,
)
from orchestrator.model.facts import Fact, SignalAccepted, SignalEnded
from orchestrator.model.journal import Record
from orchestrator.model.money import AccountId, Price, Side
from orchestrator.model.ports import Bus, Clock, MarketData, MarketReader, Store
from orchestrator.model.queries import Queries
from orchestrator.model.safety import StopReceipt, SystemMode
from orchestrator.model.signals import Signal
from orchestrator.service.agent_manager import AgentManager
from orchestrator.service.audit_desk import AuditDesk
from orchestrator.service.commands import NOT_WRITTEN, Commands
from orchestrator.service.desk import SignalWish
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.gauges import Gauges
from orchestrator.service.health_desk import About, HealthDesk
from orchestrator.service.kernel_views import KernelViews, not_found
from orchestrator.service.limits_desk import OverrideWish, command_of
from orchestrator.service.reducing_desk import ReduceWish, ReducingDesk
from orchestrator.service.resume_desk import ResumeDesk
from orchestrator.service.safety_monitor import SafetyMonitor
from orchestrator.service.seams import new_id
from orchestrator.service.telemetry import Telemetry
from orchestrator.service.views import (
    AccountLimitsView,
    AccountStatus,
    AgentView,
    BreakerView,
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


class FrontDesk:
    """Meets `service.desk.Desk`. `drain` stops new signals and waits for what is in flight."""

    def __init__(
        self, engine: ExecutionEngine, agents: AgentManager, safety: SafetyMonitor, bus: Bus,
        store: Store, chain: AuditChain, queries: Queries, telemetry: Telemetry, clock: Clock,
        about: About, market: MarketData,
        *, threads: bool = True,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._kernel = engine.kernel
        self._agents = agents
        self._safety = safety
        self._bus = bus
        self._queries = queries
        self._market = market
        self._telemetry = telemetry
        self._clock = clock
        self._seen = KernelViews(engine.kernel, clock)
        self.loop_lag_ms = 0.0
        self._gauges = Gauges(telemetry)
        self._reducing = ReducingDesk(engine, clock)
        self._commands = Commands(engine)
        self._audit = AuditDesk(engine, store, chain, queries, threads=threads)
        self._resuming = ResumeDesk(engine, safety, self._audit, self._commands)
        self._health = HealthDesk(engine, agents, safety, market, clock, about)

    # -- system ---------------------------------------------------------------------------------

    async def health(self) -> Health:
        return self._health.now(self.loop_lag_ms)

    async def start(self, actor: str, reason: str = "") -> Done | Refused:
        return await self._commands.give(StartTrading(actor=actor, reason=reason), "trading is on")

    async def stop(self, actor: str, reason: str = "", *, close: bool = False) -> Done | Refused:
        event = StopTrading(actor=actor, reason=reason, close_positions=close)
        answer = await self._commands.give(
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
            return self._commands.refused(actor, "emergency stop", no)
        return await self._safety.emergency_stop(
            actor, reason, liquidate=liquidate, accounts=accounts
        )

    async def resume(
        self, actor: str, stop_id: str, reason: str, open_trades: tuple[str, ...] = ()
    ) -> Done | Refused:
        return await self._resuming.resume(actor, stop_id, reason, open_trades)

    async def verify_audit(self) -> Done | Refused:
        return await self._audit.verify()

    # -- agents ---------------------------------------------------------------------------------

    def agents(self) -> tuple[AgentView, ...]:
        return self._agents.views()

    async def check_agent(self, agent_id: str) -> AgentView | Refused:
        return self._agents.check(agent_id) or not_found("agent", agent_id)

    async def restart_agent(self, agent_id: str, actor: str) -> AgentView | Refused:
        found = self._agents.restart(agent_id)
        if found is None:
            return self._commands.refused(actor, "agent restart", not_found("agent", agent_id))
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
            return self._commands.refused(actor, "enable", not_found("account", account_id))
        event = EnableAccount(account_id=account_id, enabled=enabled, actor=actor, reason=reason)
        return await self._commands.give(
            event, f"{account_id} is {'enabled' if enabled else 'disabled'}"
        )

    async def trip_breaker(
        self, breaker: str, subject: str, actor: str, reason: str
    ) -> Done | Refused:
        event = TripBreaker(breaker=breaker, subject=subject, actor=actor, reason=reason)
        return await self._commands.give(event, f"{breaker} is tripped for {subject}")

    async def reset_breaker(
        self, breaker: str, subject: str, actor: str, reason: str, *, rebase: bool = False
    ) -> Done | Refused:
        event = ResetBreaker(
            breaker=breaker, subject=subject, actor=actor, reason=reason, rebase=rebase
        )
        return await self._commands.give(event, f"{breaker} is reset for {subject}")

    # -- limits ---------------------------------------------------------------------------------

    def limits(self) -> tuple[AccountLimitsView, ...]:
        return self._seen.limits()

    def overrides(self) -> tuple[OverrideView, ...]:
        return self._seen.overrides()

    async def set_override(self, wish: OverrideWish, actor: str, role: str) -> Done | Refused:
        event = command_of(self._kernel, wish, actor, role, self._clock.now())
        if wish.value is None:
            return await self._commands.give(event, f"{wish.limit} is reset for {wish.subject}")
        text = f"{wish.limit} is {wish.value} for {wish.subject}: {event.override_id}"
        return await self._commands.give(event, text)

    async def end_override(
        self, override_id: str, actor: str, role: str, reason: str
    ) -> Done | Refused:
        event = EndOverride(override_id=override_id, actor=actor, role=role, reason=reason)
        return await self._commands.give(event, f"override {override_id} has ended")

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
            return self._commands.refused(actor, "signal", no)
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
            return NOT_WRITTEN  # it would only wait for its end
        taken = self._taken(signal, self._engine.command(SignalSeen(signal=signal)))
        promised = await self._commands.promise("")
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


_DRAIN_POLL_S = 0.05
_DRAIN_POLLS = 200
