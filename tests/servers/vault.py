"""A small Vault: AppRole, wrapped secret ids, renewable tokens and KV version 2, over TLS.

It speaks the parts of Vault's HTTP API that a client of secrets uses, with its status codes and
its forms of answers, and can be sealed, slow, away, or talk nonsense.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from orchestrator.service.seams import new_token
from tests.servers.tls import Certificate, certificate

ROLE_ID = "role-7d0f9c"
MISCHIEF = (
    "", "garbage", "list", "empty", "cut", "huge", "redirect", "error", "throttled", "odd lease",
    "odd value", "no data",
)  # fmt: skip


@dataclass
class _Token:
    lease_s: int
    renewable: bool
    uses: int = 0


@dataclass
class VaultServer:
    """Use as a context manager; everything may be changed while it runs."""

    folder: Path
    tls: Certificate | None = None
    values: dict[str, Any] = field(default_factory=dict)
    lease_s: int = 3600
    renewable: bool = True
    sealed: bool = False
    slow_s: float = 0.0
    mischief: str = ""
    path: str = "secret/data/orchestrator"
    secret_id_uses: int = 10**9
    port: int = 0

    def __post_init__(self) -> None:
        self.tls = self.tls or certificate(self.folder)
        self.secret_id = new_token()
        self.tokens: dict[str, _Token] = {}
        self.wrapped: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a service that reads its secrets here."""
        assert self.tls is not None
        return {
            "VAULT_ADDR": self.url, "VAULT_ROLE_ID": ROLE_ID, "VAULT_SECRET_ID": self.secret_id,
            "VAULT_CACERT": str(self.tls.ca),
        }  # fmt: skip

    def wrap(self) -> str:
        """A wrapping token that gives the secret id away once."""
        token = "hvs.wrap-" + new_token()
        self.wrapped[token] = self.secret_id
        return token

    def revoke(self) -> None:
        """All tokens that were given until now."""
        self.tokens.clear()

    def logins(self) -> int:
        return self.asked.count(("POST", "/v1/auth/approle/login"))

    def __enter__(self) -> VaultServer:
        assert self.tls is not None
        owner = self

        class Handler(_Handler):
            vault = owner

        server = _Server(("127.0.0.1", self.port), Handler)
        server.socket = self.tls.server().wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port = server.server_address[1]
        self._server = server
        self._ended.clear()
        self._thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    # -- what it answers --------------------------------------------------------------------------

    def answer(
        self, method: str, path: str, token: str, body: dict[str, Any]
    ) -> tuple[int, object]:
        self.asked.append((method, path))
        if self.slow_s:
            self._ended.wait(self.slow_s)
        ill = self._ill(token)
        if ill is not None:
            return ill
        calls: dict[tuple[str, str], Callable[[], tuple[int, object]]] = {
            ("POST", "/v1/sys/wrapping/unwrap"): lambda: self._unwrap(token, body),
            ("POST", "/v1/auth/approle/login"): lambda: self._login(body),
            ("POST", "/v1/auth/token/renew-self"): lambda: self._renew(token),
            ("GET", f"/v1/{self.path}"): lambda: self._read(token),
        }
        nothing = (404, {"errors": []}) if token in self.tokens else (403, _DENIED)
        return calls.get((method, path), lambda: nothing)()

    def _ill(self, token: str) -> tuple[int, object] | None:
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if self.mischief == "error":
            return 500, {"errors": ["1 error occurred: " + token]}
        if self.mischief == "throttled":
            return 429, {"errors": []}
        return None

    def _unwrap(self, token: str, body: dict[str, Any]) -> tuple[int, object]:
        found = self.wrapped.pop(body.get("token", token), None)
        if found is None:
            return 400, {"errors": ["wrapping token is not valid or does not exist"]}
        return 200, {"data": {"secret_id": found, "secret_id_accessor": "x"}}

    def _login(self, body: dict[str, Any]) -> tuple[int, object]:
        right = body.get("role_id") == ROLE_ID and body.get("secret_id") == self.secret_id
        if not right or self.secret_id_uses <= 0:
            return 400, {"errors": ["invalid role or secret ID"]}
        self.secret_id_uses -= 1
        token = "hvs." + new_token()
        self.tokens[token] = _Token(self.lease_s, self.renewable)
        return 200, self._auth(token)

    def _renew(self, token: str) -> tuple[int, object]:
        known = self.tokens.get(token)
        if known is None or not known.renewable:
            return 403, _DENIED
        known.lease_s = self.lease_s
        return 200, self._auth(token)

    def _auth(self, token: str) -> dict[str, Any]:
        lease: object = "soon" if self.mischief == "odd lease" else self.tokens[token].lease_s
        return {
            "auth": {"client_token": token, "accessor": "a", "policies": ["orchestrator"],
                     "lease_duration": lease, "renewable": self.tokens[token].renewable}
        }  # fmt: skip

    def _read(self, token: str) -> tuple[int, object]:
        if token not in self.tokens:
            return 403, _DENIED
        values = dict(self.values)
        if self.mischief == "odd value":
            values["OANDA_API_KEY"] = 17
        data = None if self.mischief == "no data" else {"data": values, "metadata": {"version": 1}}
        return 200, {"data": data}


_DENIED = {"errors": ["permission denied"]}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that does not like our certificate is no news."""


class _Handler(BaseHTTPRequestHandler):
    vault: VaultServer
    protocol_version = "HTTP/1.1"
    timeout = 10.0

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        token = self.headers.get("X-Vault-Token", "")
        path = self.path.partition("?")[0]
        status, said = self.vault.answer(self.command, path, token, body)
        raw = json.dumps(said).encode()
        headers = {"Content-Type": "application/json"}
        match self.vault.mischief:
            case "garbage":
                raw = b"<html>\xff\xfe nonsense"
            case "list":
                raw = b"[[[]]]"
            case "empty":
                status, raw = 204, b""
            case "huge":
                raw = b'{"data": "' + b"x" * 3_000_000 + b'"}'
            case "redirect":
                status, headers["Location"] = 307, "http://example.com/v1/leak"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        cut = self.vault.mischief == "cut"
        self.send_header("Content-Length", str(len(raw) + (100 if cut else 0)))
        self.end_headers()
        self.wfile.write(raw)
        if cut:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Silence."""
