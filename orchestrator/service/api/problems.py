"""What went wrong, as RFC 9457 problem documents: plain words, never a stack, path or secret."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from traceback import format_exception
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import Scope

from orchestrator.service.api.render import Json, encode
from orchestrator.service.views import Refused

MEDIA_TYPE = "application/problem+json"
_INSTANCE_MAX = 300


class Problem(Exception):
    """Raised anywhere in the API; becomes the answer."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        errors: Sequence[str] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = headers or {}


def answer_of(problem: Problem, instance: str) -> Response:
    """`instance` is the path that was asked for."""
    document: Json = {
        "type": type_of(problem.status),
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": quote(instance, safe="/:~-._")[:_INSTANCE_MAX],
        "errors": list(problem.errors),
    }
    return Response(
        encode(document), problem.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


def answer_in(scope: Scope, problem: Problem) -> Response:
    return answer_of(problem, str(scope.get("path", "")))


def type_of(status: int) -> str:
    """A stable name for the kind of problem: `urn:tso:problem:not-found`."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "unknown"
    return "urn:tso:problem:" + phrase.lower().replace(" ", "-").replace("'", "")


def refusal(refused: Refused) -> Problem:
    """A refusal of the desk's is the answer, under its own status."""
    return Problem(refused.status, refused.title, refused.detail, errors=refused.items)


def unauthorised(*, wrong: bool) -> Problem:
    challenge = 'Bearer realm="trading-system-orchestrator"'
    if wrong:
        challenge += ', error="invalid_token"'
    return Problem(
        401,
        "Wrong token" if wrong else "Token needed",
        "Send the header `Authorization: Bearer TOKEN`. The token is shown in the banner of the"
        " first start, and kept in the file `api-token` in the state folder.",
        headers={"WWW-Authenticate": challenge},
    )


def not_ready() -> Problem:
    return Problem(
        503,
        "Not ready",
        "The service is still starting. GET /health tells how far it is; an emergency stop without"
        " the service: orchestrator emergency-stop --local",
        headers={"Retry-After": "1"},
    )


def trace_of(exc: BaseException) -> str:
    """For the log: where it happened, without the values of variables, which may be secrets."""
    return "".join(format_exception(exc))


def internal(reference: str) -> Problem:
    return Problem(
        500,
        "Internal error",
        f"The service failed to answer; its log has the cause under {reference}.",
    )
