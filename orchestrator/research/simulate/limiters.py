"""A person who moves limits: tighter, looser for a while, and where nobody may."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from orchestrator.research.simulate.fates import dice_of
from orchestrator.research.simulate.feed import INSTRUMENTS
from orchestrator.research.simulate.world import ACCOUNTS, World
from orchestrator.service.limits_desk import OverrideWish
from orchestrator.service.supervisor import System
from orchestrator.service.views import Done

_APART_S = 6.0
D = Decimal
# Limit, tighter, looser than the simulated settings; None: it is only ever tightened.
_LIMITS: tuple[tuple[str, str, str | None], ...] = (
    ("risk_per_trade", "0.001", "0.008"), ("max_concurrent_trades", "1", "6"),
    ("margin_used_max", "0.2", "0.7"), ("notional_nav_max", "2", "20"),
    ("max_drawdown", "0.05", None), ("max_daily_loss", "0.03", None),
)  # fmt: skip
_NOBODY_MAY = (("max_daily_loss", "0.2"), ("A1", None), ("S5", None), ("A7", None))


class Limiter:
    """Works beside trader and operator, with dice of its own."""

    def __init__(self, world: World, system: System) -> None:
        self._world = world
        self._desk = system.desk
        self._rolls = dice_of(world.seed, f"limiter {world.lives}")

    async def work(self) -> None:
        """Until the storm is over."""
        fates = self._world.fates
        while fates.has("op_overrides"):
            await asyncio.sleep(self._rolls.expovariate(1 / _APART_S))
            if fates.has("op_overrides"):
                fates.struck["op_overrides"] += 1
                await self._rolls.choice((self._tighten, self._loosen, self._wrongly, self._end))()

    async def _set(
        self, limit: str, value: str | None, subject: str, role: str, minutes: int | None
    ) -> bool:
        wish = OverrideWish(
            limit=limit, subject=subject, value=None if value is None else D(value),
            minutes=minutes, uses=self._rolls.randint(1, 3), reason="simulated",
        )  # fmt: skip
        answer = await self._desk.set_override(wish, "anna", role)
        told = answer.text if isinstance(answer, Done) else f"refused: {answer.detail}"
        self._world.tell(f"override {limit} {value} of {subject} by {role}: {told}")
        return isinstance(answer, Done)

    async def _tighten(self) -> None:
        limit, tighter, _ = self._rolls.choice(_LIMITS)
        subject = self._rolls.choice(("system", *ACCOUNTS, *INSTRUMENTS))
        await self._set(limit, tighter, subject, "operator", self._rolls.choice((None, 1, 2)))

    async def _loosen(self) -> None:
        limit, _, looser = self._rolls.choice([each for each in _LIMITS if each[2] is not None])
        subject = self._rolls.choice((*ACCOUNTS, *INSTRUMENTS))
        await self._set(limit, looser, subject, "admin", self._rolls.randint(1, 3))

    async def _wrongly(self) -> None:
        """An operator loosens, or an admin what nobody may."""
        account = self._rolls.choice(ACCOUNTS)
        if self._rolls.random() < 1 / 2:
            done = await self._set("risk_per_trade", "0.008", account, "operator", 5)
        else:
            limit, value = self._rolls.choice(_NOBODY_MAY)
            done = await self._set(limit, value, account, "admin", 5)
        if done:
            self._world.judge.blame("B5", "a limit was moved by who may not, or that nobody may")

    async def _end(self) -> None:
        standing = self._desk.overrides()
        if standing:
            override = self._rolls.choice(standing)
            role = self._rolls.choice(("operator", "admin"))
            answer = await self._desk.end_override(override.override_id, "anna", role, "simulated")
            if isinstance(answer, Done) and role == "operator" and not override.loosens:
                self._world.judge.blame("B5", "an operator has ended what tightens")
