"""Where the journal of one kill is kept, and who dies: the service, or its database's server."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from orchestrator.adapters.store.loop_thread import LoopThread
from orchestrator.adapters.store.postgres_connection import connect
from orchestrator.research.crash_sweep.process import Service
from orchestrator.research.servers import Postgres
from orchestrator.research.waiting import Late
from orchestrator.service.seams import block_s, new_id

_ASK_S = 30.0
_AWAY_S = 1.5
_LOOK_S = 0.05
_LIVES_MAX = 60
_DEATHS_MAX = 2
# The second strike comes this many passes later: in the recovery of the first.
_AGAIN = 3


class Struck(Service):
    """A service whose database's server is killed; who looks after that one starts it again."""

    server: Postgres
    server_deaths = 0

    @property
    def struck(self) -> bool:
        return self.server_deaths > 0

    def server_is_back(self) -> bool:
        """Seen twice: one that was killed just now may have to be noticed first."""
        return all(self._server_serves() for _ in range(2))

    def _server_serves(self) -> bool:
        block_s(_LOOK_S)
        return self.server.ready()

    def _comes_again(self) -> bool:
        """Without its database it ends with a clear word, and is begun again."""
        return super()._comes_again() or (self.code == 1 and self.lives < _LIVES_MAX)

    def look_after(self, over: threading.Event) -> None:
        """Until `over`: a server that has died is started again."""
        while not over.wait(_LOOK_S):
            if not self.server.alive:
                self.server_deaths += 1
                if self.server_deaths >= _DEATHS_MAX:
                    self.disarm()  # a service that ends each time would meet it again in each life
                over.wait(_AWAY_S)
                with contextlib.suppress(Late, OSError):
                    self.server.start()


class OnFile:
    """SQLite, in the service's own folder."""

    servers_too = False

    @contextmanager
    def service(self, folder: Path, strike: str, *, server: bool) -> Generator[Service]:
        """`strike`: where, and at which pass. `server`: it is the server that dies there."""
        assert not server, "there is none"
        yield Service(folder, f"{strike}=kill")


class OnServer:
    """PostgreSQL: at `url`, or on a server of the sweep's own, which may be killed as well.

    Each kill has a database of its own, and each kill of a server has a server of its own.
    """

    def __init__(self, url: str, folder: Path) -> None:
        """`Missing` when there is no URL and no program; StoreError when nobody answers there."""
        self.servers_too = not url
        self._own = None if url else Postgres(folder / "postgres")
        if self._own is not None:
            self._own.start()
            self._own.wait_ready()
        self._url = url or (self._own.url if self._own is not None else "")
        self._do("SELECT 1")

    def close(self) -> None:
        if self._own is not None:
            self._own.kill()

    @contextmanager
    def service(self, folder: Path, strike: str, *, server: bool) -> Generator[Service]:
        """As `OnFile.service`."""
        if server:
            with self._struck(folder, strike) as struck:
                yield struck
            return
        name = re.sub(r"\W", "_", new_id("tso_sweep"))
        self._do(f"CREATE DATABASE {name}")
        try:
            url = urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))
            yield Service(folder, f"{strike}=kill", DATABASE_URL=url)
        finally:
            with contextlib.suppress(Exception):
                self._do(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def _struck(self, folder: Path, strike: str) -> Generator[Service]:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # the server may run as another user
        server = Postgres(folder / "postgres")
        place, _, nth = strike.partition(":")
        strikes = [f"{place}:{n}=kill:{server.pid_file}" for n in (int(nth), int(nth) + _AGAIN)]
        service = Struck(folder / "service", ",".join(strikes), DATABASE_URL=server.url)
        service.server = server
        server.start()
        server.wait_ready()
        over = threading.Event()
        keeper = threading.Thread(target=service.look_after, args=(over,), daemon=True)
        keeper.start()
        try:
            yield service
        finally:
            over.set()
            keeper.join()
            server.kill()

    def _do(self, statement: str) -> None:
        thread = LoopThread("sweep")

        async def work() -> None:
            session = await connect(lambda: self._url, "--database-url", name="crash-sweep")
            try:
                await session.execute(statement)
            finally:
                await session.close()

        try:
            thread.call(work, _ASK_S)
        finally:
            thread.close()
