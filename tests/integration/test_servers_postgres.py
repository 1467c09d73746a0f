"""The tests' own PostgreSQL: it really runs, dies, freezes and comes back with what it had."""

from __future__ import annotations

import pytest

from tests.servers.postgres import PostgresServer, execute


def test_each_database_is_fresh(own_postgres: PostgresServer) -> None:
    first, second = own_postgres.create(), own_postgres.create()
    execute(first, "CREATE TABLE things (id INTEGER)")
    assert execute(second, "SELECT count(*) FROM pg_tables WHERE tablename = 'things'")[0][0] == 0
    assert execute(own_postgres.socket_url(first.rpartition("/")[2]), "TABLE things") == []


def test_what_was_committed_survives_a_kill(own_postgres: PostgresServer) -> None:
    url = own_postgres.create()
    execute(url, "CREATE TABLE things (id INTEGER)", "INSERT INTO things VALUES (7)")
    own_postgres.kill()
    with pytest.raises(ConnectionRefusedError):
        execute(url, "SELECT 1")
    own_postgres.start()
    assert execute(url, "TABLE things")[0][0] == 7


def test_a_frozen_server_answers_nothing_and_goes_on_after_it(own_postgres: PostgresServer) -> None:
    own_postgres.freeze()
    try:
        with pytest.raises(TimeoutError):
            execute(own_postgres.url(), "SELECT 1", timeout=0.3)
    finally:
        own_postgres.thaw()
    assert execute(own_postgres.url(), "SELECT 1")[0][0] == 1


def test_a_database_can_be_made_read_only(own_postgres: PostgresServer) -> None:
    url = own_postgres.create()
    own_postgres.read_only(url.rpartition("/")[2])
    assert execute(url, "SHOW transaction_read_only")[0][0] == "on"
