"""One life of the service: from its start to its death, or through the storm to a settled end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import cast

from orchestrator.kernel.audit import verify
from orchestrator.kernel.engine import Kernel
from orchestrator.model.errors import StoreError
from orchestrator.model.journal import Record
from orchestrator.model.money import AccountId
from orchestrator.model.safety import AccountMode, BreakerState, StopState, SystemMode
from orchestrator.model.time import trading_day
from orchestrator.research.simulate.closers import Closer
from orchestrator.research.simulate.closing import OPEN
from orchestrator.research.simulate.death import Death, Killed
from orchestrator.research.simulate.fates import CRASHES, dice_of
from orchestrator.research.simulate.limiters import Limiter
from orchestrator.research.simulate.listeners import Listeners
from orchestrator.research.simulate.operators import Operator, Trader
from orchestrator.research.simulate.parts import build_system, plan_of
from orchestrator.research.simulate.soon import store_of
from orchestrator.research.simulate.store import SimGate
from orchestrator.research.simulate.striking import struck
from orchestrator.research.simulate.world import ACCOUNTS, INSTALLATION, World
from orchestrator.service.supervisor import System

_LIVES_MAX = 8
_CRASH_AFTER_S = 45.0  # mean
_EARLY_S = (0.0, 1.5)
_UP_WITHIN_S = 60.0
_SETTLES_WITHIN_S = 240.0
_ENDS_WITHIN_S = 12.0
_LOOK_S = 0.1
_TASKS_MAX = 200
# These must be armed again when nothing is wrong any more.
_HEALED = frozenset(("A7", "S5", "M1"))
_ENTRIES = frozenset(("LIMIT", "STOP", "MARKET_IF_TOUCHED"))


class Life:
    """`live` returns True when the run has come to its end, False when this process was killed."""

    def __init__(self, world: World) -> None:
        world.lives += 1
        if world.lives >= _LIVES_MAX:
            world.fates.forget(CRASHES)
        self._world = world
        self._judge = world.judge
        self._death = Death()
        self._plan = plan_of(world)
        self._store = store_of(world, self._death)
        self._gate = SimGate(world, self._death)
        self._system: System = build_system(world, self._death, self._store, self._gate, self._plan)
        self._kernel = self._system.kernel
        world.judge.begin_life(
            self._plan, lambda: self._kernel.breakers(world.market.time.now()),
            lambda: self._system.engine.durable,
        )  # fmt: skip
        self._operator = Operator(world, self._system, self._death)
        self._trader = Trader(world, self._system, self._operator)
        self.head = b""

    # -- life and death ---------------------------------------------------------------------------

    async def live(self) -> bool:
        world = self._world
        world.tell(f"life {world.lives} begins")
        self._plan_death()
        try:
            with struck(world, self._death):
                await self._live_through()
            last = None if self._death.dead else self._store.last_record()
            self.head = last.hash if last is not None else b""
        finally:
            self._store.hear_the_rest()
            self._store.close()
        world.tell(f"life {world.lives} ends: {self._death.why or 'in order'}")
        return not self._death.dead

    async def _live_through(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self._run(), name="life")
            story = tasks.create_task(self._tell_story(), name="story")
            dying = tasks.create_task(self._death.over.wait(), name="death")
            every = {running, story, dying}
            await asyncio.wait(every, return_when=asyncio.FIRST_COMPLETED)
            if story.done() and not self._death.dead:
                await self._end(running)
            for task in every:
                task.cancel()

    def _plan_death(self) -> None:
        fates, loop = self._world.fates, self._world.loop
        for kind in ("crash", "older_store"):
            if fates.has(kind):
                after_s = fates.dice(kind).expovariate(1 / _CRASH_AFTER_S)
                loop.call_later(after_s, self._die, kind)
        early = fates.dice("crash_early")
        if fates.has("crash_early") and self._world.lives > 1 and early.random() < 1 / 2:
            loop.call_later(early.uniform(*_EARLY_S), self._die, "crash_early")

    def _die(self, kind: str) -> None:
        if self._world.fates.has(kind) and not self._death.dead:
            self._world.fates.struck[kind] += 1
            self._death.come(f"killed ({kind})")

    async def _run(self) -> None:
        try:
            await self._system.run()
        except Killed:
            return
        except BaseExceptionGroup as group:
            self._judge_end(tuple(_leaves(group)))
        except Exception as exc:  # noqa: BLE001 -- what ends a life is judged, whatever it is
            self._judge_end((exc,))
        if not self._death.dead and not self._ending:
            self._judge.blame("R1", "the service ended by itself")
            self._death.come("ended by itself")

    _ending = False
    _carried_on = False

    def _judge_end(self, causes: tuple[BaseException, ...]) -> None:
        """What took the service down: a kill, a store that failed at its start, or a bug."""
        if self._death.dead:
            return
        failed = all(type(cause) is StoreError for cause in causes)
        if not failed or self._world.fates.calm:
            text = "; ".join(f"{type(cause).__name__}: {cause}" for cause in causes)
            self._judge.blame("R1", f"the service died: {text}")
        self._death.come(f"died: {causes[0]}")

    async def _end(self, running: asyncio.Task[None]) -> None:
        self._ending = True
        self._system.shutdown()
        await asyncio.wait((running,), timeout=_ENDS_WITHIN_S)
        if not running.done():
            self._judge.blame("R5", f"the service does not end within {_ENDS_WITHIN_S:.0f} s")

    # -- the story --------------------------------------------------------------------------------

    async def _tell_story(self) -> None:
        try:
            await self._story()
        except Killed:
            return
        except BaseExceptionGroup as group:
            self._blame_raised(group)
        except Exception as exc:  # noqa: BLE001 -- the desk must answer, and never raise
            self._blame_raised(ExceptionGroup("", (exc,)))

    def _blame_raised(self, group: BaseExceptionGroup[BaseException]) -> None:
        for cause in _leaves(group):
            if not (self._death.dead or isinstance(cause, Killed)):
                self._judge.blame("desk", f"raised {type(cause).__name__}: {cause}")

    async def _story(self) -> None:
        if not await self._come_up():
            return
        async with asyncio.TaskGroup() as crew:
            crew.create_task(self._trader.work(), name="trader")
            crew.create_task(self._operator.work(), name="operator")
            crew.create_task(Closer(self._world, self._system).work(), name="closer")
            crew.create_task(Limiter(self._world, self._system).work(), name="limiter")
            crew.create_task(self._watch(), name="watch")
            crew.create_task(Listeners(self._world, self._system).work(), name="listeners")
        await self._settle("after the storm")
        await self._carry_on()
        await self._settle("at the end")
        self._judge.final()
        self._judge_books()
        self._judge_journal()

    async def _come_up(self) -> bool:
        world = self._world
        while not self._system.up.is_set():
            if world.now_s > world.storm_s + _UP_WITHIN_S:
                self._judge.blame("R1", f"not up {_UP_WITHIN_S:.0f} s after the storm")
                return False
            await asyncio.sleep(_LOOK_S)
        return True

    async def _watch(self) -> None:
        while not self._world.fates.calm:
            self._look()
            await asyncio.sleep(1.0)

    async def _carry_on(self) -> None:
        """A stop that stands has done its work; then trading goes on as if nothing had been."""
        self._look()
        self._carried_on = True
        await self._operator.enable_all()
        await self._operator.keep_running()
        for _ in range(3):
            await self._trader.send()

    # -- judging ----------------------------------------------------------------------------------

    def _look(self) -> None:
        """What must hold at any time in a service that is up."""
        judge = self._judge
        for account_id in sorted(judge.halted):
            mode = self._kernel.account_mode(account_id, self._world.market.time.now())
            if mode is not AccountMode.HALT:
                judge.blame("INV-07", f"{account_id} was stopped, and is {mode}")
        if judge.whole and not judge.gate_closed:
            judge.blame("INV-07", "all was stopped, and the gate is open")
        if self._system.engine.durable:  # else the outcomes wait for the store
            waiting = [record.intent for record in self._kernel.in_flight()]
            judge.judge_deadlines([(each.signal_id, each.account_id) for each in waiting])
            judge.overrides.look({each.override_id for each in self._kernel.overrides()})
            if judge.standing.trips:
                judge.standing.judge_views(self._kernel.breakers(self._world.market.time.now()))
        judge.losses.look(self._world.market.time.now())
        judge.look_at_naked()
        self._judge_books()
        tasks = len(asyncio.all_tasks())
        if tasks > _TASKS_MAX:
            judge.blame("INV-17", f"{tasks} tasks")

    async def _settle(self, when: str) -> None:
        began_s = self._world.now_s
        while wrong := self._unsettled():
            if self._world.now_s - began_s > _SETTLES_WITHIN_S:
                self._judge.blame("settling", f"{when}, {_SETTLES_WITHIN_S:.0f} s later: {wrong}")
                return
            await asyncio.sleep(1.0)
        self._world.tell(f"settled {when} in {self._world.now_s - began_s:.0f} s")

    def _unsettled(self) -> str:
        kernel, now = self._kernel, self._world.market.time.now()
        wrong = [f"{a} is not reconciled" for a in ACCOUNTS if not kernel.reconciled(a)]
        wrong += [f"{a} lacks {n} transactions" for a in ACCOUNTS if (n := self._judge.behind(a))]
        wrong += [f"{r.intent.intent_id} is {r.state}" for r in kernel.in_flight()]
        if kernel.signals_in_flight():
            wrong.append(f"{kernel.signals_in_flight()} signals are on their way")
        if kernel.storage_blocked or not self._system.engine.durable:
            wrong.append("not everything is durable")
        wrong += [
            f"{b.breaker} {b.subject} {b.state}"
            for b in kernel.breakers(now)
            if b.breaker in _HEALED and b.state in (BreakerState.TRIPPED, BreakerState.LATCHED)
        ]
        wrong += [f"{a} lives in another day" for a in ACCOUNTS if not self._today(a)]
        if self._judge.gate_closed and kernel.mode is not SystemMode.STOPPED and not self._asked():
            wrong.append(f"the gate is closed, and the system is {kernel.mode}")
        wrong += [
            f"{each.reduction.reduction_id} is {each.state}"
            for each in kernel.reductions()
            if each.state in OPEN
        ]
        if self._judge.closing.on_their_way:
            wrong.append("closes by hand are still on their way")
        if self._judge.on_their_way:
            wrong.append(f"{len(self._judge.on_their_way)} orders are still on their way")
        wrong += [f"trade {each} has no stop loss (INV-09)" for each in self._judge.naked()]
        wrong += [f"late trade {each} stays open (O7)" for each in self._judge.unwanted()]
        wrong += self._not_flat()
        return "; ".join(wrong)

    def _asked(self) -> bool:
        """Whether a person was told that their resume is not written down, and may ask again."""
        return not self._carried_on and self._system.desk.stop_receipt() is not None

    def _today(self, account_id: AccountId) -> bool:
        """B4: an account that is known is in today's trading day."""
        values = self._kernel.day_values(account_id)
        return values is not None and values.day == trading_day(self._world.market.time.now())[0]

    def _not_flat(self) -> list[str]:
        """A stop that liquidates is over when the venue's books are empty, and says so."""
        if self._system.safety.flattening:
            return ["a liquidation is at work"]
        wrong = [f"{a} is not flat" for a in sorted(self._judge.flat) if self._holds(a)]
        receipt = self._system.desk.stop_receipt()
        if receipt is not None and receipt.liquidate and receipt.state is not StopState.FLAT:
            wrong.append(f"the receipt says {receipt.state}")
        return wrong

    def _holds(self, account_id: AccountId) -> bool:
        books = self._world.market.exchange.accounts[account_id]
        return bool(books.trades) or any(o.type in _ENTRIES for o in books.pending.values())

    def _judge_books(self) -> None:
        """INV-06, compared here by hand: the kernel's own comparison is not its judge.

        Books at different transactions are not to be compared; once settled there are none.
        """
        exchange = self._world.market.exchange
        for account_id, ours in self._kernel.books.items():
            theirs = exchange.accounts[account_id]
            if ours.last_id != theirs.last_id:
                continue
            pairs = (
                ("balance", ours.balance, theirs.balance),
                ("trades", {t.trade_id: (t.units, t.price) for t in ours.trades.values()},
                 {t.id: (t.current_units, t.price) for t in theirs.trades.values()}),
                ("orders", sorted(ours.orders), sorted(theirs.pending)),
            )  # fmt: skip
            for what, mine, its in pairs:
                if mine != its:
                    self._judge.blame("INV-06", f"{account_id} {what}: {mine}, venue {its}")

    def _judge_journal(self) -> None:
        """INV-11, and that the journal alone makes the same kernel (STYLE 3)."""
        records: list[Record] = []
        replayed = Kernel(self._plan)
        for record, fact in self._store.facts_after(0):
            records.append(record)
            replayed.apply(fact, record.ts)
        broken = verify(records, INSTALLATION)
        if broken is not None:
            self._judge.blame("INV-11", f"record {broken.seq}: {broken.what}")
        if replayed.snapshot() != self._kernel.snapshot():
            self._judge.blame("replay", "the journal makes another kernel than the one that lived")


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(cast("BaseExceptionGroup[BaseException]", each))
        else:
            yield each


def downtime_s(world: World) -> float:
    """How long it takes until somebody starts the next process."""
    return dice_of(world.seed, f"downtime {world.lives}").choice((0.1, 1.0, 5.0, 20.0))
