"""Close, cancel, tighten: what a person does by hand, none of which adds risk (SAFETY 3)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query
from starlette.responses import Response

from orchestrator.model.money import AccountId, Side
from orchestrator.model.reducing import ReduceKind, ReductionState
from orchestrator.service.api.bodies import (
    ID_PATTERN,
    ClosePositionBody,
    CloseTradeBody,
    ReducingBody,
    StopPriceBody,
    body_of,
)
from orchestrator.service.api.describe import route
from orchestrator.service.api.door import AtDesk, By, done, shown
from orchestrator.service.api.paging import live_page
from orchestrator.service.api.views import PageQuery
from orchestrator.service.desk import Desk
from orchestrator.service.reducing_desk import ReduceWish
from orchestrator.service.views import ReductionView

router = APIRouter()
TRADING: dict[str, Any] = {"tags": ["trading"]}

Named = Annotated[str, Path(pattern=ID_PATTERN)]
_PROBLEMS = (403, 404, 409, 413)
_ACCEPTED = 202


async def _key(
    idempotency_key: Annotated[
        str, Header(pattern=ID_PATTERN, description="Makes the call safe to repeat, for a day.")
    ] = "",
) -> str:
    return idempotency_key


Key = Annotated[str, Depends(_key)]


async def _asked(desk: Desk, wish: ReduceWish, actor: str) -> Response:
    """200 when it is done; 202 while the venue's log has yet to say."""
    view = done(await desk.reduce(wish, actor))
    return shown(view, 200 if view.state is ReductionState.DONE else _ACCEPTED)


@router.post(
    "/trades/{account_id}/{trade_id}/close",
    summary="Close a trade, or a part of it",
    **TRADING,
    **route(ReductionView, body=CloseTradeBody, problems=_PROBLEMS),
)
async def close_trade(
    desk: AtDesk, actor: By, key: Key, account_id: Named, trade_id: Named,
    body: Annotated[CloseTradeBody, Depends(body_of(CloseTradeBody))],
) -> Response:  # fmt: skip
    """At the market, in the urgent lane; no limit, breaker or throttle stands before it. 200: done;
    202: on its way, or its outcome is not known yet (look at GET /reductions); 409 with every
    reason where it was refused: an emergency stop stands (it closes by itself), the market is
    closed, more units than there are. A part is sent at most once, whatever happens.
    """
    wish = ReduceWish(
        kind=ReduceKind.CLOSE_TRADE, account_id=AccountId(account_id), target=trade_id,
        units=body.units, instrument=body.instrument, reason=body.reason,
        command_id=body.command_id or key,
    )  # fmt: skip
    return await _asked(desk, wish, actor)


@router.post(
    "/positions/{account_id}/{instrument}/close",
    summary="Close a position, or a part of it",
    **TRADING,
    **route(ReductionView, body=ClosePositionBody, problems=_PROBLEMS),
)
async def close_position(
    desk: AtDesk, actor: By, key: Key, account_id: Named, instrument: Named,
    body: Annotated[ClosePositionBody, Depends(body_of(ClosePositionBody))],
) -> Response:  # fmt: skip
    """As closing a trade. A part takes the oldest trades first; it never opens or flips a trade."""
    sides = {"long": Side.BUY, "short": Side.SELL}
    wish = ReduceWish(
        kind=ReduceKind.CLOSE_POSITION, account_id=AccountId(account_id), target=instrument,
        units=body.units, side=None if body.side is None else sides[body.side],
        reason=body.reason, command_id=body.command_id or key,
    )  # fmt: skip
    return await _asked(desk, wish, actor)


@router.post(
    "/orders/{account_id}/{order_id}/cancel",
    summary="Cancel an entry order",
    **TRADING,
    **route(ReductionView, body=ReducingBody, problems=_PROBLEMS),
)
async def cancel_order(
    desk: AtDesk, actor: By, key: Key, account_id: Named, order_id: Named,
    body: Annotated[ReducingBody, Depends(body_of(ReducingBody))],
) -> Response:  # fmt: skip
    """One that waits at the venue. A trade's stop or target is refused: it goes with its trade."""
    wish = ReduceWish(
        kind=ReduceKind.CANCEL_ORDER, account_id=AccountId(account_id), target=order_id,
        reason=body.reason, command_id=body.command_id or key,
    )  # fmt: skip
    return await _asked(desk, wish, actor)


@router.post(
    "/trades/{account_id}/{trade_id}/stop",
    summary="Tighten a trade's stop loss",
    **TRADING,
    **route(ReductionView, body=StopPriceBody, body_needed=True, problems=_PROBLEMS),
)
async def tighten_stop(
    desk: AtDesk, actor: By, key: Key, account_id: Named, trade_id: Named,
    body: Annotated[StopPriceBody, Depends(body_of(StopPriceBody))],
) -> Response:  # fmt: skip
    """Towards the market only; a price that loosens it, or would be reached at once, is refused."""
    wish = ReduceWish(
        kind=ReduceKind.TIGHTEN_STOP, account_id=AccountId(account_id), target=trade_id,
        price=body.price, reason=body.reason, command_id=body.command_id or key,
    )  # fmt: skip
    return await _asked(desk, wish, actor)


@router.get(
    "/reductions",
    summary="Closes, cancels and tighter stops by hand",
    **TRADING,
    **route(ReductionView, page=True),
)
async def reductions(desk: AtDesk, asked: Annotated[PageQuery, Query()]) -> Response:
    """Of the last day, the newest first, with what became of each."""
    return shown(live_page(desk.reductions(), _place, asked.place, asked.limit))


def _place(view: ReductionView) -> str:
    return f"{view.written_ns:020d}~{view.account_id}~{view.command_id}"
