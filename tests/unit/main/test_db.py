"""`orchestrator db`: nothing half done, lost or overwritten, on both kinds of store."""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator.adapters.store import postgres_schema
from orchestrator.adapters.store.postgres import PostgresStore
from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.kernel.audit import AuditChain
from orchestrator.main import db
from orchestrator.model import failpoints
from orchestrator.model.facts import Fact, ServiceStopped
from tests.servers.postgres import Databases, execute
from tests.unit.adapters.store import samples

TABLES = (
    "accounts", "signals", "signal_outcomes", "intents", "transactions", "transaction_links",
    "trades", "outcomes", "breakers", "alerts", "snapshots", "meta",
)  # fmt: skip


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def no_failpoints() -> Iterator[None]:
    yield
    failpoints.listen(None)


def fill(store: Any) -> list[Any]:
    """A chain as the service links it, with everything that has a table of its own."""
    facts: list[Fact] = [
        samples.adopted(), *samples.path("s1"), *samples.closing(8, "-2.10"),
        samples.outcome(8, "-1"), *samples.path("nul \0", 20), samples.tripped(), samples.alert(),
        ServiceStopped(reason="shutdown"),
    ]  # fmt: skip
    chain = AuditChain(store.installation_id(), store.last_record())
    records = chain.link(facts, samples.START, "n1", 1)
    store.next_epoch()
    store.append(records, facts)
    store.save_snapshot(3, b"state \0")
    store.close()
    return records


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = db.run(list(words))
    out = capsys.readouterr()
    return code, out.out + out.err


def content(url: str) -> dict[str, list[Any]]:
    return {table: sorted(map(tuple, execute(url, f"TABLE {table}"))) for table in TABLES}


@pytest.fixture
def on_file(state: Path) -> list[Any]:
    return fill(SqliteStore(state / "orchestrator.db", sync="normal", checkpoint_s=0))


@pytest.fixture
def on_server(state: Path, fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    assert state.exists()
    monkeypatch.setenv("DATABASE_URL", fresh_database)
    fill(PostgresStore(fresh_database))
    return fresh_database


@pytest.fixture
def second(databases: Databases) -> Iterator[str]:
    url = databases.take()
    yield url
    databases.give_back(url)


# -- move ------------------------------------------------------------------------------------------


def test_a_store_moves_to_postgresql_record_by_record(
    state: Path, on_file: list[Any], fresh_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = f"sqlite:///{state / 'orchestrator.db'}"
    code, text = said(capsys, "move", "--from", source, "--to", fresh_database)
    assert code == 0, text
    assert f"{len(on_file)} records hold" in text
    moved, left = PostgresStore(fresh_database), SqliteStore(state / "orchestrator.db")
    there, here = list(moved.facts_after(0)), list(left.facts_after(0))
    assert there[: len(here)] == here
    assert [record.type for record, _ in there[len(here) :]] == [
        "operator.acted",
        "service.stopped",
    ]
    assert moved.installation_id() == left.installation_id()
    assert moved.load_snapshot() == left.load_snapshot()
    for query in ("signals", "intents", "trades", "outcomes", "alerts", "breakers", "performance"):
        assert getattr(moved.queries, query)() == getattr(left.queries, query)()
    assert moved.queries.transactions(samples.ACCOUNT) == left.queries.transactions(samples.ACCOUNT)
    assert moved.signal_seen("nul \0")
    assert moved.next_epoch() == left.next_epoch() == 2
    samples.append(moved, samples.note("goes on"))
    moved.append(
        samples.chained([samples.closing(77, "1")[1]], moved.last_record()),
        [samples.closing(77, "1")[1]],
    )
    moved.close()
    left.close()


def test_a_store_moves_into_an_empty_database_only(
    state: Path, on_file: list[Any], on_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(on_server)
    source = f"sqlite:///{state / 'orchestrator.db'}"
    code, text = said(capsys, "move", "--from", source, "--to", on_server)
    assert (code, "holds a store already" in text) == (1, True)
    assert content(on_server) == before
    assert on_file


def test_a_store_in_use_does_not_move(
    state: Path, on_file: list[Any], fresh_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    working = SqliteStore(state / "orchestrator.db")
    source = f"sqlite:///{state / 'orchestrator.db'}"
    code, text = said(capsys, "move", "--from", source, "--to", fresh_database)
    working.close()
    assert (code, "in use by the service with process id" in text) == (1, True)
    assert on_file


def test_a_store_that_does_not_hold_does_not_move(
    state: Path, on_file: list[Any], fresh_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(state / "orchestrator.db") as raw:
        raw.execute("DROP TRIGGER journal_keeps_content")
        raw.execute("UPDATE journal SET actor = 'eve' WHERE seq = 5")
    raw.close()
    source = f"sqlite:///{state / 'orchestrator.db'}"
    code, text = said(capsys, "move", "--from", source, "--to", fresh_database)
    assert (code, "record 5 does not hold" in text) == (1, True)
    assert empty(fresh_database)
    assert on_file


def empty(url: str) -> bool:
    count = execute(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")[0][0]
    return int(count) == 0


def test_a_move_that_is_killed_leaves_the_target_empty(
    state: Path, on_file: list[Any], fresh_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def strike(place: str) -> None:
        if place == "journal.migrate.before":
            raise Killed

    failpoints.listen(strike)
    source = f"sqlite:///{state / 'orchestrator.db'}"
    with pytest.raises(Killed):
        db.run(["move", "--from", source, "--to", fresh_database, "--json"])
    failpoints.listen(None)
    assert empty(fresh_database)
    code, text = said(capsys, "move", "--from", source, "--to", fresh_database)
    assert code == 0, text
    assert on_file


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("sqlite:///none.db", "postgresql://u@localhost:1/d"),
        ("postgresql://u@localhost/d", "postgresql://u@localhost/e"),
        ("sqlite:///orchestrator.db", "sqlite:///other.db"),
        ("sqlite:///orchestrator.db", "postgresql://u:secret9@localhost:1/d"),
    ],
)
def test_a_move_that_cannot_be_is_refused_in_plain_words(
    state: Path, on_file: list[Any], source: str, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = said(capsys, "move", "--from", source, "--to", target)
    assert code == 1
    assert text.startswith("orchestrator db: ")
    assert "Traceback" not in text
    assert "secret9" not in text
    assert (state / "orchestrator.db").exists()
    assert on_file


# -- backup and restore ----------------------------------------------------------------------------


def test_a_backup_of_a_file_is_taken_beside_a_service_and_put_back(
    state: Path, on_file: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    working = SqliteStore(state / "orchestrator.db", checkpoint_s=0)
    code, text = said(capsys, "backup", str(state / "monday"))
    assert (code, f"{len(on_file)} records hold" in text) == (0, True), text
    assert (state / "monday").stat().st_mode & 0o777 == 0o600
    code, text = said(capsys, "restore", str(state / "monday"))
    assert (code, "in use" in text) == (1, True)
    working.close()
    code, text = said(capsys, "restore", str(state / "monday"))
    assert (code, "nothing is overwritten" in text) == (1, True)
    (state / "orchestrator.db").rename(state / "old.db")
    code, text = said(capsys, "restore", str(state / "monday"))
    assert code == 0, text
    again = SqliteStore(state / "orchestrator.db", checkpoint_s=0)
    records = [record for record, _ in again.facts_after(0)]
    again.close()
    assert records[: len(on_file)] == list(on_file)
    assert [record.type for record in records[len(on_file) :]] == [
        "operator.acted", "service.stopped",
    ]  # fmt: skip


def test_a_backup_of_a_server_is_one_moment_and_comes_back_whole(
    state: Path, on_server: str, second: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    working = PostgresStore(on_server, lease=True)
    code, text = said(capsys, "backup", "monday.backup")
    assert code == 0, text
    working.close()
    monkeypatch.setenv("DATABASE_URL", second)
    code, text = said(capsys, "restore", "monday.backup")
    assert code == 0, text
    old, new = PostgresStore(on_server), PostgresStore(second)
    told = list(old.facts_after(0))
    assert list(new.facts_after(0))[: len(told)] == told
    assert new.load_snapshot() == old.load_snapshot()
    assert new.queries.trades() == old.queries.trades()
    old.close()
    new.close()
    same = [table for table in TABLES if table != "meta"]
    assert {t: content(second)[t] for t in same} == {t: content(on_server)[t] for t in same}
    assert (state / "monday.backup").stat().st_mode & 0o777 == 0o600


def test_a_backup_overwrites_nothing(
    state: Path, on_file: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (state / "monday").write_text("precious")
    code, text = said(capsys, "backup", str(state / "monday"))
    assert (code, "is there already" in text) == (1, True)
    assert (state / "monday").read_text() == "precious"
    assert on_file


@pytest.mark.parametrize("how", ["cut", "edited", "a table edited", "of a newer version"])
def test_a_spoilt_backup_is_refused_and_nothing_of_it_stands(
    state: Path, on_server: str, second: str, how: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert said(capsys, "backup", "b")[0] == 0
    whole = (state / "b").read_bytes()
    if how == "cut":
        (state / "b").write_bytes(whole[: len(whole) * 2 // 3])
    elif how == "edited":
        at = whole.index(b"journal.copy") + 300
        (state / "b").write_bytes(whole[:at] + b"\xff\xff\xff" + whole[at + 3 :])
    else:
        rewrite(state / "b", how)
    monkeypatch.setenv("DATABASE_URL", second)
    code, text = said(capsys, "restore", "b")
    assert code == 1, text
    assert text.startswith("orchestrator db: ")
    assert empty(second)
    assert on_server


def rewrite(file: Path, how: str) -> None:
    with zipfile.ZipFile(file) as pack:
        parts = {name: pack.read(name) for name in pack.namelist()}
    if how == "a table edited":
        parts["intents.copy"] = parts["intents.copy"].replace(b"filled", b"absent")
    else:
        manifest = msgspec.json.decode(parts["manifest.json"])
        parts["manifest.json"] = msgspec.json.encode(manifest | {"schema": 99})
    with zipfile.ZipFile(file, "w") as pack:
        for name, data in parts.items():
            pack.writestr(name, data)


def test_a_backup_of_the_other_kind_is_told_apart(
    state: Path, on_file: list[Any], fresh_database: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert said(capsys, "backup", str(state / "b"))[0] == 0
    monkeypatch.setenv("DATABASE_URL", fresh_database)
    code, text = said(capsys, "restore", str(state / "b"))
    assert (code, "db move" in text) == (1, True)
    assert on_file


def test_a_pruned_store_is_backed_up_and_moved_from_where_it_begins(
    state: Path, on_file: list[Any], fresh_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(state / "orchestrator.db") as raw:
        last = on_file[3]
        raw.execute("INSERT INTO prunings VALUES (?, ?, 'f', 'd', 0, 'me')", (last.seq, last.hash))
        raw.execute("DELETE FROM journal WHERE seq <= ?", (last.seq,))
    raw.close()
    code, text = said(capsys, "backup", str(state / "b"))
    assert (code, f"5 to {len(on_file)}" in text) == (0, True), text
    source = f"sqlite:///{state / 'orchestrator.db'}"
    code, text = said(capsys, "move", "--from", source, "--to", fresh_database)
    assert (code, f"5 to {len(on_file)}" in text) == (0, True), text


# -- schema and rights -----------------------------------------------------------------------------


def test_an_older_database_is_upgraded_once_by_however_many_ask(
    on_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(on_server)
    known = postgres_schema.JOURNAL.steps()
    count = len(known)
    step = (count + 1, "9999_more.sql", "CREATE TABLE more (said TEXT DEFAULT 'a:b % $$ ?');")
    monkeypatch.setattr(postgres_schema, "migrations", lambda _: [*known, step])
    code, text = said(capsys, "check")
    assert (code, "orchestrator db upgrade" in text) == (1, True), text
    lead = "UPDATE leader_lease SET node = 'north', holder = 'x', expires_at = now() + '{}'"
    execute(on_server, lead.format("1 hour"))
    code, text = said(capsys, "upgrade")
    assert (code, "node north leads" in text) == (1, True), text
    execute(on_server, lead.format("-1 hour"))
    code, text = said(capsys, "upgrade")
    assert (code, f"schema {count} -> {count + 1}" in text) == (0, True), text
    assert said(capsys, "upgrade")[1].startswith(f"journal: schema {count + 1}, nothing to do")
    assert execute(on_server, "TABLE more") == []
    assert content(on_server) == before


def test_an_upgrade_that_is_killed_is_whole_or_not_begun(
    on_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = postgres_schema.JOURNAL.steps()
    more = [
        *known,
        (len(known) + 1, "9998_a.sql", "CREATE TABLE a (x INTEGER);"),
        (len(known) + 2, "9999_b.sql", "CREATE TABLE b (x INTEGER);"),
    ]
    monkeypatch.setattr(postgres_schema, "migrations", lambda _: more)
    struck: list[str] = []

    def strike(place: str) -> None:
        struck.append(place)
        if struck.count("journal.migrate.before") == 2:
            raise Killed

    failpoints.listen(strike)
    with pytest.raises(Killed):
        db.run(["upgrade"])
    failpoints.listen(None)
    there = {row[0] for row in execute(on_server, "SELECT tablename FROM pg_tables")}
    assert ("a" in there, "b" in there) == (True, False)
    assert said(capsys, "upgrade")[0] == 0
    assert execute(on_server, "TABLE b") == []


def test_an_empty_database_is_made_by_the_upgrade(
    state: Path, fresh_database: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("DATABASE_URL", fresh_database)
    code, text = said(capsys, "check")
    assert (code, "there is no store" in text) == (0, True), text
    assert said(capsys, "upgrade")[1].startswith("journal: made")
    PostgresStore(fresh_database).close()
    assert state.exists()


def test_the_services_role_can_work_and_can_drop_nothing(
    on_server: str, databases: Databases, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    execute(
        on_server,
        "DO $$ BEGIN CREATE ROLE \"ser vice\" LOGIN PASSWORD 'p'; EXCEPTION WHEN duplicate_object"
        " THEN NULL; END $$",
    )
    code, text = said(capsys, "check")
    assert (code, "role owns the journal" in text) == (0, True), text
    code, text = said(capsys, "upgrade", "--service-role", "ser vice")
    assert code == 0, text
    url = databases.as_user(on_server, "ser%20vice", "p")
    monkeypatch.setenv("DATABASE_URL", url)
    store = PostgresStore(url)
    store.next_epoch()
    samples.append(store, *samples.path("s9", 50), *samples.closing(51, "1"), samples.tripped())
    store.save_snapshot(1, b"x")
    store.close()
    code, text = said(capsys, "check")
    assert "role owns" not in text
    for sql in (
        "DROP TRIGGER journal_keeps_rows ON journal",
        "ALTER TABLE journal DISABLE TRIGGER ALL",
        "DROP TABLE journal",
        "TRUNCATE journal",
        "DELETE FROM journal",
        "UPDATE journal SET data = ''",
        "CREATE TABLE mine (x INTEGER)",
    ):
        with pytest.raises(Exception, match=r"permission denied|must be owner|no schema"):
            execute(url, sql)


def test_a_switched_off_trigger_is_found(
    on_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "check")[0] == 0
    execute(on_server, "ALTER TABLE journal DISABLE TRIGGER journal_keeps_rows")
    code, text = said(capsys, "check")
    assert (code, "missing or switched off" in text) == (1, True)


def test_a_broken_chain_is_found_by_the_check(
    on_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(
        on_server,
        "ALTER TABLE journal DISABLE TRIGGER USER",
        "UPDATE journal SET actor = 'eve' WHERE seq = 5",
    )
    code, text = said(capsys, "check")
    assert (code, "record 5" in text) == (1, True)


def test_a_server_that_is_away_is_told_by_each_command(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:secret9@127.0.0.1:1/d")
    (state / "b").write_bytes(b"PK")
    for words in (["check"], ["upgrade"], ["backup", "new"], ["restore", "b"]):
        code, text = said(capsys, *words)
        assert (code, "DATABASE_URL: nobody answers" in text) == (1, True), (words, text)
        assert "secret9" not in text
    assert not (state / "new").exists()


def test_the_newest_schema_of_a_file_is_told(
    on_file: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "upgrade") == (0, "journal: schema 2, nothing to do\n")
    code, text = said(capsys, "check")
    assert (code, f"{len(on_file)} records hold" in text) == (0, True)
