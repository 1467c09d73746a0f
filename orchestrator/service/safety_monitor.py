"""The emergency stop from its first instant to its receipt, and the liquidations of breakers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import structlog

from orchestrator.model.acts import CloseGate, Liquidate
from orchestrator.model.events import EmergencyStop
from orchestrator.model.facts import AlertRaised
from orchestrator.model.money import AccountId
from orchestrator.model.ports import Clock, VenueReader, VenueWriter
from orchestrator.model.safety import AccountReceipt, Alert, Severity, StopReceipt, StopState
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.gate import Gate, Latch
from orchestrator.service.liquidation import Liquidator
from orchestrator.service.nest import Nest, NestClosed
from orchestrator.service.seams import mono_ns, new_id, wall_ns
from orchestrator.service.stop_calls import to_nobody

log = structlog.get_logger()

_LATCH_WAIT_S = 0.06  # the answer may take 100 ms in all, whatever the disk does
_LATCH_RETRY_S = 1.0
_WATCH_S = 0.05
_LATCH_NEXT_S = 0.2
_RESUMED_KEPT = 1_000
_WATCH_VIRTUAL_S = 10.0  # of virtual time, which flies


class _Standing(NamedTuple):
    """How far a liquidation has come at one account."""

    receipt: AccountReceipt
    state: StopState


class SafetyMonitor:
    """Raises stops, carries them out, and keeps their receipt.

    `threads` false (a virtual-time loop): the latch is written in the loop's own thread.
    """

    def __init__(
        self, engine: ExecutionEngine, gate: Gate, reader: VenueReader, writer: VenueWriter,
        clock: Clock, *, seed: int, threads: bool = True,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._gate = gate
        self._clock = clock
        self._threads = threads
        self._tasks: Nest | None = None
        self._standings: dict[tuple[str, AccountId], _Standing] = {}
        self._flattening: dict[AccountId, str] = {}  # whose cause is at work there
        self._latch: Latch | None = None
        self._persisted = False
        self._writer: asyncio.Task[None] | None = None
        self._next: dict[AccountId, dict[str, Liquidate]] = {}
        self._took_us = 0
        self.resumed: deque[str] = deque(maxlen=_RESUMED_KEPT)  # stops that a person has ended
        # To the other nodes, beside the board of stops; quick, and never fails.
        self.call_out: Callable[[Latch], None] = to_nobody
        self.raised = 0  # how often somebody has asked for a stop: a resume under way gives way
        self._liquidator = Liquidator(
            engine, reader, writer, clock, self._account_changed, self._takes_long, seed=seed
        )
        engine.hooks.liquidate = self._liquidate
        engine.hooks.stop = self._stop_by_kernel
        engine.hooks.alert = tell

    def attach(self, tasks: Nest) -> None:
        """The group whose tasks do the liquidating."""
        self._tasks = tasks

    # -- raising --------------------------------------------------------------------------------

    async def emergency_stop(
        self,
        actor: str,
        reason: str,
        *,
        liquidate: bool = True,
        accounts: tuple[AccountId, ...] = (),
        stop_id: str = "",
    ) -> StopReceipt:
        """Close the gate, then everything else. Returns within 100 ms, receipt as far as it is.

        `stop_id`: the id that another node has given it; "" for a new one.
        """
        began = mono_ns()
        self.raised += 1
        if not accounts:
            self._gate.close()
        closed_ns = wall_ns()
        took_us = (mono_ns() - began) // 1000
        already = self._latch is not None
        latch = self._merged(
            actor, reason, closed_ns, accounts, liquidate=liquidate, stop_id=stop_id
        )
        self._took_us = self._took_us or took_us
        self.call_out(latch)
        writing = self._start_writing(latch)
        self._engine.handle(_event_of(latch))
        if writing is not None:
            await asyncio.wait((writing,), timeout=_LATCH_WAIT_S)
        return self._receipt(latch, already=already)

    def _merged(
        self, actor: str, reason: str, closed_ns: int, accounts: tuple[AccountId, ...],
        *, liquidate: bool, stop_id: str,
    ) -> Latch:  # fmt: skip
        """A repeated stop keeps its id; it may add accounts or liquidation, never take away."""
        old = self._latch
        if old is None:
            return Latch(
                stop_id=stop_id or new_id("stop"), actor=actor, reason=reason,
                liquidate=liquidate, closed_ns=closed_ns, accounts=accounts,
            )  # fmt: skip
        merged = (
            tuple(dict.fromkeys((*old.accounts, *accounts))) if accounts and old.accounts else ()
        )
        return Latch(
            stop_id=old.stop_id, actor=old.actor, reason=old.reason,
            liquidate=old.liquidate or liquidate, closed_ns=old.closed_ns, accounts=merged,
        )  # fmt: skip

    def _start_writing(self, latch: Latch) -> asyncio.Task[None] | None:
        if latch == self._latch and self._persisted:
            return None
        self._latch, self._persisted = latch, False
        if self._tasks is None:
            self._persisted = self._try_latch(latch)
            return None
        if self._writer is None or self._writer.done():
            try:
                self._writer = self._tasks.create_task(self._write_latch(), name="latch")
            except NestClosed:  # the service ends just now, and the stop must outlast it
                self._persisted = self._try_latch(latch)
                return None
        return self._writer

    def _try_latch(self, latch: Latch) -> bool:
        try:
            self._gate.latch(latch)
        except OSError as exc:
            log.warning("latch.failed", reason=str(exc))
            return False
        return True

    async def _write_latch(self) -> None:
        """One writer at a time: until the latch as it is now is durable, or a resume ended it."""
        while (wanted := self._latch) is not None and not self._persisted:
            written = await self._written(wanted)
            if written and not self.stopped:
                self._gate.reopen(wanted.stop_id)  # resumed while this was being written
            elif written:
                self._persisted = self._latch is wanted
            else:
                self._note_alert("latch", "The stop is not written down", "writing is retried")
                await self._clock.sleep(_LATCH_RETRY_S)

    async def _written(self, latch: Latch) -> bool:
        if not self._threads:
            return self._try_latch(latch)
        return await asyncio.get_running_loop().run_in_executor(None, self._try_latch, latch)

    def _stop_by_kernel(self, act: CloseGate) -> None:
        self._gate.close()
        if self._tasks is not None:
            self._tasks.create_task(self._raise(act.actor, act.reason), name="stop")

    async def _raise(self, actor: str, reason: str) -> None:
        await self.emergency_stop(actor, reason)

    async def watch_gate(self) -> None:
        """Runs until cancelled: a gate closed by another process becomes a full stop."""
        while True:
            await self._clock.sleep(_WATCH_S if self._threads else _WATCH_VIRTUAL_S)
            if self._gate.stopped and (self._latch is None or self._latch.accounts):
                await self._adopt_latch()

    async def take_up_other_stop(self) -> bool:
        """Whether the latch on disk is another stop's than the standing one; it is joined to it."""
        found = self._gate.read_latch()
        if found is None or self._latch is None or found.stop_id == self._latch.stop_id:
            return False
        await self._adopt_latch()
        return True

    async def _adopt_latch(self) -> None:
        found = self._gate.read_latch()
        if found is None:
            # Whoever closed the word writes the latch next: its stop id is the one to keep.
            await self._clock.sleep(_LATCH_NEXT_S)
            found = self._gate.read_latch()
        if found is None or (self._latch is not None and found == self._latch):
            # The word was closed, and whoever closed it was cut off before the latch.
            await self.emergency_stop("unknown", "the gate was closed from outside")
            return
        log.warning("stop.raised", actor=found.actor, reason=found.reason, stop=found.stop_id)
        if self._latch is not None:
            # One stop stands already, and keeps its id: this one widens it to everything.
            await self.emergency_stop(found.actor, found.reason, liquidate=found.liquidate)
            return
        self.raised += 1
        self._latch, self._persisted = found, True
        self.call_out(found)
        self._engine.handle(_event_of(found))

    def hear(self, latch: Latch) -> None:
        """A stop that another node called out; this node's gate first, then all the rest of it."""
        if latch.stop_id in self.resumed:
            return  # a person has ended it here meanwhile
        if not latch.accounts:
            self._gate.close()
        if self._tasks is None:
            return  # the word is found closed as soon as somebody looks
        try:
            self._tasks.create_task(self._raise_heard(latch), name="stop")
        except NestClosed:
            log.warning("stop.left_to_the_next_life", stop=latch.stop_id)

    async def _raise_heard(self, latch: Latch) -> None:
        await self.emergency_stop(
            latch.actor, latch.reason, liquidate=latch.liquidate, stop_id=latch.stop_id,
            accounts=tuple(map(AccountId, latch.accounts)),
        )  # fmt: skip

    def found_at_start(self, latch: Latch, *, persisted: bool = True) -> None:
        """A stop of an earlier life: still stopped, and the liquidation goes on (E1)."""
        if not latch.accounts:
            self._gate.close()
        if persisted:
            self._latch, self._persisted = latch, True
        else:
            self._start_writing(latch)

    def continue_at_start(self) -> None:
        """After the accounts are known again: the same stop, repeated."""
        if self._latch is not None:
            self._engine.handle(_event_of(self._latch))

    # -- carrying out ---------------------------------------------------------------------------

    def _liquidate(self, act: Liquidate) -> None:
        for account_id in act.accounts:
            at_work = self._flattening.get(account_id)
            if at_work is None and self._tasks is not None:
                self._begin(act, account_id, self._tasks)
            elif at_work is not None and at_work != act.stop_id:
                # Another cause wants it flat as well: it is verified once more, for its receipt.
                self._next.setdefault(account_id, {})[act.stop_id] = act
                self._stand(act.stop_id, account_id)

    def _begin(self, act: Liquidate, account_id: AccountId, tasks: Nest) -> None:
        self._flattening[account_id] = act.stop_id
        receipt = self._stand(act.stop_id, account_id)
        try:
            tasks.create_task(self._flatten(act.stop_id, receipt), name=f"liquidate {account_id}")
        except NestClosed:  # the service ends just now; its next life goes on with it
            self._flattening.pop(account_id, None)

    def _stand(self, stop_id: str, account_id: AccountId) -> AccountReceipt:
        """At work (again): what the same cause did already counts."""
        standing = self._standings.get((stop_id, account_id))
        receipt = AccountReceipt(account_id=account_id) if standing is None else standing.receipt
        self._standings[stop_id, account_id] = _Standing(receipt, StopState.LIQUIDATING)
        return receipt

    async def _flatten(self, stop_id: str, before: AccountReceipt) -> None:
        account_id = before.account_id
        try:
            await self._liquidator.flatten(stop_id, before)
        finally:
            self._flattening.pop(account_id, None)
            if self._latch is None or self._latch.stop_id != stop_id:
                self._standings.pop((stop_id, account_id), None)  # a breaker's: no receipt is kept
            following = self._next.pop(account_id, {})
        for act in following.values():
            self._liquidate(msgspec.structs.replace(act, accounts=(account_id,)))

    @property
    def flattening(self) -> bool:
        """Whether a liquidation is at work."""
        return bool(self._flattening)

    def _account_changed(self, stop_id: str, receipt: AccountReceipt, state: StopState) -> None:
        self._standings[stop_id, receipt.account_id] = _Standing(receipt, state)

    def _takes_long(self, account_id: AccountId, took_s: float, problem: str) -> None:
        self._note_alert(
            f"liquidation:{account_id}:{int(took_s)}",
            f"Account {account_id} is not flat after {took_s:.0f} s", problem,
        )  # fmt: skip

    # -- alerts ---------------------------------------------------------------------------------

    def _note_alert(self, key: str, title: str, text: str) -> None:
        self.raise_alert(
            Alert(key=key, severity=Severity.CRITICAL, title=title, text=text,
                  at_ns=self._clock.now())
        )  # fmt: skip

    def raise_alert(self, alert: Alert) -> None:
        """An alert of the service's own: into the record, and told."""
        self._engine.note(AlertRaised(alert=alert))
        self._engine.hooks.alert(alert)

    # -- the receipt ----------------------------------------------------------------------------

    @property
    def latch(self) -> Latch | None:
        """Of the stop in force; None when there is none."""
        return self._latch

    @property
    def stopped(self) -> bool:
        return self._latch is not None

    @property
    def gate_is_open(self) -> bool:
        return not self._gate.closed

    def receipt(self) -> StopReceipt | None:
        """Of the stop in force; None when there is none."""
        return None if self._latch is None else self._receipt(self._latch, already=True)

    def _receipt(self, latch: Latch, *, already: bool) -> StopReceipt:
        return StopReceipt(
            stop_id=latch.stop_id, state=self._state(latch), actor=latch.actor,
            reason=latch.reason, gate_closed_at=latch.closed_ns, took_us=self._took_us,
            persisted=self._persisted, liquidate=latch.liquidate, already_stopped=already,
            last_order_first_byte_at=self._engine.last_first_byte_at,
            accounts=tuple(each.receipt for each in self._of(latch)),
        )  # fmt: skip

    def _state(self, latch: Latch) -> StopState:
        if not latch.liquidate:
            return StopState.STOPPED
        states = {each.state for each in self._of(latch)}
        for state in (StopState.NOT_FLAT, StopState.WAITING_MARKET, StopState.LIQUIDATING):
            if state in states:
                return state
        return StopState.FLAT if states else StopState.LIQUIDATING

    def _of(self, latch: Latch) -> list[_Standing]:
        return [each for (stop_id, _), each in self._standings.items() if stop_id == latch.stop_id]

    def reopened(self) -> bool:
        """After a recorded resume: the latch goes, then the word opens. OSError: still stopped.

        False: somebody outside has stopped anew; still stopped, and taken up by the watch.
        """
        if self._latch is None or not self._gate.reopen(self._latch.stop_id):
            return False
        self.resumed.append(self._latch.stop_id)
        self._latch, self._persisted, self._took_us = None, False, 0
        self._standings.clear()
        return True


def tell(alert: Alert) -> None:
    """To the log, where nothing else was wired; delivery to people is an adapter's."""
    level = log.error if alert.severity is Severity.CRITICAL else log.warning
    level("alert.raised", title=alert.title, text=alert.text, subject=alert.subject)


def _event_of(latch: Latch) -> EmergencyStop:
    return EmergencyStop(
        stop_id=latch.stop_id, actor=latch.actor, reason=latch.reason, liquidate=latch.liquidate,
        accounts=tuple(AccountId(a) for a in latch.accounts), gate_closed_ns=latch.closed_ns,
    )  # fmt: skip
