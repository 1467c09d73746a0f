"""What a person asks of what is open: close, cancel, tighten; asked, waited for, shown."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.kernel.engine import Kernel
from orchestrator.kernel.engine.state import ReductionRecord
from orchestrator.model.events import ReduceRisk
from orchestrator.model.facts import OperatorActed
from orchestrator.model.money import AccountId, Side
from orchestrator.model.ports import Clock
from orchestrator.model.reducing import ReduceKind, ReductionState
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.seams import new_id
from orchestrator.service.views import ReductionView, Refused

# The venue's answer takes 5 s at most; then the log is asked, and the person sees "unknown".
_WAIT_S = 6.0
_WRITTEN_WITHIN_S = 1.0
_POLL_S = 0.02
_OPEN = frozenset((ReductionState.WRITTEN, ReductionState.UNKNOWN))


class ReduceWish(msgspec.Struct, frozen=True, kw_only=True):
    """As in `ReduceRisk`. `instrument`: what the caller takes a trade to be in; "" does not say.

    `command_id` of the caller's own makes the call safe to repeat; "" is made by the desk.
    """

    kind: ReduceKind
    account_id: AccountId
    target: str
    units: Decimal | None = None
    side: Side | None = None
    price: Decimal | None = None
    instrument: str = ""
    reason: str = ""
    command_id: str = ""


class ReducingDesk:
    """Part of the front desk."""

    def __init__(self, engine: ExecutionEngine, clock: Clock) -> None:
        self._engine = engine
        self._kernel = engine.kernel
        self._clock = clock

    async def reduce(self, wish: ReduceWish, actor: str) -> ReductionView | Refused:
        """What became of it within some seconds; `Refused` where nothing was or will be done."""
        wrong = self._misread(wish)
        if wrong is not None:
            return self._refuse(wish, actor, wrong)
        event = ReduceRisk(
            command_id=wish.command_id or new_id("reduce"), kind=wish.kind,
            account_id=wish.account_id, target=wish.target, units=wish.units, side=wish.side,
            price=wish.price, actor=actor, reason=wish.reason,
        )  # fmt: skip
        for fact in self._engine.command(event):
            if isinstance(fact, OperatorActed) and fact.refused:
                return Refused(
                    status=409, title="Refused", detail=fact.refused,
                    items=tuple(fact.refused.split("; ")),
                )  # fmt: skip
        record = await self._settled(event)
        return _told(record, persisted=await self._engine.settled(_WRITTEN_WITHIN_S))

    def _misread(self, wish: ReduceWish) -> Refused | None:
        """The wrong account, or a page that is stale."""
        book = self._kernel.books.get(wish.account_id)
        if wish.account_id not in self._kernel.account_ids:
            detail = f"There is no account {wish.account_id!r}."
            return Refused(status=404, title="No such account", detail=detail)
        trade = None if book is None else book.trades.get(wish.target)
        if wish.instrument and trade is not None and trade.instrument != wish.instrument:
            detail = f"Trade {wish.target} is of {trade.instrument}, not of {wish.instrument}."
            return Refused(status=409, title="Another instrument", detail=detail)
        return None

    def _refuse(self, wish: ReduceWish, actor: str, answer: Refused) -> Refused:
        """Written down all the same (D2); not while the store fails: what waits stays bounded."""
        if self._engine.storing:
            self._engine.note(
                OperatorActed(actor=actor, action=wish.kind.value, text="", refused=answer.detail)
            )
        return answer

    async def _settled(self, event: ReduceRisk) -> ReductionRecord:
        record = self._kernel.reduction(event.account_id, event.command_id)
        assert record is not None, "the kernel has refused it, or has written it down"
        for _ in range(round(_WAIT_S / _POLL_S)):
            if record.state not in _OPEN:
                break
            await self._clock.sleep(_POLL_S)
        return record

    def reductions(self) -> tuple[ReductionView, ...]:
        return reductions_of(self._kernel)


def reductions_of(kernel: Kernel) -> tuple[ReductionView, ...]:
    """Of the last day, the newest first."""
    found = sorted(kernel.reductions(), key=lambda each: each.reduction.written_ns, reverse=True)
    return tuple(view_of(each, persisted=True) for each in found)


def _told(record: ReductionRecord, *, persisted: bool) -> ReductionView | Refused:
    if not persisted and record.state is not ReductionState.DONE:
        return Refused(
            status=503, title="Not written down",
            detail=f"It is {record.state}, and the store does not write: {record.reason}",
        )  # fmt: skip
    if record.state in _OPEN or record.state is ReductionState.DONE:
        return view_of(record, persisted=persisted)
    title = "Refused by the venue" if record.state is ReductionState.REFUSED else "Not done"
    return Refused(status=409, title=title, detail=record.reason or record.state.value)


def view_of(record: ReductionRecord, *, persisted: bool) -> ReductionView:
    wish = record.reduction
    return ReductionView(
        command_id=wish.command_id, kind=wish.kind, state=record.state,
        account_id=wish.account_id, instrument=wish.instrument, target=wish.target,
        units=wish.units, side=wish.side, price=wish.price, actor=wish.actor, why=wish.reason,
        reason=record.reason, transaction_id=record.transaction_id, written_ns=wish.written_ns,
        since_ns=record.since_ns, persisted=persisted,
    )  # fmt: skip
