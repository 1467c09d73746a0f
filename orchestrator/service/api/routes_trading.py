"""The routes of trades and of what happened: signals, orders, trades, events, explanations."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from orchestrator.model.journal import Record, RecordFilter
from orchestrator.model.queries import (
    PAGE_ROWS_MAX,
    Explanation,
    Page,
    PerformanceRow,
    Queries,
    SignalFilter,
    SignalRow,
)
from orchestrator.service.api.bodies import ID_PATTERN, SignalBody, body_of
from orchestrator.service.api.describe import route
from orchestrator.service.api.door import AtDesk, AtDoor, By, done, shown
from orchestrator.service.api.paging import continued, live_page, number_of, stored_page
from orchestrator.service.api.problems import Problem
from orchestrator.service.api.shapes import (
    Listed,
    OrderItem,
    SignalAnswer,
    TradeItem,
    closed_trade,
    intent_order,
    open_trade,
    pending_order,
)
from orchestrator.service.api.views import (
    EventsQuery,
    ExplainQuery,
    OrdersQuery,
    PerformanceQuery,
    PositionsQuery,
    SignalsQuery,
    TradesQuery,
)
from orchestrator.service.desk import Desk
from orchestrator.service.views import PositionView

router = APIRouter()

Named = Annotated[str, Path(pattern=ID_PATTERN)]

TRADING: dict[str, Any] = {"tags": ["trading"]}
MONITORING: dict[str, Any] = {"tags": ["monitoring"]}


# -- signals ---------------------------------------------------------------------------------------


@router.post(
    "/signals",
    summary="Hand in a signal",
    **TRADING,
    **route(
        SignalAnswer, status=202, body=SignalBody, body_needed=True, problems=(403, 409, 413),
        says="Accepted: it is on its path.",
    ),
)  # fmt: skip
async def submit_signal(
    desk: AtDesk, actor: By, body: Annotated[SignalBody, Depends(body_of(SignalBody))]
) -> Response:
    """It passes the same stages, checks and limits as any other, and may be rejected there; how it
    ended stands in GET /explain/{signal_id}. With a `signal_id` of your own the call is safe to
    repeat: an id is taken once.
    """
    taken = done(await desk.submit_signal(body.wish(), actor))
    answer = SignalAnswer(
        signal_id=taken.signal_id, accounts=taken.accounts, explain=f"/explain/{taken.signal_id}"
    )
    return shown(answer, 202)


@router.get("/signals", summary="Signals and how they ended", **TRADING,
            **route(SignalRow, page=True))  # fmt: skip
async def signals(door: AtDoor, asked: Annotated[SignalsQuery, Query()]) -> Response:
    """Newest first, with their outcomes so far."""
    wanted = SignalFilter(
        account_id=asked.account, strategy=asked.strategy, instrument=asked.instrument,
        outcome=asked.outcome or "",
    )  # fmt: skip
    return await door.history_list(
        lambda store: stored_page(
            lambda page: store.signals(wanted, page), asked.place, asked.limit
        )
    )


@router.get("/signals/{signal_id}", summary="One signal", **TRADING,
            **route(SignalRow, problems=(404,)))  # fmt: skip
async def signal(door: AtDoor, signal_id: Named) -> Response:
    """With its outcomes; its whole story is in GET /explain/{signal_id}."""
    found = await door.history(lambda store: store.signal(signal_id))
    if found is None:
        raise Problem(404, "No such signal", f"There is no signal {signal_id!r}.")
    return found


@router.get("/explain/{ref}", summary="Why? The story of a signal, order or trade", **TRADING,
            **route(Explanation, problems=(404,)))  # fmt: skip
async def explain(door: AtDoor, ref: Named, asked: Annotated[ExplainQuery, Query()]) -> Response:
    """Who decided what, from what inputs, when, how fast, and what came of it. `ref` is the id of
    a signal, intent, order, trade or transaction; `also` names what else it could mean.
    """
    found = await door.history(lambda store: store.explain(ref, asked.account))
    if found is None:
        raise Problem(
            404, "Nothing to explain",
            f"No signal, order or trade of ours bears the id {ref!r}. Lists of them: GET /signals,"
            " GET /orders, GET /trades.",
        )  # fmt: skip
    return found


# -- orders, trades, positions ---------------------------------------------------------------------


@router.get("/orders", summary="Orders: pending at the venue, and all of ours", **TRADING,
            **route(OrderItem, page=True))  # fmt: skip
async def orders(desk: AtDesk, door: AtDoor, asked: Annotated[OrdersQuery, Query()]) -> Response:
    """First what waits at the venue now (stop losses and take profits included), then our intents,
    newest first, filled or not. A filter by strategy or state leaves out what waits.
    """
    pending = _pending(desk, asked)
    if asked.kind == "pending":
        return shown(live_page(pending, _order_key, asked.place, asked.limit))
    state = asked.state.value if asked.state else ""

    def read(store: Queries) -> Listed:
        return continued(
            pending if asked.kind == "all" else (), _order_key,
            lambda page: store.intents(asked.account, state, asked.strategy, page),
            intent_order, asked.place, asked.limit,
        )  # fmt: skip

    return await door.history_list(lambda store: _only_instrument(read(store), asked.instrument))


def _pending(desk: Desk, asked: OrdersQuery) -> tuple[OrderItem, ...]:
    if asked.strategy or asked.state:
        return ()
    return tuple(
        pending_order(o) for o in desk.pending_orders()
        if asked.account in ("", o.account_id) and asked.instrument in ("", o.instrument)
    )  # fmt: skip


def _order_key(order: OrderItem) -> str:
    """Of an order as of its intent; the letter keeps it apart from a place in the store."""
    return f"{order.kind}~{order.account_id}~{order.order_id or order.client_id}"


def _only_instrument(listed: Listed, instrument: str) -> Listed:
    """The store has no such filter for intents: a page may hold fewer items than its limit."""
    if not instrument:
        return listed
    kept = tuple(o for o in listed.items if getattr(o, "instrument", "") == instrument)
    return msgspec.structs.replace(listed, items=kept)


@router.get("/trades", summary="Trades, open and closed", **TRADING,
            **route(TradeItem, page=True))  # fmt: skip
async def trades(desk: AtDesk, door: AtDoor, asked: Annotated[TradesQuery, Query()]) -> Response:
    """First the open ones, with their live result, then the closed ones, newest first."""
    living = _open(desk, asked) if asked.state != "closed" else ()
    if asked.state == "open":
        return shown(live_page(living, _trade_key, asked.place, asked.limit))

    def closed(store: Queries, page: Page) -> tuple[Any, ...]:
        return store.trades("closed", asked.account, asked.strategy, asked.instrument, page)

    return await door.history_list(
        lambda store: continued(
            living,
            _trade_key,
            lambda page: closed(store, page),
            closed_trade,
            asked.place,
            asked.limit,
        )
    )


def _open(desk: Desk, asked: TradesQuery) -> tuple[TradeItem, ...]:
    found = (
        open_trade(t) for t in desk.open_trades()
        if asked.account in ("", t.account_id) and asked.instrument in ("", t.instrument)
        and asked.strategy in ("", t.strategy)
    )  # fmt: skip
    return tuple(sorted(found, key=lambda t: -t.opened_ns))


def _trade_key(trade: TradeItem) -> str:
    return f"trade~{trade.account_id}~{trade.trade_id}"


@router.get("/positions", summary="Open positions", **TRADING,
            **route(PositionView, page=True))  # fmt: skip
async def positions(desk: AtDesk, asked: Annotated[PositionsQuery, Query()]) -> Response:
    """The sum of open trades by account and instrument, with its live result."""
    found = (
        p for p in desk.positions()
        if asked.account in ("", p.account_id) and asked.instrument in ("", p.instrument)
    )  # fmt: skip
    return shown(
        live_page(found, lambda p: f"{p.account_id}~{p.instrument}", asked.place, asked.limit)
    )


# -- events and figures ----------------------------------------------------------------------------


@router.get("/events", summary="The audit trail", **MONITORING,
            **route(Record, page=True))  # fmt: skip
async def events(door: AtDoor, asked: Annotated[EventsQuery, Query()]) -> Response:
    """Everything that happened, newest first. `data` is the fact word for word as its `hash`
    covers it, with times as nanoseconds. Live: WebSocket /ws.
    """
    return await door.history_list(lambda store: _records(store, asked))


def _records(store: Queries, asked: EventsQuery) -> Listed:
    wanted = RecordFilter(
        types=asked.types, subject=asked.subject or asked.account, corr=asked.signal,
        before_seq=number_of(asked.place), since_ns=asked.since_ns, until_ns=asked.until_ns,
        limit=min(asked.limit + 1, PAGE_ROWS_MAX),
    )  # fmt: skip
    found = store.records(wanted)
    more = len(found) > asked.limit or len(found) == PAGE_ROWS_MAX
    kept = tuple(found[: asked.limit])
    return Listed(items=kept, next=str(kept[-1].seq) if more else None)


@router.get("/performance", summary="Results by account and strategy", **MONITORING,
            **route(PerformanceRow, page=True))  # fmt: skip
async def performance(door: AtDoor, asked: Annotated[PerformanceQuery, Query()]) -> Response:
    """Of closed trades of ours, net of financing, in the account's home currency. `strategy` ""
    sums all strategies of the account.
    """
    return await door.history_list(
        lambda store: live_page(
            store.performance(asked.account, asked.strategy),
            lambda row: f"{row.account_id}~{row.strategy or '~'}",
            asked.place,
            asked.limit,
        )
    )
