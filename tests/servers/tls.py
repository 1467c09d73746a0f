"""Certificates for servers of the tests, of an authority that only the tests trust."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from orchestrator.main.authority import DAYS, issue, make_authority
from orchestrator.service.seams import wall_ns

_DAY_NS = 86_400 * 10**9


@dataclass(frozen=True)
class Certificate:
    """Files in PEM: the authority's certificate, and a server's (or client's) with its key."""

    ca: Path
    cert: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        """Trusts this authority and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        return context


def certificate(
    folder: Path,
    *hosts: str,
    name: str = "server",
    expired: bool = False,
    client: bool = False,
) -> Certificate:
    """One for these hosts (default: this machine) of the authority in `folder`, made if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = make_authority(folder, wall_ns())
    at = wall_ns() - (DAYS + 1) * _DAY_NS if expired else wall_ns()
    names = () if client else hosts or ("localhost", "127.0.0.1", "::1")
    issued = issue(folder, name, names, at, client=client)
    return Certificate(ca=authority.certificate, cert=issued.certificate, key=issued.key)
