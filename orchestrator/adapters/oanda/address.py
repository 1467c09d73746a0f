"""Where the venue is, and how to reach it: addresses, TLS, the connect itself."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import struct
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from orchestrator.model.errors import VenueUnreachable
from orchestrator.model.tls import tls_trouble

_LOCALHOST = "localhost"


class Urls(NamedTuple):
    """The two addresses of one environment."""

    rest: str
    stream: str


# Source: fact sheet, section 1.
PRACTICE = Urls("https://api-fxpractice.oanda.com", "https://stream-fxpractice.oanda.com")
LIVE = Urls("https://api-fxtrade.oanda.com", "https://stream-fxtrade.oanda.com")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checked address. `tls` None only on loopback (SAFETY X6)."""

    host: str
    port: int
    tls: ssl.SSLContext | None

    @property
    def loopback(self) -> bool:
        return is_loopback(self.host)

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def is_loopback(host: str) -> bool:
    """By the address itself; `localhost` counts (RFC 6761), no other name does."""
    if host.lower() == _LOCALHOST:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def endpoint(url: str, ca_file: str | None = None) -> Endpoint:
    """ValueError for what we refuse: plain HTTP to another machine, a path, a password."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"not an address like https://host: {parts.scheme}://{parts.hostname}")
    if parts.username or parts.password or parts.query or parts.path not in {"", "/"}:
        raise ValueError(f"the address of {parts.hostname} must be scheme, host and port alone")
    secure = parts.scheme == "https"
    if not secure and not is_loopback(parts.hostname):
        raise ValueError(f"plain HTTP is for this machine only; use https://{parts.hostname}")
    tls = tls_context(ca_file) if secure else None
    return Endpoint(host=parts.hostname, port=parts.port or (443 if secure else 80), tls=tls)


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Always verifying, TLS 1.2 or later. `ca_file` replaces the system's authorities.

    The system's own paths are named outright, so that a variable of the environment that some
    other program needs (SSL_CERT_FILE) does not decide whom we trust.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
        return context
    paths = ssl.get_default_verify_paths()
    cafile = paths.openssl_cafile if Path(paths.openssl_cafile).is_file() else None
    capath = paths.openssl_capath if Path(paths.openssl_capath).is_dir() else None
    if cafile or capath:
        context.load_verify_locations(cafile=cafile, capath=capath)
    else:
        context.load_default_certs()
    return context


async def connect(where: Endpoint, protocol: asyncio.Protocol, timeout_s: float) -> None:
    """Connect, with TLS where asked; VenueUnreachable says why not."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            transport, _ = await loop.create_connection(
                lambda: protocol, where.host, where.port, ssl=where.tls
            )
    except TimeoutError as error:
        raise VenueUnreachable(f"{where.authority}: no connection in {timeout_s:g} s") from error
    except OSError as error:  # refused, DNS, TLS (ssl.SSLError is one)
        raise VenueUnreachable(f"{where.authority}: {tls_trouble(error) or error}") from error
    if transport.is_closing():
        raise VenueUnreachable(f"{where.authority}: closed at once")
    _tune(transport)


def _tune(transport: asyncio.Transport) -> None:
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None:
        return
    # Closing resets, and the system throws away what it could not deliver yet. Else it resends an
    # order that we gave up for minutes, and delivers it when the cable is mended: long after it
    # was found absent, perhaps after another leader's first (O6, O7, INV-13).
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # The system's own probes find a dead peer, and keep a router from forgetting an idle line.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
