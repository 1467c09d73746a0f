"""What programs read: every list and every thing, with filters and pages."""

import pytest

from orchestrator.model.safety import SystemMode
from tests.unit.service.api.fake_desk import ACCOUNT, EXPLANATION, OTHER, api_of, client_of, record

SIGNAL = EXPLANATION.signal.signal_id


@pytest.mark.parametrize(
    "path",
    ["/agents", "/accounts", "/events", "/trades", "/positions", "/orders", "/signals",
     "/performance", "/limits", "/breakers"],
)  # fmt: skip
async def test_every_list_answers_items_and_next(api, path):
    answer = await api.get(path)
    assert answer.status_code == 200
    assert set(answer.json()) == {"items", "next"}
    assert answer.json()["items"]


@pytest.mark.parametrize(
    "path",
    ["/agents", "/accounts", "/events", "/trades", "/orders", "/performance", "/limits",
     "/breakers"],
)  # fmt: skip
async def test_pages_of_one_make_up_the_whole_list(api, path):
    whole = (await api.get(path)).json()["items"]
    found, cursor = [], None
    for _ in range(len(whole) + 3):
        page = (
            await api.get(path, params={"limit": 1} | ({"cursor": cursor} if cursor else {}))
        ).json()
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == whole


async def test_health_tells_a_stranger_only_four_words(stranger):
    assert (await stranger.get("/health")).json() == {
        "status": "ok", "mode": "running", "environment": "paper", "role": "leader",
    }  # fmt: skip


async def test_health_tells_everything_to_who_has_the_token(api):
    shown = (await api.get("/health")).json()
    assert shown["market_time_at"] == "2014-05-08T07:59:59.123456Z"
    assert shown["components"]


async def test_health_tells_a_wrong_token_what_it_tells_a_stranger(desk):
    async with client_of(api_of(desk), token="guessed") as client:
        told = (await client.get("/health")).json()
    assert set(told) == {"status", "mode", "environment", "role"}


async def test_a_service_that_is_not_built_is_alive_starting_and_says_so():
    async with client_of(api_of(None)) as client:
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/health")).json()["status"] == "starting"
        for path in ("/readyz", "/accounts", "/events", "/trades", "/metrics"):
            answer = await client.get(path)
            assert answer.status_code == 503, path
            assert answer.headers["retry-after"]
            assert answer.headers["content-type"] == "application/problem+json"
        stop = await client.post("/emergency-stop")
        assert stop.status_code == 503
        assert "--local" in stop.json()["detail"]


async def test_a_stopped_system_is_ready_and_a_reconciling_one_is_not(api, desk):
    desk.mode = SystemMode.STOPPED
    assert (await api.get("/readyz")).status_code == 200
    desk.mode = SystemMode.RECONCILING
    assert (await api.get("/readyz")).status_code == 503


async def test_agents_are_filtered_by_state(api):
    items = (await api.get("/agents", params={"state": "unhealthy"})).json()["items"]
    assert [a["agent_id"] for a in items] == ["odd-1"]


async def test_an_agents_health_is_a_real_round_trip(api, desk):
    answer = await api.get("/agents/odd-1/health")
    assert answer.json()["state"] == "unhealthy"
    assert desk.calls == [("check_agent", "odd-1")]


@pytest.mark.parametrize(
    "path",
    ["/agents/nobody/health", "/accounts/nobody/status", "/signals/none", "/explain/none",
     "/emergency-stop", "/no/such/path", "/assets/none.js"],
)  # fmt: skip
async def test_what_is_not_there_is_a_404_problem(api, path):
    answer = await api.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:tso:problem:not-found"
    assert answer.json()["instance"] == path


async def test_one_account_is_shown_as_in_the_list(api):
    listed = (await api.get("/accounts")).json()["items"][1]
    assert (await api.get(f"/accounts/{OTHER}/status")).json() == listed
    assert listed["nav"] is None
    assert listed["balance"] == "100000.0000"


async def test_open_trades_come_first_then_closed_ones_newest_first(api):
    items = (await api.get("/trades")).json()["items"]
    assert [t["state"] for t in items] == ["open"] + ["closed"] * 7
    assert [t["trade_id"] for t in items[1:]] == [str(1000 + n) for n in range(7, 0, -1)]
    assert items[0]["unrealized_pl"] == "4.20"
    assert items[1]["realized_pl"] == "25.0800"


async def test_trades_can_be_asked_for_by_state(api):
    for state, count in (("open", 1), ("closed", 7), ("all", 8)):
        items = (await api.get("/trades", params={"state": state})).json()["items"]
        assert len(items) == count


async def test_a_trade_that_closes_meanwhile_is_not_listed_twice(api, desk):
    twin = desk.trades[0]
    closed = desk.store.closed[0]
    desk.store.closed.append(
        type(closed)(
            **{name: getattr(closed, name) for name in closed.__struct_fields__}
            | {"cursor": 99, "trade_id": twin.trade_id}
        )
    )
    ids = [t["trade_id"] for t in (await api.get("/trades")).json()["items"]]
    assert ids.count(twin.trade_id) == 1


async def test_trades_of_one_account_are_only_its_own(api):
    assert (await api.get("/trades", params={"account": OTHER})).json()["items"] == []


async def test_orders_are_pending_ones_and_intents(api):
    items = (await api.get("/orders")).json()["items"]
    assert [o["kind"] for o in items] == ["pending", "intent", "intent", "intent"]
    assert items[0]["type"] == "STOP_LOSS"
    assert items[1]["state"] == "filled"
    pending = (await api.get("/orders", params={"kind": "pending"})).json()["items"]
    assert [o["order_id"] for o in pending] == ["6364"]


async def test_events_are_filtered_by_type_and_subject(api, desk):
    desk.store.all_records.append(record(26, "stop.raised", "system"))
    items = (await api.get("/events", params={"type": "stop.raised,stop.step"})).json()["items"]
    assert [e["seq"] for e in items] == [26]
    items = (await api.get("/events", params={"account": ACCOUNT, "limit": 2})).json()["items"]
    assert [e["seq"] for e in items] == [25, 24]


async def test_events_are_asked_for_by_time(api, desk):
    await api.get(
        "/events", params={"since": "2014-05-08T08:00:00Z", "until": "9999-01-01T00:00:00Z"}
    )
    wanted = desk.store.asked[-1]
    assert wanted.since_ns == 1_399_536_000_000_000_000
    assert wanted.until_ns == 2**63 - 1


async def test_the_last_page_says_so(api):
    answer = await api.get("/events", params={"limit": 25})
    assert answer.json()["next"] is None
    assert len(answer.json()["items"]) == 25


async def test_a_story_is_found_by_order_and_by_signal(api):
    for ref in ("6362", SIGNAL):
        story = (await api.get(f"/explain/{ref}")).json()
        assert story["signal"]["signal_id"] == SIGNAL
        assert story["stages"][0]["decided"]["latency_us"] == 48


async def test_breakers_that_block_can_be_asked_for(api):
    items = (await api.get("/breakers", params={"tripped": "true"})).json()["items"]
    assert [b["breaker"] for b in items] == ["M2"]


async def test_metrics_are_prometheus_text(api):
    answer = await api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "tso_running 1.0" in answer.text


async def test_a_store_that_cannot_be_read_is_a_503_without_its_path(api, desk):
    desk.store.broken = True
    answer = await api.get("/events")
    assert answer.status_code == 503
    assert "secret" not in answer.text
    assert answer.headers["retry-after"]


async def test_live_lists_do_not_need_the_store(api, desk):
    desk.store.broken = True
    for path in ("/trades?state=open", "/positions", "/accounts", "/orders?kind=pending"):
        assert (await api.get(path)).status_code == 200


async def test_a_cursor_of_something_gone_is_told(api):
    answer = await api.get("/agents", params={"cursor": "gone-1"})
    assert answer.status_code == 422
    assert answer.json()["title"] == "Unknown cursor"
