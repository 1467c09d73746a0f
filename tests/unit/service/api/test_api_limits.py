"""Limits and overrides over HTTP: what is asked reaches the desk, what is wrong does not."""

import pytest

from orchestrator.service.limits_desk import OverrideWish
from orchestrator.service.views import Refused
from tests.unit.service.api.fake_desk import ACCOUNT

WISH = {
    "limit": "risk_per_trade", "subject": ACCOUNT, "value": "0.03", "minutes": 10, "uses": 2,
    "reason": "hedge", "role": "admin",
}  # fmt: skip


async def test_limits_tell_by_whom_they_are_tightened(api):
    answer = (await api.get("/limits")).json()
    first = answer["items"][0]
    assert first["in_force"]["risk_per_trade"] == "0.01"
    assert [each["by"] for each in first["tightened"]] == ["api:jo", "agent pattern_detection"]
    assert first["tightened"][0]["until_at"] is None


async def test_overrides_are_listed_with_their_end(api):
    (item,) = (await api.get("/overrides")).json()["items"]
    assert (item["loosens"], item["uses_left"]) == (True, 1)
    assert item["until_at"].endswith("Z")


async def test_an_override_reaches_the_desk_with_actor_and_role(api, desk):
    answer = await api.post("/overrides", json=WISH, headers={"X-Actor": "jo"})
    assert answer.status_code == 200
    wish, actor, role = desk.calls[-1][1:]
    assert isinstance(wish, OverrideWish)
    assert (str(wish.value), wish.minutes, wish.uses) == ("0.03", 10, 2)
    assert (actor, role) == ("api:jo", "admin")
    plain = {"limit": "A3", "subject": ACCOUNT, "reason": "seen"}
    await api.post("/overrides", json=plain)
    wish, _, role = desk.calls[-1][1:]
    assert (wish.value, wish.minutes, role) == (None, None, "operator")


async def test_ending_one_names_it(api, desk):
    body = {"reason": "calm", "role": "admin"}
    assert (await api.post("/overrides/o-1/end", json=body)).status_code == 200
    assert desk.calls[-1] == ("end", "o-1", "api", "admin", "calm")


@pytest.mark.parametrize(
    "changes",
    [
        {"value": "NaN"}, {"value": "Infinity"}, {"value": "-0.01"}, {"value": "1e13"},
        {"value": True}, {"minutes": 0}, {"minutes": 1.5}, {"uses": 0}, {"uses": 101},
        {"reason": ""}, {"role": "viewer"}, {"limit": "no such limit"}, {"until": 5},
        {"subject": ""},
    ],
)  # fmt: skip
async def test_a_body_that_cannot_be_meant_is_refused(api, desk, changes):
    answer = await api.post("/overrides", json={**WISH, **changes})
    assert answer.status_code == 422
    assert desk.calls == []


async def test_the_kernels_refusal_is_a_409_with_every_reason(api, desk):
    desk.refusal = Refused(status=409, title="Refused", detail="a; b", items=("a", "b"))
    answer = await api.post("/overrides", json=WISH)
    assert answer.status_code == 409
    assert answer.json()["errors"] == ["a", "b"]
