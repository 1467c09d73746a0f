"""Cancels entry orders and closes positions until the venue itself says: flat (SAFETY 5.6-5.9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

import msgspec
import structlog

from orchestrator.model.errors import VenueError
from orchestrator.model.events import LiquidationSeen
from orchestrator.model.money import AccountId
from orchestrator.model.orders import (
    Answered,
    NotSent,
    Rejected,
    Unknown,
    WriteKind,
    WriteOutcome,
    WriteRequest,
)
from orchestrator.model.ports import Clock, VenueReader, VenueWriter
from orchestrator.model.safety import AccountReceipt, StopState
from orchestrator.model.time import Instant
from orchestrator.model.venue import Account, Position, Transaction
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.seams import dice, wall_ns

log = structlog.get_logger()

ENTRY_TYPES = frozenset(("LIMIT", "STOP", "MARKET_IF_TOUCHED"))
_RETRY_S_FIRST = 0.2
_RETRY_S_MAX = 5.0
_FLAT_READS = 2
_FLAT_READS_APART_S = 1.0
_ALERT_AFTER_S = (10.0, 60.0)

Changed = Callable[[str, AccountReceipt, StopState], None]
Troubled = Callable[[AccountId, float, str], None]


class Liquidator:
    """Brings one account after another task to flat; no account's trouble delays another's.

    `changed` hears each new state of an account's receipt, `troubled` that it takes long:
    account, seconds since the begin, what is wrong.
    """

    def __init__(
        self, engine: ExecutionEngine, reader: VenueReader, writer: VenueWriter, clock: Clock,
        changed: Changed, troubled: Troubled, *, seed: int,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._changed = changed
        self._troubled = troubled
        self._dice = dice(seed)

    async def flatten(self, stop_id: str, before: AccountReceipt) -> AccountReceipt:
        """Returns when two reads at least a second apart show nothing open; retries for ever.

        `before`: what the same stop did at this account already; it is added to.
        """
        account_id = before.account_id
        work = _Flattening(before)
        retry_s = _RETRY_S_FIRST
        began = self._clock.mono_ns()
        alerts = list(_ALERT_AFTER_S)
        flat_reads = 0
        while flat_reads < _FLAT_READS:
            try:
                account = await self._reader.account(account_id)
                flat = work.read(account) and self._settled(account_id, work)
                if flat and flat_reads == 0:
                    self._tell(stop_id, work, StopState.LIQUIDATING, "flat at the first read")
                flat_reads = flat_reads + 1 if flat else 0
                if not flat and work.holds:
                    await self._reduce(stop_id, work, account)
                    retry_s = _RETRY_S_FIRST if work.progress else min(retry_s * 2, _RETRY_S_MAX)
            except VenueError as exc:
                flat_reads = 0
                work.problem = str(exc)
                retry_s = min(retry_s * 2, _RETRY_S_MAX)
                self._tell(stop_id, work, StopState.NOT_FLAT, f"the venue: {exc}")
            took_s = (self._clock.mono_ns() - began) / 1e9
            if alerts and took_s >= alerts[0]:
                alerts.pop(0)
                self._troubled(account_id, took_s, work.problem or "positions are still open")
                alerts = alerts or [took_s + 300.0]
            if flat_reads == 1:
                await self._clock.sleep(_FLAT_READS_APART_S)
            elif flat_reads == 0:
                await self._clock.sleep(retry_s * (0.5 + 0.5 * self._dice.random()))
        work.problem = ""
        receipt = work.receipt(wall_ns())
        self._tell(stop_id, work, StopState.FLAT, work.summary(), receipt)
        return receipt

    def _settled(self, account_id: AccountId, work: _Flattening) -> bool:
        """Whether no order of ours may still fill there: an unknown one holds up "flat" (5.8)."""
        if any(each.intent.account_id == account_id for each in self._engine.kernel.in_flight()):
            work.problem = "an order's outcome is not known yet"
            return False
        return True

    def _tell(
        self, stop_id: str, work: _Flattening, state: StopState, text: str,
        receipt: AccountReceipt | None = None,
    ) -> None:  # fmt: skip
        self._changed(stop_id, receipt or work.receipt(None), state)
        if text != work.told:
            work.told = text
            log.info("liquidation.stepped", account=work.account_id, state=state, text=text)
            self._engine.handle(
                LiquidationSeen(
                    stop_id=stop_id, account_id=work.account_id, state=state.value, text=text
                )
            )

    async def _reduce(self, stop_id: str, work: _Flattening, account: Account) -> None:
        work.progress = False
        requests = [*_cancels(account), *_closes(account)]
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(self._write(r), name=f"close {r.target}") for r in requests]
        for done in asked:
            outcome = done.result()
            self._engine.venue_said(account.id, outcome)
            work.heard(outcome)
        state = StopState.WAITING_MARKET if work.halted else StopState.LIQUIDATING
        self._tell(stop_id, work, state, work.summary())

    async def _write(self, request: WriteRequest) -> WriteOutcome:
        answer: asyncio.Future[WriteOutcome] = asyncio.get_running_loop().create_future()

        def done(outcome: WriteOutcome, _: Instant) -> None:
            if not answer.done():
                answer.set_result(outcome)

        self._writer.submit(request, self._engine.may_reduce, done)
        return await answer


def _cancels(account: Account) -> list[WriteRequest]:
    return [
        WriteRequest(kind=WriteKind.CANCEL, account_id=account.id, target=order.id)
        for order in account.orders or ()
        if order.type in ENTRY_TYPES
    ]


def _closes(account: Account) -> list[WriteRequest]:
    """Largest first; per side that exists, since "ALL" of a missing side refuses both."""
    closes: list[WriteRequest] = []
    for position in sorted(account.positions or (), key=_size, reverse=True):
        body = {}
        if position.long.units != 0:
            body["longUnits"] = "ALL"
        if position.short.units != 0:
            body["shortUnits"] = "ALL"
        if body:
            closes.append(
                WriteRequest(
                    kind=WriteKind.CLOSE_POSITION, account_id=account.id,
                    target=position.instrument, body=msgspec.json.encode(body).decode(),
                )
            )  # fmt: skip
    return closes


def _size(position: Position) -> Decimal:
    return position.margin_used or abs(position.long.units) + abs(position.short.units)


class _Flattening:
    """What one account's liquidation has done so far."""

    def __init__(self, before: AccountReceipt) -> None:
        self.account_id = before.account_id
        self.cancelled = [*before.orders_cancelled]
        self.closed = [*before.trades_closed]
        self.still_open: tuple[str, ...] = ()
        self.pending: tuple[str, ...] = ()
        self.realized = Decimal(before.realized_pl)
        self.problem = ""
        self.halted = False
        self.progress = False
        self.told = ""
        self._seen_id = 0

    def read(self, account: Account) -> bool:
        """Whether this read shows nothing open; a read older than one before never does."""
        number = int(account.last_transaction_id)
        stale = number < self._seen_id
        self._seen_id = max(self._seen_id, number)
        if account.trades is None or account.orders is None or account.positions is None:
            self.problem = "the venue's answer lacks its lists"  # missing is unknown, not empty
            return False
        self.still_open = tuple(t.id for t in account.trades)
        self.pending = tuple(o.id for o in account.orders if o.type in ENTRY_TYPES)
        return not (stale or self.still_open or self.pending)

    @property
    def holds(self) -> bool:
        """Whether the last read showed anything to cancel or close, or nothing readable."""
        return bool(self.still_open or self.pending)

    def heard(self, outcome: WriteOutcome) -> None:
        match outcome:
            case Answered():
                for transaction in outcome.transactions:
                    self._heard(transaction)
            case Rejected():
                self.problem = f"{outcome.status} {outcome.code} {outcome.message}"
            case Unknown() | NotSent():
                self.problem = outcome.reason

    def _heard(self, transaction: Transaction) -> None:
        if transaction.type == "ORDER_FILL":
            parts = [*(transaction.trades_closed or ())]
            self.closed.extend(part.trade_id for part in parts)
            self.realized += transaction.pl or 0
            self.halted, self.problem, self.progress = False, "", True
        elif transaction.type == "ORDER_CANCEL" and transaction.reason == "CLIENT_REQUEST":
            self.cancelled.append(transaction.order_id or "")
            self.progress = True
        elif transaction.type == "ORDER_CANCEL" and transaction.reason in _HALTED:
            self.halted = True
            self.problem = f"the market is closed ({transaction.reason})"

    def summary(self) -> str:
        if self.halted:
            return f"waiting for the market: {len(self.still_open)} trades open"
        return (
            f"cancelled {len(self.cancelled)} orders, closed {len(self.closed)} trades, "
            f"realised {self.realized}"
        )

    def receipt(self, verified_ns: Instant | None) -> AccountReceipt:
        return AccountReceipt(
            account_id=self.account_id, orders_cancelled=tuple(self.cancelled),
            trades_closed=tuple(self.closed), still_open=self.still_open,
            pending_orders=self.pending, realized_pl=str(self.realized),
            verified_ns=verified_ns, problem=self.problem,
        )  # fmt: skip


_HALTED = frozenset(("MARKET_HALTED", "INSTRUMENT_BID_HALTED", "INSTRUMENT_ASK_HALTED"))
