"""Secrets out of HashiCorp Vault: AppRole login, KV version 2, renewal of the token (SAFETY X7).

Synchronous, like the client library beneath it; `bounded` gives each call an end. Nothing that is
read here is ever written anywhere, and no error repeats any of it.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import hvac
import msgspec
import requests
import urllib3
from hvac import adapters
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, Unauthorized, VaultError

from orchestrator.model.errors import SecretsAway, SecretsRefused
from orchestrator.model.time import NS_PER_S
from orchestrator.model.tls import tls_trouble

_TIMEOUT_S = (2.0, 3.0)  # to connect, and between two bytes
_ANSWER_BYTES_MAX = 1_000_000
_VALUES_MAX = 1_000
_LEASE_S_MAX = 10 * 365 * 86_400


class VaultAccess(msgspec.Struct, frozen=True, kw_only=True):
    """Where Vault is, who we are to it, and what to read. One of the two secret ids is there."""

    address: str
    role_id: str
    secret_id: str = ""
    secret_id_wrapped: str = ""
    path: str = "secret/orchestrator"  # the engine's mount, and the path within it
    ca_file: str | None = None

    def __repr__(self) -> str:
        return f"VaultAccess({self.address}, {self.path})"


class Vault:
    """One login. Calls come one at a time, in whatever thread."""

    def __init__(self, access: VaultAccess, mono_ns: Callable[[], int]) -> None:
        self._access = access
        self._mono_ns = mono_ns
        self._client: Any = _client(access)
        self._token = ""
        self._renewable = False
        self._lease_s = 0  # of the token, when it was given; 0 = for ever
        self._given_ns = 0
        self.secret_id = access.secret_id

    # -- what is asked of it ----------------------------------------------------------------------

    def read(self) -> dict[str, str]:
        """What the path holds now. SecretsAway: nobody knows; SecretsRefused: we may not."""
        if not self._token:
            self._log_in()
        try:
            return self._read()
        except _TokenRefused:
            # A token that was revoked or has run out looks like one that may not: once anew.
            self._log_in()
            return self._read()

    def keep(self) -> None:
        """Renews the token where two thirds of its life are over; a new login where it must be."""
        if not self._token:
            self._log_in()
        elif self.due_s() <= 0:
            self._renew()

    def due_s(self) -> float:
        """Seconds until two thirds of the token's life are over; infinite for one without end."""
        if not self._lease_s:
            return float("inf")
        age_s = (self._mono_ns() - self._given_ns) / NS_PER_S
        return self._lease_s * 2 / 3 - age_s

    def known(self) -> tuple[str, ...]:
        """Secrets of its own, that no log may show."""
        access = self._access
        found = (self._token, self.secret_id, access.secret_id_wrapped, access.role_id)
        return tuple(each for each in found if each)

    # -- how --------------------------------------------------------------------------------------

    def _log_in(self) -> None:
        """A new token; the old one stays where there is none to be had."""
        self._client.token = ""
        try:
            if not self.secret_id:
                self.secret_id = self._unwrapped()
            answer = self._ask(
                "the login with VAULT_ROLE_ID",
                lambda: self._client.auth.approle.login(
                    self._access.role_id, self.secret_id, use_token=False
                ),
            )
            self._take(_table(answer, "auth"))
        finally:
            self._client.token = self._token

    def _unwrapped(self) -> str:
        """The secret id, once: the wrapping token is used up by it."""
        self._client.token = self._access.secret_id_wrapped
        try:
            answer = self._ask(
                "unwrapping VAULT_SECRET_ID_WRAPPED (it may be used once only, and not for long: "
                "if nobody here has used it, somebody else has)",
                self._client.sys.unwrap,
            )
        finally:
            self._client.token = ""  # the login that follows needs none
        return _text(_table(answer, "data"), "secret_id")

    def _read(self) -> dict[str, str]:
        mount, _, path = self._access.path.partition("/")
        answer = self._ask(
            f"reading VAULT_PATH={self._access.path}",
            lambda: self._client.secrets.kv.v2.read_secret_version(
                path, mount_point=mount, raise_on_deleted_version=True
            ),
        )
        values = _table(_table(answer, "data"), "data")
        if len(values) > _VALUES_MAX:
            raise SecretsAway(f"Vault holds more than {_VALUES_MAX} values at VAULT_PATH")
        return {name: _text(values, name) for name in values}

    def _renew(self) -> None:
        if self._renewable:
            try:
                answer = self._ask("renewing its token", self._client.auth.token.renew_self)
            except _TokenRefused:
                self._log_in()
                return
            self._take(_table(answer, "auth"))
            self._client.token = self._token
            # At the end of its longest life a token is renewed by ever less.
            if self.due_s() > _SHORT_S:
                return
        self._log_in()

    def _take(self, auth: dict[str, Any]) -> None:
        lease_s = auth.get("lease_duration")
        if not isinstance(lease_s, int) or not 0 <= lease_s <= _LEASE_S_MAX:
            raise SecretsAway("Vault gave a token without a readable lease")
        self._token = _text(auth, "client_token")
        self._renewable = auth.get("renewable") is True
        self._lease_s = lease_s
        self._given_ns = self._mono_ns()

    def _ask(self, what: str, call: Callable[[], object]) -> object:
        """The answer; the library's trouble becomes ours, without the texts that it quotes."""
        where = self._access.address
        try:
            return call()
        except Forbidden:
            raise _TokenRefused(f"Vault at {where} refuses {what}: permission denied") from None
        except (InvalidRequest, InvalidPath, Unauthorized) as exc:
            why = _REFUSALS[type(exc)]
            raise SecretsRefused(f"Vault at {where} refuses {what}: {why}") from None
        except VaultError as exc:
            why = _TROUBLES.get(type(exc).__name__, type(exc).__name__)
            raise SecretsAway(f"Vault at {where} {why}") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
            told = tls_trouble(exc) or _why(exc)
            raise SecretsAway(f"Vault at {where} cannot be reached: {told}") from None


_SHORT_S = 1.0
_REFUSALS: dict[type[Exception], str] = {
    InvalidRequest: "not accepted",
    InvalidPath: "there is nothing, or it was deleted",
    Unauthorized: "not logged in",
}
_TROUBLES = {
    "VaultDown": "is sealed, or in maintenance",
    "VaultNotInitialized": "is not initialised",
    "RateLimitExceeded": "is asked too often",
    "InternalServerError": "has an error of its own",
    "BadGateway": "has a gateway before it that does not reach it",
    "UnexpectedError": "answers with a status that it should not",
}


def _why(exc: Exception) -> str:
    """The kind of trouble; a library's text may hold anything."""
    if isinstance(exc, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(exc, requests.ConnectionError):
        return "no connection"
    return type(exc).__name__


class _TokenRefused(SecretsRefused):
    """403: the token is no good, or may not do this."""


class _Bounded(adapters.JSONAdapter):
    """Answers of a bounded length, which are JSON or refused; never a redirect."""

    def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        raise_exception: bool = True,
        **kwargs: object,
    ) -> dict[str, Any]:
        asked = super(adapters.JSONAdapter, self).request(
            method, url, headers, raise_exception, stream=True, **kwargs
        )
        response = cast("requests.Response", asked)
        with response:
            if response.status_code != requests.codes.ok:
                raise SecretsAway(f"Vault answers with status {response.status_code}")
            body = response.raw.read(_ANSWER_BYTES_MAX + 1, decode_content=True)
        if len(body) > _ANSWER_BYTES_MAX:
            raise SecretsAway("Vault answers with far too much")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise SecretsAway("Vault answers with something that is no JSON object")
        return cast("dict[str, Any]", found)

    def _raise_for_error(self, method: str, url: str, response: requests.Response) -> None:
        """By the status alone: the text may be long, or quote what it was asked."""
        response.close()
        raise VaultError.from_status(response.status_code, method=method, url=url)


def _client(access: VaultAccess) -> object:
    """Proxies, authorities, tokens and addresses of the environment decide nothing here."""
    session = requests.Session()
    session.trust_env = False
    session.verify = access.ca_file or _system_authorities()
    make: Any = hvac.Client
    return make(
        url=access.address, token="", cert=(), verify=session.verify, timeout=_TIMEOUT_S,
        session=session, allow_redirects=False, adapter=_Bounded,
    )  # fmt: skip


def _system_authorities() -> str | bool:
    """The machine's own, by their path; True: those that come with the library."""
    path = ssl.get_default_verify_paths().openssl_cafile
    return path if Path(path).is_file() else True


def _table(answer: object, key: str) -> dict[str, Any]:
    found = cast("dict[str, Any]", answer).get(key) if isinstance(answer, dict) else None
    if not isinstance(found, dict):
        raise SecretsAway(f"Vault answers without {key!r}")
    return cast("dict[str, Any]", found)


def _text(table: dict[str, Any], key: str) -> str:
    found = table.get(key)
    if not isinstance(found, str) or not found:
        raise SecretsAway(f"Vault answers with a {key!r} that is no text")
    return found
