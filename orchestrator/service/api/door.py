"""What every request meets: who asks, whether it may, and where the desk and its history are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias, TypeVar
from urllib.parse import urlsplit

import anyio
import msgspec
import structlog
from anyio.to_thread import run_sync
from fastapi import Depends, Header, Request
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Scope

from orchestrator.model.errors import StoreError
from orchestrator.model.ports import MarketReader
from orchestrator.model.queries import Queries
from orchestrator.service.api.bodies import ID_PATTERN, is_id
from orchestrator.service.api.limits import READS, WRITES, Buckets, Sockets
from orchestrator.service.api.problems import Problem, not_ready, refusal
from orchestrator.service.api.render import json_of
from orchestrator.service.api.shapes import Listed
from orchestrator.service.desk import Desk
from orchestrator.service.views import Refused

log = structlog.get_logger()

DeskSource: TypeAlias = Callable[[], Desk | None]
TokenOk: TypeAlias = Callable[[str], bool]

_READERS = 2  # threads: the store answers one question at a time
_HISTORY_S = 15.0
_ACTOR = "api"
_TOKEN_CHARS_MAX = 4_096

T = TypeVar("T")


class Door:
    """The parts of an API that requests share; one for each app."""

    def __init__(self, desk: DeskSource, token_ok: TokenOk, mono_ns: Callable[[], int]) -> None:
        self._desk = desk
        self._token_ok = token_ok
        self.reads = Buckets(READS, mono_ns)
        self.writes = Buckets(WRITES, mono_ns)
        self.sockets = Sockets()
        self._readers = anyio.CapacityLimiter(_READERS)
        self.verifying = False

    def desk(self) -> Desk:
        """Problem 503 while the system is not built."""
        desk = self._desk()
        if desk is None:
            raise not_ready()
        return desk

    def desk_or_none(self) -> Desk | None:
        return self._desk()

    def may(self, token: str | None) -> bool:
        return token is not None and len(token) <= _TOKEN_CHARS_MAX and self._token_ok(token)

    async def history(self, read: Callable[[Queries], msgspec.Struct | None]) -> Response | None:
        """What the store says, made ready in a thread of its own; None for None.

        Reading, sorting and writing JSON happen there, so that a long answer delays nobody. A
        thread is never left behind: while the store hangs, those who wait for one get a 503.
        """
        queries = self.desk().queries()
        return await self._ready(lambda: read(queries))

    async def market(self, read: Callable[[MarketReader], Listed]) -> Response:
        """As `history`, of what the market store says."""
        market = self.desk().market()
        answer = await self._ready(lambda: read(market))
        assert answer is not None
        return answer

    async def _ready(self, read: Callable[[], msgspec.Struct | None]) -> Response | None:
        def work() -> bytes | None:
            found = read()
            return None if found is None else json_of(found)

        try:
            with anyio.fail_after(_HISTORY_S):
                ready = await run_sync(work, limiter=self._readers)
        except StoreError as exc:
            log.warning("api.history_failed", reason=str(exc))
            raise _no_history("The store cannot be read now; the service's log says why.") from exc
        except TimeoutError:
            raise _no_history(f"The store did not answer within {_HISTORY_S:.0f} s.") from None
        return None if ready is None else json_bytes(ready)

    async def history_list(self, read: Callable[[Queries], Listed]) -> Response:
        answer = await self.history(read)
        assert answer is not None
        return answer


def _no_history(detail: str) -> Problem:
    return Problem(503, "History cannot be read", detail, headers={"Retry-After": "2"})


def json_bytes(ready: bytes, status: int = 200) -> Response:
    return Response(ready, status, media_type="application/json")


def shown(value: msgspec.Struct | Refused, status: int = 200) -> Response:
    """A view as an answer; a refusal is raised as its problem."""
    return json_bytes(json_of(done(value)), status)


def done(value: T | Refused) -> T:
    """The value, or the refusal raised as its problem."""
    if isinstance(value, Refused):
        raise refusal(value)
    return value


# -- who asks --------------------------------------------------------------------------------------


def bearer_of(headers: Headers) -> str | None:
    """The token of the header `Authorization: Bearer TOKEN`; None where there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def actor_of(headers: Headers) -> str | None:
    """For the audit trail: "api", or "api:NAME" after the header X-Actor. None: malformed."""
    name = headers.get("x-actor")
    if name is None:
        return _ACTOR
    return f"{_ACTOR}:{name}" if is_id(name) else None


def actor_or_api(headers: Headers) -> str:
    """As `actor_of`, for the emergency stop, which no malformed name may delay."""
    return actor_of(headers) or _ACTOR


def client_of(scope: Scope) -> str:
    """Whose buckets a request is counted in."""
    client = scope.get("client")
    return str(client[0]) if client else "-"


def refuse_foreign_pages(headers: Headers) -> None:
    """Problem 403 for what a browser sends in the name of another site's page."""
    origin = headers.get("origin")
    if origin is not None and not _same_host(origin, headers.get("host", "")):
        raise _foreign()
    if origin is None and headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
        raise _foreign()


def _same_host(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.netloc)
        and parts.netloc.lower() == host.lower()
    )


def _foreign() -> Problem:
    return Problem(
        403,
        "Foreign page",
        "The request comes from a page of another site; it was not carried out.",
    )


# -- what routes ask for ---------------------------------------------------------------------------


async def _door(request: HTTPConnection) -> Door:
    door = request.app.state.door
    assert isinstance(door, Door)
    return door


async def _desk(request: HTTPConnection) -> Desk:
    return (await _door(request)).desk()


async def _actor(
    request: Request,
    x_actor: Annotated[
        str | None,
        Header(description="Who acts, for the audit trail; recorded as `api:NAME`.",
               json_schema_extra={"pattern": ID_PATTERN}),
    ] = None,
) -> str:  # fmt: skip
    actor = actor_of(request.headers)
    if actor is None:
        raise Problem(
            422, "Unusable header", f"X-Actor must have the form {ID_PATTERN}.",
            errors=("X-Actor: not a name",),
        )  # fmt: skip
    del x_actor  # declared for the documentation
    return actor


AtDoor = Annotated[Door, Depends(_door)]
AtDesk = Annotated[Desk, Depends(_desk)]
By = Annotated[str, Depends(_actor)]
