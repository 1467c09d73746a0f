"""The trail at rest: verified against checkpoints, exported without loss, pruned without harm."""

from __future__ import annotations

import gzip
import os
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator.adapters.store.postgres import PostgresStore
from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.adapters.trail.book import NAME, CheckpointFile
from orchestrator.kernel.audit import AuditChain, Links, first_prev
from orchestrator.main.audit import Trail
from orchestrator.model.checkpoint import Checkpoint
from orchestrator.model.errors import StoreConflict, StoreError, StoreLocked
from orchestrator.model.facts import Fact, OperatorActed, ServiceStopped, SignalEnded
from orchestrator.model.journal import Record, RecordFilter, from_line
from orchestrator.model.signals import Outcome
from orchestrator.model.time import parse_time
from orchestrator.service.cli.trail import ExportWishes, PruneWishes, VerifyReport, VerifyWishes
from tests.servers.postgres import execute
from tests.unit.adapters.store import samples

DAY_NS = 86_400 * 10**9
START_NS = parse_time("2026-01-01T00:00:00Z")
COUNT = 20


def fact(number: int) -> Fact:
    return OperatorActed(actor="anna", action="note", text=f"{number} « »")


class Folder:
    """A state folder with a trail of one record a day, and a checkpoint each five."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = path / "orchestrator.db"
        self.records: list[Record] = []
        store = self.open()
        self.origin = store.installation_id()
        book = CheckpointFile(path)
        numbers = range(1, COUNT + 1)
        said = [fact(number) for number in numbers]
        times = [START_NS + number * DAY_NS for number in numbers]
        self.records += AuditChain(self.origin).link(said, ts=times, node="n", epoch=1)
        store.append(self.records, said)
        for number in range(5, COUNT + 1, 5):
            book.write(self.checkpoint(number))
        store.save_snapshot(COUNT - 2, b"state")
        store.save_snapshot(COUNT - 1, b"state")
        store.close()

    def open(self) -> Any:
        return SqliteStore(self.db, sync="normal", checkpoint_s=0)

    def append(self, store: Any, said: Fact, at_ns: int) -> None:
        chain = AuditChain(store.installation_id(), store.last_record())
        linked = chain.link([said], ts=at_ns, node="n", epoch=1)
        store.append(linked, [said])
        self.records += linked

    def checkpoint(self, seq: int) -> Checkpoint:
        record = self.records[seq - 1]
        return Checkpoint(
            origin=self.origin, seq=seq, head=record.hash.hex(), at_ns=record.ts, why="records"
        )

    def raw(self, *sql: str) -> None:
        """As somebody would who may write the file: triggers dropped."""
        with sqlite3.connect(self.db) as db:
            for name in ("journal_keeps_rows", "journal_keeps_content", "prunings_keep_rows"):
                db.execute(f"DROP TRIGGER IF EXISTS {name}")
            for one in sql:
                db.execute(one)
        db.close()

    def verify(self, **wishes: object) -> VerifyReport:
        return Trail().verify(VerifyWishes(quiet=True, **wishes))

    def prune(self, before: str = "2026-01-15T00:00:00Z"):
        return Trail().prune(PruneWishes(before_ns=parse_time(before), quiet=True))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


class DatabaseFolder(Folder):
    """The same with its trail on PostgreSQL."""

    def __init__(self, path: Path, url: str) -> None:
        self.url = url
        super().__init__(path)

    def open(self) -> Any:
        return PostgresStore(self.url, archive=self.path / "archive")

    def raw(self, *sql: str) -> None:
        off = [f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in ("journal", "prunings")]
        execute(self.url, *off, *sql)


@pytest.fixture(params=["sqlite", "postgres"])
def either(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Folder:
    """A state folder whose trail is a file, or stands on PostgreSQL."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if request.param == "sqlite":
        return Folder(tmp_path)
    url = request.getfixturevalue("fresh_database")
    monkeypatch.setenv("DATABASE_URL", url)
    return DatabaseFolder(tmp_path, url)


# -- verify ---------------------------------------------------------------------------------------


def test_a_good_trail_is_good_with_what_vouches_for_it(either: Folder) -> None:
    report = either.verify()
    assert (report.state, report.exit_code, report.records) == ("good", 0, COUNT)
    assert (report.checkpoints, report.checkpoint_seq, report.unvouched) == (4, COUNT, 0)
    assert report.head == either.records[-1].hash.hex()


def test_it_verifies_beside_a_service_that_holds_the_store(either: Folder) -> None:
    store = either.open()
    either.append(store, fact(21), START_NS)
    report = either.verify()
    store.close()
    assert (report.state, report.last, report.unvouched) == ("good", 21, 1)


TAMPERINGS: dict[str, tuple[str, int, str]] = {
    "an edit": ("UPDATE journal SET actor = 'eve' WHERE seq = 8", 8, "does not match its hash"),
    "a deletion": ("DELETE FROM journal WHERE seq = 8", 8, "stands where 8 belongs"),
    "a swap": (
        "UPDATE journal SET seq = CASE seq WHEN 8 THEN 900 ELSE 8 END WHERE seq IN (8, 9)",
        8, "does not chain",
    ),
    "a cut": ("DELETE FROM journal WHERE seq > 12", 13, "13 to 20 are missing at the end"),
    "a cut to nothing": ("DELETE FROM journal", 1, "1 to 20 are missing at the end"),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERINGS)
def test_tampering_is_found_where_it_is(either: Folder, what: str) -> None:
    sql, seq, text = TAMPERINGS[what]
    either.raw(sql)
    report = either.verify()
    assert (report.state, report.exit_code, report.broken_seq) == ("broken", 1, seq)
    assert text in report.text


def test_a_trail_rewritten_from_the_middle_differs_from_its_checkpoint(folder: Folder) -> None:
    """Whoever can write the store can link a chain of his own; he cannot sign."""
    folder.raw("DELETE FROM journal WHERE seq > 11")
    store = folder.open()
    for number in range(12, 21):
        folder.append(store, fact(-number), START_NS)
    store.close()
    report = folder.verify()
    assert (report.state, report.broken_seq) == ("broken", 15)
    assert "differs from the checkpoint" in report.text


def test_a_cut_with_the_checkpoints_cut_as_well_is_found_by_one_kept_elsewhere(
    folder: Folder, tmp_path: Path
) -> None:
    lines = (tmp_path / NAME).read_bytes().splitlines(keepends=True)
    (tmp_path / "elsewhere.jsonl").write_bytes(lines[-1])
    (tmp_path / NAME).write_bytes(b"".join(lines[:2]))
    folder.raw("DELETE FROM journal WHERE seq > 12")
    assert folder.verify().state == "good"
    report = folder.verify(checkpoint=tmp_path / "elsewhere.jsonl")
    assert (report.state, report.broken_seq) == ("broken", 13)


def test_a_forged_checkpoint_is_not_believed(folder: Folder, tmp_path: Path) -> None:
    forged = msgspec.structs.replace(CheckpointFile(tmp_path).latest(), head="00" * 32)
    (tmp_path / "forged").write_bytes(forged.line() + b"\n")
    report = folder.verify(checkpoint=tmp_path / "forged")
    assert (report.state, report.text.partition(": ")[2]) == ("broken", "its signature is wrong")


def test_a_checkpoint_signed_by_another_key_is_not_believed(folder: Folder, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    CheckpointFile(other).write(folder.checkpoint(20))
    assert "another key" in folder.verify(checkpoint=other / NAME).text
    assert folder.verify(checkpoint=other / NAME, key=CheckpointFile(other).key.public).state == (
        "good"
    )


@pytest.mark.parametrize("spoil", ["no store", "no database", "a spoilt checkpoint", "no file"])
def test_what_cannot_be_read_is_exit_code_2(folder: Folder, tmp_path: Path, spoil: str) -> None:
    wishes: dict[str, object] = {}
    match spoil:
        case "no store":
            folder.db.unlink()
        case "no database":
            folder.db.write_bytes(b"not a database at all" * 500)
        case "a spoilt checkpoint":
            (tmp_path / NAME).write_bytes(b"{}\n{}\n")
        case _:
            wishes = {"jsonl": tmp_path / "nothing.jsonl"}
    report = folder.verify(**wishes)
    assert (report.state, report.exit_code) == ("unreadable", 2), report.text


def test_after_an_accepted_restore_only_later_checkpoints_count(folder: Folder) -> None:
    folder.raw("DELETE FROM journal WHERE seq > 12")
    store = folder.open()
    folder.records = folder.records[:12]
    for number in range(13, 30):
        folder.append(store, fact(-number), START_NS)
    store.close()
    assert folder.verify().state == "broken"
    accepted = msgspec.structs.replace(folder.checkpoint(14), accepted="restored by anna")
    CheckpointFile(folder.path).write(accepted)
    report = folder.verify()
    assert (report.state, report.last) == ("good", 29)
    assert any("restored by anna" in note for note in report.notes)


# -- export ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["trail.jsonl", "trail.jsonl.gz"])
def test_an_export_is_lossless_and_verifies_alone(
    folder: Folder, tmp_path: Path, name: str
) -> None:
    target = tmp_path / name
    done = Trail().export(ExportWishes(target=target, quiet=True))
    assert (done.records, done.first, done.last) == (COUNT, 1, COUNT)
    raw = gzip.decompress(target.read_bytes()) if name.endswith(".gz") else target.read_bytes()
    assert [from_line(line) for line in raw.splitlines()] == folder.records
    report = folder.verify(jsonl=target)
    assert (report.state, report.records, report.head) == (
        "good", COUNT, folder.records[-1].hash.hex()
    )  # fmt: skip
    vouched = folder.verify(jsonl=target, checkpoint=tmp_path / NAME)
    assert (vouched.state, vouched.checkpoints) == ("good", 4)


def test_an_edited_export_is_broken(folder: Folder, tmp_path: Path) -> None:
    target = tmp_path / "trail.jsonl"
    Trail().export(ExportWishes(target=target, quiet=True))
    target.write_bytes(target.read_bytes().replace(b"8 \xc2\xab", b"9 \xc2\xab", 1))
    report = folder.verify(jsonl=target)
    assert (report.state, report.broken_seq) == ("broken", 8)


def test_a_cut_packed_export_cannot_be_read(folder: Folder, tmp_path: Path) -> None:
    target = tmp_path / "trail.jsonl.gz"
    Trail().export(ExportWishes(target=target, quiet=True))
    os.truncate(target, target.stat().st_size - 20)
    assert folder.verify(jsonl=target).exit_code == 2


RANGES: dict[str, tuple[dict[str, int], int, int]] = {
    "by number": ({"from_seq": 6, "to_seq": 9}, 6, 9),
    "from a number on": ({"from_seq": 18}, 18, 20),
    "by time": (
        {"since_ns": START_NS + 3 * DAY_NS, "until_ns": START_NS + 7 * DAY_NS}, 3, 6,
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", RANGES)
def test_a_range_is_exported_whole(folder: Folder, tmp_path: Path, how: str) -> None:
    wishes, first, last = RANGES[how]
    target = tmp_path / "range.jsonl"
    done = Trail().export(ExportWishes(target=target, quiet=True, **wishes))
    assert (done.first, done.last, done.records) == (first, last, last - first + 1)
    assert folder.verify(jsonl=target).state == "good"


def test_a_broken_trail_is_not_exported_as_if_it_were_whole(folder: Folder, tmp_path: Path) -> None:
    folder.raw("UPDATE journal SET actor = 'eve' WHERE seq = 8")
    with pytest.raises(StoreError, match="record 8 does not hold"):
        Trail().export(ExportWishes(target=tmp_path / "x.jsonl", quiet=True))
    assert not list(tmp_path.glob("x.jsonl*"))


# -- prune ----------------------------------------------------------------------------------------


def test_pruning_takes_whole_segments_and_the_chain_verifies_from_there(either: Folder) -> None:
    done = either.prune("2026-01-15T00:00:00Z")  # record 14 is of that day
    assert (done.pruned, done.upto) == (10, 10)
    report = either.verify()
    assert (report.state, report.first) == ("good", 11)
    archive = either.verify(jsonl=Path(done.file), checkpoint=either.path / NAME)
    assert (archive.state, archive.first, archive.last) == ("good", 1, 10)
    with folder_store(either) as store:
        told = store.records(RecordFilter(types=("operator.acted",), limit=1))[0]
        assert b"audit prune" in told.data


class folder_store:  # noqa: N801 -- a context manager
    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def __enter__(self) -> SqliteStore:
        self._store = self._folder.open()
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()


def test_a_second_pruning_goes_on_where_the_first_ended(folder: Folder) -> None:
    folder.prune("2026-01-08T00:00:00Z")
    done = folder.prune("2026-01-18T00:00:00Z")
    assert (done.pruned, done.upto) == (10, 15)
    assert folder.verify().first == 16
    assert folder.prune("2026-01-18T00:00:00Z").pruned == 0


def test_recovery_reads_the_archive_where_a_snapshot_does_not_help(either: Folder) -> None:
    either.prune()
    with folder_store(either) as store:
        seqs = [record.seq for record, _ in store.facts_after(0)]
        links = Links(first_prev(either.origin))
        assert [links.take(record) for record, _ in store.facts_after(0)] == [None] * len(seqs)
        assert seqs == list(range(1, len(seqs) + 1))
        assert next(r.seq for r, _ in store.facts_after(7)) == 8
        assert next(r.seq for r, _ in store.facts_after(12)) == 13
    for file in (either.path / "archive").iterdir():
        file.unlink()
    with folder_store(either) as store:
        assert next(r.seq for r, _ in store.facts_after(10)) == 11
        with pytest.raises(StoreError, match="put it back for one start"):
            list(store.facts_after(0))


def test_what_is_unique_for_ever_stays_so_after_pruning(tmp_path: Path, either: Folder) -> None:
    ended = SignalEnded(
        signal_id="s1", account_id=samples.ACCOUNT, outcome=Outcome.REJECTED, stage="checks",
        reason="C05",
    )  # fmt: skip
    with folder_store(either) as store:
        either.append(store, ended, START_NS + 21 * DAY_NS)
        seq = store.last_record().seq
        for number in range(3):
            either.append(store, fact(number), START_NS + (22 + number) * DAY_NS)
            store.save_snapshot(seq + 1 + number, b"state")
    CheckpointFile(tmp_path).write(either.checkpoint(seq))
    assert either.prune("2026-03-01T00:00:00Z").upto == seq
    with folder_store(either) as store:
        assert store.signal_seen("s1")
        with pytest.raises(StoreConflict):
            either.append(store, ended, START_NS)


def test_nothing_that_is_still_needed_is_pruned(folder: Folder) -> None:
    done = folder.prune("2027-01-01T00:00:00Z")
    assert done.upto == 15  # the older snapshot is of record 18
    with folder_store(folder) as store, pytest.raises(ValueError, match="still needed"):
        store.prune(msgspec.structs.replace(store.prunings()[-1], upto=18))


def test_a_store_in_use_is_not_pruned(either: Folder) -> None:
    with folder_store(either), pytest.raises(StoreLocked):
        either.prune()
    assert either.verify().first == 1


def test_a_broken_trail_is_not_pruned(folder: Folder) -> None:
    folder.raw("UPDATE journal SET actor = 'eve' WHERE seq = 8")
    with pytest.raises(StoreError, match="does not verify"):
        folder.prune()


def test_a_pruning_without_a_checkpoint_is_found(folder: Folder) -> None:
    folder.prune()
    folder.raw("DELETE FROM prunings")
    assert folder.verify().state == "broken"
    head = folder.records[11].hash.hex()
    folder.raw(
        "DELETE FROM journal WHERE seq <= 12",
        f"INSERT INTO prunings VALUES (12, x'{head}', 'gone', '', 0, 'eve')",  # noqa: S608
    )
    report = folder.verify()
    assert (report.state, report.exit_code) == ("broken", 1)
    assert "no checkpoint vouches" in report.text


@pytest.mark.parametrize("sql", [
    "DELETE FROM journal WHERE seq = 13", "DELETE FROM journal",
    "UPDATE journal SET actor = 'eve' WHERE seq = 13", "DELETE FROM prunings",
    "UPDATE prunings SET upto = 20", "INSERT INTO prunings VALUES (3, x'', '', '', 0, '')",
    "INSERT OR REPLACE INTO journal SELECT * FROM journal WHERE seq = 12",
])  # fmt: skip
def test_outside_pruning_the_triggers_refuse(folder: Folder, sql: str) -> None:
    folder.prune()
    db = sqlite3.connect(folder.db)
    db.execute("PRAGMA recursive_triggers = ON")
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(sql)
    db.close()


KILLS: list[tuple[str, str]] = [
    ("orchestrator.main.audit.write_lines", "before the export"),
    ("orchestrator.main.audit.digest_of", "after the export"),
    ("orchestrator.main.audit.open_alone", "before the deletion"),
]


@pytest.mark.parametrize("where", KILLS)
def test_a_pruning_that_is_killed_loses_nothing_and_can_be_repeated(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, where: tuple[str, str]
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(where[0], die)
        with pytest.raises(Killed):
            folder.prune()
    assert folder.verify().first == 1
    assert folder.prune().upto == 10
    assert folder.verify().state == "good"


# -- checkpoint, key and life ---------------------------------------------------------------------


def test_a_checkpoint_is_made_by_hand(folder: Folder) -> None:
    with folder_store(folder) as store:
        folder.append(store, fact(21), START_NS)
        made = Trail().checkpoint(None)  # beside the service
    assert (made.seq, made.head) == (21, folder.records[-1].hash.hex())
    assert folder.verify().checkpoint_seq == 21
    assert CheckpointFile(folder.path).latest().line().decode() == made.line


def test_a_broken_trail_is_not_signed(folder: Folder) -> None:
    folder.raw("DELETE FROM journal WHERE seq > 12")
    with pytest.raises(StoreError, match="is not signed"):
        Trail().checkpoint(None)


def test_the_public_key_is_told(folder: Folder) -> None:
    told = Trail().key(None)
    assert told.public == CheckpointFile(folder.path).key.public
    assert Path(told.file).read_text().strip() == told.public


def test_a_life_that_ended_in_order_is_still_so_after_pruning(either: Folder) -> None:
    with folder_store(either) as store:
        either.append(store, ServiceStopped(reason="shutdown"), START_NS)
    either.prune()
    with folder_store(either) as store:
        assert store.last_record().type == "service.stopped"
