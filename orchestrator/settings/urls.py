"""Addresses of what we talk to: how each is read, when it must be encrypted (SAFETY X6), and how it
is shown without its password.

No error repeats any part of an address: a password in the wrong place would be told with it.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit, urlunsplit

from pydantic import AfterValidator, SecretStr

HIDDEN = "***"
_ESCAPE = "write /, ?, # and @ of a password as %2F, %3F, %23 and %40"


class SecretUrl(SecretStr):
    """A URL that may hold a password; `str` shows *** in its place, `get_secret_value` all."""

    def __str__(self) -> str:
        return self.shown

    def __repr__(self) -> str:
        return f"SecretUrl({self.shown!r})"

    @property
    def shown(self) -> str:
        """The URL as it may stand in a log."""
        try:
            parts = urlsplit(self.get_secret_value())
        except ValueError:
            return HIDDEN
        login, at, hosts = parts.netloc.rpartition("@")
        user, colon, _ = login.partition(":")
        if parts.scheme.startswith(("redis", "unix")) and not colon:
            user = HIDDEN if at else ""  # some write the password where the user belongs
        login = f"{user}:{HIDDEN}" if colon else user
        return _joined(parts, f"{login}{at}{hosts}")

    @property
    def place(self) -> str:
        """Where it leads, without who asks."""
        parts = urlsplit(self.get_secret_value())
        return _joined(parts, parts.netloc.rpartition("@")[2])

    @property
    def password(self) -> str:
        """As a person has it; "" for none."""
        login = urlsplit(self.get_secret_value()).netloc.rpartition("@")[0]
        return unquote(login.partition(":")[2])

    @property
    def is_server(self) -> bool:
        """Not a file of this machine."""
        return urlsplit(self.get_secret_value()).scheme != "sqlite"

    @property
    def has_password(self) -> bool:
        return ":" in urlsplit(self.get_secret_value()).netloc.rpartition("@")[0]

    def with_password(self, password: str) -> str:
        """The whole URL, with this password; unescaped, as a person has it."""
        parts = urlsplit(self.get_secret_value())
        login, _, hosts = parts.netloc.rpartition("@")
        return _joined(parts, f"{login}:{quote(password, safe='')}@{hosts}")


def _joined(parts: SplitResult, netloc: str) -> str:
    url = urlunsplit(parts._replace(netloc=netloc))
    # urlunsplit drops the slashes of an empty host for some schemes: unix:///x, sqlite:///x.
    if netloc or url.startswith(f"{parts.scheme}://"):
        return url
    return url.replace(f"{parts.scheme}:", f"{parts.scheme}://", 1)


def split_url(value: str) -> SplitResult:
    """The parts of a URL; ValueError, without the URL (it may hold a password), if it is none."""
    if re.search(r"[\x00-\x20\x7f\\]", value):
        raise ValueError("is not a readable URL: it holds a space or another sign that none may")
    try:
        return urlsplit(value)
    except ValueError:
        raise ValueError("is not a readable URL") from None


def is_loopback(host: str) -> bool:
    """Whether a host name or address never leaves this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _web_url(value: str) -> str:
    parts = split_url(value)
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("is not a readable URL") from None
    host = parts.hostname
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("must be an https:// address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold no user, password, query or fragment")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("must be https://; plain http is allowed to this machine only")
    return value.rstrip("/")


VenueUrl = Annotated[str, AfterValidator(_web_url)]
VaultUrl = Annotated[str, AfterValidator(_web_url)]


def _node_url(value: str) -> str:
    """Only told to people and programs; whoever goes there judges for himself what to send."""
    parts = split_url(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// address with a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold no user, password, query or fragment")
    return value.rstrip("/")


NodeUrl = Annotated[str, AfterValidator(_node_url)]


def _hosts_of(netloc: str) -> list[str]:
    """The hosts, without ports, of [LOGIN@]HOST[:PORT][,HOST[:PORT]...]; decoded. May be empty."""
    hosts: list[str] = []
    for part in netloc.rpartition("@")[2].split(","):
        found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._%-]*)(?::(\d{1,5}))?", part)
        if found is None or int(found[2] or 1) not in range(1, 65_536):
            raise ValueError(f"is not a readable URL: no host and port behind its ://; {_ESCAPE}")
        if found[0]:
            hosts.append(unquote(found[1]).strip("[]"))
    return hosts


def _options(parts: SplitResult, known: Iterable[str]) -> dict[str, str]:
    """The query's options. Files that it names must be there."""
    if parts.fragment:
        raise ValueError(f"must hold no #; {_ESCAPE}")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    if len(options) != len(pairs):
        raise ValueError("gives an option twice")
    if set(options) - set(known):
        raise ValueError(f"has an unknown option behind its ?; known are {', '.join(known)}")
    for name, value in options.items():
        if name in _FILES and not Path(value).is_file():
            raise ValueError(f"{name} names a file that is not there")
    return options


_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "sslrootcert", "sslcert", "sslkey"}
_BROKER_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_BROKER_PATHS = {
    "redis": r"/?\d{0,5}",
    "rediss": r"/?\d{0,5}",
    "redis+sentinel": r"/[A-Za-z0-9_.-]+(/\d{1,5})?",
    "rediss+sentinel": r"/[A-Za-z0-9_.-]+(/\d{1,5})?",
    "unix": r"/[^@]+",
}


def _broker_url(secret: SecretUrl) -> SecretUrl:
    parts = split_url(secret.get_secret_value())
    if parts.scheme not in _BROKER_PATHS:
        raise ValueError(
            "must be a redis:// or rediss:// address, unix:///SOCKET,"
            " or rediss+sentinel://HOST,HOST/NAME"
        )
    if {"ssl_cert_reqs", "ssl_check_hostname"} & dict(parse_qsl(parts.query)).keys():
        raise ValueError("verification cannot be switched off; ssl_ca_certs=FILE names your own CA")
    hosts = _hosts_of(parts.netloc)
    unix = parts.scheme == "unix"
    _options(parts, ("db",) if unix else _BROKER_OPTIONS)
    if unix == bool(hosts) or not re.fullmatch(_BROKER_PATHS[parts.scheme], parts.path):
        raise ValueError(_wrong_broker(parts.scheme))
    if len(hosts) > 1 and "sentinel" not in parts.scheme:
        raise ValueError("names several hosts; for Sentinel write redis+sentinel://HOST,HOST/NAME")
    if parts.scheme in {"redis", "redis+sentinel"}:
        _only_here(hosts, f"{parts.scheme.replace('redis', 'rediss', 1)}:// (TLS)")
    return secret


def _wrong_broker(scheme: str) -> str:
    if scheme == "unix":
        return "must be unix:///SOCKET (three slashes), with ?db=N behind it if you like"
    if scheme.endswith("sentinel"):
        return f"must be {scheme}://HOST:PORT,HOST:PORT/NAME with the name of the master"
    return f"must be {scheme}://HOST:PORT, with /N behind it for a database; {_ESCAPE}"


def _only_here(hosts: Iterable[str], instead: str) -> None:
    """SAFETY X6: plain text goes to this machine only."""
    if not all(is_loopback(host) or host.startswith("/") for host in hosts):
        raise ValueError(
            f"leaves this machine unencrypted: write {instead}; plain text is allowed to this"
            " machine only (localhost, a unix socket)"
        )


BrokerUrl = Annotated[SecretUrl, AfterValidator(_broker_url)]

_POSTGRES = {"postgresql", "postgres"}
_STORE_OPTIONS = (
    "host", "port", "user", "sslmode", "sslrootcert", "sslcert", "sslkey", "application_name",
    "target_session_attrs",
)  # fmt: skip
_SSL_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}


def _store_url(secret: SecretUrl) -> SecretUrl:
    parts = split_url(secret.get_secret_value())
    if parts.scheme in _POSTGRES:
        _check_postgres(parts)
    elif parts.scheme != "sqlite" or parts.netloc or len(parts.path) < len("/f"):
        raise ValueError(
            "must be sqlite:///FILE (three slashes; four for an absolute path)"
            " or postgresql://USER:PASSWORD@HOST/DATABASE"
        )
    return secret


def _check_postgres(parts: SplitResult) -> None:
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if {"password", "sslpassword", "passfile"} & query.keys():
        raise ValueError("must not hold the password behind its ?, but as USER:PASSWORD@ or apart")
    options = _options(parts, _STORE_OPTIONS)
    hosts = _hosts_of(parts.netloc)
    hosts += [host for host in options.get("host", "").split(",") if host]
    if not hosts:
        raise ValueError("names no host; for a unix socket write ?host=/var/run/postgresql")
    if not re.fullmatch(r"/[^/@:]{1,63}", unquote(parts.path)):
        raise ValueError(f"names no database: write HOST/DATABASE; {_ESCAPE}")
    mode = options.get("sslmode", "verify-full")
    if mode not in _SSL_MODES:
        raise ValueError(f"has an unknown sslmode; known are {', '.join(sorted(_SSL_MODES))}")
    if mode != "verify-full":
        _only_here(hosts, "sslmode=verify-full, or nothing, which means the same")


StoreUrl = Annotated[SecretUrl, AfterValidator(_store_url)]


def is_postgres(url: SecretUrl | None) -> bool:
    return url is not None and urlsplit(url.get_secret_value()).scheme in _POSTGRES


def path_of_store(url: SecretUrl) -> Path:
    """sqlite:///a.db -> a.db, sqlite:////var/a.db -> /var/a.db; ValueError for no file."""
    parts = urlsplit(url.get_secret_value())
    if parts.scheme != "sqlite":
        raise ValueError("the database is not a SQLite file, but a PostgreSQL server")
    return Path(parts.path.removeprefix("/"))
