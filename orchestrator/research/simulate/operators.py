"""The people of a simulated run: one sends signals, one starts, stops, resumes and switches."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from orchestrator.model.money import Side
from orchestrator.model.safety import BreakerState, SystemMode
from orchestrator.paper.instruments import SPECS
from orchestrator.research.simulate.death import Death
from orchestrator.research.simulate.fates import dice_of
from orchestrator.research.simulate.feed import INSTRUMENTS
from orchestrator.research.simulate.world import ACCOUNTS, World
from orchestrator.service.desk import SignalWish
from orchestrator.service.gate import Gate, Latch
from orchestrator.service.seams import new_id
from orchestrator.service.supervisor import System
from orchestrator.service.views import Done, Refused, SignalTaken

_SIGNALS_APART_S = 4.0
_ACTS_APART_S = 8.0
_BURSTS = (1, 1, 1, 2, 4)
_REPEATED = 0.1
_REGRETTED = 0.08
_REGRET_S = (0.0, 0.5)
_RACE_S = (0.0, 1.0)
_FOR_ONE = 0.5
_LIQUIDATES = 0.8
_STOP_PIPS = (8, 30)
_ACTS = ("op_stop", "op_emergency", "op_emergency_account", "op_accounts", "op_agents",
         "op_local_stop", "op_breakers", "op_wrong_resume", "op_repeats")  # fmt: skip
_BREAKERS = (("A8", ""), ("S10", "system"), ("M2", "EUR_USD"), ("A4", ""), ("A2", ""))
_LATCHED_AFTER_S = (0.01, 3.0)
_AFTER_STOP_S = (0.0, 3.0)


class Operator:
    """Keeps the system running, and does to it what the seed's swarm allows."""

    def __init__(self, world: World, system: System, death: Death) -> None:
        self._world = world
        self._system = system
        self._desk = system.desk
        self._death = death
        self._rolls = dice_of(world.seed, f"operator {world.lives}")

    async def work(self) -> None:
        """Until the storm is over."""
        while not self._world.fates.calm:
            await asyncio.sleep(self._rolls.expovariate(1 / _ACTS_APART_S))
            allowed = [act for act in _ACTS if self._world.fates.has(act)]
            act = self._rolls.choice(("keep", "keep", "keep", *allowed))
            if act == "keep":
                await self.keep_running()
            else:
                await self.act(act)

    async def act(self, act: str) -> None:
        """If the seed's swarm allows it."""
        if self._world.fates.has(act):
            self._world.fates.struck[act] += 1
            await getattr(self, act)()

    async def keep_running(self) -> None:
        """Resume after a stop, start when ready."""
        if self._desk.stop_receipt() is not None:
            await self._resume()
        await self._reset_latched()
        if self._system.mode is SystemMode.READY and self._desk.stop_receipt() is None:
            self._heard("start", await self._desk.start("anna", "simulated"))

    async def _resume(self) -> None:
        receipt = self._desk.stop_receipt()
        if receipt is None:
            return
        judge = self._world.judge
        halted, flat, whole = judge.halted, judge.flat, judge.whole
        known = tuple(trade.trade_id for trade in self._desk.open_trades())
        # A kill in here leaves it open whether the stop still stands: nothing is promised.
        judge.release()
        async with asyncio.TaskGroup() as others:
            if self._world.fates.strikes("op_races"):
                others.create_task(self._stop_meanwhile(), name="race")
            answer = await self._desk.resume("anna", receipt.stop_id, "looked at it", known)
        if isinstance(answer, Refused) and self._system.kernel.stop_id is not None:
            judge.promise(halted, liquidate=bool(flat), whole=whole)
        self._heard("resume", answer)

    async def _stop_meanwhile(self) -> None:
        await asyncio.sleep(self._world.fates.dice("op_races").uniform(*_RACE_S))
        await self._emergency(())

    async def _reset_latched(self) -> None:
        """A person has looked at what latched; at times."""
        for view in self._desk.breakers():
            if view.state is BreakerState.LATCHED and self._rolls.random() < 1 / 2:
                what = f"reset {view.breaker} of {view.subject}"
                self._heard(what, await self._desk.reset_breaker(
                    view.breaker, view.subject, "anna", "looked at it"
                ))  # fmt: skip

    async def op_wrong_resume(self) -> None:
        """With another stop's id, or without a reason: it must change nothing."""
        receipt = self._desk.stop_receipt()
        stop_id = "stop-of-another" if receipt is None or self._rolls.random() < 1 / 2 else ""
        reason = "looked at it" if stop_id or receipt is None else ""
        wanted = stop_id or (receipt.stop_id if receipt is not None else "")
        answer = await self._desk.resume("bert", wanted, reason, ())
        if isinstance(answer, Done):
            self._world.judge.blame("INV-07", f"resumed by {wanted!r} with the reason {reason!r}")
        self._heard("wrong resume", answer)

    async def op_repeats(self) -> None:
        """The same stop again, for fewer, for more, without and with liquidation."""
        for _ in range(self._rolls.randint(2, 4)):
            count = self._rolls.randint(0, len(ACCOUNTS))
            await self._emergency(tuple(self._rolls.sample(ACCOUNTS, count)))

    async def op_stop(self) -> None:
        close = self._rolls.random() < 1 / 2
        self._heard("stop", await self._desk.stop("anna", "simulated", close=close))

    async def op_emergency(self) -> None:
        await self._emergency(())

    async def op_emergency_account(self) -> None:
        await self._emergency((self._rolls.choice(ACCOUNTS),))

    async def _emergency(self, accounts: tuple[str, ...]) -> None:
        world = self._world
        world.stops += 1
        named = tuple(each for each in ACCOUNTS if each in accounts)
        liquidate = self._rolls.random() < _LIQUIDATES
        receipt = await self._desk.emergency_stop(
            "anna", "simulated", liquidate=liquidate, accounts=named
        )
        if isinstance(receipt, Refused):
            world.judge.blame("INV-07", f"an emergency stop was refused: {receipt.detail}")
            return
        world.tell(f"emergency stop of {accounts or 'all'}: {receipt.stop_id} {receipt.persisted}")
        # Where the latch takes long the receipt comes late: somebody may have resumed it by then.
        ended = receipt.stop_id in world.judge.standing.resumed
        if (receipt.persisted or not named) and not ended:
            world.judge.promise(frozenset(named or ACCOUNTS), liquidate=liquidate, whole=not named)
        if world.fates.strikes("crash_in_stop"):
            after_s = world.fates.dice("crash_in_stop").uniform(*_AFTER_STOP_S)
            world.loop.call_later(after_s, self._death.come, "killed while it liquidates")

    async def op_accounts(self) -> None:
        account_id, enabled = self._rolls.choice(ACCOUNTS), self._rolls.random() < 1 / 2
        answer = await self._desk.enable(account_id, "anna", "simulated", enabled=enabled)
        self._heard(f"enable {account_id} {enabled}", answer)

    async def op_breakers(self) -> None:
        breaker, subject = self._rolls.choice(_BREAKERS)
        subject = subject or self._rolls.choice(ACCOUNTS)
        if self._rolls.random() < 1 / 2:
            answer = await self._desk.trip_breaker(breaker, subject, "anna", "simulated")
        else:
            answer = await self._desk.reset_breaker(breaker, subject, "anna", "simulated")
        self._heard(f"breaker {breaker} {subject}", answer)

    async def op_local_stop(self) -> None:
        """What `orchestrator emergency-stop --local` does, from a process of its own."""
        outside = Gate(self._world.folder)
        latch = Latch(
            stop_id=new_id("stop"), actor="bert", reason="local", liquidate=True,
            closed_ns=self._world.market.time.now(),
        )  # fmt: skip
        outside.close()
        self._world.tell(f"the word is closed from outside: {latch.stop_id}")
        if self._rolls.random() < 1 / 2:
            after_s = self._rolls.uniform(*_LATCHED_AFTER_S)
            self._world.loop.call_later(after_s, self._latch_from_outside, outside, latch)

    def _latch_from_outside(self, outside: Gate, latch: Latch) -> None:
        if outside.closed and outside.read_latch() is None:
            self._world.elsewhere = True
            try:
                outside.latch(latch)
            finally:
                self._world.elsewhere = False

    async def op_agents(self) -> None:
        agent = self._rolls.choice(self._desk.agents())
        await self._desk.restart_agent(agent.agent_id, "anna")

    async def enable_all(self) -> None:
        """Whatever was switched off is on again."""
        for account_id in ACCOUNTS:
            await self._desk.enable(account_id, "anna", "simulated")

    def _heard(self, what: str, answer: Done | Refused) -> None:
        text = answer.text if isinstance(answer, Done) else f"refused: {answer.detail}"
        self._world.tell(f"operator {what}: {text}")


class Trader:
    """Sends signals, alone and in bursts, and some of them twice."""

    def __init__(self, world: World, system: System, operator: Operator) -> None:
        self._world = world
        self._operator = operator
        self._desk = system.desk
        self._rolls = dice_of(world.seed, f"trader {world.lives}")

    async def work(self) -> None:
        """Until the storm is over."""
        while not self._world.fates.calm:
            await asyncio.sleep(self._rolls.expovariate(1 / _SIGNALS_APART_S))
            for _ in range(self._rolls.choice(_BURSTS)):
                await self.send()
            if self._rolls.random() < _REGRETTED and not self._world.fates.calm:
                await self._regret()

    async def _regret(self) -> None:
        """A stop while orders are on their way."""
        await asyncio.sleep(self._rolls.uniform(*_REGRET_S))
        await self._operator.act(self._rolls.choice(("op_emergency", "op_emergency_account")))

    async def send(self) -> str:
        """One signal; what was taken must be durable (INV-15)."""
        wish = self._wish()
        answer = await self._desk.submit_signal(wish, "anna")
        self._world.tell(f"signal {wish.signal_id} {wish.instrument}: {type(answer).__name__}")
        if isinstance(answer, SignalTaken) and wish.signal_id not in self._world.judge.accepted:
            self._world.judge.blame("INV-15", f"signal {wish.signal_id} was taken, not durable")
        return wish.signal_id

    def _wish(self) -> SignalWish:
        rolls, world = self._rolls, self._world
        number = world.signals
        if number and rolls.random() < _REPEATED:
            number = rolls.randrange(number)
        if not world.forgotten <= number < world.signals:
            number = world.signals  # a new one; what the store may not know is not said again
            world.signals += 1
        instrument = rolls.choice(INSTRUMENTS)
        stop = SPECS[instrument].pip * rolls.randint(*_STOP_PIPS)
        return SignalWish(
            signal_id=f"sig-{number}", instrument=instrument,
            side=rolls.choice((Side.BUY, Side.SELL)), stop_distance=stop, target_distance=2 * stop,
            confidence=Decimal("0.9"), strategy=f"hand{rolls.randrange(9)}",
            accounts=(rolls.choice(ACCOUNTS),) if rolls.random() < _FOR_ONE else (),
        )  # fmt: skip
