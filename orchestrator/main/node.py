"""One node of several on one database: it stands by, leads, and stands by again (SAFETY 9)."""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import structlog

from orchestrator import __version__
from orchestrator.adapters.bus.in_process import InProcessBus
from orchestrator.kernel.engine import Kernel
from orchestrator.main.parts import kernel_plan
from orchestrator.main.stores import SharedStore
from orchestrator.model.errors import LeaseError, OrchestratorError, StoreError, StoreLocked
from orchestrator.model.facts import Resumed, Stopped
from orchestrator.model.journal import RecordFilter
from orchestrator.model.leading import LeaseView
from orchestrator.model.ports import Lease, MarketReader, StopBoard, Store
from orchestrator.model.safety import Alert, Severity
from orchestrator.service.gate import Gate
from orchestrator.service.health_desk import About
from orchestrator.service.leader import Leadership, Term, Watch
from orchestrator.service.seams import SystemClock, lease_ns, new_id
from orchestrator.service.standby import Follower, StandbyDesk
from orchestrator.service.stop_calls import StopCalls
from orchestrator.service.stops import LeaderStops, NodeStops
from orchestrator.service.supervisor import System
from orchestrator.settings import Settings

log = structlog.get_logger()

_AGAIN_S = 0.5
_STOPS_KEPT = 200
_WELL_S = 5.0
NODE_ID = "node-id"


class SharedLease(Lease, StopBoard, Protocol):
    """Both of what nodes tell each other, over one session."""


class Keep(NamedTuple):
    """What a node keeps over its leaderships; the store is opened anew after each."""

    open_store: Callable[[], SharedStore]
    lease: SharedLease
    gate: Gate
    market: MarketReader


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """How this node was asked to run: who it is, and what it does in a rescue."""

    node: str  # as `node_id`
    name: str
    until_flat: bool = False


class Node:
    """`lead` lives one leadership, from connecting to the venue to the system's end."""

    def __init__(
        self, settings: Settings, asked: Asked, keep: Keep, lead: Callable[[], Awaitable[None]]
    ) -> None:
        """Opens the store: StoreError in plain words."""
        self._open_store, self._lease, self._gate, self._market = keep
        self.store = self._open_store()
        self._settings = settings
        self._asked = asked
        self._lead = lead
        self._clock = SystemClock()
        self._calendar = settings.paper_market_hours if settings.on_paper else "fx"
        self._ended = asyncio.Event()
        self._leadership: Leadership | None = None
        self._system: System | None = None
        self._took_from = ""
        self.standby: StandbyDesk | None = None
        self.calls: StopCalls | None = None  # the quickest way to the other nodes, if there is one

    # -- life ------------------------------------------------------------------------------------

    def end(self) -> None:
        """Ask for an orderly end; a leadership ends with its system."""
        self._ended.set()

    async def live(self) -> None:
        """Until `end`, or until something breaks."""
        try:
            while not self._ended.is_set():
                stops = NodeStops(self._gate, self._lease, self._asked.name, self._someone_leads)
                if self.calls is not None:
                    self.calls.hear_by(stops.hear)
                    stops.call_out = self.calls.call_out
                term = await self._stand_by(stops)
                if term is not None:
                    await self._lead_on(term, stops)
                    await self._open_anew()
        finally:
            await self._lease.close()

    async def _open_anew(self) -> None:
        """A store that has led knows an epoch that is over: another object follows the journal."""
        await asyncio.to_thread(self.store.close)
        while not await self._ended_within(0):
            try:
                self.store = await asyncio.to_thread(self._open_store)
            except StoreError as exc:
                log.warning("store.failed", reason=str(exc))
                await self._ended_within(_AGAIN_S)
            else:
                return

    def close(self) -> None:
        """After `live` has ended. Idempotent."""
        self.store.close()

    def _someone_leads(self) -> bool:
        return self.standby is not None and self.standby.leads

    # -- standing by -----------------------------------------------------------------------------

    async def _stand_by(self, stops: NodeStops) -> Term | None:
        """Until the lease is ours; None at the end. Nobody's is taken without standing by."""
        watch = Watch(self._asked.node)
        term, view = await self._try(watch)
        if term is not None:
            return term
        follower = self._follower()
        desk = self.standby = self._desk(follower, stops)
        desk.leader = view
        log.info("node.stands_by", leader=view.address if view is not None else "unknown")
        async with asyncio.TaskGroup() as tasks:
            company = [
                tasks.create_task(follower.run(), name="follow"),
                tasks.create_task(stops.keep(), name="stops"),
            ]
            try:
                while term is None and not await self._ended_within(watch.next_s(lease_ns())):
                    term, view = await self._try(watch)
                    desk.leader = view
            finally:
                for each in company:
                    each.cancel()
        return term

    async def _try(self, watch: Watch) -> tuple[Term | None, LeaseView | None]:
        """Look at the lease, and take it if it is due."""
        began_ns = lease_ns()
        try:
            view = await self._lease.look()
            self._refuse(view)
            if not watch.saw(view, began_ns, lease_ns()):
                return None, view
            began_ns = lease_ns()
            epoch = await self._lease.take(view)
        except LeaseError as exc:
            log.warning("lease.unanswered", reason=str(exc))
            return None, None
        if epoch is None:
            return None, view
        log.warning("lease.taken", epoch=epoch, before=view.holder or "nobody")
        self._took_from = view.holder if view.node != self._asked.node else ""
        return await self._leading(Term(began_ns), epoch), view

    async def _leading(self, term: Term, epoch: int) -> Term:
        """The store writes under our epoch, or this leadership ends before it began."""
        try:
            await asyncio.to_thread(self.store.lead, epoch)
        except StoreError as exc:
            term.lose(f"the store could not be taken over: {exc}")
        return term

    def _refuse(self, view: LeaseView) -> None:
        """What must not go on with another node's books or lease; OrchestratorError says why."""
        others = view.node not in {"", self._asked.node}
        if others and self._settings.on_paper and self._settings.base_url is None:
            raise OrchestratorError(
                "OANDA_BASE_URL: this database was led by another node, and several nodes need one"
                " venue: start `orchestrator paper` by hand, and set OANDA_BASE_URL to its address"
            )
        if others and self._asked.until_flat and view.holder and view.left_ms > 0:
            raise StoreLocked(f"another node leads, and closes positions: {view.address}")

    async def _ended_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True

    def _follower(self) -> Follower:
        plan = kernel_plan(self._settings, self._calendar)
        return Follower(self.store, lambda: Kernel(plan), self._clock)

    def _desk(self, follower: Follower, stops: NodeStops) -> StandbyDesk:
        bus = InProcessBus()
        follower.hear = bus.publish
        about = About(
            environment=self._settings.oanda_environment, version=__version__,
            node=self._asked.name, calendar=self._calendar,
        )  # fmt: skip
        reads = self.store.queries, self._market
        return StandbyDesk(follower, stops, self._gate, bus, *reads, self._clock, about)

    # -- leading ---------------------------------------------------------------------------------

    async def _lead_on(self, term: Term, stops: NodeStops) -> None:
        """Until the system has ended, or the lease is another's: then all of it is cut off here."""
        self._gate.lead_by(
            lambda: term.objection(lease_ns()), lambda: term.reducing_objection(lease_ns())
        )
        self._leadership = Leadership(self._lease, term, lease_ns, self._lost)
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(self._leadership.keep(), name="lease")
            leading = tasks.create_task(self._lead_in_step(stops, term), name="lead")
            try:
                await asyncio.wait((keeping, leading), return_when=asyncio.FIRST_COMPLETED)
            finally:
                leading.cancel()
                keeping.cancel()
        self._system = None
        if not term.lost:
            term.lose("it has ended in order")
            await self._release()

    async def _lead_in_step(self, stops: NodeStops, term: Term) -> None:
        """First the stops of all nodes: one that was raised while nobody led stands from now on."""
        while not term.lost:
            try:
                await stops.step()
            except (LeaseError, OSError) as exc:
                log.warning("stops.not_in_step", reason=str(exc))
                await asyncio.sleep(_AGAIN_S)
            else:
                self._let_go_of_hold(stops)
                self.standby = None
                await self._lead()
                return
        await asyncio.sleep(_AGAIN_S)  # not begun; and not at once anew

    def _let_go_of_hold(self, stops: NodeStops) -> None:
        """What the guard of an earlier leadership held: this one begins with all accounts read
        afresh, after a loop that has turned well for as long as the guard would ask (G5).
        """
        if self._gate.held and stops.well_s >= _WELL_S:
            log.info("guard.hold_ended")
            self._gate.release()

    async def _release(self) -> None:
        try:
            await self._lease.release()
        except LeaseError as exc:
            log.warning("lease.not_released", reason=str(exc))

    def _lost(self, reason: str) -> None:
        log.error("lease.lost", reason=reason)
        if self._system is not None:
            self._system.engine.abandon(reason)

    def accompany(self, system: System) -> None:
        """What a system of ours has beside it: the board of stops, and the end by a fence."""
        self._system = system
        leadership = self._leadership
        assert leadership is not None, "a system is built within a leadership"
        system.engine.hooks.fenced = lambda exc: leadership.end(f"the store refused: {exc}")
        ended = stops_that_ended(self.store)
        stops = LeaderStops(system.safety, self._lease, self._asked.name, ended)
        system.accompany(stops.keep, lambda: self._tell_takeover(system))

    async def _tell_takeover(self, system: System) -> None:
        if not self._took_from:
            return
        await system.up.wait()
        system.safety.raise_alert(
            Alert(
                key=f"takeover:{self._asked.name}", severity=Severity.WARNING,
                title=f"Node {self._asked.name} leads now", at_ns=system.clock.now(),
                text=f"the lease of {self._took_from} had run out; orders on the wire are settled"
                " by the venue's log",
            )
        )  # fmt: skip


def stops_that_ended(store: Store) -> Iterable[str]:
    """Ids of stops whose last word in the journal is a recorded resume."""
    wanted = RecordFilter(types=("stop.raised", "stop.resumed"), limit=_STOPS_KEPT)
    last: dict[str, bool] = {}
    for record in reversed(store.records(wanted)):
        kind = Resumed if record.type == "stop.resumed" else Stopped
        last[msgspec.json.decode(record.data, type=kind).stop_id] = kind is Resumed
    return [stop_id for stop_id, ended in last.items() if ended]


def asked_of(settings: Settings, *, until_flat: bool) -> Asked:
    """Who this node is. OSError when the state folder cannot be written."""
    name = settings.node_name or platform.node() or "node"
    return Asked(node=node_id(settings.state_dir), name=name, until_flat=until_flat)


def node_id(folder: Path) -> str:
    """Of this folder on this machine: a copy of the folder elsewhere is another node.

    Only so may "our own" lease be taken at once: the lock of this very folder proves that its
    former process is dead.
    """
    path = folder / NODE_ID
    try:
        chance = path.read_text().strip()
    except FileNotFoundError:
        chance = new_id("node")
        path.write_text(chance + "\n")
    here = os.stat(folder)
    place = f"{chance}\0{_machine_id()}\0{here.st_dev}\0{here.st_ino}"
    return hashlib.sha256(place.encode()).hexdigest()[:24]


def _machine_id() -> str:
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""
