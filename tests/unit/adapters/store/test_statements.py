"""SQL files: every statement named, explained and used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import orchestrator.adapters.store
from orchestrator.adapters.store.reading import COMMON_TYPES
from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.adapters.store.statements import migrations, statements

ROOM = Path(orchestrator.adapters.store.__file__).parent


@pytest.mark.parametrize("name", ["journal", "projections", "queries", "market"])
def test_every_statement_is_one_statement_and_used(name: str) -> None:
    code = "".join(file.read_text() for file in ROOM.glob("*.py"))
    for key, sql in statements(name).items():
        assert sql, key
        assert ";" not in sql, key
        assert re.search(rf'"{key}"', code), f"nothing uses {key}"


def test_names_are_not_shared_within_a_file() -> None:
    for name in ("journal", "projections", "queries", "market"):
        text = (ROOM / "sql" / f"{name}.sql").read_text()
        assert len(statements(name)) == text.count("-- name: ")


def test_the_partial_index_speaks_of_the_types_that_readers_leave_out() -> None:
    (_, _, schema), *_ = migrations("sqlite")
    index = schema.split("CREATE INDEX journal_rare_type")[1].split(";")[0]
    assert tuple(re.findall(r"type <> '([a-z.]+)'", index)) == COMMON_TYPES


def test_a_story_is_found_by_indexes_however_long_the_journal(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "journal.db", checkpoint_s=0)
    plans = {
        name: [
            row[3]
            for row in store._connection.execute(
                f"EXPLAIN QUERY PLAN {sql}", ["1"] * sql.count("?")
            )
        ]
        for name, sql in statements("queries").items()
        if "?" in sql
    }
    store.close()
    assert {"signal", "story", "linked_transactions", "trade"} <= set(plans)
    for name, plan in plans.items():
        assert not [step for step in plan if step.startswith("SCAN")], name
    assert plans["linked_transactions"][0] == (
        "SEARCH l USING PRIMARY KEY (account_id=? AND kind=? AND ref=?)"
    )
