"""The system's routes: health, start and stop, agents, accounts, breakers, metrics, audit."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from orchestrator.model.money import AccountId
from orchestrator.model.safety import BreakerState, BreakerView, StopReceipt, SystemMode
from orchestrator.service.api.bodies import (
    ID_PATTERN,
    BreakerBody,
    EmergencyBody,
    ReasonBody,
    ResetBody,
    ResumeBody,
    StopBody,
    body_of,
)
from orchestrator.service.api.describe import route
from orchestrator.service.api.door import AtDesk, AtDoor, By, done, json_bytes, shown
from orchestrator.service.api.paging import live_page
from orchestrator.service.api.problems import Problem
from orchestrator.service.api.render import json_of
from orchestrator.service.api.shapes import Liveness, Readiness, ShortHealth
from orchestrator.service.api.stopping import stop_now
from orchestrator.service.api.views import AgentsQuery, BreakersQuery, PageQuery
from orchestrator.service.desk import Desk
from orchestrator.service.views import AccountStatus, AgentView, Done, Health

router = APIRouter()

Named = Annotated[str, Path(pattern=ID_PATTERN)]
Why = Annotated[ReasonBody, Depends(body_of(ReasonBody))]

_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_NOT_UP = (SystemMode.STARTING, SystemMode.RECONCILING)

SYSTEM: dict[str, Any] = {"tags": ["system"]}
AGENTS: dict[str, Any] = {"tags": ["agents"]}
ACCOUNTS: dict[str, Any] = {"tags": ["accounts"]}
SAFETY: dict[str, Any] = {"tags": ["safety"]}
MONITORING: dict[str, Any] = {"tags": ["monitoring"]}


# -- health ----------------------------------------------------------------------------------------


@router.get(
    "/health",
    summary="How the service is",
    **SYSTEM,
    **route(Health, also=ShortHealth, access="public"),
)
async def health(request: Request, door: AtDoor) -> Response:
    """With the token: everything. Without it: status, mode and environment only.

    `status`: ok, degraded (a component is not), stopped (an emergency stop is in force), starting.
    `role`: leader, or standby, which reads only and takes over when the leader is gone.
    """
    desk = door.desk_or_none()
    if desk is None:
        return shown(ShortHealth(status="starting", mode="starting", environment="unknown"))
    full = await desk.health()
    if request.state.known:
        return shown(full)
    return shown(
        ShortHealth(
            status=full.status, mode=full.mode.value, environment=full.environment, role=full.role
        )
    )


@router.get("/livez", summary="Is the process alive?", **SYSTEM, **route(Liveness, access="public"))
async def livez(request: Request) -> Response:
    """200 as long as the event loop turns."""
    return shown(Liveness(alive=True, version=request.app.version))


@router.get(
    "/readyz",
    summary="Can it serve requests?",
    **SYSTEM,
    **route(Readiness, access="public", problems=(503,)),
)
async def readyz(door: AtDoor) -> Response:
    """503 until the accounts are reconciled. A stopped system is ready: it can be resumed. So is a
    standby: it answers reads and the emergency stop.
    """
    full = await door.desk().health()
    if full.mode in _NOT_UP and full.role == "leader":
        raise Problem(503, "Not ready", f"The system is {full.mode}.", headers={"Retry-After": "1"})
    return shown(Readiness(ready=True, status=full.status))


# -- start and stop --------------------------------------------------------------------------------


@router.post(
    "/start",
    summary="Start trading",
    **SYSTEM,
    **route(Done, body=ReasonBody, problems=(403, 409, 413)),
)
async def start(desk: AtDesk, actor: By, body: Why) -> Response:
    """From ready to running. Refused (409) while an emergency stop is in force: resume first."""
    return shown(await desk.start(actor, body.reason))


@router.post(
    "/stop",
    summary="Stop trading, in order",
    **SYSTEM,
    **route(Done, body=StopBody, problems=(403, 409, 413)),
)
async def stop(
    desk: AtDesk, actor: By, body: Annotated[StopBody, Depends(body_of(StopBody))]
) -> Response:
    """No new signals; what is in flight ends first. Positions stay with their stops at the venue,
    or are closed with `{"positions": "close"}`. The answer names all that stays open.
    """
    return shown(await desk.stop(actor, body.reason, close=body.positions == "close"))


@router.post(
    "/emergency-stop",
    summary="Stop everything at once",
    **SAFETY,
    **route(StopReceipt, body=EmergencyBody, problems=(403, 404, 413, 500)),
)
async def emergency_stop(request: Request, door: AtDoor, actor: By) -> Response:
    """Closes the gate for all orders, answers within 100 ms, then cancels entry orders and closes
    positions (`liquidate`). It stays in force over restarts, until a person resumes. Never held
    back by a rate limit. Without a body: everything, with the reason "unspecified". A request that
    is cut off in its body closes the gate and liquidates nothing. A repeated stop may add
    accounts or liquidation, never take away. Follow it with GET /emergency-stop.
    """
    del actor  # the lane reads it itself, and forgives a malformed one
    return await stop_now(door, request.headers, request.receive)


@router.get(
    "/emergency-stop",
    summary="The receipt of the stop in force",
    **SAFETY,
    **route(StopReceipt, problems=(404,)),
)
async def stop_receipt(desk: AtDesk) -> Response:
    """When the gate closed, the last order's first byte, and for each account what was cancelled,
    closed, and is still open, verified by reading the venue again. 404: no stop is in force.
    """
    receipt = desk.stop_receipt()
    if receipt is None:
        raise Problem(404, "Not stopped", "No emergency stop is in force.")
    return shown(receipt)


@router.post(
    "/resume",
    summary="Reopen after an emergency stop",
    **SAFETY,
    **route(Done, body=ResumeBody, body_needed=True, problems=(403, 409, 413)),
)
async def resume(
    desk: AtDesk, actor: By, body: Annotated[ResumeBody, Depends(body_of(ResumeBody))]
) -> Response:
    """Refused (409, `errors` has each reason) unless all is reconciled, nothing is unknown, the
    audit chain verifies, and `open_trades` lists every trade that is still open. Trading then
    needs POST /start.
    """
    return shown(await desk.resume(actor, body.stop_id, body.reason, body.open_trades))


# -- agents ----------------------------------------------------------------------------------------


@router.get("/agents", summary="All agents", **AGENTS, **route(AgentView, page=True))
async def agents(desk: AtDesk, asked: Annotated[AgentsQuery, Query()]) -> Response:
    """State, response time, error rate of each, as of its last check."""
    found = (
        a for a in desk.agents()
        if asked.role in (None, a.role) and asked.state in (None, a.state)
    )  # fmt: skip
    return shown(live_page(found, lambda a: a.agent_id, asked.place, asked.limit))


@router.get(
    "/agents/{agent_id}/health",
    summary="Ask an agent now",
    **AGENTS,
    **route(AgentView, problems=(404,)),
)
async def agent_health(desk: AtDesk, agent_id: Named) -> Response:
    """A real round trip: the agent hears a message and answers."""
    return shown(await desk.check_agent(agent_id))


@router.post(
    "/agents/{agent_id}/restart",
    summary="Restart an agent",
    **AGENTS,
    **route(AgentView, body=ReasonBody, problems=(403, 404, 413)),
)
async def restart_agent(desk: AtDesk, actor: By, agent_id: Named, body: Why) -> Response:
    """A fresh instance, taught what it must know. Signals that need it meanwhile are rejected."""
    del body  # checked for its form
    return shown(await desk.restart_agent(agent_id, actor))


# -- accounts --------------------------------------------------------------------------------------


@router.get("/accounts", summary="All accounts", **ACCOUNTS, **route(AccountStatus, page=True))
async def accounts(desk: AtDesk, asked: Annotated[PageQuery, Query()]) -> Response:
    """Balance, NAV, the day's result, drawdown, positions, and what blocks new risk."""
    return shown(live_page(desk.accounts(), lambda a: a.account_id, asked.place, asked.limit))


@router.get(
    "/accounts/{account_id}/status",
    summary="One account",
    **ACCOUNTS,
    **route(AccountStatus, problems=(404,)),
)
async def account_status(desk: AtDesk, account_id: Named) -> Response:
    """As in the list of all accounts."""
    return shown(desk.account(AccountId(account_id)))


@router.post(
    "/accounts/{account_id}/enable",
    summary="Let an account take new risk",
    **ACCOUNTS,
    **route(Done, body=ReasonBody, problems=(403, 404, 409, 413)),
)
async def enable_account(desk: AtDesk, actor: By, account_id: Named, body: Why) -> Response:
    """Breakers and limits stay in force."""
    return shown(await desk.enable(AccountId(account_id), actor, body.reason))


@router.post(
    "/accounts/{account_id}/disable",
    summary="Keep an account from new risk",
    **ACCOUNTS,
    **route(Done, body=ReasonBody, problems=(403, 404, 409, 413)),
)
async def disable_account(desk: AtDesk, actor: By, account_id: Named, body: Why) -> Response:
    """What is open stays, with its stops at the venue."""
    return shown(await desk.enable(AccountId(account_id), actor, body.reason, enabled=False))


# -- breakers --------------------------------------------------------------------------------------


@router.get("/breakers", summary="All breakers", **SAFETY, **route(BreakerView, page=True))
async def breakers(desk: AtDesk, asked: Annotated[BreakersQuery, Query()]) -> Response:
    """Each switch that can block new orders: its state, evidence, and how it is reset."""
    found = (
        b for b in desk.breakers()
        if asked.subject in ("", b.subject)
        and asked.tripped in (None, b.state is not BreakerState.ARMED)
    )  # fmt: skip
    return shown(live_page(found, lambda b: f"{b.breaker}~{b.subject}", asked.place, asked.limit))


@router.post(
    "/breakers/{breaker}/reset",
    summary="Reset a breaker",
    **SAFETY,
    **route(Done, body=ResetBody, body_needed=True, problems=(403, 404, 409, 413)),
)
async def reset_breaker(
    desk: AtDesk, actor: By, breaker: Named,
    body: Annotated[ResetBody, Depends(body_of(ResetBody))],
) -> Response:  # fmt: skip
    """Refused (409) where its condition still holds, or where nobody may reset it early."""
    subject = _subject_of(desk, breaker, body.subject)
    return shown(await desk.reset_breaker(breaker, subject, actor, body.reason, rebase=body.rebase))


@router.post(
    "/breakers/{breaker}/trip",
    summary="Trip a breaker by hand",
    **SAFETY,
    **route(Done, body=BreakerBody, body_needed=True, problems=(403, 404, 409, 413)),
)
async def trip_breaker(
    desk: AtDesk, actor: By, breaker: Named,
    body: Annotated[BreakerBody, Depends(body_of(BreakerBody))],
) -> Response:  # fmt: skip
    """Tightening is always possible, at once."""
    subject = _subject_of(desk, breaker, body.subject)
    return shown(await desk.trip_breaker(breaker, subject, actor, body.reason))


def _subject_of(desk: Desk, breaker: str, asked: str) -> str:
    """The only subject where there is one; Problem 422 where several could be meant."""
    if asked:
        return asked
    known = sorted({b.subject for b in desk.breakers() if b.breaker == breaker})
    if not known:
        raise Problem(404, "No such breaker", f"There is no breaker {breaker!r}.")
    if len(known) > 1:
        raise Problem(
            422, "Which one?", f"Breaker {breaker} has several subjects; name one as `subject`.",
            errors=known,
        )  # fmt: skip
    return known[0]


# -- metrics and audit -----------------------------------------------------------------------------


@router.get("/metrics", summary="Prometheus metrics", **MONITORING, **route("text/plain"))
async def metrics(desk: AtDesk) -> Response:
    """In Prometheus' text format; configure the scraper with the token as its bearer token."""
    return Response(desk.metrics(), headers={"Content-Type": _METRICS})


@router.post(
    "/audit/verify",
    summary="Verify the audit trail",
    **MONITORING,
    **route(Done, problems=(403, 409)),
)
async def verify_audit(door: AtDoor) -> Response:
    """Reads the whole hash chain; 409 names the first record that does not hold."""
    if door.verifying:
        raise Problem(
            409, "Under way", "A verification is running; ask again when it has ended.",
        )  # fmt: skip
    door.verifying = True
    try:
        return json_bytes(json_of(done(await door.desk().verify_audit())))
    finally:
        door.verifying = False
