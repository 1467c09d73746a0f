"""Where the broker is, out of MESSAGE_BROKER_URL; the settings have checked it before."""

from __future__ import annotations

import ssl
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

_PORT = 6379
_SENTINEL_PORT = 26379
# Whether the connection is encrypted.
_SCHEMES = {
    "redis": False, "rediss": True, "unix": False, "redis+sentinel": False, "rediss+sentinel": True,
}  # fmt: skip


class Host(msgspec.Struct, frozen=True):
    name: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """One broker. `hosts`: of it, or of the sentinels that know it as `master`; none: `path`.

    Its text holds no password.
    """

    hosts: tuple[Host, ...] = ()
    path: str = ""
    master: str = ""
    user: str = ""
    password: str = ""
    database: int = 0
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        hosts = ", ".join(map(str, self.hosts))
        return f"{self.master} by sentinel {hosts}" if self.master else hosts

    def __repr__(self) -> str:
        return f"Address({self})"

    def tls_context(self) -> ssl.SSLContext | None:
        """Verified TLS from 1.2 on (SAFETY X6); None without. OSError for unreadable files."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=self.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file or None)
        return context

    def at(self, host: Host) -> Address:
        """The same login at one host: what a sentinel has told."""
        return msgspec.structs.replace(self, hosts=(host,), master="")


def parse(url: str) -> Address:
    """redis://, rediss://, unix:///SOCKET, redis+sentinel://HOST,HOST/NAME, rediss+sentinel://.

    ValueError without any part of the URL, which may hold a password.
    """
    try:
        parts = urlsplit(url)
        tls = _SCHEMES[parts.scheme]
        options = {name: values[0] for name, values in parse_qs(parts.query).items()}
        login, _, places = parts.netloc.rpartition("@")
        user, colon, password = login.partition(":")
        if not colon:
            user, password = "", login  # redis://PASSWORD@HOST, as some write it
        sentinel = parts.scheme.endswith("+sentinel")
        names = [part for part in parts.path.split("/") if part]
        master = names.pop(0) if sentinel else ""
        unix = parts.scheme == "unix"
        number = options.get("db", "0") if unix else (names or ["0"])[0]
        return Address(
            hosts=() if unix else _hosts(places, _SENTINEL_PORT if sentinel else _PORT),
            path=parts.path if unix else "", master=master,
            user=unquote(user), password=unquote(password), database=int(number),
            tls=tls, ca_file=options.get("ssl_ca_certs", ""),
            cert_file=options.get("ssl_certfile", ""), key_file=options.get("ssl_keyfile", ""),
        )  # fmt: skip
    except (ValueError, KeyError):
        raise ValueError("is not a readable address of a Redis") from None


def _hosts(places: str, port: int) -> tuple[Host, ...]:
    found: list[Host] = []
    for place in places.split(","):
        name, colon, number = place.rpartition(":")
        if not colon or number.endswith("]"):
            name, number = place, str(port)
        found.append(Host(unquote(name).strip("[]") or "localhost", int(number)))
    return tuple(found)
