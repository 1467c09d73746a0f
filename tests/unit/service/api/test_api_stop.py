"""The emergency stop: its own lane, which nothing but the token stands in."""

import asyncio

import pytest

from orchestrator.service.api import door, stopping
from tests.unit.service.api.fake_desk import ACCOUNT, OTHER, TOKEN, api_of, client_of


def stop_scope(headers=()):
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": "/emergency-stop", "raw_path": b"/emergency-stop",
        "query_string": b"", "root_path": "", "client": ("127.0.0.1", 1), "server": ("h", 80),
        "headers": [(b"host", b"h"), (b"authorization", b"Bearer " + TOKEN.encode()), *headers],
    }  # fmt: skip


async def send_stop(desk, messages):
    """The answer's status to these ASGI messages; a receive after the last one waits for ever."""
    waiting = iter(messages)
    sent = []

    async def receive():
        message = next(waiting, None)
        if message is None:
            await asyncio.Event().wait()
        return message

    async def send(message):
        sent.append(message)

    await api_of(desk)(stop_scope(), receive, send)
    return sent[0]["status"]


async def test_without_a_body_everything_is_stopped(api, desk):
    answer = await api.post("/emergency-stop")
    assert answer.status_code == 200
    assert answer.json()["stop_id"] == "stop-1"
    assert answer.json()["gate_closed_at"] == "2014-05-08T07:59:59.123456Z"
    assert desk.calls == [("emergency_stop", "api", "unspecified", True, ())]


async def test_scope_and_reason_are_handed_on(api, desk):
    body = {"reason": "odd news", "liquidate": False, "accounts": [OTHER]}
    await api.post("/emergency-stop", json=body, headers={"X-Actor": "jo"})
    assert desk.calls == [("emergency_stop", "api:jo", "odd news", False, (OTHER,))]


async def test_the_receipt_can_be_read_later(api):
    await api.post("/emergency-stop", json={"reason": "odd"})
    assert (await api.get("/emergency-stop")).json()["reason"] == "odd"


async def test_a_malformed_name_delays_no_stop(api, desk):
    assert (await api.post("/emergency-stop", headers={"X-Actor": "a b"})).status_code == 200
    assert desk.calls[0][1] == "api"


@pytest.mark.parametrize("path", ["/emergency-stop", "/emergency-stop/"])
async def test_a_flood_of_other_requests_holds_back_no_stop(api, path):
    held_back = 0
    for _ in range(30):
        held_back += (await api.post("/start")).status_code == 429
    assert held_back > 10
    for _ in range(30):
        assert (await api.post(path)).status_code == 200


async def test_without_the_token_nothing_is_stopped(stranger, desk):
    answer = await stranger.post("/emergency-stop")
    assert answer.status_code == 401
    assert desk.calls == []


async def test_another_sites_page_stops_nothing(api, desk):
    answer = await api.post("/emergency-stop", headers={"Origin": "http://elsewhere.example"})
    assert answer.status_code == 403
    assert desk.calls == []


@pytest.mark.parametrize(
    "body",
    [{}, {"reason": ""}, {"reason": 7}, {"reason": "x", "all": True},
     {"reason": "x", "liquidate": 1}, {"reason": "x", "accounts": ACCOUNT}],
    ids=str,
)  # fmt: skip
async def test_a_whole_body_that_is_wrong_is_refused_because_its_scope_is_not_known(
    api, desk, body
):
    assert (await api.post("/emergency-stop", json=body)).status_code == 422
    assert desk.calls == []


async def test_an_unknown_account_is_told(api):
    body = {"reason": "x", "accounts": ["nobody"]}
    assert (await api.post("/emergency-stop", json=body)).status_code == 404


async def test_a_request_that_is_cut_off_closes_the_gate_and_liquidates_nothing(desk):
    cut = [
        {"type": "http.request", "body": b'{"reason": "od', "more_body": True},
        {"type": "http.disconnect"},
    ]
    assert await send_stop(desk, cut) == 200
    assert desk.calls[0][3] is False
    assert desk.calls[0][4] == ()


async def test_a_body_that_never_ends_closes_the_gate_all_the_same(desk, monkeypatch):
    monkeypatch.setattr(stopping, "_BODY_S", 0.01)
    assert await send_stop(desk, [{"type": "http.request", "body": b"{", "more_body": True}]) == 200
    assert desk.calls[0][3] is False


async def test_a_desk_that_breaks_points_to_the_local_way(desk):
    desk.raises = RuntimeError("no")
    async with client_of(api_of(desk)) as client:
        answer = await client.post("/emergency-stop")
    assert answer.status_code == 500
    assert "--local" in answer.json()["detail"]


async def test_a_store_that_hangs_holds_back_no_stop_and_no_later_reader(api, desk, monkeypatch):
    """History is read in two threads; the stop needs none, and a third reader is told."""
    monkeypatch.setattr(door, "_HISTORY_S", 0.05)
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(_):
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        return []

    desk.store.records = hang
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(api.get("/events"))
        await asyncio.sleep(0)
        assert (await api.post("/emergency-stop")).status_code == 200
        late = await api.get("/events")
        assert late.status_code == 503
        assert late.headers["retry-after"]
        release.set()
