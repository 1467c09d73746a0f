"""The journal's database as a whole: brought up to date, looked at, copied, put back, moved.

Whatever is written is verified by the audit chain, record by record, before it counts.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, TypeVar, cast

import msgspec

from orchestrator.adapters.store import postgres_bulk as bulk
from orchestrator.adapters.store import postgres_rights as rights
from orchestrator.adapters.store import sqlite_bulk
from orchestrator.adapters.store.archive import digest_of
from orchestrator.adapters.store.loop_thread import LoopThread
from orchestrator.adapters.store.postgres_connection import connect, in_words, parse, troubles
from orchestrator.adapters.store.postgres_schema import JOURNAL, Schema
from orchestrator.adapters.store.trail import Pruned, TrailReader, TrailSource
from orchestrator.kernel.audit import Links, first_prev
from orchestrator.main.bars import Bar
from orchestrator.main.trails import open_alone, url_of, write_down
from orchestrator.model import failpoints
from orchestrator.model.errors import StoreError
from orchestrator.model.journal import Record
from orchestrator.service.seams import wall_ns
from orchestrator.settings import Settings
from orchestrator.settings.urls import is_postgres

T = TypeVar("T")

_FORMAT = "tso-backup-1"
_LONG_S = 24 * 3_600.0
_CHUNK = 1 << 20
_SESSION = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What was written, and that it verified: records `first` to `last`."""

    what: str
    place: str
    records: int
    first: int
    last: int
    head: str
    digest: str = ""  # SHA-256 of a file


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup of a PostgreSQL store holds; the last entry of its file."""

    format: str
    schema: int
    installation_id: str
    made_ns: int
    first: int
    last: int
    head: str
    tables: dict[str, Part]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One table: its columns, rows, and the SHA-256 of its text."""

    columns: tuple[str, ...]
    rows: int
    digest: str


class Walk:
    """Follows the chain; StoreError at the first record that does not hold."""

    def __init__(self, installation_id: str, prunings: tuple[Pruned, ...]) -> None:
        start, prev = (prunings[-1].upto, prunings[-1].hash) if prunings else (0, b"")
        self.first = start + 1
        self._links = Links(prev or first_prev(installation_id), self.first)

    def hear(self, record: Record) -> None:
        broken = self._links.take(record)
        if broken is not None:
            raise StoreError(f"record {broken.seq} does not hold: {broken.what}")

    @property
    def last(self) -> int:
        return self._links.seq - 1

    @property
    def head(self) -> str:
        return self._links.head.hex() if self.last >= self.first else ""

    def kept(self, what: str, place: str, digest: str = "") -> Kept:
        return Kept(
            what=what, place=place, records=self.last - self.first + 1, first=self.first,
            last=self.last, head=self.head, digest=digest,
        )  # fmt: skip


def walked(trail: TrailSource, bar: Bar) -> Walk:
    """A whole trail, verified."""
    walk = Walk(trail.installation_id(), trail.prunings())
    for record in bar.over(trail.records(walk.first - 1)):
        walk.hear(record)
    return walk


# -- backup ----------------------------------------------------------------------------------------


def back_up(settings: Settings, file: Path, *, quiet: bool) -> Kept:
    """One file of one moment, beside services at work; verified, flushed, or not there at all."""
    if file.exists():
        raise StoreError(f"{file} is there already; give a name of its own to each backup")
    if is_postgres(settings.database_url):
        return _on_server(
            lambda: url_of(settings), lambda session: _pack(session, file, quiet=quiet),
            writer=False,
        )  # fmt: skip
    with Bar("copying", 1, quiet=quiet) as bar:
        sqlite_bulk.copy(settings.database_path, file, bar.at)
    return _verified_file(file, "backup", quiet=quiet)


def _verified_file(file: Path, what: str, *, quiet: bool) -> Kept:
    """A copy that does not hold is not left behind as if it were one."""
    try:
        with closing(TrailReader(file)) as trail, Bar("verifying", 1, quiet=quiet) as bar:
            return walked(trail, bar).kept(what, str(file), digest_of(file))
    except BaseException:
        file.unlink(missing_ok=True)
        raise


async def _pack(session: bulk.BulkSession, file: Path, *, quiet: bool) -> Kept:
    temporary = file.with_name(f"{file.name}.part")
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as raw:
            async with bulk.one_view(session):
                walk = await _packed(session, raw, quiet=quiet)
            raw.flush()
            failpoints.before("audit.export")
            os.fsync(raw.fileno())
        os.replace(temporary, file)
        failpoints.after("audit.export")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return walk.kept("backup", str(file), digest_of(file))


async def _packed(session: bulk.BulkSession, raw: IO[bytes], *, quiet: bool) -> Walk:
    found = await bulk.place(session)
    walk = await _walk(session, "verifying", found.records, quiet=quiet)
    parts: dict[str, Part] = {}
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as pack:
        names = list(bulk.tables(found.schema))
        with Bar("copying", len(names), quiet=quiet) as bar:
            for count, table in enumerate(names, 1):
                parts[table] = await _packed_table(session, pack, table)
                bar.at(count)
        manifest = Manifest(
            format=_FORMAT, schema=found.schema, installation_id=found.installation_id,
            made_ns=wall_ns(), first=walk.first, last=walk.last, head=walk.head, tables=parts,
        )  # fmt: skip
        pack.writestr("manifest.json", msgspec.json.encode(manifest))
    return walk


async def _packed_table(session: bulk.BulkSession, pack: zipfile.ZipFile, table: str) -> Part:
    digest = hashlib.sha256()
    with pack.open(f"{table}.copy", "w", force_zip64=True) as entry:

        def write(data: bytes) -> None:
            digest.update(data)
            entry.write(data)

        rows = await bulk.export(session, table, write)
    names = await bulk.columns(session, table)
    return Part(columns=names, rows=rows, digest=digest.hexdigest())


async def _walk(session: bulk.BulkSession, what: str, count: int, *, quiet: bool) -> Walk:
    found = await bulk.place(session)
    walk = Walk(found.installation_id, await bulk.prunings(session))
    with Bar(what, count, quiet=quiet) as bar:

        def hear(record: Record) -> None:
            walk.hear(record)
            if record.seq % _TOLD_EVERY == 0:
                bar.at(record.seq - walk.first + 1)

        await bulk.walk(session, hear)
    return walk


_TOLD_EVERY = 5_000


# -- restore ---------------------------------------------------------------------------------------


def restore(settings: Settings, file: Path, actor: str, *, quiet: bool) -> Kept:
    """Into an empty database, or where no store file is; verified, or nothing of it stands."""
    if not file.exists():
        raise StoreError(f"there is no file {file}")
    on_server = is_postgres(settings.database_url)
    if sqlite_bulk.is_sqlite(file) == on_server:
        raise StoreError(
            f"{file} is a backup of the other kind of database: restore it under a DATABASE_URL of"
            " its own kind, then `orchestrator db move`"
        )
    if on_server:
        kept = _on_server(
            lambda: url_of(settings), lambda session: _unpack(session, file, quiet=quiet)
        )
    else:
        kept = _put_back(settings, file, quiet=quiet)
    with closing(open_alone(settings)) as store:
        write_down(store, actor, "db restore", f"{kept.records} records up to {kept.last}")
    return msgspec.structs.replace(kept, place=str(file))


def _put_back(settings: Settings, file: Path, *, quiet: bool) -> Kept:
    from orchestrator.adapters.store.lock import FolderLock

    target = settings.database_path
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FolderLock(target.parent)
    try:
        with closing(TrailReader(file)) as trail, Bar("verifying", 1, quiet=quiet) as bar:
            walked(trail, bar)
        sqlite_bulk.put_back(file, target)
        return _verified_file(target, "restored", quiet=quiet)
    finally:
        lock.release()


async def _unpack(session: bulk.BulkSession, file: Path, *, quiet: bool) -> Kept:
    try:
        with zipfile.ZipFile(file) as pack:
            manifest = msgspec.json.decode(pack.read("manifest.json"), type=Manifest)
            if manifest.format != _FORMAT or manifest.schema > len(JOURNAL.steps()):
                raise StoreError(f"{file} was written by a newer version; run that one")
            async with bulk.filling(session, manifest.schema):
                await _load(session, pack, manifest, quiet=quiet)
                walk = await _walk(session, "verifying", manifest.last, quiet=quiet)
                if (walk.last, walk.head) != (manifest.last, manifest.head):
                    raise StoreError(f"{file} does not hold what its own list says")
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, msgspec.MsgspecError) as exc:
        raise StoreError(f"{file} is no whole backup: {exc}") from exc
    await _upgrade(session, JOURNAL)
    return walk.kept("restored", str(file))


async def _load(
    session: bulk.BulkSession, pack: zipfile.ZipFile, manifest: Manifest, *, quiet: bool
) -> None:
    with Bar("restoring", len(manifest.tables), quiet=quiet) as bar:
        for count, (table, part) in enumerate(manifest.tables.items(), 1):
            if table not in bulk.TABLES:
                raise StoreError(f"a table {table} is not known: run a newer version")
            digest = hashlib.sha256()
            rows = await bulk.load(session, table, part.columns, _read(pack, table, digest.update))
            if (rows, digest.hexdigest()) != (part.rows, part.digest):
                raise StoreError(f"the backup's table {table} is not as it was written")
            bar.at(count)


def _read(pack: zipfile.ZipFile, table: str, heard: Callable[[bytes], None]) -> Iterator[bytes]:
    with pack.open(f"{table}.copy") as entry:
        while data := entry.read(_CHUNK):
            heard(data)
            yield data


# -- move ------------------------------------------------------------------------------------------


def move(source: Path, url: str, variable: str, actor: str, *, quiet: bool) -> Kept:
    """A SQLite store into an empty PostgreSQL database: all of it, verified there, or nothing.

    The file is locked meanwhile, and stays as it is. StoreLocked while a service works on it.
    """
    from orchestrator.adapters.store.postgres import PostgresStore
    from orchestrator.adapters.store.sqlite import SqliteStore

    if not source.exists():
        raise StoreError(f"there is no store {source}")
    store = SqliteStore(source, checkpoint_s=0)  # locks, checks, and brings it up to date
    try:
        with closing(TrailReader(source)) as trail, Bar("verifying", 1, quiet=quiet) as bar:
            there = walked(trail, bar)
        tables = sqlite_bulk.Tables(source)
        try:
            kept = _on_server(
                lambda: url,
                lambda session: _fill(session, tables, there, quiet=quiet),
                variable=variable,
            )
        finally:
            tables.close()
    finally:
        store.close()
    with closing(PostgresStore(url, variable=variable)) as moved:
        write_down(moved, actor, "db move", f"{kept.records} records up to {kept.last} of a file")
    return msgspec.structs.replace(kept, place=parse(url, variable).place)


async def _fill(
    session: bulk.BulkSession, tables: sqlite_bulk.Tables, there: Walk, *, quiet: bool
) -> Kept:
    schema = len(JOURNAL.steps())
    async with bulk.filling(session, schema):
        names = [name for name in bulk.tables(schema) if bulk.SINCE.get(name, 1) == 1]
        for table in names:
            columns = await bulk.columns(session, table)
            count = tables.count(table)
            with Bar(f"moving {table}", count, quiet=quiet) as bar:
                rows = bar.over(tables.rows(table, columns, bulk.TABLES[table]))
                done = await bulk.insert(session, table, columns, rows)
            if done != count:
                raise StoreError(f"{done} of {count} rows of {table} arrived")
        # As it stands there now, not as it was sent.
        walk = await _walk(session, "verifying", there.last, quiet=quiet)
        if (walk.first, walk.last, walk.head) != (there.first, there.last, there.head):
            raise StoreError("what arrived is not what stood in the file")
    return walk.kept("moved", "")


# -- schema ----------------------------------------------------------------------------------------


def upgrade(url: Callable[[], str], schema: Schema, role: str = "") -> tuple[int, int]:
    """Versions before and after. `role`: who the service is, and gets what it needs."""

    async def work(session: bulk.BulkSession) -> tuple[int, int]:
        await bulk.refuse_leader(session)
        found = await _upgrade(session, schema)
        if role:
            await rights.grant(session, role)
        return found

    return _on_server(url, work, variable=schema.variable)


def upgrade_market(settings: Settings) -> tuple[int, int]:
    """As `upgrade`, in the layout that the server allows, or that is there."""
    from orchestrator.adapters.store import market_schema

    async def work(session: bulk.BulkSession) -> tuple[int, int]:
        return await _upgrade(session, await market_schema.schema_of(session))

    def url() -> str:
        return settings.address_of("timescale_url") or ""

    return _on_server(url, work, variable=market_schema.VARIABLE)


async def _upgrade(session: bulk.BulkSession, schema: Schema) -> tuple[int, int]:
    from orchestrator.adapters.store import upgrading

    return await upgrading.upgrade(session, schema)


def looked_at(settings: Settings) -> tuple[bool, bool]:
    """Whether the journal's triggers are at work; whether the service's role could drop them."""

    async def work(session: bulk.BulkSession) -> tuple[bool, bool]:
        return await rights.guarded(session), await rights.owns(session)

    return _on_server(lambda: url_of(settings), work, writer=False)


# -- plumbing --------------------------------------------------------------------------------------


def _on_server(
    url: Callable[[], str],
    work: Callable[[bulk.BulkSession], Awaitable[T]],
    *,
    variable: str = "DATABASE_URL",
    writer: bool = True,
) -> T:
    """What `work` makes of a connection. StoreError in plain words."""
    thread = LoopThread("keeping")

    async def live() -> T:
        session = await connect(url, variable, name="orchestrator db", writer=writer,
                                session=_SESSION)  # fmt: skip
        try:
            return await work(cast("bulk.BulkSession", session))
        except troubles() as exc:
            raise StoreError(f"{variable}: {in_words(exc, parse(url(), variable))}") from exc
        finally:
            with suppress(Exception):
                await session.close()

    try:
        return thread.call(live, _LONG_S)
    finally:
        thread.close()
