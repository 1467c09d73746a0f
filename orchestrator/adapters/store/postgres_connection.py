"""Connections to PostgreSQL as we want them: verified, bounded in time, and refused in plain words.

The driver is imported by the first connection, not with this module: a service without PostgreSQL
never loads it.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Protocol, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from orchestrator.model.errors import StoreError
from orchestrator.model.tls import tls_trouble

# Asked for each new connection, so that a changed password is used without a restart (X7).
UrlSource: TypeAlias = Callable[[], str]

CONNECT_S = 3.0  # so that a bad address is told within 5 s of the start, imports included
VERSION_MIN = 14
_PORT = 5432
_PLAIN_MODES = {"disable", "allow", "prefer"}
# The server ends what we no longer listen to, and notices a cut cable within half a minute.
_SESSION: Mapping[str, str] = {
    "TimeZone": "UTC",
    "jit": "off",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "lock_timeout": "4s",
    "idle_in_transaction_session_timeout": "30s",
}
_FACTS = """SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
 pg_is_in_recovery(), current_setting('transaction_read_only')"""


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a database is. `hosts`: names, addresses, or folders of unix sockets."""

    variable: str
    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    database: str
    user: str
    password: str = ""
    sslmode: str = ""
    sslrootcert: str = ""
    sslcert: str = ""
    sslkey: str = ""
    application_name: str = ""
    target_session_attrs: str = ""

    @property
    def place(self) -> str:
        """Database and servers, for a person; no password."""
        places = (
            host if host.startswith("/") else f"{host}:{port}"
            for host, port in zip(self.hosts, self.ports, strict=True)
        )  # fmt: skip
        return f"{self.database} at {', '.join(places)}"

    def __repr__(self) -> str:
        return f"Address({self.variable}: {self.place})"

    @property
    def stays_here(self) -> bool:
        """Whether no byte to any of its hosts leaves this machine."""
        return all(host.startswith("/") or _is_loopback(host) for host in self.hosts)


def parse(url: str, variable: str = "DATABASE_URL") -> Address:
    """StoreError in plain words, without the URL: it may hold a password."""
    try:
        return _parsed(url, variable)
    except ValueError as exc:
        raise StoreError(f"{variable}: {exc}") from None


def _parsed(url: str, variable: str) -> Address:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("is not a readable URL") from None
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ValueError("must be postgresql://USER:PASSWORD@HOST/DATABASE")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    login, _, places = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    user = options.pop("user", "") or unquote(user)
    hosts, ports = _hosts(places, options.pop("host", ""), options.pop("port", ""))
    database = unquote(parts.path.removeprefix("/"))
    if not (hosts and database and user):
        what = "host" if not hosts else "database" if not database else "user"
        raise ValueError(f"names no {what}: postgresql://USER:PASSWORD@HOST/DATABASE")
    known = set(Address.__struct_fields__)
    if unknown := sorted(set(options) - known):
        raise ValueError(f"has an option that is not known: {', '.join(unknown)}")
    address = Address(
        variable=variable, hosts=hosts, ports=ports, database=database, user=user,
        password=unquote(password), **options,
    )  # fmt: skip
    if not address.stays_here and address.sslmode in _PLAIN_MODES:
        raise ValueError(
            f"sslmode={address.sslmode} would leave this machine without proof of who answers:"
            " leave it out"
        )
    return address


def _hosts(places: str, host: str, port: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Of HOST:PORT,HOST:PORT, or of the options `host` and `port`."""
    found: list[tuple[str, int]] = []
    general = _port(port) if port else _PORT
    for place in filter(None, places.split(",")):
        name, colon, number = place.rpartition(":")
        if not colon or "]" in number:
            name, number = place, ""
        found.append((unquote(name).strip("[]"), _port(number) if number else general))
    found += [(name, general) for name in host.split(",") if name]
    return tuple(name for name, _ in found), tuple(number for _, number in found)


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) < 2**16:
        return int(text)
    raise ValueError("has a port that is no number from 1 to 65535")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def tls_of(address: Address) -> ssl.SSLContext | None:
    """None where nothing leaves this machine and nobody asked for TLS; else a verifying one (X6).

    StoreError for a file of certificates that is no use.
    """
    wanted = address.sslmode and address.sslmode not in _PLAIN_MODES
    if address.stays_here and not (wanted or address.sslrootcert or address.sslcert):
        return None
    try:
        context = ssl.create_default_context(cafile=address.sslrootcert or None)
        if address.sslcert:
            context.load_cert_chain(address.sslcert, address.sslkey or None)
    except (OSError, ValueError) as exc:
        raise StoreError(
            f"{address.variable}: its certificates cannot be used ({exc}); look at sslrootcert,"
            " sslcert and sslkey"
        ) from exc
    return context


def driver() -> Any:  # noqa: ANN401 -- the door
    """The module asyncpg, which has no types; beyond here it is a Session, or an error of ours."""
    return importlib.import_module("asyncpg")


class Session(Protocol):
    """What we use of the driver's connection."""

    async def execute(self, query: str, *args: object) -> str: ...

    async def executemany(self, command: str, args: Sequence[Sequence[object]]) -> None: ...

    async def fetch(self, query: str, *args: object) -> list[tuple[Any, ...]]: ...

    async def fetchrow(self, query: str, *args: object) -> tuple[Any, ...] | None: ...

    async def fetchval(self, query: str, *args: object) -> Any: ...  # noqa: ANN401 -- a column

    async def copy_records_to_table(
        self, table_name: str, *, records: Iterable[Sequence[object]], columns: Sequence[str]
    ) -> str: ...

    def is_closed(self) -> bool: ...

    def terminate(self) -> None: ...

    async def close(self) -> None: ...


async def connect(
    url: UrlSource,
    variable: str = "DATABASE_URL",
    *,
    name: str = "orchestrator",
    writer: bool = True,
    session: Mapping[str, str] | None = None,
    timeout_s: float = CONNECT_S,
) -> Session:
    """A connection that was looked at: our version, UTF-8, and writable if it is to be written.

    StoreError says what is wrong and what to do, at the latest after `timeout_s`.
    """
    address = parse(url(), variable)
    opened: Session | None = None
    try:
        async with asyncio.timeout(timeout_s):
            opened = await _opened(address, name, session or {})
            row = await opened.fetchrow(_FACTS)
        assert row is not None
        _refuse(address, row, writer=writer)
    except BaseException as exc:
        if opened is not None:
            opened.terminate()
        if isinstance(exc, troubles()):
            raise StoreError(f"{variable}: {in_words(exc, address)}") from exc
        raise
    return opened


async def _opened(address: Address, name: str, session: Mapping[str, str]) -> Session:
    """All is given, so that the environment (PGHOST, PGSSLMODE ...) decides nothing."""
    return await driver().connect(
        host=list(address.hosts), port=list(address.ports), user=address.user,
        password=address.password, database=address.database, ssl=tls_of(address) or False,
        target_session_attrs=address.target_session_attrs or "any",
        server_settings={
            **_SESSION, "application_name": address.application_name or name, **session,
        },
        timeout=CONNECT_S,
    )  # fmt: skip


def troubles() -> tuple[type[Exception], ...]:
    """What the driver raises for a server's or a network's trouble, and for what it is asked."""
    asyncpg = driver()
    return (
        asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError,
        TimeoutError, ValueError,
    )  # fmt: skip


def never_asked(exc: BaseException) -> bool:
    """Whether the server certainly did not begin what was asked: it had ended the session before.

    The driver says that in its own words while it has read the server's farewell (57P05: silent for
    too long) and not yet the connection's end.
    """
    return isinstance(exc, driver().InternalClientError) or (
        getattr(exc, "sqlstate", None) == "57P05"
    )


def _refuse(address: Address, row: Sequence[Any], *, writer: bool) -> None:
    version, encoding, standby, read_only = row
    variable, place = address.variable, address.place
    if version // 10_000 < VERSION_MIN:
        raise StoreError(
            f"{variable}: the server of {place} is PostgreSQL {version // 10_000}; {VERSION_MIN} or"
            " newer is needed"
        )
    if encoding != "UTF8":
        raise StoreError(
            f"{variable}: {place} holds texts as {encoding}; make a database with"
            f" `createdb -E UTF8 -T template0 {address.database}`"
        )
    if writer and standby:
        raise StoreError(
            f"{variable}: the server of {place} is a read-only copy (standby); give the primary's"
            " address, or all addresses and ?target_session_attrs=read-write"
        )
    if writer and read_only == "on":
        raise StoreError(
            f"{variable}: {place} is read-only; as its owner: ALTER DATABASE"
            f' "{address.database}" SET default_transaction_read_only = off'
        )


# What the server says by its codes (PostgreSQL, appendix A), in our words.
_BY_CODE = {
    "3D000": "there is no database {database}; make it: createdb -h {host} -p {port} -U {user}"
    " -E UTF8 {database}",
    "28P01": "{place} does not let user {user} in ({text}); look at user and password",
    "28000": "{place} does not let user {user} in ({text}); look at user and password",
    "53300": "{place} has no connection free ({text}); raise its max_connections",
    "42501": "user {user} may not do that at {place}: {text}",
    "57P03": "the server of {place} is starting or stopping: {text}",
    "53100": "the disk of {place} is full: {text}",
}


def in_words(exc: BaseException, address: Address) -> str:
    """What went wrong and what to do about it; never with the password."""
    known = _BY_CODE.get(getattr(exc, "sqlstate", None) or "")
    if known is not None:
        return known.format(
            place=address.place, user=address.user, database=address.database,
            host=address.hosts[0], port=address.ports[0], text=plain(exc),
        )  # fmt: skip
    return _of_network(exc, address.place) or f"{address.place}: {plain(exc)}"


def _of_network(exc: BaseException, place: str) -> str:
    tls = tls_trouble(exc)
    if tls is not None:
        return f"{place}: {tls}; sslrootcert=FILE names a CA of your own"
    match exc:
        case ConnectionError() if "rejected SSL" in str(exc):
            return (
                f"the server of {place} speaks no TLS, which an address beyond this machine needs"
            )
        case TimeoutError():
            return f"{place} does not answer in time; is the server up, and the address right?"
        case OSError():
            why = (
                os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror or str(exc)
            )
            return f"nobody answers for {place} ({why}); is the server up, and the address right?"
        case _:
            return ""


def plain(exc: BaseException) -> str:
    """A driver's error in one line, with what the server adds."""
    text = str(exc.args[0]) if exc.args else ""
    detail = getattr(exc, "detail", None)
    return f"{text or type(exc).__name__} ({detail})" if detail else text or type(exc).__name__
