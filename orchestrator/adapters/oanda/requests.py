"""Requests as the exact bytes that go out, ready before the gate is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from orchestrator.model.money import AccountId
from orchestrator.model.orders import WriteKind, WriteRequest

_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{0,128}")

# Method, path below the account, and whether the path names a target.
_WRITES: dict[WriteKind, tuple[str, str]] = {
    WriteKind.ORDER: ("POST", "orders"),
    WriteKind.REPLACE: ("PUT", "orders/{}"),
    WriteKind.PROTECT: ("PUT", "trades/{}/orders"),
    WriteKind.CANCEL: ("PUT", "orders/{}/cancel"),
    WriteKind.CLOSE_TRADE: ("PUT", "trades/{}/close"),
    WriteKind.CLOSE_POSITION: ("PUT", "positions/{}/close"),
    WriteKind.ORDER_EXTENSIONS: ("PUT", "orders/{}/clientExtensions"),
    WriteKind.TRADE_EXTENSIONS: ("PUT", "trades/{}/clientExtensions"),
    WriteKind.CONFIGURE: ("PATCH", "configuration"),
}


_SECRETS_MAX = 100  # rotation never ends


class Requests:
    """Makes requests of one host. ValueError for what must never stand in a request's head."""

    def __init__(self, authority: str, tokens: Mapping[AccountId, str]) -> None:
        for account_id, token in tokens.items():
            if not _ACCOUNT.fullmatch(account_id):
                raise ValueError(f"not an account id: {account_id[:70]!r}")
            if not _TOKEN.fullmatch(token):  # the token itself is never shown
                raise ValueError(f"the token of account {account_id} is empty or has odd letters")
        self._authority = authority
        # The longest first: one may be a part of another. Old ones may still be echoed.
        self.secrets: tuple[str, ...] = tuple(sorted(set(tokens.values()), key=len, reverse=True))
        self._heads = {name: self._head_of(token) for name, token in tokens.items()}

    def _head_of(self, token: str) -> bytes:
        return (
            f"Host: {self._authority}\r\nAuthorization: Bearer {token}\r\n"
            "Accept: application/json\r\nAccept-Datetime-Format: RFC3339\r\n"
        ).encode()

    def use_token(self, account_id: AccountId, token: str) -> None:
        """A secret that was read anew. ValueError for what can be no token; the old one stays."""
        if account_id not in self._heads or not _TOKEN.fullmatch(token):
            raise ValueError(f"the new token of account {account_id[:70]!r} is empty or odd")
        self._heads[account_id] = self._head_of(token)
        known = {*self.secrets[:_SECRETS_MAX], token}
        self.secrets = tuple(sorted(known, key=len, reverse=True))

    def write(self, request: WriteRequest) -> bytes:
        """One write, its body exactly as given."""
        head = self._head(request.account_id)
        if not _REQUEST_ID.fullmatch(request.client_request_id):
            raise ValueError(f"not a request id: {request.client_request_id[:140]!r}")
        method, form = _WRITES[request.kind]
        if "{}" in form and not request.target:
            raise ValueError(f"{request.kind} without a target")
        below = form.format(quote(request.target, safe="@"))
        lines = f"{method} /v3/accounts/{request.account_id}/{below} HTTP/1.1\r\n".encode() + head
        if request.client_request_id:
            lines += f"ClientRequestID: {request.client_request_id}\r\n".encode()
        body = request.body.encode()
        if body:
            lines += b"Content-Type: application/json\r\n"
        return lines + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def get(
        self, account_id: AccountId, path: str, query: Mapping[str, str], *, gzip: bool = True
    ) -> bytes:
        """`path` is the whole path; `query` values are escaped here."""
        asked = f"{path}?{urlencode(query, safe=',')}" if query else path
        coding = b"gzip" if gzip else b"identity"
        line = f"GET {asked} HTTP/1.1\r\n".encode("ascii")
        return line + self._head(account_id) + b"Accept-Encoding: " + coding + b"\r\n\r\n"

    def _head(self, account_id: AccountId) -> bytes:
        head = self._heads.get(account_id)
        if head is None:
            raise ValueError(f"account {account_id[:70]!r} is not configured")
        return head
