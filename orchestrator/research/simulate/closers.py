"""A person who closes, cancels and tightens by hand, at any time, and not always what is there."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec

from orchestrator.model.money import AccountId, Side
from orchestrator.model.reducing import ReduceKind, ReductionState
from orchestrator.paper.instruments import SPECS
from orchestrator.research.simulate.fates import dice_of
from orchestrator.research.simulate.feed import INSTRUMENTS
from orchestrator.research.simulate.world import ACCOUNTS, World
from orchestrator.service.reducing_desk import ReduceWish
from orchestrator.service.supervisor import System
from orchestrator.service.views import OpenTradeView, ReductionView, Refused

_APART_S = 3.0
_TWICE = 0.25
_AGAIN = 0.15
_BLIND = 0.1  # asks for what is not there
_PARTS = (Decimal("0.1"), Decimal("0.5"), Decimal(1), Decimal("1.5"))
_TIGHTER = (Decimal("0.5"), Decimal("0.9"), Decimal("-0.3"))  # of the way to the price
_NEVER = "999999"


class Closer:
    """Works beside trader and operator, with dice of its own."""

    def __init__(self, world: World, system: System) -> None:
        self._world = world
        self._desk = system.desk
        self._rolls = dice_of(world.seed, f"closer {world.lives}")
        self._last: ReduceWish | None = None
        self._count = 0

    async def work(self) -> None:
        """Until the storm is over."""
        fates = self._world.fates
        while fates.has("op_reduce"):
            await asyncio.sleep(self._rolls.expovariate(1 / _APART_S))
            if fates.has("op_reduce"):
                fates.struck["op_reduce"] += 1
                await self._act()

    async def _act(self) -> None:
        wish = self._wish()
        if self._last is not None and self._rolls.random() < _AGAIN:
            wish = self._last  # an old click, perhaps of what has long been done
        self._last = wish
        clicks = 2 if self._rolls.random() < _TWICE else 1
        async with asyncio.TaskGroup() as hands:
            for _ in range(clicks):
                hands.create_task(self._ask(wish), name="click")

    async def _ask(self, wish: ReduceWish) -> None:
        answer = await self._desk.reduce(wish, "anna")
        said = answer.detail if isinstance(answer, Refused) else f"{answer.state} {answer.reason}"
        self._world.tell(f"by hand {wish.kind} {wish.target} {wish.units} {wish.price}: {said}")
        if isinstance(answer, ReductionView):
            self._judge(answer)

    def _judge(self, told: ReductionView) -> None:
        """INV-15: what was promised is durable, or done already."""
        judge = self._world.judge
        known = any(r.command_id == told.command_id for r in judge.closing.written.values())
        if not known and told.state is not ReductionState.DONE:
            judge.blame("INV-15", f"{told.command_id} was taken, not durable")

    # -- what is asked ----------------------------------------------------------------------------

    def _wish(self) -> ReduceWish:
        self._count += 1
        trades = self._desk.open_trades()
        command_id = f"hand-{self._world.lives}-{self._count}"
        if not trades or self._rolls.random() < _BLIND:
            wish = self._blind()
        else:
            wish = self._of(self._rolls.choice(trades))
        return msgspec.structs.replace(wish, command_id=command_id, reason="simulated")

    def _blind(self) -> ReduceWish:
        account_id = AccountId(self._rolls.choice(ACCOUNTS))
        orders = [o for o in self._desk.pending_orders() if o.account_id == account_id]
        if orders and self._rolls.random() < 1 / 2:
            target = self._rolls.choice(orders).order_id  # a stop, or a stranger's entry
            return ReduceWish(kind=ReduceKind.CANCEL_ORDER, account_id=account_id, target=target)
        kind = self._rolls.choice(tuple(ReduceKind))
        target = self._rolls.choice((_NEVER, *INSTRUMENTS))
        return ReduceWish(
            kind=kind, account_id=account_id, target=target, units=Decimal(1000), price=Decimal(1)
        )

    def _of(self, trade: OpenTradeView) -> ReduceWish:
        account_id, rolls = trade.account_id, self._rolls
        kind = rolls.choice((
            ReduceKind.CLOSE_TRADE, ReduceKind.CLOSE_POSITION, ReduceKind.TIGHTEN_STOP,
        ))  # fmt: skip
        if kind is ReduceKind.TIGHTEN_STOP:
            return ReduceWish(
                kind=kind, account_id=account_id, target=trade.trade_id, price=self._stop(trade)
            )
        spec = SPECS[trade.instrument]
        part = spec.round_units_to_zero(abs(trade.units) * rolls.choice(_PARTS))
        units = part if part and rolls.random() < 2 / 3 else None
        target = trade.trade_id if kind is ReduceKind.CLOSE_TRADE else trade.instrument
        side = Side.BUY if trade.units > 0 else Side.SELL
        return ReduceWish(
            kind=kind, account_id=account_id, target=target, units=units,
            side=side if rolls.random() < 1 / 2 else None,
        )  # fmt: skip

    def _stop(self, trade: OpenTradeView) -> Decimal:
        """Somewhere between the stop and the entry, or on the wrong side of it."""
        stop = trade.stop_price or trade.price
        spec = SPECS[trade.instrument]
        wished = stop + (trade.price - stop) * self._rolls.choice(_TIGHTER)
        return wished.quantize(spec.tick)
