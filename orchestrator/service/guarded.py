"""The service's side of its guard: it beats, keeps the guard alive, and makes itself fit again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from orchestrator.model.errors import VenueError
from orchestrator.model.events import AccountSeen
from orchestrator.model.ports import VenueReader
from orchestrator.model.safety import Alert, Severity, StopState
from orchestrator.service.children import import_path
from orchestrator.service.gate import Gate
from orchestrator.service.pulse import Pulse
from orchestrator.service.seams import mono_ns
from orchestrator.service.supervisor import System

log = structlog.get_logger()

_BEAT_S = 0.1
_LOOK_S = 0.25
_GUARD_SILENT_NS = 2_000_000_000
_GUARD_START_NS = 10_000_000_000
_OWN_GAP_NS = 500_000_000
_AGAIN_S = (0.0, 0.5, 1.0, 2.0, 5.0)
_HELD = "guard: loop blocked; it opens by itself after 5 s of good beats and a fresh reconciliation"
_OPENED = "the loop beats again, and all accounts are reconciled"


class GuardProcess:
    """The guard as a child, found dead or frozen and then replaced. Ended by its string only."""

    def __init__(
        self, folder: Path, rescue: tuple[str, ...],
        secrets: Callable[[], Mapping[str, str]] = dict,
    ) -> None:  # fmt: skip
        """`secrets`: variables that a rescue needs beyond this process's own environment."""
        self._folder = folder
        self._rescue = rescue
        self._secrets = secrets
        self._pulse = Pulse(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_ns = 0

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """OSError when no process can be made."""
        self._pulse.guard_beat(0)
        self._started_ns = mono_ns()
        self._process = subprocess.Popen(  # noqa: S603 -- our own module, our own words
            (sys.executable, "-m", "orchestrator.service.guard", str(self._folder),
             str(os.getpid()), *self._rescue),
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, **self._secrets(), "PYTHONPATH": import_path()},
        )  # fmt: skip

    def trouble(self) -> str:
        """Why it must be replaced; "" while it is well."""
        if self._process is None:
            return "was never started"
        if self._process.poll() is not None:
            return f"ended with {self._process.returncode}"
        looked = self._pulse.guard_beat_ns
        since, limit = (looked, _GUARD_SILENT_NS) if looked else (self._started_ns, _GUARD_START_NS)
        if mono_ns() - since > limit:
            return "does not look any more"
        return ""

    def end(self, *, in_order: bool) -> None:
        """Cut the string. In order: nothing is left to do for it; else it decides itself."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        try:
            if in_order:
                process.stdin.write(b"end")
            process.stdin.close()
        except OSError:
            log.info("guard.gone", pid=process.pid)

    def kill(self) -> None:
        """Our own child, reaped only here: its id is nobody else's."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.end(in_order=False)


class Guarded:
    """Accompanies a System for as long as it lives."""

    def __init__(
        self, system: System, gate: Gate, guard: GuardProcess, folder: Path, reader: VenueReader
    ) -> None:
        self._system = system
        self._gate = gate
        self._guard = guard
        self._pulse = Pulse(folder)
        self._reader = reader
        self._turned_ns = mono_ns()
        self._gap_ns = mono_ns()  # when our own loop was last late

    async def live(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat(), name="beat")
            tasks.create_task(self._keep_guard(), name="guard")
            tasks.create_task(self._mend(), name="mend")

    # -- beating ----------------------------------------------------------------------------------

    async def _beat(self) -> None:
        await self._system.up.wait()
        while True:
            now = mono_ns()
            if now - self._turned_ns > _OWN_GAP_NS:
                self._gap_ns = now
            self._turned_ns = now
            self._pulse.beat(now, flat=self._flat())
            await asyncio.sleep(_BEAT_S)

    def _flat(self) -> bool:
        receipt = self._system.safety.receipt()
        return receipt is not None and receipt.state is StopState.FLAT

    # -- the guard's own health -------------------------------------------------------------------

    async def _keep_guard(self) -> None:
        attempt = 0
        while True:
            await asyncio.sleep(_LOOK_S)
            if mono_ns() - self._gap_ns < _GUARD_SILENT_NS:
                continue  # the machine was away, and the guard perhaps with it
            trouble = self._guard.trouble()
            if not trouble:
                attempt = 0
                continue
            self._alert("guard", "The guard was replaced", f"it {trouble}", Severity.WARNING)
            await asyncio.sleep(_AGAIN_S[min(attempt, len(_AGAIN_S) - 1)])
            attempt += 1
            self._replace()

    def _replace(self) -> None:
        self._guard.kill()
        try:
            self._guard.start()
        except OSError as exc:
            log.error("guard.failed", reason=str(exc))  # noqa: TRY400 -- it is tried again

    # -- becoming fit again -----------------------------------------------------------------------

    async def _mend(self) -> None:
        """While the guard holds the gate: reconcile afresh, and say so, until it lets go (G5)."""
        await self._system.up.wait()
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._gate.held:
                self._alert("gate-held", "The guard has closed the gate", _HELD, Severity.CRITICAL)
                await self._mended()
                self._alert("gate-opened", "The guard has opened the gate", _OPENED, Severity.INFO)

    async def _mended(self) -> None:
        """Until the guard has let go."""
        while self._gate.held:
            if self._pulse.fit_ns <= self._pulse.held_since_ns and await self._reconcile():
                self._pulse.fit(mono_ns())
            await asyncio.sleep(_LOOK_S)

    async def _reconcile(self) -> bool:
        """Each account read anew; one that cannot be is blocked by its own breaker (R3)."""
        began_ns = mono_ns()
        for account_id in self._system.plan.accounts:
            try:
                account = await self._reader.account(account_id)
            except VenueError as exc:
                log.warning("guard.unreconciled", account=account_id, reason=str(exc))
                if self._system.kernel.reconciled(account_id):
                    return False
                continue
            self._system.engine.handle(AccountSeen(account=account))
        return began_ns > self._pulse.held_since_ns

    def _alert(self, key: str, title: str, text: str, severity: Severity) -> None:
        now = self._system.clock.now()
        self._system.safety.raise_alert(
            Alert(key=key, severity=severity, title=title, text=text, at_ns=now)
        )
