"""The desk: everything that a face (API, command line, dashboard) may see or ask of the service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Protocol

import msgspec

from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record
from orchestrator.model.money import AccountId, InstrumentName, Side
from orchestrator.model.ports import MarketReader
from orchestrator.model.queries import Queries
from orchestrator.service.limits_desk import OverrideWish
from orchestrator.service.reducing_desk import ReduceWish
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
    StopReceipt,
)


class SignalWish(msgspec.Struct, frozen=True, kw_only=True):
    """A person's or program's signal, before the desk stamps id, time and reference price."""

    instrument: InstrumentName
    side: Side
    stop_distance: Decimal
    target_distance: Decimal | None = None
    confidence: Decimal = Decimal("0.55")
    strategy: str = "manual"
    ttl_ms: int = 10_000
    accounts: tuple[AccountId, ...] = ()
    note: str = ""
    signal_id: str = ""  # "" = made by the desk; the caller's own makes the call idempotent


class Desk(Protocol):
    """Reads never raise for ordinary trouble; commands answer `Refused` with the reason.

    A command's answer means that it is durable. `actor` is who asked, for the audit trail.
    """

    async def health(self) -> Health: ...

    def agents(self) -> tuple[AgentView, ...]: ...

    async def check_agent(self, agent_id: str) -> AgentView | Refused:
        """A real round trip to the agent, now."""
        ...

    async def restart_agent(self, agent_id: str, actor: str) -> AgentView | Refused: ...

    def accounts(self) -> tuple[AccountStatus, ...]: ...

    def account(self, account_id: AccountId) -> AccountStatus | Refused: ...

    def positions(self) -> tuple[PositionView, ...]: ...

    def open_trades(self) -> tuple[OpenTradeView, ...]: ...

    def pending_orders(self) -> tuple[OrderView, ...]: ...

    def breakers(self) -> tuple[BreakerView, ...]: ...

    def stop_receipt(self) -> StopReceipt | None:
        """The receipt of the stop in force, as far as it has come; None when not stopped."""
        ...

    def queries(self) -> Queries:
        """History: signals, trades, records, explanations. Blocking reads: call in a thread."""
        ...

    def market(self) -> MarketReader:
        """Ticks and candles. Blocking reads: call in a thread."""
        ...

    def listen(self) -> AsyncIterator[tuple[Record, Fact]]:
        """Live events from now on; raises ListenerTooSlow (adapters' bus) when cut."""
        ...

    def metrics(self) -> bytes:
        """Prometheus text format."""
        ...

    async def start(self, actor: str, reason: str = "") -> Done | Refused: ...

    async def stop(self, actor: str, reason: str = "", *, close: bool = False) -> Done | Refused:
        """Drain; `close` also closes positions. The answer names all that stays open."""
        ...

    async def emergency_stop(
        self,
        actor: str,
        reason: str,
        *,
        liquidate: bool = True,
        accounts: tuple[AccountId, ...] = (),
    ) -> StopReceipt | Refused:
        """Closes the gate first; answers within 100 ms whatever disk and venue do."""
        ...

    async def resume(
        self, actor: str, stop_id: str, reason: str, open_trades: tuple[str, ...] = ()
    ) -> Done | Refused: ...

    async def enable(
        self, account_id: AccountId, actor: str, reason: str = "", *, enabled: bool = True
    ) -> Done | Refused: ...

    async def trip_breaker(
        self, breaker: str, subject: str, actor: str, reason: str
    ) -> Done | Refused: ...

    async def reset_breaker(
        self, breaker: str, subject: str, actor: str, reason: str, *, rebase: bool = False
    ) -> Done | Refused: ...

    def limits(self) -> tuple[AccountLimitsView, ...]: ...

    def overrides(self) -> tuple[OverrideView, ...]: ...

    async def set_override(self, wish: OverrideWish, actor: str, role: str) -> Done | Refused:
        """Tightens, loosens for a while, or resets a breaker early (SAFETY B5)."""
        ...

    async def end_override(
        self, override_id: str, actor: str, role: str, reason: str
    ) -> Done | Refused: ...

    async def reduce(self, wish: ReduceWish, actor: str) -> ReductionView | Refused:
        """Close, cancel or tighten; waits some seconds for what becomes of it (SAFETY 3)."""
        ...

    def reductions(self) -> tuple[ReductionView, ...]:
        """What was asked so within the last day, the newest first."""
        ...

    async def submit_signal(self, wish: SignalWish, actor: str) -> SignalTaken | Refused: ...

    async def verify_audit(self) -> Done | Refused: ...
