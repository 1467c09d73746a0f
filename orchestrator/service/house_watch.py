"""Feeds the kernel what the house's breakers need: clocks, memory, storage, broker, credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from orchestrator.model.errors import OrchestratorError, VenueError, VenueRefused
from orchestrator.model.events import ClockSeen, CredentialsSeen, MemorySeen, StorageSeen
from orchestrator.model.money import AccountId
from orchestrator.model.ports import Bus, Clock, VenueReader
from orchestrator.model.time import NS_PER_MS, Instant
from orchestrator.service.execution_engine import ExecutionEngine

log = structlog.get_logger()

_LOOK_S = 1.0
_RENEW_S = 5.0

Renew = Callable[[AccountId], None]


class Machine(Protocol):
    """What is asked of the machine; `seams.Machine` is the real one. None: not to be known."""

    def wall_ns(self) -> Instant: ...

    def rss_mb(self) -> int | None: ...

    def files(self) -> tuple[int, int] | None:
        """File descriptors that are open, and how many may be."""
        ...

    def free_mb(self) -> int | None:
        """Room on the disk that holds the state."""
        ...


def keep_token(_: AccountId) -> None:
    """Where no secret can be read anew, the old one is tried again."""


class HouseWatch:
    """Looks once a second.

    `renew` reads an account's secret anew; where that fails (OSError, ValueError, an error of
    ours) the old one is tried.
    """

    def __init__(
        self, engine: ExecutionEngine, bus: Bus, reader: VenueReader, clock: Clock,
        machine: Machine, renew: Renew = keep_token,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._bus = bus
        self._reader = reader
        self._clock = clock
        self._machine = machine
        self._renew = renew
        self._ahead_ns: Instant = 0  # the wall clock less the monotonic one

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look(), name="house")
            tasks.create_task(self._mend_credentials(), name="credentials")

    async def _look(self) -> None:
        self._ahead_ns = self._machine.wall_ns() - self._clock.mono_ns()
        while True:
            await self._clock.sleep(_LOOK_S)
            self.look()

    def look(self) -> None:
        """One look at everything."""
        self._engine.handle(self._clocks(), self._memory(), self._storage())
        self._engine.look_at_store()
        condition = self._bus.condition()
        if condition is not None:
            self._engine.handle(condition)

    def _clocks(self) -> ClockSeen:
        ahead_ns = self._machine.wall_ns() - self._clock.mono_ns()
        stepped_ns, self._ahead_ns = ahead_ns - self._ahead_ns, ahead_ns
        off_ns = self._reader.clock_offset_ns
        return ClockSeen(
            stepped_ms=round(stepped_ns / NS_PER_MS),
            venue_off_ms=None if off_ns is None else round(off_ns / NS_PER_MS),
        )

    def _memory(self) -> MemorySeen:
        files, files_max = self._machine.files() or (0, 0)
        return MemorySeen(rss_mb=self._machine.rss_mb() or 0, files=files, files_max=files_max)

    def _storage(self) -> StorageSeen:
        return StorageSeen(flush_ms=self._engine.flush_ms(), free_mb=self._machine.free_mb())

    async def _mend_credentials(self) -> None:
        """A10: as long as it stands, the secret is read anew and tried."""
        while True:
            await self._clock.sleep(_RENEW_S)
            for account_id in self._engine.kernel.refused_accounts():
                await self.try_credentials(account_id)

    async def try_credentials(self, account_id: AccountId) -> None:
        """One try; another trouble than 401 and 403 proves nothing."""
        try:
            self._renew(account_id)
        except (OSError, ValueError, OrchestratorError) as exc:
            log.warning("secret.unreadable", account=account_id, reason=type(exc).__name__)
        try:
            await self._reader.account(account_id)
        except VenueRefused as exc:
            log.warning("credentials.refused", account=account_id, status=exc.status)
        except VenueError as exc:
            log.warning("venue.away", account=account_id, reason=str(exc))
        else:
            self._engine.handle(CredentialsSeen(account_id=account_id, ok=True))
