"""The service on PostgreSQL says at once why it cannot start."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.integration.test_service_bad_input import _refusal
from tests.servers.postgres import PostgresServer, execute


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        ("silent", "does not answer in time"),
        ("no database", "createdb"),
        ("newer", "run that one"),
    ],
)
def test_a_database_that_is_no_use_is_told_by_name(
    tmp_path: Path, own_postgres: PostgresServer, trouble: str, text: str
) -> None:
    with socket.socket() as dumb:
        dumb.bind(("127.0.0.1", 0))
        dumb.listen()
        url = f"postgresql://u:hunter2@127.0.0.1:{dumb.getsockname()[1]}/d"
        if trouble == "no database":
            url = own_postgres.url("gone")
        elif trouble == "newer":
            url = own_postgres.create()
            execute(
                url,
                "CREATE TABLE alembic_version_store (version_num VARCHAR(32))",
                "INSERT INTO alembic_version_store VALUES ('0077')",
            )
        said = _refusal(tmp_path, DATABASE_URL=url)
    assert "DATABASE_URL: " in said
    assert text in said
    assert "hunter2" not in said
