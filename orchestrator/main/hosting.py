"""A service from its settings to its end: state folder, venue, system, API, banner."""

from __future__ import annotations

import asyncio
import gc
import hmac
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import structlog
from fastapi import FastAPI

from orchestrator import __version__
from orchestrator.adapters.store.lock import FolderLock
from orchestrator.main.broker import meet_broker, stop_line
from orchestrator.main.logs import REDACT, set_up_logs
from orchestrator.main.market import open_market
from orchestrator.main.node import NODE_ID, Keep, Node, asked_of
from orchestrator.main.parts import Hosting, build_system
from orchestrator.main.places import API_TOKEN
from orchestrator.main.secrets import Secrets
from orchestrator.main.stores import KeptStore, SharedStore, open_file, open_shared
from orchestrator.main.summary import Summary, summarise
from orchestrator.main.venue import Connection, Replay, connect
from orchestrator.model import failpoints
from orchestrator.model.errors import OrchestratorError
from orchestrator.model.safety import Alert, Severity, StopState
from orchestrator.service.api import create_api
from orchestrator.service.desk import Desk
from orchestrator.service.failpoints import VARIABLE, arm
from orchestrator.service.gate import Gate
from orchestrator.service.guarded import Guarded, GuardProcess
from orchestrator.service.pulse import Pulse
from orchestrator.service.seams import mono_ns, new_id, new_token, wall_ns
from orchestrator.service.stop_calls import StopCalls
from orchestrator.service.supervisor import System
from orchestrator.settings import Settings
from orchestrator.settings.urls import is_postgres

log = structlog.get_logger()


_SETTLE_S = 0.5
_NOTHING_LEFT = (StopState.FLAT, StopState.STOPPED)


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """How `orchestrator run` was asked to run, beyond the settings."""

    replay: Replay | None = None
    exit_at_end: bool = False
    quiet: bool = False
    until_flat: bool = False
    address: str = ""  # where the API is, as it is known before the service begins
    rescue: tuple[str, ...] = ()  # words after `orchestrator run` for the guard's own life of it


class Service:
    """One life of the service in a process; `desk` is None until it is built."""

    def __init__(self, settings: Settings, wishes: Wishes, secrets: Secrets | None = None) -> None:
        """Opens and locks the state folder: StoreError, StoreLocked, OSError with plain texts."""
        self.secrets = secrets or Secrets(settings)
        self.settings = settings
        self.wishes = wishes
        self.system: System | None = None
        self.connection: Connection | None = None
        arm(os.environ.get(VARIABLE, ""), settings.oanda_environment)
        given = settings.api_token.get_secret_value() if settings.api_token else ""
        self.token, self.token_is_new = api_token(settings.state_dir, given)
        REDACT.learn(self.token)
        self._lock: FolderLock | None = None
        self._node: Node | None = None
        self._store: KeptStore | None = None
        self._gate = Gate(settings.state_dir)
        if is_postgres(settings.database_url):
            self._lock = FolderLock(settings.state_dir)
        else:
            _refuse_former_node(settings.state_dir)
            self._store = open_file(settings)
        self._line = None if wishes.until_flat else stop_line(settings, self._warn)
        self._calls = None if self._line is None else StopCalls(self._line, self._gate)
        self._market = open_market(settings, replay=wishes.replay is not None)
        if self._lock is not None:
            self._node = self._as_node(wishes)
            self._node.calls = self._calls
        self._folder = settings.state_dir.resolve()
        self._guard = GuardProcess(self._folder, self._rescue(), self.secrets.for_rescue)
        self._ended = asyncio.Event()
        # What else lives as long as the process does, whether this node leads or not.
        self.beside: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = ()
        self.failed: BaseException | None = None
        self.summary: Summary | None = None
        self._began = mono_ns()

    def _as_node(self, wishes: Wishes) -> Node:
        """One of several on a database; the driver is loaded only here."""
        from orchestrator.adapters.store.postgres_lease import PostgresLease

        settings = self.settings
        asked = asked_of(settings, until_flat=wishes.until_flat)
        address = wishes.address or settings.node_address or ""
        lease = PostgresLease(
            self._database, node=asked.node, holder=new_id(asked.name), address=address
        )
        keep = Keep(self._open_shared, lease, self._gate, self._market)
        return Node(settings, asked, keep, self._lead)

    def _open_shared(self) -> SharedStore:
        return open_shared(self.settings, self._database)

    def _database(self) -> str:
        """Asked for each new connection: the password may have been changed."""
        return self.settings.address_of("database_url") or ""

    @property
    def store(self) -> KeptStore:
        """The one that is in use now."""
        store = self._store if self._node is None else self._node.store
        assert store is not None, "one of the two was opened"
        return store

    def desk(self) -> Desk | None:
        """The leader's, or the standby's; None until there is either."""
        if self.system is not None:
            return self.system.desk
        return None if self._node is None else self._node.standby

    def token_ok(self, token: str) -> bool:
        """In constant time."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    async def live(self) -> None:
        """From the venue's coming up to the store's closing; errors come out of here."""
        if self.secrets.trouble:
            log.error("secrets.unread", reason=self.secrets.trouble)
        if not self.wishes.until_flat:  # who closes positions needs no broker, and waits for none
            await meet_broker(self.settings)
        async with asyncio.TaskGroup() as tasks:
            reading = self.secrets.live(self._use_token, self._tell)
            beside = [tasks.create_task(reading, name="secrets")]
            beside += [tasks.create_task(each(), name="beside") for each in self.beside]
            if self._line is not None:
                beside.append(tasks.create_task(self._line.run(), name="stops"))
            try:
                await (self._lead() if self._node is None else self._node.live())
            finally:
                for each in beside:
                    each.cancel()

    async def _lead(self) -> None:
        """A whole life where there is one node; one leadership where there are several."""
        in_order = False
        Pulse(self._folder).begin()
        self._guard.start()
        try:
            await self._live()
            in_order = True
        except asyncio.CancelledError:
            in_order = self._node is not None  # the lease is another's, and so is what is left
            raise
        finally:
            self._guard.end(in_order=in_order)
            self.system = None if self._node is not None else self.system

    async def _live(self) -> None:
        connection = self.connection = await connect(
            self.secrets.newest(self.settings), self.wishes.replay
        )
        connection.ask_again = self.secrets.ask_again
        try:
            hosting = Hosting(
                calendar=connection.calendar, threads=True, history=True,
                taste=self._taste(), node=self.settings.node_name or "",
            )  # fmt: skip
            self.system = build_system(
                self.settings, connection.venue, connection.clock, self.store, self._gate,
                self._market, hosting, connection.renew,
            )  # fmt: skip
            if self._calls is not None:
                self._calls.hear_by(self.system.safety.hear)
                self.system.safety.call_out = self._calls.call_out
            if self._ended.is_set():
                self.system.shutdown()
            self.system.accompany(
                connection.follow_clock, connection.keep_paper_alive, self._quiet_collector,
                self._guarded(self.system, connection).live,
                *self._until_replay_ends(), *self._until_flat(),
            )  # fmt: skip
            if self._node is not None:
                self._node.accompany(self.system)
            await self.system.run()
            self._sum_up(self.system)
        finally:
            await connection.close()

    def _use_token(self, account_id: str, token: str) -> None:
        if self.connection is not None:
            self.connection.use_token(account_id, token)

    def _tell(self, text: str, bad: bool) -> None:
        if self.system is not None:
            alert = Alert(
                key="secrets", severity=Severity.WARNING if bad else Severity.INFO,
                title="Secrets", text=text, at_ns=wall_ns(),
            )  # fmt: skip
            self.system.engine.hooks.alert(alert)

    def _warn(self, title: str, text: str) -> None:
        """Of the line that stops come by; a standby has its log only."""
        log.warning("stops.line", title=title, text=text)
        if self.system is not None:
            self.system.safety.raise_alert(
                Alert(key=f"bus:{title}", severity=Severity.WARNING, title=title, text=text,
                      at_ns=wall_ns())
            )  # fmt: skip

    def _sum_up(self, system: System) -> None:
        """What a replay came to; a service without one has no end to sum up."""
        connection = self.connection
        if self.wishes.replay is None or connection is None or connection.told is None:
            return
        balances = {each.account_id: each.balance for each in self.settings.paper_accounts}
        self.summary = summarise(
            system, started_ns=connection.told.start_ns, recorded=connection.told.ticks,
            wall_ns=mono_ns() - self._began, began=balances, state=self.settings.state_dir,
            store=self.store,
        )  # fmt: skip

    def _taste(self) -> str:
        if self.wishes.replay is not None:
            return "replay"
        made_up = self.connection is not None and self.connection.paper is not None
        return "demo" if made_up and self.settings.paper_feed == "synthetic" else ""

    def _until_replay_ends(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        return (self._end_with_replay,) if self.wishes.exit_at_end else ()

    def _rescue(self) -> tuple[str, ...]:
        """The command that carries out a stop whose service has died (G4)."""
        return (sys.executable, "-m", "orchestrator", "run", "--until-flat",
                "--state", str(self._folder), *self.wishes.rescue)  # fmt: skip

    def _guarded(self, system: System, connection: Connection) -> Guarded:
        return Guarded(system, self._gate, self._guard, self._folder, connection.venue)

    def _until_flat(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        return (self._end_when_flat,) if self.wishes.until_flat else ()

    async def _end_when_flat(self) -> None:
        """A rescue's life: it is over when the stop has nothing left to do."""
        assert self.system is not None
        await self.system.up.wait()
        while self._something_is_left(self.system):  # noqa: ASYNC110 -- nothing tells us
            await asyncio.sleep(_SETTLE_S)
        log.info("rescue.finished")
        os.kill(os.getpid(), signal.SIGTERM)

    def _something_is_left(self, system: System) -> bool:
        receipt = system.safety.receipt()
        return receipt is not None and receipt.state not in _NOTHING_LEFT

    async def _end_with_replay(self) -> None:
        if self.connection is not None:
            await self.connection.finished.wait()
        await asyncio.sleep(_SETTLE_S)
        log.info("replay.finished")
        os.kill(os.getpid(), signal.SIGTERM)

    async def _quiet_collector(self) -> None:
        """What start-up made stays for ever: keep the collector from walking it (FLOORS 7)."""
        if self.system is not None:
            await self.system.up.wait()
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)

    def end(self) -> None:
        """Ask for an orderly end."""
        self._ended.set()
        if self._node is not None:
            self._node.end()
        if self.system is not None:
            self.system.shutdown()

    def close(self) -> None:
        """After `live` has ended; the store's lock goes last."""
        self._market.close()
        self.store.close()
        if self._lock is not None:
            self._lock.release()


def _refuse_former_node(folder: Path) -> None:
    """On a file of its own it would lead beside the real leader, on the same accounts."""
    if (folder / NODE_ID).exists():
        raise ValueError(
            f"DATABASE_URL: is not PostgreSQL, but {folder.resolve()} belongs to a node of several;"
            " set it as before. Only if no other node trades these accounts any more: remove the"
            f" file {NODE_ID} in there, and this node works alone"
        )


def api_token(folder: Path, given: str = "") -> tuple[str, bool]:
    """The bearer token kept in the state folder, readable by its owner only; whether it is new.

    A `given` one is kept there, too: the command line of this machine looks for it there.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / API_TOKEN
    try:
        found = path.read_text().strip()
    except FileNotFoundError:
        found = ""
    if found and given in {"", found}:
        return found, False
    token = given or new_token()
    failpoints.before("token.write")
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(token + "\n")
    failpoints.after("token.write")
    return token, not given


def banner(service: Service, url: str) -> str:
    """What a person should know when the service starts."""
    settings = service.settings
    wishes = service.wishes
    what = settings.oanda_environment
    if wishes.replay is not None:
        what += f", replay of {len(wishes.replay.files)} files at {wishes.replay.speed:g} x"
    elif settings.on_paper and settings.base_url is None:
        live = settings.paper_feed == "live"
        what += f", live prices of {settings.paper_source}" if live else ", synthetic market"
    command = _command()
    lines = [
        f"Trading System Orchestrator {__version__} ({what})",
        f"  API          {url}   documentation: {url}/docs",
        f"  accounts     {', '.join(settings.account_ids)}",
        f"  instruments  {', '.join(settings.instruments)}",
        f"  state        {settings.state_dir.resolve()}",
        *_database_line(settings),
        f"  watch        {command} status · {command} events --follow",
        f"  stop all     {command} emergency-stop",
        "  end          Ctrl-C (positions keep their stops at the venue)",
    ]
    if service.token_is_new:
        # A person at a terminal sees it; a log keeps it for everyone (INV-18).
        shown = f"{service.token}   (shown once; " if sys.stdout.isatty() else "("
        lines.append(f"  API token: {shown}kept in {API_TOKEN} there)")
    warnings = (*settings.warnings(), *filter(None, (service.secrets.trouble,)))
    lines += [f"  WARNING      {text}" for text in warnings]
    return "\n".join(lines)


def _database_line(settings: Settings) -> tuple[str, ...]:
    if not is_postgres(settings.database_url):
        return ()
    return (f"  database     {settings.database_url}   one node leads, the others stand by",)


def _command() -> str:
    """How the command line is called here: by its name if that is on the path, else its file."""
    if shutil.which("orchestrator") is not None:
        return "orchestrator"
    beside = Path(sys.executable).with_name("orchestrator")
    if not beside.exists():
        return f"{Path(sys.executable).name} -m orchestrator"
    here = Path.cwd()
    return str(beside.relative_to(here)) if beside.is_relative_to(here) else str(beside)


def app_of(make: Callable[[], Service]) -> FastAPI:
    """The API with a lifespan that lives one service; `make` is called when it begins."""
    current: list[Service] = []

    def desk() -> Desk | None:
        return current[0].desk() if current else None

    def token_ok(token: str) -> bool:
        return bool(current) and current[0].token_ok(token)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        service = make()
        current[:] = [service]
        async with asyncio.TaskGroup() as tasks:
            living = tasks.create_task(_live(service), name="service")
            try:
                yield
            finally:
                service.end()
                await living
        service.close()

    return create_api(desk, token_ok, __version__, lifespan=lifespan)


async def _live(service: Service) -> None:
    """A service that breaks ends its process in order, and with an exit code that says so."""
    try:
        await service.live()
    except Exception as exc:
        cause = first_cause(exc)
        service.failed = cause
        if isinstance(cause, OrchestratorError):
            log.error("service.failed", reason=str(cause))  # noqa: TRY400 -- its text says it all
        else:
            log.exception("service.failed", reason=f"{type(cause).__name__}: {cause}")
        os.kill(os.getpid(), signal.SIGTERM)


def first_cause(exc: BaseException) -> BaseException:
    """What lies within groups of exceptions: the first that was raised."""
    while isinstance(exc, BaseExceptionGroup):
        exc = cast("BaseExceptionGroup[BaseException]", exc).exceptions[0]
    return exc


__all__ = ["Service", "Wishes", "api_token", "app_of", "banner", "set_up_logs"]
