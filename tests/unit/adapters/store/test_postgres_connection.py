"""Addresses and connections: what is wrong is said in plain words, in time, without a password."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.adapters.store import postgres_connection
from orchestrator.adapters.store.postgres_connection import connect, parse, tls_of
from orchestrator.model.errors import StoreError
from tests.servers.postgres import PostgresServer, execute
from tests.servers.tls import certificate

SECRET = "hunter2"


def try_to_connect(url: str, *, writer: bool = True, timeout_s: float = 4.0) -> str:
    """The version of the server, or the error."""

    async def work() -> str:
        connection = await connect(lambda: url, writer=writer, timeout_s=timeout_s)
        try:
            return str(await connection.fetchval("SHOW server_version"))
        finally:
            await connection.close()

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("postgresql://u@localhost/d", "localhost", 5432),
        ("postgres://u:p@10.0.0.1:6000/d", "10.0.0.1", 6000),
        ("postgresql://u@[::1]:6000/d", "::1", 6000),
        ("postgresql://u@[::1]/d", "::1", 5432),
        ("postgresql://u@/d?host=/var/run/postgresql&port=7", "/var/run/postgresql", 7),
        ("postgresql://u@%2Fvar%2Frun/d", "/var/run", 5432),
        ("postgresql:///d?host=localhost&user=u", "localhost", 5432),
    ],
)
def test_an_address_is_read(url: str, host: str, port: int) -> None:
    found = parse(url)
    assert (found.hosts, found.ports, found.user, found.database) == ((host,), (port,), "u", "d")


def test_a_password_is_unescaped_and_never_shown() -> None:
    found = parse("postgresql://u:a%2Fb%40c@one:1,two/d")
    assert found.password == "a/b@c"
    assert found.hosts == ("one", "two")
    assert found.ports == (1, 5432)
    assert repr(found) == "Address(DATABASE_URL: d at one:1, two:5432)"


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:{SECRET}@localhost/d",
        f"postgresql://u:{SECRET}@localhost",
        f"postgresql://u:{SECRET}@/d",
        f"postgresql://:{SECRET}@localhost/d",
        f"postgresql://u:{SECRET}@localhost:x/d",
        f"postgresql://u:{SECRET}@localhost:70000/d",
        f"postgresql://u:{SECRET}@localhost/d?{SECRET}x=1",
        f"postgresql://u:{SECRET}@[::1/d",
        f"postgresql://u:{SECRET}@far.example/d?sslmode=prefer",
        "",
    ],
)
def test_what_is_no_address_is_refused_by_the_variables_name(url: str) -> None:
    with pytest.raises(StoreError, match="TIMESCALE_URL: ") as caught:
        parse(url, "TIMESCALE_URL")
    assert SECRET not in str(caught.value).replace(f"{SECRET}x", "")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", ""])
def test_what_stays_on_the_machine_needs_no_certificate(host: str) -> None:
    assert tls_of(parse(f"postgresql://u@{host}/d?host=/run")) is None


@pytest.mark.parametrize("options", ["", "?sslmode=require", "?sslmode=verify-full"])
def test_what_leaves_the_machine_is_verified_by_name(options: str) -> None:
    import ssl

    context = tls_of(parse(f"postgresql://u@db.example/d{options}"))
    assert context is not None
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_a_missing_certificate_is_named(tmp_path: object) -> None:
    with pytest.raises(StoreError, match=r"DATABASE_URL: its certificates .* sslrootcert"):
        tls_of(parse(f"postgresql://u@db.example/d?sslrootcert={tmp_path}/none.pem"))


def test_a_server_is_connected_over_its_address_and_its_socket(
    own_postgres: PostgresServer,
) -> None:
    assert try_to_connect(own_postgres.url()) == try_to_connect(own_postgres.socket_url())


def test_a_missing_database_is_told_with_the_command_that_makes_it(
    own_postgres: PostgresServer,
) -> None:
    with pytest.raises(StoreError, match=r"DATABASE_URL: there is no database gone; .*createdb -h"):
        try_to_connect(own_postgres.url("gone"))


def test_an_unknown_user_is_told(own_postgres: PostgresServer) -> None:
    with pytest.raises(StoreError, match="does not let user nobody_here in"):
        try_to_connect(own_postgres.url(user="nobody_here", password=SECRET))


def test_a_read_only_database_is_for_readers_only(own_postgres: PostgresServer) -> None:
    url = own_postgres.create()
    own_postgres.read_only(url.rpartition("/")[2])
    with pytest.raises(StoreError, match="is read-only; as its owner: ALTER DATABASE"):
        try_to_connect(url)
    assert try_to_connect(url, writer=False)


def test_a_database_of_another_encoding_is_refused(own_postgres: PostgresServer) -> None:
    url = own_postgres.create(options="ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    with pytest.raises(StoreError, match=r"holds texts as LATIN1; .*createdb -E UTF8"):
        try_to_connect(url)


def test_an_older_version_and_a_copy_are_refused() -> None:
    address = parse("postgresql://u@localhost/d")
    with pytest.raises(StoreError, match="is PostgreSQL 13; 14 or newer"):
        postgres_connection._refuse(address, (130_012, "UTF8", False, "off"), writer=False)
    with pytest.raises(StoreError, match=r"read-only copy .*primary"):
        postgres_connection._refuse(address, (150_012, "UTF8", True, "on"), writer=True)
    postgres_connection._refuse(address, (150_012, "UTF8", True, "on"), writer=False)


def test_a_server_that_wants_tls_of_a_plain_one_is_told(own_postgres: PostgresServer) -> None:
    with pytest.raises(StoreError, match="speaks no TLS"):
        try_to_connect(own_postgres.url() + "?sslmode=verify-full")


@pytest.mark.postgres_tls
def test_a_server_is_believed_by_its_certificate_alone(tmp_path: Path) -> None:
    good = certificate(tmp_path / "good")
    with PostgresServer(tls=good) as server:
        url = server.url() + "?sslmode=verify-full"
        assert try_to_connect(f"{url}&sslrootcert={good.ca}")
        with pytest.raises(StoreError, match="authority that is not trusted here"):
            try_to_connect(url)
        other = certificate(tmp_path / "other")
        with pytest.raises(StoreError, match="authority that is not trusted here"):
            try_to_connect(f"{url}&sslrootcert={other.ca}")
        for bad, text in (
            (certificate(tmp_path / "good", "db.example", name="b"), "for another"),
            (certificate(tmp_path / "good", name="c", expired=True), "has expired"),
        ):
            server.stop()
            server.wear(bad)
            server.start()
            with pytest.raises(StoreError, match=text):
                try_to_connect(f"{url}&sslrootcert={good.ca}")


def test_nobody_there_is_told(own_postgres: PostgresServer) -> None:
    url = own_postgres.url()
    own_postgres.kill()
    with pytest.raises(StoreError, match=r"nobody answers for postgres at 127.*Connection refused"):
        try_to_connect(url)


def test_a_name_that_leads_nowhere_is_told() -> None:
    with pytest.raises(StoreError, match=r"DATABASE_URL: .*(nobody answers|does not answer)"):
        try_to_connect("postgresql://u@no-such-host.invalid/d")


@pytest.fixture
def dumb() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_silent_server_is_told_in_time(dumb: int) -> None:
    with pytest.raises(StoreError, match="does not answer in time"):
        try_to_connect(f"postgresql://u@127.0.0.1:{dumb}/d", timeout_s=0.3)


def test_the_environment_decides_nothing(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGHOST", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGSSLMODE", "PGPORT"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert try_to_connect(own_postgres.url())


def test_the_address_is_asked_for_each_connection(own_postgres: PostgresServer) -> None:
    asked: list[str] = []

    def url() -> str:
        asked.append("x")
        return own_postgres.url()

    async def work() -> None:
        for _ in range(2):
            await (await connect(url)).close()

    asyncio.run(work())
    assert asked == ["x", "x"]
    assert execute(own_postgres.url(), "SELECT 1")
