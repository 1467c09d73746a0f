"""Listeners of the bus that read slowly, or never; what they are given has no hole."""

from __future__ import annotations

import asyncio

from orchestrator.model.errors import ListenerTooSlow
from orchestrator.research.simulate.world import World
from orchestrator.service.supervisor import System

_LISTENERS = (1, 5)
_PAUSES_S = (0.0, 0.5, 5.0, 1_000.0)


class Listeners:
    """Some of them in a life, if the seed's swarm allows."""

    def __init__(self, world: World, system: System) -> None:
        self._world = world
        self._system = system
        self._rolls = world.fates.dice("bus_slow")

    async def work(self) -> None:
        """Until the storm is over."""
        if not self._world.fates.has("bus_slow"):
            return
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._rolls.randint(*_LISTENERS)):
                pause_s = self._rolls.choice(_PAUSES_S)
                tasks.create_task(self._listen(pause_s), name="listener")

    async def _listen(self, pause_s: float) -> None:
        self._world.fates.struck["bus_slow"] += 1
        while self._world.fates.has("bus_slow"):
            try:
                await self._hear(pause_s)
            except ListenerTooSlow:
                self._world.tell("a slow listener was cut off")
            except TimeoutError:
                return

    async def _hear(self, pause_s: float) -> None:
        last = 0
        async with asyncio.timeout(max(0.1, self._world.storm_s - self._world.now_s)):
            async for record, _ in self._system.desk.listen():
                if last and record.seq != last + 1:
                    self._world.judge.blame("INV-15", f"a listener heard {record.seq} after {last}")
                last = record.seq
                if pause_s:
                    await asyncio.sleep(pause_s)
