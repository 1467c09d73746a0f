"""Agents in child processes: started, watched, limited, begun anew, ended."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
import structlog

from orchestrator.model.links import Peer, ProcessLinks
from orchestrator.model.ports import Clock
from orchestrator.model.signals import Role
from orchestrator.model.time import NS_PER_S
from orchestrator.service.agent_manager import AgentManager, PluginError
from orchestrator.service.remote import Remote
from orchestrator.service.remote_agents import RemoteAgents
from orchestrator.service.seams import rss_mb_of

log = structlog.get_logger()

WRONG_SETTING = 78  # a child ends with this code when another start would end alike
_LOOK_S = 0.1
_WELL_NS = 60 * NS_PER_S  # up for so long, it is begun anew at once
_WAIT_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
_GRACE_S = 2.0
_OUTPUT_MAX = 4_000_000
# What a child may know of our environment: no token, address or password is among it.
_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONHASHSEED")


class AgentPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A role whose agents are children of the service. `spec`: what the child makes it of."""

    role: Role
    instances: int
    spec: str
    memory_mb: int
    nice: int


class Child:
    """One instance and the process that it lives in, over many lives of that."""

    def __init__(self, plan: AgentPlan, remote: Remote) -> None:
        self.plan = plan
        self.remote = remote
        self.process: subprocess.Popen[bytes] | None = None
        self.started_ns = 0
        self.tries = 0
        self.met = False  # it has said hello in this life
        self.next_ns = 0  # not begun anew before
        self.asked = False  # somebody wants it begun anew

    @property
    def peer(self) -> Peer:
        return self.plan.role, self.remote.seat.instance

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """Our own child, reaped only here: its id is nobody else's."""
        if self.process is not None:
            self.process.kill()


class AgentProcesses:
    """All children. `words`: the command that an agent's process is started with."""

    def __init__(
        self, plans: Sequence[AgentPlan], manager: AgentManager, agents: RemoteAgents,
        links: ProcessLinks, clock: Clock, folder: Path, words: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:  # fmt: skip
        self._manager = manager
        self._agents = agents
        self._links = links
        self._clock = clock
        self._folder = folder
        self._words = tuple(words)
        self._environment = {name: environment[name] for name in _PASSED if name in environment}
        self._environment |= {"PYTHONPATH": environment.get("PYTHONPATH", "")}
        self._children = [
            self._child(plan, number)
            for plan in plans
            for number in range(1, plan.instances + 1)
        ]  # fmt: skip
        self._ending = False

    def _child(self, plan: AgentPlan, number: int) -> Child:
        remote = self._agents.expect((plan.role, number), "process")
        child = Child(plan, remote)
        remote.respawn = partial(self._begin_anew, child)
        return child

    def _begin_anew(self, child: Child, reason: str) -> None:
        log.info("agent.begun_anew", agent=child.remote.seat.agent_id, why=reason)
        child.asked = True
        child.kill()

    # -- life -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Runs until cancelled; what is still alive then is killed."""
        try:
            while True:
                await self.look()
                await self._clock.sleep(_LOOK_S)
        finally:
            self.kill_all()

    async def look(self) -> None:
        """Once over all of them: who is gone is begun anew, who takes too much is killed."""
        for child in self._children:
            await self._look_at(child)

    async def _look_at(self, child: Child) -> None:
        now = self._clock.mono_ns()
        if child.alive:
            child.met = child.met or child.remote.link is not None
            why = "" if self._ending else self._wrong_with(child)
            if why:
                log.warning("agent.killed", agent=child.remote.seat.agent_id, why=why)
                self._agents.cut(child.remote, why)
                child.kill()
        elif child.process is not None:
            self._ended(child, now)
        elif not self._ending and now >= child.next_ns and child.remote.seat.state != "stopped":
            await self._spawn(child)

    def _wrong_with(self, child: Child) -> str:
        """Why it must be killed, or ""."""
        assert child.process is not None
        if child.met and child.remote.link is None:
            return child.remote.seat.reason or "its link was lost"
        used = rss_mb_of(child.process.pid)
        if used is not None and used > child.plan.memory_mb:
            return f"it uses {used} MB of memory, limit {child.plan.memory_mb} MB"
        return ""

    def _ended(self, child: Child, now: int) -> None:
        """It is gone: again, after a while that grows."""
        assert child.process is not None
        code, seat = child.process.wait(), child.remote.seat
        child.process = None
        if child.remote.link is not None:
            self._agents.cut(child.remote, _how(code))
        if self._ending:
            return
        if now - child.started_ns > _WELL_NS:
            child.tries = 0
        wait_s = 0.0 if child.asked else _WAIT_S[min(child.tries, len(_WAIT_S) - 1)]
        child.tries += 0 if child.asked else 1
        child.next_ns = now + int(wait_s * NS_PER_S)
        told = f"{_how(code)}: {self.last_words(child)}"[:300]
        log.warning("agent.ended", agent=seat.agent_id, why=told)
        if self._manager.loops(seat) and not child.asked:
            self._manager.move(seat, "stopped", f"crash loop: {told}")
        elif seat.state != "unhealthy" and not child.asked:
            self._manager.move(seat, "unhealthy", told)

    async def _spawn(self, child: Child) -> None:
        now, seat = self._clock.mono_ns(), child.remote.seat
        if child.started_ns and not child.asked:
            self._manager.count_restart(seat)
        child.asked, child.met, child.started_ns = False, False, now
        child.remote.began_ns = now
        if seat.state != "starting":
            self._manager.move(seat, "starting", "begun anew")
        theirs = await self._links.pair(child.peer, self._agents.opened)
        output = self._output(child)
        try:
            long = output.exists() and output.stat().st_size > _OUTPUT_MAX
            with output.open("wb" if long else "ab") as sink:
                child.process = subprocess.Popen(  # noqa: ASYNC220, S603 -- our own words
                    (*self._words, "--fd", str(theirs)),
                    stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True,
                    pass_fds=(theirs,),
                    env={**self._environment, **limits_of(child.plan, seat.instance)},
                )  # fmt: skip
        except OSError as exc:
            child.next_ns = now + NS_PER_S
            self._manager.move(seat, "unhealthy", f"cannot be started: {exc}")
        finally:
            os.close(theirs)

    def _output(self, child: Child) -> Path:
        """Where it prints to."""
        folder = self._folder / "agents"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / f"{child.plan.role.value}-{child.remote.seat.instance}.out"

    def last_words(self, child: Child) -> str:
        """The last line that it printed."""
        path = self._folder / "agents" / f"{child.plan.role.value}-{child.remote.seat.instance}.out"
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - 2_000))
                lines = file.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return "it said nothing"
        return lines[-1] if lines else "it said nothing"

    # -- the first start --------------------------------------------------------------------------

    async def come_up(self, within_s: float) -> None:
        """Until all of them work, or the time is over: then the others go on without (S9).

        PluginError where one can never come up, by its own word.
        """
        ends = self._clock.mono_ns() + int(within_s * NS_PER_S)
        while self._clock.mono_ns() < ends:
            for child in self._children:
                if child.process is not None and child.process.poll() == WRONG_SETTING:
                    raise PluginError(self.last_words(child).removeprefix("orchestrator: "))
            if all(child.remote.seat.works for child in self._children):
                return
            await self._clock.sleep(0.02)
        for child in self._children:
            if not child.remote.seat.works:
                log.warning("agent.not_up", agent=child.remote.seat.agent_id, within_s=within_s)

    # -- the end ----------------------------------------------------------------------------------

    async def drain(self, reason: str) -> None:
        """Each is asked to end, in reverse order; whoever does not is killed."""
        self._ending = True
        self._agents.drain_all(reason)
        ends = self._clock.mono_ns() + int(_GRACE_S * NS_PER_S)
        while any(child.alive for child in self._children) and self._clock.mono_ns() < ends:
            await self._clock.sleep(_LOOK_S / 5)
        self.kill_all()

    def kill_all(self) -> None:
        """The end of all, at once."""
        self._ending = True
        for child in reversed(self._children):
            child.kill()
        for child in self._children:
            if child.process is not None:
                child.process.wait()


def limits_of(plan: AgentPlan, instance: int) -> dict[str, str]:
    """What tells a child who it is, and how much it may take."""
    return {
        "ORCHESTRATOR_AGENT": plan.spec,
        "ORCHESTRATOR_AGENT_INSTANCE": str(instance),
        "ORCHESTRATOR_AGENT_MEMORY_MB": str(plan.memory_mb),
        "ORCHESTRATOR_AGENT_NICE": str(plan.nice),
        # Threads of a numeric library would each take their part of the memory.
        "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def _how(code: int) -> str:
    return f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
