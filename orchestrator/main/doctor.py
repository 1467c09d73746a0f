"""`orchestrator doctor`: are settings, state folder, store, clock, broker and venue well?"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator.main.broker import meet_broker
from orchestrator.main.market import look
from orchestrator.main.places import API_TOKEN, STOP_LATCH
from orchestrator.model.errors import BusError, StoreError, StoreLocked, VenueError
from orchestrator.model.time import NS_PER_S
from orchestrator.service.cli.backend import Check
from orchestrator.service.seams import mono_ns, wall_ns
from orchestrator.settings import Settings
from orchestrator.settings.urls import is_postgres

_FREE_MB_MIN = 500
_LOOK_S = 8.0


def examine(settings: Settings) -> Iterator[Check]:
    """One check after another; none changes anything but the state folder's existence."""
    yield Check(name="settings", ok=True, text="valid", hint="")
    for warning in settings.warnings():
        yield Check(name="settings", ok=None, text=warning, hint="")
    yield _folder(settings.state_dir)
    yield _disk(settings.state_dir)
    yield _store(settings)
    yield _stop(settings.state_dir)
    yield _port(settings)
    yield _clock()
    yield look(settings)
    yield _broker(settings)
    yield _venue(settings)


def _folder(folder: Path) -> Check:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as exc:
        hint = "set STATE_DIR to a folder that this user may write"
        return Check(name="state folder", ok=False, text=f"{folder}: {exc.strerror}", hint=hint)
    loose = folder.stat().st_mode & 0o077
    if loose:
        return Check(
            name="state folder", ok=None, text=f"{folder} is readable by others",
            hint=f"chmod 700 {folder}",
        )  # fmt: skip
    return Check(name="state folder", ok=True, text=f"{folder.resolve()} can be written", hint="")


def _disk(folder: Path) -> Check:
    free_mb = shutil.disk_usage(folder if folder.exists() else ".").free // 1_000_000
    good = free_mb >= _FREE_MB_MIN
    hint = "" if good else f"free some space: trading blocks below {_FREE_MB_MIN} MB (breaker S5)"
    return Check(name="disk", ok=good, text=f"{free_mb:,} MB free", hint=hint)


def _store(settings: Settings) -> Check:
    """Opened as a service would, where none works on it; and its trail verified in any case."""
    from orchestrator.adapters.store.trail import NoStoreYet
    from orchestrator.main.audit import Trail
    from orchestrator.main.trails import open_trail
    from orchestrator.service.cli.trail import GOOD, VerifyWishes

    in_use = ""
    try:
        open_trail(settings).close()
        if not is_postgres(settings.database_url):
            _open_file(settings)
    except NoStoreYet as exc:
        return Check(name="store", ok=True, text=f"{exc}; the first start makes it", hint="")
    except StoreLocked:
        in_use = ", in use by a running service"
    except StoreError as exc:
        return Check(name="store", ok=False, text=str(exc), hint="docs/store.md")
    report = Trail(settings).verify(VerifyWishes(quiet=True))
    if report.state != GOOD:
        text = f"the audit trail is {report.state}: {report.text}"
        return Check(name="store", ok=False, text=text, hint="orchestrator audit verify")
    vouched = f"{report.checkpoints:,} checkpoints" if report.checkpoints else "no checkpoint yet"
    text = f"{report.last:,} records, the audit chain holds, {vouched}{in_use}"
    return Check(name="store", ok=True, text=text, hint="")


def _open_file(settings: Settings) -> None:
    from orchestrator.adapters.store.sqlite import SqliteStore

    SqliteStore(settings.database_path, sync=settings.store_sync).close()


def _stop(folder: Path) -> Check:
    if (folder / STOP_LATCH).exists():
        return Check(
            name="emergency stop", ok=None, text="a stop is in force",
            hint="look at `orchestrator status`, then `orchestrator resume --reason ...`",
        )  # fmt: skip
    return Check(name="emergency stop", ok=True, text="none in force", hint="")


def _port(settings: Settings) -> Check:
    port = settings.agent_discovery_port
    with socket.socket() as probe:
        probe.settimeout(1.0)
        taken = probe.connect_ex(("127.0.0.1", port)) == 0
    if not taken:
        return Check(name="port", ok=True, text=f"{port} is free", hint="")
    if (settings.state_dir / API_TOKEN).exists():
        return Check(
            name="port", ok=None, text=f"{port} is in use (by this service?)",
            hint="`orchestrator status` tells; AGENT_DISCOVERY_PORT changes it",
        )  # fmt: skip
    return Check(name="port", ok=False, text=f"{port} is in use",
                 hint="set AGENT_DISCOVERY_PORT to a free one")  # fmt: skip


def _clock() -> Check:
    wall, mono = wall_ns(), mono_ns()
    year_2024 = 1_704_067_200 * NS_PER_S
    good = wall > year_2024 and mono > 0
    text = "plausible" if good else "the clock stands before 2024"
    return Check(name="clock", ok=good, text=text, hint="" if good else "set the machine's time")


def _broker(settings: Settings) -> Check:
    if settings.message_broker_url is None:
        return Check(name="broker", ok=True, text="within the process", hint="")
    try:
        asyncio.run(meet_broker(settings))
    except BusError as exc:
        return Check(
            name="broker", ok=False, text=str(exc),
            hint="check MESSAGE_BROKER_URL, MESSAGE_BROKER_PASSWORD and whether Redis runs there",
        )  # fmt: skip
    return Check(name="broker", ok=True, text=f"{settings.message_broker_url} answers", hint="")


def _venue(settings: Settings) -> Check:
    if settings.on_paper and settings.base_url is None:
        return Check(name="venue", ok=True, text="embedded paper venue, started with the service",
                     hint="")  # fmt: skip
    try:
        return asyncio.run(asyncio.wait_for(_ask_venue(settings), _LOOK_S))
    except (VenueError, TimeoutError) as exc:
        return Check(
            name="venue", ok=False, text=str(exc) or "no answer",
            hint="check OANDA_API_KEY, OANDA_ENVIRONMENT, OANDA_BASE_URL and the network",
        )  # fmt: skip


async def _ask_venue(settings: Settings) -> Check:
    from orchestrator.main.venue import connect

    connection = await connect(settings, None)
    try:
        known = await connection.venue.account_ids()
    finally:
        await connection.close()
    missing = [a for a in settings.account_ids if a not in known]
    if missing:
        return Check(
            name="venue", ok=False, text=f"the token does not reach {', '.join(missing)}",
            hint=f"OANDA_ACCOUNT_IDS; the token reaches: {', '.join(known)}",
        )  # fmt: skip
    return Check(name="venue", ok=True, text=f"{len(known)} accounts answer", hint="")
