"""What deploy/ says is done here as far as a machine without a container engine can."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.image import check
from tests.integration.processes import ROOT, end_all_on, eventually
from tests.servers.postgres import PostgresServer
from tests.servers.redis import program


def test_the_image_runs_as_its_user_on_code_that_it_does_not_write():
    """Goal: each step of the Dockerfile, with this interpreter instead of a fresh one; then its
    command, its health check and its stop signal."""
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        scratch = Path(folder)
        scratch.chmod(0o755)
        check(installed=False, scratch=scratch)


COMPOSE = yaml.safe_load((ROOT / "deploy" / "docker-compose.yml").read_text())["services"]
ROLES = ("disagreement", "strategy_analysis", "parameter_optimization", "learning_safety")


class House:
    """The compose file's containers as processes: its settings, secrets and commands, with the
    containers' paths in a folder here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[subprocess.Popen[bytes]] = []
        for name in ("run/redis", "users", "shared", "data", "bin", "state", "run/secrets"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "deploy" / "make-secrets", folder)
        subprocess.run(["sh", folder / "make-secrets"], check=True, capture_output=True)
        for secret in (folder / "secrets").iterdir():
            shutil.copy(secret, folder / "run/secrets")
        command = folder / "bin" / "orchestrator"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m orchestrator "$@"\n')
        command.chmod(0o755)

    def secret(self, name: str) -> str:
        return (self.folder / "run/secrets" / name).read_text()

    def here(self, text: str) -> str:
        text = re.sub(r"\$\{[A-Z_]+:-(.*?)\}", r"\1", text).replace("$$", "$")
        text = text.replace("/etc/orchestrator", str(ROOT / "deploy" / "config"))
        return re.sub(r"(?<![\w./-])/(run|users|shared|data)\b", rf"{self.folder}/\1", text)

    def environment(self, name: str, **more: str) -> dict[str, str]:
        told = COMPOSE[name].get("environment", {})
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return {
            "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1",
            **{key: self.here(text) for key, text in told.items()}, **more,
        }  # fmt: skip

    def start(self, name: str, words: list[str], **more: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(
                words, env=self.environment(name, **more), cwd=self.folder, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self.children.append(child)
        return child

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def close(self) -> None:
        for child in reversed(self.children):
            child.terminate()
        for child in reversed(self.children):
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        end_all_on(self.folder)


@pytest.fixture
def house():
    with tempfile.TemporaryDirectory(prefix="tso-") as folder:  # short: a socket's name is bounded
        built = House(Path(folder))
        try:
            yield built
        finally:
            built.close()


def _users(house: House) -> None:
    """What the container redis-users does."""
    words = [
        *COMPOSE["redis-users"]["entrypoint"],
        house.here(COMPOSE["redis-users"]["command"][0]),
    ]
    done = subprocess.run(
        words, env=house.environment("redis-users"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made = (house.folder / "shared" / "users.acl").read_text()
    assert len(made.splitlines()) == 2 + len(ROLES)
    assert not any(house.secret(f"agent_{role}") in made + done.stderr for role in ROLES)
    shutil.copy(house.folder / "shared" / "users.acl", house.folder / "users")


def _redis(house: House) -> None:
    """The command of the container redis, with this machine's server."""
    script = house.here(COMPOSE["redis"]["command"][0])
    words = shlex.split(script[script.index("redis-server") :].replace("\\\n", " "))
    house.start("redis", [program(), *words[1:]])
    socket = house.folder / "run/redis/redis.sock"
    eventually("the broker's socket", socket.exists, 30)


def _urls(name: str, postgres: PostgresServer) -> dict[str, str]:
    """A container's databases; both are on the one server here."""
    told, where = COMPOSE[name]["environment"], f"{postgres.socket_dir}&port={postgres.port}"
    return {
        variable: re.sub("/run/(postgres|timescale)$", where, told[variable])
        for variable in ("DATABASE_URL", "TIMESCALE_URL")
    }


def _databases(house: House, postgres: PostgresServer) -> None:
    """What the images do at their first start, then what the container migrate does."""
    postgres.execute(
        f"CREATE ROLE orchestrator LOGIN PASSWORD '{house.secret('postgres_password')}'",
        f"CREATE ROLE trader LOGIN PASSWORD '{house.secret('trader_password')}'",
        "CREATE DATABASE trading_system OWNER orchestrator",
        "CREATE DATABASE market_data OWNER orchestrator",
    )
    words = [sys.executable, "-m", "orchestrator", *COMPOSE["migrate"]["command"]]
    state = str(house.folder / "migrate")
    environment = house.environment("migrate", STATE_DIR=state, **_urls("migrate", postgres))
    done = subprocess.run(
        words, env=environment, cwd=house.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _ask(house: House, path: str) -> dict[str, Any]:
    url = (house.folder / "state" / "service.url").read_text().strip()
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        token = house.secret("api_token")
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _ready(house: House, node: subprocess.Popen[bytes]) -> bool:
    assert node.poll() is None, house.said("orchestrator")
    words = [sys.executable, *COMPOSE["orchestrator"]["healthcheck"]["test"][2:-1], "readyz"]
    environment = house.environment("orchestrator", STATE_DIR=str(house.folder / "state"))
    done = subprocess.run(words, env=environment, check=False, capture_output=True)
    return done.returncode == 0


def _healthy(house: House) -> set[str]:
    try:
        agents = _ask(house, "/agents")["items"]
    except OSError:
        return set()
    return {each["role"] for each in agents if each["state"] == "healthy"}


def test_the_compose_files_house_runs_on_its_own_settings_and_secrets(house: House):
    """Goal: the node with journal and market data in PostgreSQL and the broker behind its users,
    all by unix sockets, and four agents elsewhere, each with credentials of its own."""
    _users(house)
    _redis(house)
    with PostgresServer() as postgres:
        _databases(house, postgres)
        node = house.start(
            "orchestrator", [sys.executable, "-m", "orchestrator", "run"],
            STATE_DIR=str(house.folder / "state"), AGENT_DISCOVERY_PORT="0", API_HOST="127.0.0.1",
            ORCHESTRATOR_CONFIG=house.here("/etc/orchestrator/agents.toml"),
            **_urls("orchestrator", postgres),
        )  # fmt: skip
        for role in ROLES:
            name = f"agent-{role.replace('_', '-')}"
            words = [str(each) for each in COMPOSE[name]["command"]]
            state = house.folder / "agents" / role
            house.start(name, [sys.executable, "-m", "orchestrator", *words], STATE_DIR=str(state))
        eventually("a node that is ready", lambda: _ready(house, node), 120, 0.5)
        eventually("agents elsewhere", lambda: set(ROLES) <= _healthy(house), 60, 0.25)
        stored = postgres.execute("SELECT count(*) FROM journal", database="trading_system")
        assert stored[0][0] > 10
        node.send_signal(signal.SIGTERM)
        assert node.wait(60) == 0, house.said("orchestrator")
        house.close()
    shown = "".join(path.read_text() for path in house.folder.glob("*.log"))
    for secret in (house.folder / "run/secrets").iterdir():
        assert not secret.read_text() or secret.read_text() not in shown, secret.name
