"""The emergency stop's own lane: authorised, read, done; nothing else stands in its way."""

from __future__ import annotations

import asyncio

import structlog
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive

from orchestrator.model.money import AccountId
from orchestrator.service.api.bodies import (
    BODY_BYTES_MAX,
    EmergencyBody,
    check_form,
    read,
)
from orchestrator.service.api.door import Door, actor_or_api, shown
from orchestrator.service.api.problems import Problem, trace_of

log = structlog.get_logger()

STOP_PATH = "/emergency-stop"
_BODY_S = 1.0

_UNSPECIFIED = EmergencyBody(reason="unspecified")
# Who asked for a stop with a good token meant one. What else was meant is not known: new risk is
# refused everywhere, and nothing is closed that may have been meant to stay.
_CUT = EmergencyBody(reason="the request was cut off before its end", liquidate=False)


async def stop_now(door: Door, headers: Headers, receive: Receive) -> Response:
    """The receipt as far as it is. The caller has been authorised."""
    wanted = await _wanted(receive)
    desk = door.desk()
    try:
        receipt = await desk.emergency_stop(
            actor_or_api(headers), wanted.reason, liquidate=wanted.liquidate,
            accounts=tuple(map(AccountId, wanted.accounts)),
        )  # fmt: skip
    except Exception as exc:
        log.error("api.stop_failed", trace=trace_of(exc))  # noqa: TRY400 -- without variables
        raise Problem(
            500, "The stop may not have been carried out",
            "Stop without the API: orchestrator emergency-stop --local",
        ) from exc  # fmt: skip
    return shown(receipt)


async def _wanted(receive: Receive) -> EmergencyBody:
    try:
        async with asyncio.timeout(_BODY_S):
            raw = await whole_body(receive)
    except TimeoutError:
        raw = None
    if raw is None:
        return _CUT
    if not raw.strip():
        return _UNSPECIFIED
    check_form(raw)
    return read(EmergencyBody, raw)


async def whole_body(receive: Receive) -> bytes | None:
    """None for a body that was cut off. Problem 413 for one that is too large."""
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts += message.get("body", b"")
        if len(parts) > BODY_BYTES_MAX:
            raise too_large()
        if not message.get("more_body", False):
            return bytes(parts)


def too_large() -> Problem:
    return Problem(
        413, "Too large", f"A body may have {BODY_BYTES_MAX // 1024} KB.",
        headers={"Connection": "close"},
    )  # fmt: skip
