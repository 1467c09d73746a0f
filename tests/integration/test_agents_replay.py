"""Under a replay at 60 times its pace: opinions from elsewhere are those of the embedded agents."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.main.agents import AgentSpec
from orchestrator.model.signals import STAGES
from tests.integration.agent_programs import Programs
from tests.integration.flow import BUSY, BUSY_TOML, Trader, replay_words, write_ticks
from tests.integration.processes import ACCOUNTS, Service, alive, eventually, pause
from tests.integration.test_agents_elsewhere import agents_of, children_of
from tests.integration.twins import Verdict
from tests.servers.redis import RedisServer

HERE = Path(__file__).parent
_REST = BUSY_TOML[BUSY_TOML.index("[agents.pattern_detection]") :]
ENDS = "SELECT data FROM journal WHERE type = 'signal.ended' ORDER BY seq"


def settings(where: str, more: str = "instances = 2") -> str:
    """The four roles of the shipped agents, away."""
    lines = more if where == "process" else ""
    return "".join(f'[agents.{r.value}]\nwhere = "{where}"\n{lines}\n' for r in STAGES) + _REST


class TwinService(Service):
    """A service with a twin of each agent; `verdict` after its end."""

    def __init__(self, folder: Path, where: str, hours: float, **environment: str) -> None:
        folder.mkdir(parents=True)
        files = [
            write_ticks(folder, name, mid=mid, hours=hours, seed=9, every_ms=2000)
            for name, mid in (("EUR_USD", 1.39), ("NZD_USD", 0.87))
        ]
        words = (*replay_words(files, "60"), "--exit-at-end", "--state", str(folder / "s" / "st"))
        specs = [AgentSpec(role=role, params={}, taste="replay") for role in STAGES]
        super().__init__(
            folder / "s", *words, toml=settings(where), **BUSY, **environment,
            TWINS=msgspec.json.encode(specs).decode(),
        )  # fmt: skip
        self.state = folder / "s" / "st"
        self._verdict = folder / "verdict.json"
        self.program = ("-m", "tests.integration.twins", str(self._verdict))

    def verdict(self) -> Verdict:
        return msgspec.json.decode(self._verdict.read_bytes(), type=Verdict)

    def ends(self) -> Counter[tuple[str, str]]:
        """How often each signal has ended at each account."""
        with self.store() as store:
            assert store.broken() is None
            rows: list[dict[str, Any]] = [json.loads(row[0]) for row in store.rows(ENDS)]
        return Counter((row["signal_id"], row["account_id"]) for row in rows)


def _play(
    service: Service, rng: random.Random, meanwhile: Callable[[], None] = lambda: None
) -> None:
    """The whole replay, with signals without a pause."""
    service.start().wait_up(60)
    eventually("all have come", lambda: _at_work(service) == 8, 60, 0.1)
    with Trader(service, rng, 0.1):
        while service.process is not None and service.process.poll() is None:
            meanwhile()
            pause(0.5)
    assert service.wait(60) == 0, service.output()


def _at_work(service: Service) -> int:
    return sum(
        a["state"] == "healthy" and a["where"] != "in-process" for a in agents_of(service).values()
    )


def test_opinions_from_processes_over_redis_are_the_embedded_agents(tmp_path: Path):
    """Goal: four roles with two instances each over Redis; every answer is the embedded agent's."""
    with (
        RedisServer(tmp_path / "redis") as redis,
        TwinService(tmp_path / "t", "remote", 0.25, MESSAGE_BROKER_URL=redis.url) as service,
        Programs(tmp_path, service.environment) as programs,
    ):
        for role in STAGES:
            for instance in (1, 2):
                programs.agent(role.value, instance)
        _play(service, random.Random(3))
        found = service.verdict()
        assert found.different == []
        assert found.equal > 20, found
        ends = service.ends()
        assert set(ends.values()) == {1}
        assert len(ends) % len(ACCOUNTS) == 0


def test_instances_killed_under_a_replay_leave_each_signal_its_one_outcome(tmp_path: Path):
    """Goal: kill -9 of any instance, again and again; nothing is lost, nothing is doubled."""
    rng = random.Random(5)
    with TwinService(tmp_path / "t", "process", 0.25) as service:
        killed, seen = 0, set[int]()

        def kill() -> None:
            nonlocal killed
            pids = children_of(service)
            seen.update(pids)
            if len(pids) > 4 and killed < 12 and alive(victim := rng.choice(pids)):
                os.kill(victim, signal.SIGKILL)
                killed += 1

        _play(service, rng, kill)
        assert not any(map(alive, seen)), "what it started has ended with it"
        assert killed >= 3
        ends = service.ends()
        assert set(ends.values()) == {1}
        assert len(ends) % len(ACCOUNTS) == 0
        assert service.verdict().equal > 5
