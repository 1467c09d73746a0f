"""Agents started by hand, over the socket in the state folder; in other languages, too."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import stat
import sys
from pathlib import Path

from tests.integration.agent_programs import Programs
from tests.integration.flow import BUSY, BUSY_TOML
from tests.integration.processes import ROOT, Service, eventually
from tests.integration.test_agents_elsewhere import agents_of, ends_of, warm

EXAMPLES = ROOT / "examples"
_HEAD, _, _TAIL = BUSY_TOML.partition("[agents.strategy_analysis]")
TOML = (
    f'{_HEAD}[agents.strategy_analysis]\nwhere = "remote"\n'
    f"{_TAIL[_TAIL.index('[agents.pattern_detection]') :]}"
)


def test_agents_in_other_languages_are_asked_and_strangers_are_refused(tmp_path: Path):
    """Goal: the documented messages are all that is needed. JavaScript where there is a node."""
    languages = {"plain": (sys.executable, "-I", str(EXAMPLES / "plain_agent.py"))}
    node = shutil.which("node")
    if node is not None:
        languages["js"] = (node, str(EXAMPLES / "agent.mjs"))
    with (
        Service(tmp_path / "s", toml=TOML, **BUSY) as service,
        Programs(tmp_path, service.environment) as programs,
    ):
        service.start().wait_up(60)
        path = service.state / "agents.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        tripped = [b["breaker"] for b in service.get("/breakers?tripped=true&limit=1000")["items"]]
        assert "S9" in tripped, "nobody has come yet"
        for number, (name, command) in enumerate(languages.items(), 1):
            programs.start(name, (*command, str(path), str(number)))
        eventually("they have come", lambda: len(_here(service)) == len(languages), 60, 0.1)
        warm(service)
        tries = iter(range(200))

        def each_has_answered() -> bool:
            ends_of(service, f"hand-{next(tries):03d}", "")
            return all(agent["handled"] >= 2 for agent in _here(service).values())

        eventually("each has answered", each_has_answered, 60, 0.2)
        _good_ratio_only(service)
        assert not any(agent["errors"] for agent in _here(service).values())
        _refuses_strangers(path)
        assert len(_here(service)) == len(languages)
        service.send(signal.SIGTERM)
        assert service.wait() == 0
        for name in languages:
            assert programs.wait(name) == 0, programs.output(name)


def _here(service: Service) -> dict[str, dict[str, object]]:
    return {
        name: agent
        for name, agent in agents_of(service).items()
        if agent["where"] == "remote" and agent["state"] == "healthy"
    }


def _good_ratio_only(service: Service) -> None:
    """Their opinion counts: what wins less than twice its risk is rejected, and says why."""
    service.signal("bad-ratio", "EUR_USD", "buy", target_distance="0.00310", strategy="bad")

    def rejected() -> list[str]:
        outcomes = service.get("/signals/bad-ratio")["outcomes"]
        return [o["ended"]["stage"] for o in outcomes if o["ended"]["outcome"] == "rejected"]

    eventually("it is rejected", lambda: rejected() == ["strategy_analysis"] * 2, 30)


def _refuses_strangers(path: Path) -> None:
    hello = {"protocol": 1, "role": "strategy_analysis", "instance": 1, "name": "x", "version": "1"}
    for change, why in (
        ({}, "is registered already"), ({"role": "learning_safety"}, "where is"),
        ({"protocol": 99}, "update the service"), ({"protocol": 0}, "update the agent"),
        ({"instance": 0}, "instance"), ({"name": ""}, "name"), ({"role": "king"}, "not a frame"),
    ):  # fmt: skip
        assert why in _answer(path, {"type": "agent.hello", "data": hello | change}), change
    assert "hello first" in _answer(path, {"type": "agent.pong", "data": {"number": 1}})


def _answer(path: Path, frame: dict[str, object]) -> str:
    """What a stranger is told before the link is closed."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(20)
        link.connect(str(path))
        link.sendall(json.dumps({"id": "1", "source": "agent/x/1", **frame}).encode() + b"\n")
        told = b""
        while data := link.recv(65536):
            told += data
    return str(json.loads(told)["data"]["reason"])
