"""Where market data goes, what `doctor` and `db` say of its database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.store import market_schema
from orchestrator.adapters.store.market_postgres import PostgresMarketStore
from orchestrator.adapters.store.market_sqlite import SqliteMarketStore
from orchestrator.adapters.store.upgrading import script
from orchestrator.main.market import SPOOL, look, open_market
from orchestrator.model.errors import StoreError
from orchestrator.settings import Settings, load_settings
from tests.servers.postgres import execute, in_thread


def settings_of(folder: Path, **env: str) -> Settings:
    return load_settings(env={"STATE_DIR": str(folder / "state"), **env}, env_file=None)


@pytest.fixture
def on_server(fresh_database: str, tmp_path: Path) -> Settings:
    return settings_of(tmp_path, TIMESCALE_URL=fresh_database)


def test_by_default_it_is_a_file_of_the_state_folder(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    store = open_market(settings)
    store.close()
    assert isinstance(store, SqliteMarketStore)
    assert (tmp_path / "state" / "market.db").exists()
    assert look(settings).ok


def test_an_url_chooses_the_server_and_a_replay_keeps_to_its_folder(
    on_server: Settings, tmp_path: Path
) -> None:
    store, replay = open_market(on_server), open_market(on_server, replay=True)
    store.close()
    replay.close()
    assert isinstance(store, PostgresMarketStore)
    assert isinstance(replay, SqliteMarketStore)
    assert (tmp_path / "state" / "market.db").exists()
    assert (tmp_path / "state" / SPOOL / "known").exists()


def test_a_look_makes_nothing_and_tells_what_is_there(on_server: Settings, tmp_path: Path) -> None:
    assert "empty database" in look(on_server).text
    assert "empty database" in look(on_server).text
    open_market(on_server).close()
    found = look(on_server)
    assert (found.ok, found.text) == (True, market_schema.NOTES[market_schema.PARTITIONS])
    (tmp_path / "state" / SPOOL / "x.batch").write_bytes(b"")
    assert look(on_server).text.endswith("1 batches wait in market.spool")


def test_a_look_at_a_server_that_is_away_names_the_variable_and_no_password(
    tmp_path: Path,
) -> None:
    found = look(settings_of(tmp_path, TIMESCALE_URL="postgresql://u:p4ss@127.0.0.1:1/m"))
    assert found.ok is False
    assert found.text.startswith("TIMESCALE_URL: nobody answers")
    assert "p4ss" not in found.text


def test_a_look_at_a_newer_schema_says_so(on_server: Settings, fresh_database: str) -> None:
    open_market(on_server).close()
    execute(fresh_database, "UPDATE alembic_version_market SET version_num = '0099'")
    assert "newer version" in look(on_server).text


def test_a_first_start_without_the_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="TIMESCALE_URL: nobody answers"):
        open_market(settings_of(tmp_path, TIMESCALE_URL="postgresql://u:p4ss@127.0.0.1:1/m"))


# -- Alembic -----------------------------------------------------------------------------------


_COLUMNS = """SELECT table_name, column_name, data_type, is_nullable
FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'alembic%'
ORDER BY table_name, ordinal_position"""
_FUNCTIONS = """SELECT proname, prosrc FROM pg_proc
WHERE pronamespace = 'public'::regnamespace ORDER BY proname"""
_INDEXES = """SELECT indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename NOT LIKE 'alembic%' ORDER BY indexdef"""


def _shape(url: str) -> list[Any]:
    return [tuple(row) for sql in (_COLUMNS, _FUNCTIONS, _INDEXES) for row in execute(url, sql)]


def test_alembic_makes_what_a_first_start_makes(
    on_server: Settings, fresh_database: str, databases: Any
) -> None:
    """One text, two ways: neither may read it otherwise."""
    open_market(on_server).close()
    other = databases.take()
    text = script(market_schema.SCHEMAS[market_schema.PARTITIONS], 1)

    async def run() -> None:
        import asyncpg

        connection = await asyncpg.connect(other, ssl=False)
        await connection.execute(text)
        await connection.close()

    in_thread(run)
    assert _shape(other) == _shape(fresh_database)
    asked = "SELECT version_num FROM alembic_version_market"
    assert [execute(url, asked)[0][0] for url in (other, fresh_database)] == ["0001", "0001"]
    databases.give_back(other)


def test_alembic_reads_the_layout_for_timescaledb_too() -> None:
    text = script(market_schema.SCHEMAS[market_schema.TIMESCALE], 1)
    for wanted in ("create_hypertable", "timescaledb.compress", "WITH NO DATA", "'0001'"):
        assert wanted in text
