"""The command line's HTTP client: one connection, a deadline, and plain words for every failure."""

from __future__ import annotations

import http.client
import ipaddress
import os
import pwd
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import msgspec

from orchestrator.model.tls import tls_trouble
from orchestrator.service.cli.trouble import NotAuthorised, NotReachable, Refusal, WrongUsage
from orchestrator.service.probe import pinned

TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 64 * 1024 * 1024
_TEXT_MAX = 300

Query: TypeAlias = Mapping[str, str | int | Sequence[str] | None]
T = TypeVar("T")


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An RFC 9457 problem document, as far as a person wants to read it."""

    title: str = ""
    detail: str = ""
    errors: tuple[str, ...] = ()


class Client:
    """Asks one service. Raises NotReachable, NotAuthorised, Refusal."""

    def __init__(self, url: str, token: str | None, certificate: Path | None = None) -> None:
        """WrongUsage for an address that is none.

        `certificate`: the only one that is trusted, of the service on this machine; else the file
        of authorities that ORCHESTRATOR_CACERT names, else those of the machine decide.
        """
        self.url = url.rstrip("/")
        self._parts = _parts_of(self.url)
        self._token = token
        self._certificate = certificate
        self._connection: http.client.HTTPConnection | None = None

    @property
    def is_local(self) -> bool:
        """Whether the service is on this machine, as far as its address tells."""
        return is_loopback(self._parts.hostname or "")

    @property
    def is_plain(self) -> bool:
        """Whether a token would travel unencrypted."""
        return self._parts.scheme == "http"

    def get(self, path: str, query: Query | None = None, timeout_s: float = TIMEOUT_S) -> bytes:
        return self._ask("GET", path + query_text(query or {}), None, timeout_s)

    def post(
        self, path: str, body: Mapping[str, object] | None = None, timeout_s: float = TIMEOUT_S
    ) -> bytes:
        return self._ask("POST", path, msgspec.json.encode(body or {}), timeout_s)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def websocket_url(self, path: str, query: Query) -> str:
        scheme = "ws" if self.is_plain else "wss"
        base = self._parts._replace(scheme=scheme).geturl()
        return f"{base}{path}{query_text(query)}"

    def tls(self) -> ssl.SSLContext | None:
        """None for a plain connection; WrongUsage for authorities that cannot be read."""
        if self.is_plain:
            return None
        if self._certificate is not None:
            return pinned(self._certificate)
        authorities = os.environ.get("ORCHESTRATOR_CACERT") or None
        try:
            return ssl.create_default_context(cafile=authorities)
        except OSError as exc:  # ssl.SSLError is one
            raise WrongUsage(f"ORCHESTRATOR_CACERT={authorities} cannot be read: {exc}") from exc

    def headers(self) -> dict[str, str]:
        """The token, and who asks, for the audit trail."""
        told = {"X-Actor": _person()}
        if self._token:
            told["Authorization"] = f"Bearer {self._token}"
        return told

    @property
    def has_token(self) -> bool:
        return bool(self._token)

    def silence(self, problem: Exception, *, acting: bool) -> NotReachable:
        """What to tell when `problem` kept the answer from us."""
        if isinstance(problem, ConnectionRefusedError):
            return NotReachable(
                f"the service does not answer at {self.url}: is it running? "
                "start it with: orchestrator run"
            )
        text = f"no answer from {self.url} ({_words_of(problem)})"
        if acting:
            text += "; it may have been done all the same, look with: orchestrator status"
        return NotReachable(text)

    def _ask(self, method: str, path: str, body: bytes | None, timeout_s: float) -> bytes:
        try:
            status, answer = self._exchange(method, path, body, timeout_s)
        except (OSError, http.client.HTTPException) as problem:
            self.close()
            raise self.silence(problem, acting=method != "GET") from problem
        if not 200 <= status < 300:  # noqa: PLR2004 -- HTTP's own number
            raise _refusal(status, answer, token_sent=self.has_token)
        return answer

    def _exchange(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> tuple[int, bytes]:
        connection = self._connect(timeout_s)
        headers = self.headers() | {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, self._parts.path + path, body, headers)
        response = connection.getresponse()
        answer = response.read(ANSWER_BYTES_MAX + 1)
        if len(answer) > ANSWER_BYTES_MAX:
            raise http.client.HTTPException(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        if response.length:
            raise http.client.HTTPException("the answer was cut off")
        return response.status, answer

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._connection is None:
            host, port = self._parts.hostname or "", self._parts.port
            self._connection = (
                http.client.HTTPConnection(host, port)
                if self.is_plain
                else http.client.HTTPSConnection(host, port, context=self.tls())
            )
        self._connection.timeout = timeout_s
        if self._connection.sock is not None:
            self._connection.sock.settimeout(timeout_s)
        return self._connection


def read(kind: type[T], answer: bytes) -> T:
    """The answer as this kind; Refusal when it cannot be read so."""
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Refusal(
            f"the answer cannot be read ({exc}); is the service of the same version, and is it "
            "the orchestrator that answers there?", 0,
        ) from exc  # fmt: skip


def query_text(query: Query) -> str:
    """`?a=1&b=x,y`; None and "" are left out, several values are joined by commas."""
    pairs = {
        name: value if isinstance(value, str | int) else ",".join(value or ())
        for name, value in query.items()
        if value not in (None, "", ())
    }
    return f"?{urlencode(pairs)}" if pairs else ""


def path_part(text: str) -> str:
    """A word of the user's as one part of a path."""
    return quote(text, safe="")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parts_of(url: str) -> SplitResult:
    wrong = WrongUsage(f"{url!r} is no address of a service; a right one: http://127.0.0.1:8000")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    odd = parts.query or parts.fragment or parts.username or not url.isascii() or port == 0
    if parts.scheme not in {"http", "https"} or not parts.hostname or odd or " " in url:
        raise wrong
    return parts


def _person() -> str:
    """The machine's name for who runs this, in the form of an id."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid-{os.getuid()}"
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name)[:64]


def _words_of(problem: Exception) -> str:
    if isinstance(problem, TimeoutError):
        return "it took too long"
    if told := tls_trouble(problem):
        return told
    return str(problem) or type(problem).__name__


def _refusal(status: int, answer: bytes, *, token_sent: bool) -> Refusal | NotAuthorised:
    try:
        problem = msgspec.json.decode(answer, type=_Problem)
        document = answer
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = _Problem(detail=answer[:_TEXT_MAX].decode("utf-8", "replace").strip())
        document = None
    if status in {401, 403}:
        return NotAuthorised(_who_are_you(status, problem, token_sent=token_sent), document)
    text = f"{problem.title or f'HTTP {status}'}: {problem.detail}".rstrip(": ")
    more = [f"  - {error}" for error in problem.errors if error != problem.detail]
    return Refusal("\n".join([text, *more]), status, document)


def _who_are_you(status: int, problem: _Problem, *, token_sent: bool) -> str:
    if status == 403:  # noqa: PLR2004 -- HTTP's own number
        return f"not allowed: {problem.detail or problem.title}"
    what = "the service does not accept this token" if token_sent else "the service wants a token"
    return (
        f"{what}; it stands in the file api-token of the service's state folder: name the folder "
        "with --state DIR, or give the token by ORCHESTRATOR_TOKEN"
    )
