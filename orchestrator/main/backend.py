"""What the command line asks of the machine it runs on; everything else it asks the API."""

from __future__ import annotations

import asyncio
import itertools
import os
import platform
import re
import signal
import socket
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from orchestrator.main.places import (
    API_TOKEN,
    CURRENT,
    SERVICE_CERTIFICATE,
    SERVICE_URL,
    current_folder,
    text_of,
)
from orchestrator.model.errors import FeedError, OrchestratorError, StoreLocked
from orchestrator.model.time import format_time
from orchestrator.service.cli.backend import Check, LocalStop, RunOptions, ServiceAddress
from orchestrator.service.cli.trail import TrailDesk
from orchestrator.service.guard import OTHERS_LIVE
from orchestrator.service.seams import wall_ns
from orchestrator.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    import uvicorn

    from orchestrator.main.secrets import Secrets
    from orchestrator.service.gate import Gate, Latch


class Backend:
    """Meets `service.cli.backend.Backend`."""

    def run(self, options: RunOptions) -> int:
        """The exit code. Everything that may go wrong before the start is one plain line."""
        from orchestrator.main.logs import REDACT
        from orchestrator.main.optimised import refuse_optimised

        refuse_optimised()
        try:
            secrets = _secrets_of(options)
            settings = secrets.settings
            _make_folder(settings.state_dir)
            if options.until_flat and not _stop_stands(settings.state_dir):
                return 0
            if options.replay and (options.exact or options.speed == "max"):
                from orchestrator.main.replay import run_replay

                return run_replay(_own_folder(settings, options), options)
            if options.replay:
                return _serve_replay(secrets, options)
            return _serve(settings, options, secrets)
        except (SettingsError, OrchestratorError, ValueError, OSError) as exc:
            print(f"orchestrator: {REDACT.clean(str(exc))}", file=sys.stderr)
            return OTHERS_LIVE if options.until_flat and isinstance(exc, StoreLocked) else 1

    def paper(self, arguments: list[str]) -> int:
        from orchestrator.main.paper import run

        return run(arguments)

    def agent(self, arguments: list[str]) -> int:
        from orchestrator.main.agent import run

        return run(arguments)

    def simulate(self, arguments: list[str]) -> int:
        from orchestrator.research.simulate.__main__ import main

        return main(arguments)

    def crash_sweep(self, arguments: list[str]) -> int:
        from orchestrator.research.crash_sweep.__main__ import main

        return main(arguments)

    def chaos(self, arguments: list[str]) -> int:
        from orchestrator.research.chaos.__main__ import main

        return main(arguments)

    def drill(self, arguments: list[str]) -> int:
        from orchestrator.main.drills import main

        return main(arguments)

    def certs(self, arguments: list[str]) -> int:
        from orchestrator.main.certs import run

        return run(arguments)

    def bus(self, arguments: list[str]) -> int:
        from orchestrator.main.bus import run

        return run(arguments)

    def db(self, arguments: list[str]) -> int:
        from orchestrator.main.db import run

        return run(arguments)

    def doctor(self) -> Sequence[Check]:
        from orchestrator.main.secrets import settings_in_force

        try:
            settings = settings_in_force()
        except SettingsError as exc:
            return [Check(name="settings", ok=False, text=str(exc), hint="see .env.example")]
        from orchestrator.main.doctor import examine

        return list(examine(settings))

    def trail(self) -> TrailDesk:
        from orchestrator.main.audit import Trail
        from orchestrator.main.logs import set_up_logs

        set_up_logs("error")  # what is told is the report
        return Trail()

    def settings_rows(self) -> Sequence[tuple[str, str, str]]:
        """(name, value or ***, source) of every setting."""
        return [(row.name, row.value, row.source) for row in load_settings().describe()]

    def service(self, state: Path | None) -> ServiceAddress:
        """Where the service of a state folder is, and the token to ask it with."""
        settings = load_settings()
        folder = state or current_folder(settings.state_dir)
        return ServiceAddress(
            url=text_of(folder / SERVICE_URL) or f"http://127.0.0.1:{settings.agent_discovery_port}",
            token=text_of(folder / API_TOKEN), state_dir=folder,
            certificate=_if_there(folder / SERVICE_CERTIFICATE),
        )  # fmt: skip

    def local_stop(self, reason: str, *, liquidate: bool, state: Path | None) -> LocalStop:
        """Closes the gate of a state folder: no network, token or event loop needed."""
        from orchestrator.service.gate import Gate, Latch
        from orchestrator.service.seams import mono_ns, new_id, wall_ns

        folder = state or current_folder(_state_dir())
        if not (folder / "gate").exists():
            raise FileNotFoundError(
                f"no service has ever worked on the state folder {folder.resolve()}; give --state "
                "DIR, or run this where STATE_DIR leads to it"
            )
        began = mono_ns()
        gate = Gate(folder)
        gate.close()
        took_us = (mono_ns() - began) // 1000
        found, persisted = gate.read_latch(), True
        latch = found or Latch(
            stop_id=new_id("stop"), actor=f"local:{os.getuid()}", reason=reason,
            liquidate=liquidate, closed_ns=wall_ns(),
        )  # fmt: skip
        # A repeat may add liquidation and accounts, never take away (SAFETY 5.4).
        latch = msgspec.structs.replace(latch, liquidate=latch.liquidate or liquidate, accounts=())
        if latch != found:
            persisted = _persist(gate, latch)
        gate.close()  # a resume may have opened it between the first closing and the latch
        return LocalStop(
            stop_id=latch.stop_id, took_us=took_us, persisted=persisted,
            already_stopped=found is not None,
            state_dir=folder,
        )  # fmt: skip


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None


def _stop_stands(folder: Path) -> bool:
    from orchestrator.service.gate import Gate

    gate = Gate(folder)
    return gate.stopped or gate.read_latch() is not None


def _words_again(options: RunOptions) -> tuple[str, ...]:
    """What was asked beyond the settings, for a rescue's life; its folder and port are its own."""
    words: list[str] = []
    for file in options.replay:
        words += ["--replay", str(file.resolve())]
    if options.replay:
        words += ["--speed", options.speed]
    if options.seed is not None:
        words += ["--seed", str(options.seed)]
    if options.log_level is not None:
        words += ["--log-level", options.log_level]
    return tuple(words)


def _persist(gate: Gate, latch: Latch) -> bool:
    """False: the gate is closed all the same, but a restart would not know of it."""
    try:
        gate.latch(latch)
    except OSError as exc:
        print(f"orchestrator: the latch cannot be written: {exc}", file=sys.stderr)
        return False
    return True


def _state_dir() -> Path:
    """The state folder even when some other setting is wrong: a stop asks for nothing else."""
    try:
        return load_settings().state_dir
    except SettingsError:
        from dotenv import dotenv_values

        return Path(
            os.environ.get("STATE_DIR") or dotenv_values(".env").get("STATE_DIR") or "state"
        )


def _secrets_of(options: RunOptions) -> Secrets:
    from orchestrator.main.secrets import open_secrets

    return open_secrets(_environment_of(options), rescue=options.until_flat)


def _environment_of(options: RunOptions) -> dict[str, str]:
    overrides = dict(os.environ)
    if options.port is not None:
        overrides["AGENT_DISCOVERY_PORT"] = str(options.port)
    if options.host is not None:
        overrides["API_HOST"] = options.host
    if options.log_level is not None:
        overrides["LOG_LEVEL"] = options.log_level
    if options.seed is not None:
        overrides["SEED"] = str(options.seed)
    if options.state is not None:
        overrides["STATE_DIR"] = str(options.state)
    if options.until_flat:
        overrides["AGENT_DISCOVERY_PORT"] = "0"  # a taken port must not keep positions open
    if options.replay:
        overrides["OANDA_ENVIRONMENT"] = "paper"
        overrides["INSTRUMENTS"] = ",".join(_instruments_of(options.replay))
    return overrides


_RECORDING = re.compile(r"([A-Z0-9]{2,12}_[A-Z]{3})_\d{8}\.csv(\.gz)?")


def _instruments_of(files: Sequence[Path]) -> list[str]:
    """EUR_USD_20140508.csv.gz -> EUR_USD; in order of appearance. FeedError for another name."""
    found = {file: _RECORDING.fullmatch(file.name) for file in files}
    for file, match in found.items():
        if match is None:
            raise FeedError(
                f"{file}: the name must be INSTRUMENT_YYYYMMDD.csv or .csv.gz, for example "
                "EUR_USD_20140508.csv.gz"
            )
    return list(dict.fromkeys(match[1] for match in found.values() if match is not None))


def _make_folder(folder: Path) -> None:
    """Everything in it is its owner's only (SAFETY X9); OSError names the setting."""
    os.umask(0o077)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise OSError(
            f"STATE_DIR: {folder} cannot be made ({exc.strerror}); set it, or --state, to a folder "
            "that this user may write"
        ) from exc


def _own_folder(settings: Settings, options: RunOptions) -> Settings:
    """A replay keeps its state apart: it belongs to another market at another time."""
    if options.state is not None:
        return settings
    stamp = format_time(wall_ns())[:19].replace(":", "").replace("-", "").replace("T", "-")
    folder = _new_folder(settings.state_dir.resolve() / f"replay-{stamp}")
    return settings.model_copy(update={"state_dir": folder})


def _new_folder(wanted: Path) -> Path:
    """Made by us and by nobody else: with a number behind its name if that is taken."""
    for number in itertools.count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("counting has no end")


def _serve_replay(secrets: Secrets, options: RunOptions) -> int:
    """Beside a served replay no other service works under the same STATE_DIR (StoreLocked)."""
    from orchestrator.adapters.store.lock import FolderLock

    settings = secrets.settings
    own = _own_folder(settings, options)
    if own.state_dir == settings.state_dir:
        return _serve(own, options, secrets)
    lock = FolderLock(settings.state_dir)
    pointer = settings.state_dir / CURRENT
    pointer.write_text(str(own.state_dir))
    try:
        return _serve(own, options, secrets)
    finally:
        pointer.unlink(missing_ok=True)
        lock.release()


def _serve(settings: Settings, options: RunOptions, secrets: Secrets) -> int:
    import uvicorn

    from orchestrator.main.api_tls import api_tls
    from orchestrator.main.hosting import Service, Wishes, app_of, banner, set_up_logs
    from orchestrator.main.venue import Replay

    set_up_logs("warning" if options.quiet else settings.log_level)
    replay = Replay(files=options.replay, speed=float(options.speed)) if options.replay else None
    tls = api_tls(settings)
    listener = _listen(settings)
    host = f"[{settings.api_host}]" if ":" in settings.api_host else settings.api_host
    url = f"http{'s' if tls else ''}://{host}:{listener.getsockname()[1]}"
    wishes = Wishes(
        replay=replay, exit_at_end=options.exit_at_end, quiet=options.quiet,
        until_flat=options.until_flat, address=settings.node_address or _told(settings, url),
        rescue=_words_again(options),
    )  # fmt: skip
    made: list[Service] = []

    def make() -> Service:
        made.append(service)
        return service

    async def serve() -> None:
        config = uvicorn.Config(
            app_of(make), log_config=None, lifespan="on", timeout_graceful_shutdown=2,
            ws="websockets-sansio", server_header=False,
            ssl_context_factory=tls.give if tls else None,
        )  # fmt: skip
        await _server(config).serve(sockets=[listener])

    service = Service(settings, wishes, secrets)
    service.beside += (tls.follow,) if tls else ()
    (settings.state_dir / SERVICE_URL).write_text(url + "\n")
    print(banner(service, url), flush=True)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve())
    return _end_of(service, options)


def _told(settings: Settings, url: str) -> str:
    """Where others reach the API, as far as can be guessed: an address for all is nobody's."""
    if settings.api_host not in {"0.0.0.0", "::"}:  # noqa: S104 -- compared, not bound
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{platform.node()}:{parts.port}"


def _server(config: uvicorn.Config) -> uvicorn.Server:
    """A server that ends in order on SIGINT and SIGTERM, and then returns.

    uvicorn's own raises the signal again afterwards, which would turn an orderly end into a kill.
    """
    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Generator[None]:
            loop = asyncio.get_running_loop()
            signals = (signal.SIGINT, signal.SIGTERM)
            for number in signals:
                loop.add_signal_handler(number, self.handle_exit, number, None)
            try:
                yield
            finally:
                for number in signals:
                    loop.remove_signal_handler(number)

    return Server(config)


def _end_of(service: object, options: RunOptions) -> int:
    from orchestrator.main.hosting import Service
    from orchestrator.main.summary import as_text, write

    assert isinstance(service, Service)
    if options.until_flat and isinstance(service.failed, StoreLocked):
        return OTHERS_LIVE
    if service.failed is not None:
        print(f"orchestrator: ended by a failure: {service.failed}", file=sys.stderr)
        return 1
    if service.summary is not None:
        if options.summary is not None:
            write(service.summary, options.summary)
        print(as_text(service.summary))
    return 0


def _listen(settings: Settings) -> socket.socket:
    """A listening socket before anything starts; OSError with what to change when it is taken."""
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.api_host, settings.agent_discovery_port))
    except OSError as exc:
        listener.close()
        raise OSError(
            f"port {settings.agent_discovery_port} on {settings.api_host} cannot be used "
            f"({exc.strerror}); set AGENT_DISCOVERY_PORT (or --port) to a free port"
        ) from exc
    return listener


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
