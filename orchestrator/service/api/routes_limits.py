"""Limits in force, and the overrides by which people move them (SAFETY B5, B6)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from orchestrator.service.api.bodies import ID_PATTERN, EndOverrideBody, OverrideBody, body_of
from orchestrator.service.api.describe import route
from orchestrator.service.api.door import AtDesk, By, shown
from orchestrator.service.api.paging import live_page
from orchestrator.service.api.views import PageQuery
from orchestrator.service.limits_desk import OverrideWish
from orchestrator.service.views import AccountLimitsView, Done, OverrideView

router = APIRouter()
SAFETY: dict[str, Any] = {"tags": ["safety"]}


@router.get(
    "/limits",
    summary="The limits in force",
    **SAFETY,
    **route(AccountLimitsView, page=True),
)
async def limits(desk: AtDesk, asked: Annotated[PageQuery, Query()]) -> Response:
    """Of each account: `limits` as the settings have them, its profile's counted in; `in_force`
    with the overrides that stand; `tightened`: by whom risk is reduced just now, and why.
    """
    return shown(live_page(desk.limits(), lambda a: a.account_id, asked.place, asked.limit))


@router.get(
    "/overrides",
    summary="The overrides that stand",
    **SAFETY,
    **route(OverrideView, page=True),
)
async def overrides(desk: AtDesk, asked: Annotated[PageQuery, Query()]) -> Response:
    """Those that were set and have not ended; each set, use and end is an event as well."""
    return shown(live_page(desk.overrides(), lambda o: o.override_id, asked.place, asked.limit))


@router.post(
    "/overrides",
    summary="Move a limit, or reset a breaker early",
    **SAFETY,
    **route(Done, body=OverrideBody, body_needed=True, problems=(403, 409, 413)),
)
async def set_override(
    desk: AtDesk, actor: By, body: Annotated[OverrideBody, Depends(body_of(OverrideBody))]
) -> Response:
    """Tightening: role operator, at once, without end unless `minutes` says so. Loosening one
    limit for one account or instrument: role admin, at most 60 `minutes`, at most `uses` orders
    that need it. Without `value`, `limit` is a breaker: it is reset early, once, by an admin.
    Refused (409) with every reason; some are never moved: A1, A7, S4, S5, S12, the gate, a stop,
    sanity and duplicate checks.
    """
    wish = OverrideWish(
        limit=body.limit, subject=body.subject, value=body.value, minutes=body.minutes,
        uses=body.uses, reason=body.reason,
    )  # fmt: skip
    return shown(await desk.set_override(wish, actor, body.role))


@router.post(
    "/overrides/{override_id}/end",
    summary="End an override",
    **SAFETY,
    **route(Done, body=EndOverrideBody, body_needed=True, problems=(403, 409, 413)),
)
async def end_override(
    desk: AtDesk, actor: By, override_id: Annotated[str, Path(pattern=ID_PATTERN)],
    body: Annotated[EndOverrideBody, Depends(body_of(EndOverrideBody))],
) -> Response:  # fmt: skip
    """One that loosens: role operator. One that tightens: role admin, since ending it loosens."""
    return shown(await desk.end_override(override_id, actor, body.role, body.reason))
