"""A service of a sweep: a process on a folder of its own, over as many lives as it takes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record
from orchestrator.research.brood import kept_environment
from orchestrator.research.crash_sweep.busy import LIMITS, TOML
from orchestrator.research.crash_sweep.journals import journal_in_file, journal_on_server
from orchestrator.research.waiting import Late, eventually
from orchestrator.service.failpoints import VARIABLE
from orchestrator.service.seams import block_s

ACCOUNTS = ("101-001-1000001-001", "101-001-1000001-002")
_ROOT = Path(__file__).resolve().parents[3]
_ANSWER_S = 30.0
_UP_S = 120.0
_LOCKED = "is in use by the service"
_LOCKED_S = 0.5
_SETTINGS = {
    **LIMITS, "OANDA_ENVIRONMENT": "paper", "PAPER_MARKET_HOURS": "always",
    "AGENT_DISCOVERY_PORT": "0", "LOG_LEVEL": "info",
}  # fmt: skip


class Died(Exception):
    """The service's process ended while it was asked for something."""


class Service:
    """`armed`: what ORCHESTRATOR_FAILPOINT says while the file `fuse` is there; `settings`: more
    of the environment.
    """

    def __init__(self, folder: Path, armed: str = "", **settings: str) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.fuse = folder / "fuse"
        self.lives = 0
        self.deaths = 0
        self._armed = armed
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "orchestrator.toml"
        config.write_text(TOML)
        self._database = settings.get("DATABASE_URL", "")
        self._environment = {
            **_SETTINGS, "HOME": "/nonexistent",
            "PYTHONPATH": str(_ROOT), "STATE_DIR": str(self.state),
            "ORCHESTRATOR_CONFIG": str(config), **settings,
        }  # fmt: skip

    # -- life and death ---------------------------------------------------------------------------

    def start(self) -> None:
        self.lives += 1
        (self.state / "service.url").unlink(missing_ok=True)
        strikes = [f"{strike}@{self.fuse}" for strike in self._armed.split(",") if strike]
        armed = {VARIABLE: ",".join(strikes)} if strikes else {}
        kept = kept_environment("PATH", "LANG")
        with (self.folder / "out.txt").open("ab") as out:
            out.write(f"--- life {self.lives}\n".encode())
            self._process = subprocess.Popen(
                (sys.executable, "-m", "orchestrator", "run"), stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, cwd=self.folder, env={**kept, **self._environment, **armed},
            )  # fmt: skip

    def arm(self) -> None:
        self.fuse.touch()

    def disarm(self) -> None:
        self.fuse.unlink(missing_ok=True)

    @property
    def dead(self) -> bool:
        """Killed by the failpoint; any other end is the caller's to judge (`code`)."""
        return self.code is not None

    @property
    def struck(self) -> bool:
        """Whether what was to be killed has been; the service itself, here."""
        return self.dead

    @property
    def code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def up(self) -> bool:
        """Waits until it serves, or has died: which of the two.

        A guard may have begun a life of its own that liquidates; that one has the folder until it
        is done, and whoever starts the service tries again, as a supervisor would.
        """
        return eventually("up", lambda: self._is_up() or self._has_died(), _UP_S) and not self.dead

    def _has_died(self) -> bool:
        if not self.dead or not self._comes_again():
            return self.dead
        block_s(_LOCKED_S)
        self.start()
        return False

    def _comes_again(self) -> bool:
        """Whether it ended only because somebody else was there, or somebody was not."""
        return self.code == 1 and _LOCKED in self.last_words()

    def last_words(self) -> str:
        """What this life has printed."""
        said = (self.folder / "out.txt").read_text(errors="replace")
        return said.rpartition("--- life")[2]

    def _is_up(self) -> bool:
        with contextlib.suppress(Died, OSError, ValueError):
            holder = int((self.state / "lock").read_text())
            if self._process is None or holder != self._process.pid:
                return False  # a guard's own life, which answers as well
            return not self.dead and self.mode() in {"running", "ready", "stopped"}
        return False

    def send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self, *, guard_too: bool = False) -> None:
        """The guard of a killed service goes on with its stop, and may be there first."""
        if guard_too:
            self._kill_all(b"orchestrator.service.guard")
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask for an orderly end, and wait for any."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(30)

    def clear_away(self) -> None:
        """Whatever of this folder still lives: the service, its guard, its venue; by their ids."""
        self._end(signal.SIGKILL)
        self._kill_all(b"orchestrator")

    def _kill_all(self, module: bytes) -> None:
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words = (path / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # it has ended in the meantime
            ours = any(word.startswith(bytes(self.state)) for word in words)
            if ours and any(module in word for word in words[:4]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(path.name), signal.SIGKILL)

    # -- asking -----------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and body. Died when it cannot be asked any more."""
        try:
            token = (self.state / "api-token").read_text().strip()
            port = urlsplit((self.state / "service.url").read_text().strip()).port or 0
            return exchange(port, method, path, body, token, self._next_client())
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise Died(str(exc)) from exc

    _asked = 0

    def _next_client(self) -> str:
        """Limits of pace are for one address each."""
        self._asked += 1
        return f"127.0.0.{2 + self._asked % 250}"

    def journal(self) -> tuple[list[tuple[Record, Fact]], str]:
        """All records as they stand, and the installation's id."""
        if self._database:
            return journal_on_server(self._database)
        return journal_in_file(self.state, self.folder / "copy")

    def mode(self) -> str:
        return str(self.ask("GET", "/health")[1]["mode"])

    def venue(self, path: str, method: str = "GET", body: object = None) -> Any:  # noqa: ANN401 -- JSON
        """The paper venue's own answer, whose books are the judge."""
        record = json.loads((self.state / "paper.json").read_text())
        status, answer = exchange(record["port"], method, path, body, record["token"])
        if status not in {200, 201}:
            raise Late(f"the venue says {status} to {path}: {answer}")
        return answer


def exchange(
    port: int, method: str, path: str, body: object, token: str, client: str = "127.0.0.1",
    timeout_s: float = _ANSWER_S,
) -> tuple[int, Any]:  # fmt: skip
    """One request on a connection of its own. OSError, HTTPException."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=timeout_s, source_address=(client, 0)
    )
    try:
        data = None if body is None else json.dumps(body).encode()
        head = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request(method, path, data, head)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
