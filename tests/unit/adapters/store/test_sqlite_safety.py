"""The SQLite store against crashes, full disks, damage, strangers and other versions."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.store.connections import connect
from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.model.errors import StoreConflict, StoreError, StoreLocked
from orchestrator.model.facts import TransactionApplied
from orchestrator.model.queries import Page
from orchestrator.model.venue import Transaction
from tests.unit.adapters.store import samples

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def make(path: Path) -> Iterator[Callable[..., SqliteStore]]:
    opened: list[SqliteStore] = []

    def open_store(**options: Any) -> SqliteStore:
        opened.append(SqliteStore(path, **({"checkpoint_s": 0, "sync": "normal"} | options)))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


def raw(path: Path, sql: str) -> list[Any]:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


# -- killed at any moment ------------------------------------------------------------------------

WRITER = """
import os, sys
from orchestrator.adapters.store.sqlite import SqliteStore
from tests.unit.adapters.store import samples
store = SqliteStore(sys.argv[1], checkpoint_s=0.01)
store.next_epoch()
for number in range(100_000):
    samples.append(store, *samples.path(f"s{number}", 10 * number + 1))
    os.write(1, b"%d\\n" % number)  # only what was committed is told
"""


@pytest.mark.parametrize("told_before_the_kill", [1, 7, 40])
def test_a_killed_service_has_all_that_it_told_and_no_half_batch(
    path: Path, make: Callable[..., SqliteStore], told_before_the_kill: int
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    with child.stdout as told:
        for _ in range(told_before_the_kill):
            last_told = int(told.readline())
        child.send_signal(signal.SIGKILL)
        rest = told.read().split()
    child.wait()
    last_told = int(rest[-1]) if rest else last_told

    store = make()
    facts = [fact for _, fact in store.facts_after(0)]
    assert len(facts) % 12 == 0
    assert len(facts) // 12 in {last_told + 1, last_told + 2}  # committed, perhaps not yet told
    newest = store.queries.signals(page=Page(limit=1))[0]
    assert newest.signal_id == f"s{len(facts) // 12 - 1}"
    assert len(newest.outcomes) == 1
    assert store.next_epoch() == 2
    samples.append(store, *samples.path("after", 9_000_001))


def test_a_held_folder_is_refused_with_the_process_that_holds_it(
    path: Path, make: Callable[..., SqliteStore]
) -> None:
    make()
    with pytest.raises(StoreLocked, match=f"{path.parent} .* process id {os.getpid()}"):
        SqliteStore(path)


def test_the_lock_dies_with_its_process(path: Path, make: Callable[..., SqliteStore]) -> None:
    path.parent.mkdir()
    (path.parent / "lock").write_text("99999\n")
    make()
    assert (path.parent / "lock").read_text() == f"{os.getpid()}\n"


# -- append-only ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE journal SET data = '{}' WHERE seq = 1",
        "DELETE FROM journal WHERE seq = 1",
        "UPDATE OR REPLACE journal SET seq = 2 WHERE seq = 1",
    ],
)
def test_nobody_changes_or_deletes_a_row_of_the_journal(
    path: Path, make: Callable[..., SqliteStore], sql: str
) -> None:
    store = make()
    samples.append(store, samples.note("1"), samples.note("2"))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw(path, sql)
    assert [record.seq for record, _ in store.facts_after(0)] == [1, 2]


def test_our_own_connection_cannot_replace_a_row(make: Callable[..., SqliteStore]) -> None:
    store = make()
    samples.append(store, samples.note("1"))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        store._connection.execute("INSERT OR REPLACE INTO journal SELECT * FROM journal")


def test_the_readers_connection_cannot_write(make: Callable[..., SqliteStore]) -> None:
    store = make()
    store.queries.signals()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        store.queries._source._connection.execute("DELETE FROM signals")


# -- a failing disk ------------------------------------------------------------------------------


def test_a_full_disk_leaves_nothing_of_the_batch_and_is_got_over(
    make: Callable[..., SqliteStore],
) -> None:
    store = make()
    samples.append(store, samples.note("first"))
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full") as refused:
        samples.append(store, *[samples.note("x" * 3000) for _ in range(20)])
    assert not isinstance(refused.value, StoreConflict)
    assert store.last_record().seq == 1  # reopened, without the limit: there is room again
    samples.append(store, *[samples.note("x" * 3000) for _ in range(20)])
    assert store.last_record().seq == 21


class Flaky:
    """A connection whose commit reports a failure, before or after it has really committed."""

    def __init__(self, db: sqlite3.Connection, *, commits: bool) -> None:
        self._db = db
        self._commits = commits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, sql: str, *rest: Any) -> Any:
        if sql == "COMMIT":
            if self._commits:
                self._db.execute(sql)
            raise sqlite3.OperationalError("disk I/O error")
        return self._db.execute(sql, *rest)


def test_a_failed_commit_is_an_error_and_can_be_tried_again(
    make: Callable[..., SqliteStore],
) -> None:
    store = make()
    store._connection = Flaky(store._connection, commits=False)
    with pytest.raises(StoreError, match="disk I/O error"):
        samples.append(store, *samples.path())
    assert store.last_record() is None
    assert store.queries.signals() == ()
    samples.append(store, *samples.path())
    assert store.last_record().seq == 12


def test_a_commit_that_only_seemed_to_fail_counts_as_done(make: Callable[..., SqliteStore]) -> None:
    store = make()
    store._connection = Flaky(store._connection, commits=True)
    records = samples.append(store, *samples.path())
    assert store.last_record() == records[-1]
    samples.append(store, samples.note("goes on"))
    assert store.last_record().seq == 13


def test_a_snapshot_that_cannot_be_written_keeps_the_old_one(
    make: Callable[..., SqliteStore],
) -> None:
    store = make()
    samples.append(store, samples.note())
    store.save_snapshot(1, b"old")
    store._connection = Flaky(store._connection, commits=False)
    with pytest.raises(StoreError):
        store.save_snapshot(1, b"new")
    assert store.load_snapshot() == (1, b"old")


def test_a_store_that_vanished_is_an_error_not_a_new_empty_store(
    path: Path, make: Callable[..., SqliteStore]
) -> None:
    store = make()
    samples.append(store, samples.note())
    store._drop_connection()
    for file in path.parent.glob("journal.db*"):
        file.unlink()
    with pytest.raises(StoreError, match="cannot be reopened"):
        samples.append(store, samples.note())
    assert not path.exists()


def test_a_number_beyond_64_bits_is_refused_and_the_store_goes_on(
    make: Callable[..., SqliteStore],
) -> None:
    store = make()
    huge = TransactionApplied(
        account_id="a", source="stream", transaction=Transaction(id="9" * 30, type="CREATE")
    )
    with pytest.raises(StoreConflict):
        samples.append(store, samples.note(), huge)
    samples.append(store, samples.note())
    assert store.last_record().seq == 1


def test_a_broken_snapshot_is_passed_over_for_the_one_before(
    path: Path, make: Callable[..., SqliteStore]
) -> None:
    store = make()
    samples.append(store, samples.note("1"), samples.note("2"))
    store.save_snapshot(1, b"good")
    store.save_snapshot(2, b"newer")
    raw(path, "UPDATE snapshots SET state = x'00' WHERE seq = 2")
    assert store.load_snapshot() == (1, b"good")


# -- damage and strangers --------------------------------------------------------------------------


def closed_store(make: Callable[..., SqliteStore], rows: int = 200) -> None:
    store = make()
    samples.append(store, *[samples.note("x" * 200) for _ in range(rows)])
    store.close()


def test_a_cut_file_is_refused_with_advice(path: Path, make: Callable[..., SqliteStore]) -> None:
    closed_store(make)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreError, match=r"damaged.*restore a copy"):
        make()


def test_a_corrupt_page_is_refused(path: Path, make: Callable[..., SqliteStore]) -> None:
    closed_store(make)
    content = bytearray(path.read_bytes())
    for page in range(4096 * 20, len(content) - 4096, 4096):
        content[page : page + 100] = b"\xff" * 100
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        make()


def test_a_file_that_is_no_store_is_refused(path: Path, make: Callable[..., SqliteStore]) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is a text about something else, long enough to be read" * 100)
    with pytest.raises(StoreError, match="not a database"):
        make()


def test_a_foreign_database_is_left_alone(path: Path, make: Callable[..., SqliteStore]) -> None:
    path.parent.mkdir()
    raw(path, "CREATE TABLE recipes (cake TEXT)")
    with pytest.raises(StoreError, match="no store of ours"):
        make()
    assert raw(path, "SELECT name FROM sqlite_master") == [("recipes",)]


def test_a_torn_log_loses_only_what_was_never_committed(
    path: Path, make: Callable[..., SqliteStore]
) -> None:
    store = make()
    samples.append(store, samples.note("kept"))
    log = path.with_name("journal.db-wal")
    whole, size = path.read_bytes(), log.stat().st_size
    samples.append(store, samples.note("torn"))
    torn = log.read_bytes()[: size + 100]
    store.close()
    path.write_bytes(whole)
    log.write_bytes(torn)
    again = make()
    assert [fact.text for _, fact in again.facts_after(0)] == ["kept"]


def test_a_failed_opening_frees_the_folder(path: Path, make: Callable[..., SqliteStore]) -> None:
    path.parent.mkdir()
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(StoreError):
        make()
    path.unlink()
    assert make().last_record() is None


# -- other versions --------------------------------------------------------------------------------


def test_a_newer_schema_is_refused(path: Path, make: Callable[..., SqliteStore]) -> None:
    make().close()
    raw(path, "INSERT INTO schema_version VALUES (99, '0099_future.sql', 'sqlite')")
    with pytest.raises(StoreError, match=r"schema 99, .* newer version"):
        make()


def test_a_store_of_another_kind_is_refused(path: Path, make: Callable[..., SqliteStore]) -> None:
    make().close()
    raw(path, "UPDATE schema_version SET kind = 'market'")
    with pytest.raises(StoreError, match="another kind"):
        make()


def test_a_fact_of_a_newer_version_is_named(path: Path, make: Callable[..., SqliteStore]) -> None:
    store = make()
    samples.append(store, samples.note("old"))
    raw(
        path,
        "INSERT INTO journal SELECT 2, ts, node, epoch, 'moon.landed', subject, corr, actor, data,"
        " prev, hash FROM journal",
    )
    reading = store.facts_after(0)
    assert next(reading)[0].seq == 1
    with pytest.raises(StoreError, match=r"record 2 .*'moon.landed'.* newer version"):
        next(reading)


def test_a_record_that_cannot_be_read_is_named(
    path: Path, make: Callable[..., SqliteStore]
) -> None:
    store = make()
    samples.append(store, samples.note("old"))
    raw(
        path,
        "INSERT INTO journal SELECT 2, ts, node, epoch, type, subject, corr, actor, '{\"type\":',"
        " prev, hash FROM journal",
    )
    with pytest.raises(StoreError, match=r"record 2 \(operator.acted\) cannot be read"):
        list(store.facts_after(1))


def test_a_migration_that_fails_changes_nothing(
    path: Path, make: Callable[..., SqliteStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed_store(make, rows=3)
    steps = [
        (1, "0001_first.sql", ""),
        (2, "0002_second.sql", ""),
        (3, "0003_third.sql", "CREATE TABLE extra (a TEXT); INSERT INTO nowhere VALUES (1);"),
    ]
    with monkeypatch.context() as patched:
        patched.setattr("orchestrator.adapters.store.connections.migrations", lambda _: steps)
        with pytest.raises(StoreError, match="cannot be brought to schema 3"):
            make()
    assert raw(path, "SELECT count(*) FROM sqlite_master WHERE name = 'extra'") == [(0,)]
    assert make().last_record().seq == 3


def test_a_later_migration_is_applied_once(
    path: Path, make: Callable[..., SqliteStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed_store(make, rows=3)
    steps = [(1, "0001_first.sql", ""), (2, "0002_second.sql", "CREATE TABLE extra (a TEXT);")]
    monkeypatch.setattr("orchestrator.adapters.store.connections.migrations", lambda _: steps)
    make().close()
    assert make().last_record().seq == 3
    assert raw(path, "SELECT version FROM schema_version") == [(1,), (2,)]


# -- files and threads -----------------------------------------------------------------------------


def test_files_are_private(path: Path, make: Callable[..., SqliteStore]) -> None:
    previous = os.umask(0)
    try:
        store = make()
        samples.append(store, samples.note())
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(("journal.db", "journal.db-wal", "journal.db-shm", "lock"), 0o600)


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteStore(tmp_path / "state" / "journal.db")


def test_full_sync_is_the_default(path: Path) -> None:
    store = SqliteStore(path)
    try:
        assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store._connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
        assert store._connection.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    finally:
        store.close()


def test_the_checkpointer_moves_the_log_into_the_file(
    path: Path, make: Callable[..., SqliteStore]
) -> None:
    store = make(checkpoint_s=0.001)
    before = path.stat().st_size
    for number in range(2000):
        samples.append(store, samples.note(f"{number}" * 50))
        if path.stat().st_size > before and store._checkpointer.done > 3:
            break
    assert path.stat().st_size > before
    assert store._checkpointer.failed == 0
    store.close()
    assert not store._checkpointer._thread.is_alive()


def test_the_log_stays_bounded_while_writes_never_pause(
    path: Path, make: Callable[..., SqliteStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.adapters.store.checkpoints.LOG_BYTES_MAX", 500_000)
    store = make(checkpoint_s=0.001)
    log = path.with_name("journal.db-wal")
    cuts, size = 0, 0
    for number in range(3000):
        samples.append(store, samples.note(f"{number}" * 50))
        now = log.stat().st_size
        cuts, size = cuts + (now < size), now
        if cuts >= 2:
            break
    assert cuts >= 2
    assert [record.seq for record, _ in store.facts_after(0)] == list(range(1, number + 2))


def test_a_long_read_does_not_block_the_writer(
    path: Path, make: Callable[..., SqliteStore]
) -> None:
    store = make()
    samples.append(store, *samples.path())
    reader = connect(path)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM journal").fetchone() == (12,)
    samples.append(store, samples.note())
    assert reader.execute("SELECT count(*) FROM journal").fetchone() == (12,)
    reader.close()
    assert store.last_record().seq == 13


def test_queries_see_what_was_committed_just_before(make: Callable[..., SqliteStore]) -> None:
    store = make()
    assert store.queries.signals() == ()
    samples.append(store, *samples.path())
    assert len(store.queries.signals()) == 1
