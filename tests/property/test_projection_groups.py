"""A store that is asked once for each group of changes comes to the same tables (PostgreSQL)."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.adapters.store.connections import connect_writer, make_private, migrate
from orchestrator.adapters.store.projections import _ABOUT, Change, grouped
from orchestrator.adapters.store.statements import statements

_NUMBERS = itertools.count(1)
_ACCOUNTS = st.sampled_from(("a", "b"))
_KEYS = st.sampled_from(("1", "2", "3"))
_UNITS = st.sampled_from(("1", "2.5", "-3"))


def _change(name: str, *parts: Any) -> st.SearchStrategy[Change]:
    """Statement and values; a part that is no strategy stands as it is, `...` is a new number."""
    strategies = [
        part
        if isinstance(part, st.SearchStrategy)
        else st.builds(lambda: next(_NUMBERS))
        if part is ...
        else st.just(part)
        for part in parts
    ]
    return st.tuples(st.just(name), st.tuples(*strategies))


_EVERY = (
    _change("add_account", _ACCOUNTS, _KEYS, ...),
    _change("add_known_trade", _ACCOUNTS, _KEYS, "EUR_USD", _UNITS, _UNITS, _UNITS, ..., 1, "", "",
            _KEYS),
    _change("open_trade", _ACCOUNTS, _KEYS, "EUR_USD", _UNITS, _UNITS, _UNITS, ..., 1, "i", "s",
            _KEYS, "r", None, None, None, "0"),
    _change("close_trade", _UNITS, 1, _UNITS, _UNITS, _UNITS, "why", ..., _ACCOUNTS, _KEYS),
    _change("add_signal", ..., _KEYS, "trend", "EUR_USD"),
    _change("add_refused_signal", ..., _KEYS),
    _change("end_signal", _KEYS, _ACCOUNTS, "filled", ...),
    _change("add_intent", ..., _KEYS, _KEYS, _ACCOUNTS, _KEYS, "trend", ...),
    _change("move_intent", _KEYS, "why", ..., _KEYS, "", 0, 1, _KEYS),
    _change("add_transaction", _ACCOUNTS, _KEYS, ...),
    _change("link_transaction", _ACCOUNTS, "trade", _KEYS, _KEYS),
    _change("add_outcome", ..., _ACCOUNTS, _KEYS, "trend", _UNITS),
    _change("trip_breaker", _KEYS, _ACCOUNTS, "account", ..., 0, "block", _KEYS, ..., None, "k"),
    _change("reset_breaker", ..., ..., "anna", _KEYS, _KEYS, _ACCOUNTS),
    _change("add_alert", ..., "warning"),
)  # fmt: skip


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("groups") / "journal.db"
    make_private(path)
    connection = connect_writer(path, synchronous="OFF")
    migrate(connection, path, "sqlite")
    yield connection
    connection.close()


def _tables(db: sqlite3.Connection, made: Sequence[Change]) -> dict[str, list[tuple[Any, ...]]]:
    """What they make of an empty store; the conflict's text, if there is one, and no tables."""
    sql = statements("projections")
    db.execute("BEGIN")
    try:
        for name, values in made:
            db.execute(sql[name], values)
        return {table: _rows(db, table) for table in _names(db)}
    except sqlite3.IntegrityError:
        return {"conflict": []}
    finally:
        db.execute("ROLLBACK")


def _names(db: sqlite3.Connection) -> list[str]:
    found = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return [name for (name,) in found if name not in ("journal", "sqlite_sequence")]


def _rows(db: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    """Without the number by which a list goes on."""
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[1] != "id"]
    names = ", ".join(columns)
    return sorted(db.execute(f"SELECT {names} FROM {table}"), key=repr)  # noqa: S608 -- our names


def _flat(groups: list[tuple[str, list[tuple[Any, ...]]]]) -> list[Change]:
    return [(name, values) for name, group in groups for values in group]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=st.lists(st.one_of(*_EVERY), max_size=14))
def test_grouped_changes_come_to_the_same_tables(db: sqlite3.Connection, made: list[Change]):
    assert _tables(db, _flat(grouped(made))) == _tables(db, made)


def test_every_statement_is_known_to_the_grouping():
    assert set(_ABOUT) == set(statements("projections"))
    assert len(_EVERY) == len(_ABOUT)


def test_what_comes_again_and_again_about_other_things_is_asked_once():
    made: list[Change] = []
    for number in range(50):
        made += [
            ("add_transaction", ("a", number, number)),
            ("link_transaction", ("a", "trade", "7", number)),
            ("move_intent", ("filled", "", 1, "", "", 0, 0, f"i{number}")),
        ]
    groups = grouped(made)
    assert [(name, len(rows)) for name, rows in groups] == [
        ("add_transaction", 50), ("link_transaction", 50), ("move_intent", 50),
    ]  # fmt: skip


def test_what_is_about_the_same_thing_keeps_its_order():
    trip, reset = ("M1", "EUR_USD", "instrument"), (1, 2, "anna", "why", "M1", "EUR_USD")
    made = [("trip_breaker", trip), ("reset_breaker", reset)] * 3
    assert [name for name, _ in grouped(made)] == [name for name, _ in made]
