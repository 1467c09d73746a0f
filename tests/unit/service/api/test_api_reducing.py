"""Closing, cancelling and tightening over HTTP: what is asked reaches the desk as it was meant."""

from decimal import Decimal

import pytest

from orchestrator.model.money import Side
from orchestrator.model.reducing import ReduceKind, ReductionState
from orchestrator.service.views import Refused
from tests.unit.service.api.fake_desk import ACCOUNT

TRADE, POSITION = f"/trades/{ACCOUNT}/6363", f"/positions/{ACCOUNT}/EUR_USD/close"
ORDER = f"/orders/{ACCOUNT}/6371/cancel"


def wished(desk):
    name, wish, actor = desk.calls[-1]
    assert (name, wish.account_id) == ("reduce", ACCOUNT)
    return wish, actor


async def test_a_trade_is_closed_wholly_or_in_part(api, desk):
    answer = await api.post(f"{TRADE}/close", headers={"X-Actor": "jo"})
    assert answer.status_code == 200
    assert answer.json()["state"] == "done"
    wish, actor = wished(desk)
    assert (wish.kind, wish.target, wish.units) == (ReduceKind.CLOSE_TRADE, "6363", None)
    assert actor == "api:jo"
    body = {"units": "500", "instrument": "EUR_USD", "reason": "half", "command_id": "mine"}
    await api.post(f"{TRADE}/close", json=body)
    wish, _ = wished(desk)
    assert (wish.units, wish.instrument) == (Decimal(500), "EUR_USD")
    assert (wish.reason, wish.command_id) == ("half", "mine")


async def test_a_position_is_closed_on_the_side_that_is_named(api, desk):
    await api.post(POSITION, json={"units": 250, "side": "short"})
    wish, _ = wished(desk)
    assert (wish.kind, wish.target) == (ReduceKind.CLOSE_POSITION, "EUR_USD")
    assert (wish.units, wish.side) == (Decimal(250), Side.SELL)
    await api.post(POSITION)
    assert wished(desk)[0].side is None


async def test_an_order_is_cancelled_and_a_stop_is_tightened(api, desk):
    await api.post(ORDER, json={"reason": "old"})
    wish, _ = wished(desk)
    assert (wish.kind, wish.target) == (ReduceKind.CANCEL_ORDER, "6371")
    await api.post(f"{TRADE}/stop", json={"price": "1.38350"})
    wish, _ = wished(desk)
    assert (wish.kind, str(wish.price)) == (ReduceKind.TIGHTEN_STOP, "1.38350")


@pytest.mark.parametrize("path", [f"{TRADE}/close", POSITION, ORDER])
async def test_the_idempotency_key_is_the_commands_id(api, desk, path):
    await api.post(path, headers={"Idempotency-Key": "click-1"})
    assert wished(desk)[0].command_id == "click-1"
    answer = await api.post(path, headers={"Idempotency-Key": "not an id"})
    assert answer.status_code == 422


@pytest.mark.parametrize("state", [ReductionState.UNKNOWN, ReductionState.WRITTEN])
async def test_what_is_not_settled_is_a_202(api, desk, state):
    desk.reduced = state
    answer = await api.post(POSITION)
    assert answer.status_code == 202
    assert answer.json()["state"] == state.value


async def test_a_refusal_is_a_409_with_every_reason(api, desk):
    desk.refusal = Refused(status=409, title="Refused", detail="a; b", items=("a", "b"))
    answer = await api.post(POSITION)
    assert answer.status_code == 409
    assert answer.json()["errors"] == ["a", "b"]


async def test_an_account_that_is_not_there_is_a_404(api):
    assert (await api.post("/orders/101-001-9-009/5/cancel")).status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{TRADE}/close", {"units": "NaN"}), (f"{TRADE}/close", {"units": "0"}),
        (f"{TRADE}/close", {"units": -5}), (f"{TRADE}/close", {"side": "long"}),
        (f"{TRADE}/close", {"units": True}), (POSITION, {"side": "buy"}),
        (POSITION, {"units": "Infinity"}), (POSITION, {"units": "1e13"}),
        (f"{TRADE}/stop", {}), (f"{TRADE}/stop", {"price": "-1"}),
        (f"{TRADE}/stop", {"price": "x"}), (ORDER, {"order": "5"}),
        (ORDER, {"command_id": "not an id"}),
    ],
)  # fmt: skip
async def test_a_body_that_cannot_be_meant_is_refused(api, desk, path, body):
    assert (await api.post(path, json=body)).status_code == 422
    assert desk.calls == []


async def test_what_was_asked_is_listed_page_by_page(api):
    first = (await api.get("/reductions?limit=1")).json()
    assert [each["command_id"] for each in first["items"]] == ["reduce-2b3c4d5e6f708192"]
    more = (await api.get(f"/reductions?cursor={first['next']}")).json()
    assert [each["command_id"] for each in more["items"]] == ["older"]
    assert more["next"] is None
