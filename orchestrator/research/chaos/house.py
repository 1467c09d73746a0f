"""The cast of a campaign: a venue, servers, nodes, agents; each a process that can be struck."""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from orchestrator.adapters.bus.redis.acl import (
    line_of_agent,
    line_of_node,
    user_of_agent,
    user_of_node,
)
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record
from orchestrator.research.crash_sweep.busy import LIMITS, TOML
from orchestrator.research.crash_sweep.journals import journal_in_file, journal_on_server
from orchestrator.research.crash_sweep.process import ACCOUNTS, Died, exchange
from orchestrator.research.servers import (
    Postgres,
    Program,
    Redis,
    free_port,
)
from orchestrator.research.waiting import Late, eventually
from orchestrator.service.seams import children_of

_ROOT = Path(__file__).resolve().parents[3]
_SECRET = "of-a-broker-on-loopback"  # noqa: S105 -- as it says
_TOKEN = "campaign"  # noqa: S105 -- of a paper venue on loopback
_MONEY = ("USD:1000000", "EUR:1000000")
ROLES = ("disagreement", "strategy_analysis", "parameter_optimization", "learning_safety")
_UP_S = 90.0


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """What a campaign is made of. `agents`: service | process | remote."""

    redis: bool = True
    postgres: bool = True
    nodes: int = 2
    agents: str = "remote"
    instances: int = 2


class Venue(Program):
    """The paper venue, whose books are the judge; it keeps them over its own death."""

    def __init__(self, folder: Path) -> None:
        super().__init__("venue", folder)
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _words(self) -> Sequence[str]:
        accounts = [
            word
            for name, money in zip(ACCOUNTS, _MONEY, strict=True)
            for word in ("--account", f"{name}:{money}")
        ]
        return (
            sys.executable, "-m", "orchestrator", "paper", *accounts, "--port", str(self.port),
            "--state", str(self.folder / "books"), "--log", str(self.folder / "requests.log"),
            "--instruments", "EUR_USD,USD_JPY,EUR_JPY", "--hours", "always", "--control",
        )  # fmt: skip

    def _environment(self) -> Mapping[str, str]:
        return {**super()._environment(), "PYTHONPATH": str(_ROOT), "PAPER_TOKEN": _TOKEN}

    def ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            return self.alive and exchange(self.port, "GET", "/v3/accounts", None, _TOKEN)[0] == 200  # noqa: PLR2004
        return False

    def ask(self, path: str) -> Any:  # noqa: ANN401 -- JSON
        status, answer = exchange(self.port, "GET", path, None, _TOKEN)
        if status not in {200, 201}:
            raise Late(f"the venue says {status} to {path}: {answer}")
        return answer


class Node(Program):
    """One orchestrator on a state folder of its own."""

    def __init__(self, name: str, folder: Path, settings: Mapping[str, str]) -> None:
        super().__init__(name, folder)
        self.state = folder / "state"
        self._settings = {**settings, "STATE_DIR": str(self.state), "NODE_NAME": name}
        self._asked = 0

    def _words(self) -> Sequence[str]:
        return (sys.executable, "-m", "orchestrator", "run")

    def _environment(self) -> Mapping[str, str]:
        return {**super()._environment(), **self._settings}

    def start(self) -> None:
        (self.state / "service.url").unlink(missing_ok=True)
        super().start()

    def ready(self) -> bool:
        """It serves: leads, or stands by."""
        with contextlib.suppress(Died, KeyError):
            return self.alive and bool(self.ask("GET", "/health")[1]["mode"])
        return False

    @property
    def leads(self) -> bool:
        """Whether signals are for this one; one that stands alone leads always."""
        with contextlib.suppress(Died, KeyError):
            health = self.ask("GET", "/health")[1]
            return health.get("role", "leader") == "leader" and health["mode"] == "running"
        return False

    def ask(
        self, method: str, path: str, body: object = None, timeout_s: float = 5.0
    ) -> tuple[int, Any]:
        """Status and body. Died when it cannot be asked just now."""
        self._asked += 1
        try:
            token = (self.state / "api-token").read_text().strip()
            port = urlsplit((self.state / "service.url").read_text().strip()).port or 0
            client = f"127.0.0.{2 + self._asked % 250}"  # limits of pace are for one address each
            return exchange(port, method, path, body, token, client, timeout_s)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise Died(str(exc)) from exc

    def clear_away(self) -> None:
        """Itself, its guard and its agents: by their ids."""
        self.kill()
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words = (path / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended meanwhile
            if bytes(self.state) + b"/" in words or words.endswith(bytes(self.state) + b"\0"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(path.name), 9)

    def agents(self) -> list[int]:
        """Process ids of agents that it has started itself."""
        if self._process is None:
            return []
        return [pid for pid in children_of(self._process.pid) if _is_agent(pid)]


def _is_agent(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"orchestrator" in words and b"agent" in words


class AgentProgram(Program):
    """One agent that came up by itself, anywhere."""

    def __init__(self, role: str, instance: int, folder: Path, settings: Mapping[str, str]) -> None:
        super().__init__(f"agent {role} {instance}", folder)
        self._role, self._instance, self._settings = role, instance, settings

    def _words(self) -> Sequence[str]:
        return (sys.executable, "-m", "orchestrator", "agent", self._role,
                "--instance", str(self._instance))  # fmt: skip

    def _environment(self) -> Mapping[str, str]:
        state = str(self.folder / "state")
        return {**super()._environment(), **self._settings, "STATE_DIR": state}


class House:
    """All of them. Meets what `crash_sweep.judge` asks of a service."""

    def __init__(self, folder: Path, cast: Cast) -> None:
        """`Missing` when a program is not there."""
        self.folder = folder
        self.cast = cast
        self._venue = Venue(folder / "venue")
        seats = [(role, instance) for role in ROLES for instance in range(1, cast.instances + 1)]
        users = [line_of_agent("tso", role, str(number), _SECRET) for role, number in seats]
        users.append(line_of_node("tso", _SECRET))
        self.redis = Redis(folder / "redis", users) if cast.redis else None
        self.postgres = Postgres(folder / "postgres") if cast.postgres else None
        settings = self._settings()
        self.nodes = tuple(
            Node(f"node-{number}", folder / f"node-{number}", settings)
            for number in range(1, cast.nodes + 1)
        )
        self.agents = tuple(
            AgentProgram(role, number, folder / f"{role}-{number}", self._of_agent(role, number))
            for role, number in seats
            if cast.agents == "remote"
        )

    def _of_agent(self, role: str, number: int) -> dict[str, str]:
        """An agent has credentials of its own, and none for the database or the venue (X8)."""
        assert self.redis is not None, "agents elsewhere are met at the broker"
        url = self.redis.url(user_of_agent("tso", role, str(number)), _SECRET)
        settings = {**self._settings(), "MESSAGE_BROKER_URL": url}
        settings.pop("DATABASE_URL", None)
        return settings

    def _settings(self) -> dict[str, str]:
        config = self.folder / "orchestrator.toml"
        config.write_text(_toml(self.cast))
        settings = {
            **LIMITS, "OANDA_ENVIRONMENT": "paper", "OANDA_BASE_URL": self._venue.url,
            "OANDA_API_KEY": _TOKEN, "OANDA_ACCOUNT_IDS": ",".join(ACCOUNTS),
            "INSTRUMENTS": "EUR_USD,USD_JPY", "PAPER_MARKET_HOURS": "always",
            "AGENT_DISCOVERY_PORT": "0", "LOG_LEVEL": "info", "ORCHESTRATOR_CONFIG": str(config),
            "PYTHONPATH": str(_ROOT), "HOME": "/nonexistent", "AGENT_HEALTH_CHECK_INTERVAL": "5",
        }  # fmt: skip
        if self.redis is not None:
            settings["MESSAGE_BROKER_URL"] = self.redis.url(user_of_node("tso"), _SECRET)
        if self.postgres is not None:
            settings["DATABASE_URL"] = self.postgres.url
        return settings

    # -- life ------------------------------------------------------------

    @property
    def programs(self) -> tuple[Program, ...]:
        """In the order in which they are begun."""
        servers = tuple(each for each in (self.redis, self.postgres) if each is not None)
        return (self._venue, *servers, *self.nodes, *self.agents)

    def start(self) -> None:
        for program in self.programs:
            program.start()
            if not isinstance(program, Node | AgentProgram):
                program.wait_ready()
        eventually("a node leads and trades", lambda: self.leader is not None, _UP_S)

    def clear_away(self) -> None:
        """Whatever still lives, by its id."""
        for program in reversed(self.programs):
            program.thaw()
            program.kill()
        for node in self.nodes:
            node.clear_away()

    @property
    def leader(self) -> Node | None:
        """The node that takes signals now."""
        return next((node for node in self.nodes if node.leads), None)

    def last_words(self) -> Iterator[str]:
        for program in self.programs:
            yield f"=== {program.name}, {program.lives} lives\n{program.troubles()}"
            yield f"=== {program.name}, the last words\n{program.last_words()}"

    # -- for the judge ------------------------------------------------------------

    def venue(self, path: str) -> Any:  # noqa: ANN401 -- JSON
        return self._venue.ask(path)

    def mode(self) -> str:
        leader = self.leader
        return "none leads" if leader is None else str(leader.ask("GET", "/health")[1]["mode"])

    def journal(self) -> tuple[list[tuple[Record, Fact]], str]:
        """All records as they stand, and the installation's id."""
        if self.postgres is None:
            return journal_in_file(self.nodes[0].state, self.folder / "copy")
        return journal_on_server(self.postgres.url)


def _toml(cast: Cast) -> str:
    """The sweep's settings, with the four roles that are asked in processes of their own."""
    if cast.agents == "service":
        return TOML
    more = f'where = "{cast.agents}"' + (
        f"\ninstances = {cast.instances}" if cast.agents == "process" else ""
    )
    text = TOML.replace('where = "service"', more)
    for role in ROLES[2:]:
        text += f"\n[agents.{role}]\n{more}\n"
    return text
