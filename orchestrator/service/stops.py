"""One emergency stop for all nodes: each keeps its gate in step with the board (SAFETY 5.2, 5.3).

Whoever raises a stop closes his own gate first, then tells the board. A node takes up every stop
that stands there, and lets go of one only when the board says that a recorded resume has ended it.
What cannot be read changes nothing: a stop that is not known to have ended stands (K1).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec
import structlog

from orchestrator.model.errors import LeaseError
from orchestrator.model.leading import StopNotice
from orchestrator.model.money import AccountId
from orchestrator.model.ports import StopBoard
from orchestrator.model.safety import StopReceipt, StopState
from orchestrator.service.gate import Gate, Latch
from orchestrator.service.safety_monitor import SafetyMonitor
from orchestrator.service.seams import mono_ns, new_id, wall_ns
from orchestrator.service.stop_calls import to_nobody

log = structlog.get_logger()

T = TypeVar("T")

_LOOK_S = 0.05  # at the gate's word, which another process may close
_STEP_S = 0.5  # at the board, when nobody calls
_ANSWER_S = 0.06
_LATCH_NEXT_S = 0.2
_GAP_NS = 1_000_000_000


class NodeStops:
    """The stops of a node that stands by. `leads()` tells whether anybody carries them out."""

    def __init__(self, gate: Gate, board: StopBoard, node: str, leads: Callable[[], bool]) -> None:
        self._gate = gate
        self._board = board
        self._node = node
        self._leads = leads
        self._latch = gate.read_latch()
        self._on_disk: Latch | None = self._latch
        self._shared = False
        self._writing = threading.Lock()
        self._told_receipt = ""
        self._took_us = 0
        self._turned_ns = self._well_ns = mono_ns()
        self._call = asyncio.Event()
        self._stepped = asyncio.Event()
        # To the other nodes, beside the board; quick, and never fails.
        self.call_out: Callable[[Latch], None] = to_nobody
        board.on_told(self._call.set)

    @property
    def latch(self) -> Latch | None:
        """Of the stop in force here."""
        return self._latch

    # -- raising ---------------------------------------------------------------------------------

    async def emergency_stop(
        self, actor: str, reason: str, *, liquidate: bool, accounts: tuple[AccountId, ...]
    ) -> StopReceipt:
        """Close this node's gate, then tell the others. Answers within 100 ms, come what may."""
        began = mono_ns()
        if not accounts:
            self._gate.close()
        self._took_us = self._took_us or (mono_ns() - began) // 1000
        already = self._latch is not None
        raised = Latch(
            stop_id=new_id("stop"), actor=actor, reason=reason, liquidate=liquidate,
            closed_ns=wall_ns(), accounts=accounts,
        )  # fmt: skip
        self._latch = raised if self._latch is None else _joined(self._latch, raised)
        self.call_out(self._latch)
        self._shared = False
        self._stepped.clear()
        self._call.set()
        writing = asyncio.get_running_loop().run_in_executor(None, self._write, self._latch)
        await asyncio.wait((writing,), timeout=_ANSWER_S)
        took_s = (mono_ns() - began) / 1e9
        if took_s < _ANSWER_S and not self._shared:
            await self._once_stepped(_ANSWER_S - took_s)
        receipt = self._receipt(self._latch)
        return msgspec.structs.replace(receipt, already_stopped=already)

    def hear(self, latch: Latch) -> None:
        """A stop that another node called out; the board is looked at next, and decides."""
        self._take_up(notice_of(latch, ""))
        self._shared = False
        self._call.set()

    async def _once_stepped(self, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                await self._stepped.wait()
        except TimeoutError:
            log.warning("stop.not_shared_yet")

    def _write(self, latch: Latch) -> None:
        """In a thread; one at a time, since all write through one temporary file."""
        with self._writing:
            if self._on_disk == latch:
                return
            try:
                self._gate.latch(latch)
            except OSError as exc:
                log.warning("latch.failed", reason=str(exc))
            else:
                self._on_disk = latch

    def receipt(self) -> StopReceipt | None:
        """Of the stop in force; None when there is none."""
        return None if self._latch is None else self._receipt(self._latch)

    def _receipt(self, latch: Latch) -> StopReceipt:
        """The leader's, as soon as it has told one; until then what is known here."""
        persisted = self._on_disk == latch
        told = _read_receipt(self._told_receipt)
        if told is not None:
            return msgspec.structs.replace(told, node=self._node, shared=self._shared)
        state = StopState.LIQUIDATING if self._leads() else StopState.NOT_FLAT
        return StopReceipt(
            stop_id=latch.stop_id, state=state if latch.liquidate else StopState.STOPPED,
            actor=latch.actor, reason=latch.reason, gate_closed_at=latch.closed_ns,
            took_us=self._took_us, persisted=persisted, liquidate=latch.liquidate,
            already_stopped=True, node=self._node, shared=self._shared,
        )  # fmt: skip

    # -- keeping in step -------------------------------------------------------------------------

    async def keep(self) -> None:
        """Runs until cancelled."""
        while True:
            try:
                await self.step()
            except (LeaseError, OSError) as exc:
                log.warning("stops.not_in_step", reason=str(exc))
            await self._wait()
            self._call.clear()

    @property
    def well_s(self) -> float:
        """For how long this loop has turned without a gap; as the guard counts beats (G5)."""
        now = mono_ns()
        self._turn(now)
        return (now - self._well_ns) / 1e9

    def _turn(self, now: int) -> None:
        if now - self._turned_ns > _GAP_NS:
            self._well_ns = now
        self._turned_ns = now

    async def _wait(self) -> None:
        for _ in range(round(_STEP_S / _LOOK_S)):
            self._turn(mono_ns())
            if self._call.is_set() or (self._gate.stopped and self._latch is None):
                return
            await asyncio.sleep(_LOOK_S)

    async def step(self) -> None:
        """Once: LeaseError, OSError when that cannot be done now."""
        standing = await self._board.standing()
        for notice in standing:
            self._take_up(notice)
        await self._find_own()
        if self._latch is not None:
            await self._tell_or_let_go(self._latch, standing)
        if self._latch is not None and self._on_disk != self._latch:
            await _in_thread(self._write, self._latch)
        self._stepped.set()

    async def _find_own(self) -> None:
        """A stop that another process of this machine has raised: its latch, or the word alone."""
        found = await _in_thread(self._gate.read_latch)
        if found is None and self._gate.stopped and self._latch is None:
            await asyncio.sleep(_LATCH_NEXT_S)  # whoever closed the word writes the latch next
            found = await _in_thread(self._gate.read_latch)
        if found is not None and found != self._on_disk:
            self._on_disk = found
            self._join(found)
        elif found is None and self._gate.stopped and self._latch is None:
            self._join(
                Latch(
                    stop_id=new_id("stop"), actor="unknown", reason="the gate was found closed",
                    liquidate=True, closed_ns=wall_ns(),
                )
            )  # fmt: skip

    def _join(self, latch: Latch) -> None:
        log.warning("stop.raised", actor=latch.actor, reason=latch.reason, stop=latch.stop_id)
        self._latch = latch if self._latch is None else _joined(self._latch, latch)
        self.call_out(self._latch)
        self._shared = False

    def _take_up(self, notice: StopNotice) -> None:
        if not notice.accounts:
            self._gate.close()
        told = latch_of(notice)
        if self._latch is None:
            log.warning("stop.raised", actor=told.actor, reason=told.reason, stop=told.stop_id)
            self._latch = told
        if self._latch.stop_id in (notice.stop_id, notice.joined_to):
            self._latch = _joined(self._latch, told)

    async def _tell_or_let_go(self, latch: Latch, standing: Iterable[StopNotice]) -> None:
        on_board = next((n for n in standing if n.stop_id == latch.stop_id), None)
        if on_board is None:
            on_board = await self._board.find(latch.stop_id)
        if on_board is not None and on_board.ended:
            self._let_go(latch, on_board)
            for notice in standing:
                self._take_up(notice)
            return
        if on_board is None or _joined(latch_of(on_board), latch) != latch_of(on_board):
            await self._board.put(notice_of(latch, self._node))
        else:
            self._told_receipt = on_board.receipt
        self._shared = self._latch is latch

    def _let_go(self, latch: Latch, notice: StopNotice) -> None:
        """A person has resumed at the leader, and that is recorded (INV-07)."""
        if self._latch is not latch or not self._gate.reopen(latch.stop_id):
            return  # somebody has stopped again meanwhile
        log.warning("stop.ended", stop=latch.stop_id, by=notice.ended_by)
        self._latch = self._on_disk = None
        self._told_receipt, self._took_us, self._shared = "", 0, False


async def _in_thread(work: Callable[..., T], *values: object) -> T:
    """A disk may hang: the loop, and so the next stop, does not."""
    return await asyncio.get_running_loop().run_in_executor(None, work, *values)


class LeaderStops:
    """The stops of the node that leads: those of the board are carried out, its own told there."""

    def __init__(
        self, safety: SafetyMonitor, board: StopBoard, node: str, resumed: Iterable[str]
    ) -> None:
        """`resumed`: stops that the journal says a person has ended."""
        self._safety = safety
        self._board = board
        self._node = node
        self._resumed = frozenset(resumed)
        self._told: Latch | None = None
        self._shown = b""
        self._call = asyncio.Event()
        board.on_told(self._call.set)

    async def keep(self) -> None:
        """Runs until cancelled."""
        while True:
            try:
                await self.step()
            except LeaseError as exc:
                log.warning("stops.not_in_step", reason=str(exc))
            try:
                async with asyncio.timeout(_STEP_S):
                    await self._call.wait()
            except TimeoutError:
                continue
            finally:
                self._call.clear()

    async def step(self) -> None:
        """Once; LeaseError when the board cannot be read now."""
        for notice in await self._board.standing():
            await self._heed(notice)
        latch = self._safety.latch
        if latch is not None and latch != self._told:
            await self._board.put(notice_of(latch, self._node))
            self._told = latch
        receipt = self._safety.receipt()
        if receipt is not None:
            await self._show(receipt)

    async def _heed(self, notice: StopNotice) -> None:
        latch = self._safety.latch
        if latch is not None and latch.stop_id in (notice.stop_id, notice.joined_to):
            if _joined(latch, latch_of(notice)) != latch:
                await self._raise(notice)
        elif self._ended(notice.stop_id) or self._ended(notice.joined_to):
            await self._board.end(notice.stop_id, "resumed")
        else:
            await self._raise(notice)
            standing = self._safety.latch
            if standing is not None and standing.stop_id != notice.stop_id:
                joined = msgspec.structs.replace(notice, joined_to=standing.stop_id)
                await self._board.put(joined)

    def _ended(self, stop_id: str) -> bool:
        return stop_id in self._resumed or stop_id in self._safety.resumed

    async def _raise(self, notice: StopNotice) -> None:
        await self._safety.emergency_stop(
            notice.actor, notice.reason, liquidate=notice.liquidate,
            accounts=tuple(map(AccountId, notice.accounts)), stop_id=notice.stop_id,
        )  # fmt: skip

    async def _show(self, receipt: StopReceipt) -> None:
        told = msgspec.json.encode(receipt)
        if told != self._shown:
            await self._board.show(receipt.stop_id, told.decode())
            self._shown = told


def latch_of(notice: StopNotice) -> Latch:
    """As the latch file says it."""
    return Latch(
        stop_id=notice.stop_id, actor=notice.actor, reason=notice.reason,
        liquidate=notice.liquidate, closed_ns=notice.closed_ns, accounts=notice.accounts,
    )  # fmt: skip


def notice_of(latch: Latch, node: str) -> StopNotice:
    """As the board says it."""
    return StopNotice(
        stop_id=latch.stop_id, node=node, actor=latch.actor, reason=latch.reason,
        liquidate=latch.liquidate, closed_ns=latch.closed_ns, accounts=latch.accounts,
    )  # fmt: skip


def _joined(standing: Latch, other: Latch) -> Latch:
    """The standing stop, widened: liquidation and accounts are only ever added (SAFETY 5.4)."""
    accounts = standing.accounts
    if accounts and not set(other.accounts or ("all",)) <= set(accounts):
        accounts = tuple(sorted({*accounts, *other.accounts})) if other.accounts else ()
    return msgspec.structs.replace(
        standing, liquidate=standing.liquidate or other.liquidate, accounts=accounts
    )


def _read_receipt(text: str) -> StopReceipt | None:
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=StopReceipt)
    except msgspec.MsgspecError as exc:
        log.warning("receipt.unreadable", reason=str(exc))
        return None
