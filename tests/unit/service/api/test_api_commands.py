"""What acts: each command reaches the desk as it was meant, or is refused in words."""

from decimal import Decimal

import msgspec
import pytest

from orchestrator.service.api.bodies import SignalBody
from orchestrator.service.desk import SignalWish
from orchestrator.service.views import Refused
from tests.unit.service.api.fake_desk import ACCOUNT, OTHER, api_of, client_of

SIGNAL = {"instrument": "EUR_USD", "side": "buy", "stop_distance": "0.00120"}


async def test_start_needs_no_body(api, desk):
    answer = await api.post("/start")
    assert answer.status_code == 200
    assert answer.json()["text"] == "trading is on"
    assert desk.calls == [("start", "api", "")]


async def test_stop_keeps_positions_unless_told_and_names_what_stays(api, desk):
    answer = await api.post("/stop", json={"reason": "evening"})
    assert [t["trade_id"] for t in answer.json()["open_trades"]] == ["6363"]
    assert [o["order_id"] for o in answer.json()["pending_orders"]] == ["6364"]
    await api.post("/stop", json={"positions": "close"})
    assert desk.calls == [("stop", "api", "evening", False), ("stop", "api", "", True)]


async def test_who_acts_is_recorded_by_name(api, desk):
    await api.post("/start", headers={"X-Actor": "jo"})
    assert desk.calls == [("start", "api:jo", "")]


async def test_a_name_that_is_none_is_refused(api, desk):
    answer = await api.post("/start", headers={"X-Actor": "jo bloggs\t"})
    assert answer.status_code == 422
    assert desk.calls == []


async def test_a_refusal_is_a_problem_with_every_reason(api, desk):
    desk.refusal = Refused(
        status=409, title="Refused", detail="still stopped", items=("not flat", "6363 is open")
    )
    answer = await api.post("/resume", json={"stop_id": "stop-1", "reason": "done"})
    assert answer.status_code == 409
    assert answer.json()["errors"] == ["not flat", "6363 is open"]
    assert answer.json()["title"] == "Refused"


async def test_resume_hands_on_what_is_still_open(api, desk):
    body = {"stop_id": "stop-1", "reason": "false alarm", "open_trades": ["6363"]}
    assert (await api.post("/resume", json=body)).status_code == 200
    assert desk.calls == [("resume", "api", "stop-1", "false alarm", ("6363",))]


async def test_accounts_are_switched(api, desk):
    await api.post(f"/accounts/{ACCOUNT}/disable", json={"reason": "odd"})
    await api.post(f"/accounts/{ACCOUNT}/enable")
    assert desk.calls == [
        ("enable", ACCOUNT, "api", "odd", False), ("enable", ACCOUNT, "api", "", True),
    ]  # fmt: skip
    assert (await api.post("/accounts/nobody/enable")).status_code == 404


async def test_an_agent_is_restarted(api, desk):
    assert (await api.post("/agents/odd-1/restart")).status_code == 200
    assert ("restart_agent", "odd-1", "api") in desk.calls


async def test_a_breaker_with_one_subject_needs_no_naming(api, desk):
    answer = await api.post("/breakers/M2/reset", json={"reason": "calm again"})
    assert answer.status_code == 200
    assert desk.calls == [("reset", "M2", "GBP_USD", "api", "calm again")]


async def test_a_drawdown_is_reset_with_a_new_peak_where_that_is_asked(api, desk):
    body = {"reason": "new money", "subject": OTHER, "rebase": True}
    assert (await api.post("/breakers/A1/reset", json=body)).status_code == 200
    assert desk.calls == [("reset", "A1", OTHER, "api", "new money", "rebase")]


async def test_a_breaker_with_several_subjects_asks_which(api, desk):
    answer = await api.post("/breakers/A1/trip", json={"reason": "odd"})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [ACCOUNT, OTHER]
    await api.post("/breakers/A1/trip", json={"reason": "odd", "subject": OTHER})
    assert desk.calls == [("trip", "A1", OTHER, "api", "odd")]


async def test_nobody_resets_a_breaker_without_a_reason(api, desk):
    assert (await api.post("/breakers/M2/reset")).status_code == 422
    assert desk.calls == []


async def test_a_signal_is_taken_and_its_story_is_named(api, desk):
    answer = await api.post("/signals", json=SIGNAL | {"signal_id": "mine-1"})
    assert answer.status_code == 202
    assert answer.json() == {
        "signal_id": "mine-1", "accounts": [ACCOUNT], "explain": "/explain/mine-1",
    }  # fmt: skip
    _, wish, actor = desk.calls[0]
    assert wish.stop_distance == Decimal("0.00120")
    assert actor == "api"


async def test_a_number_in_json_becomes_the_same_decimal(api, desk):
    content = b'{"instrument":"EUR_USD","side":"sell","stop_distance":0.00123456789012345678}'
    await api.post("/signals", content=content)
    assert desk.calls[0][1].stop_distance == Decimal("0.00123456789012345678")


def test_a_signals_body_has_the_fields_of_a_wish():
    assert set(SignalBody.__struct_fields__) == set(SignalWish.__struct_fields__)
    body = SignalBody(instrument="EUR_USD", side="buy", stop_distance=Decimal(1))
    wish = SignalWish(instrument="EUR_USD", side="buy", stop_distance=Decimal(1))
    assert msgspec.structs.asdict(body.wish()) == msgspec.structs.asdict(wish)


@pytest.mark.parametrize(
    "change",
    [
        {"stop_distance": "NaN"}, {"stop_distance": "Infinity"}, {"stop_distance": "-0.001"},
        {"stop_distance": 0}, {"stop_distance": "1e999999999"}, {"stop_distance": True},
        {"target_distance": "sNaN"}, {"confidence": "1.01"}, {"confidence": "0"},
        {"confidence": "-NaN"}, {"side": "hold"}, {"side": None}, {"instrument": "EUR USD"},
        {"instrument": ""}, {"instrument": "EUR_USD\n"}, {"ttl_ms": 0}, {"ttl_ms": 10**30},
        {"ttl_ms": "10"}, {"ttl_ms": 1.5}, {"accounts": "all"}, {"accounts": ["a b"]},
        {"accounts": ["a"] * 501}, {"note": "x" * 501}, {"note": "two\nlines"},
        {"note": "\u202e"}, {"note": "\x1b[2J"}, {"strategy": ""}, {"signal_id": "x" * 65},
        {"signal_id": "a\n"}, {"price": "1.1"},
    ],
    ids=str,
)  # fmt: skip
async def test_a_signal_with_a_wrong_field_never_reaches_the_desk(api, desk, change):
    answer = await api.post("/signals", json=SIGNAL | change)
    assert answer.status_code == 422
    assert answer.json()["errors"] or answer.json()["detail"]
    assert desk.calls == []


@pytest.mark.parametrize(
    "raw",
    [
        b"{", b"[]", b"null", b"7", b'"x"', b"\xff\xfe{}", b'{"reason":NaN}',
        b'{"reason":Infinity}',
        b'{"reason":"a","reason":"b"}', b'{"reason":' + b"[" * 21 + b"]" * 21 + b"}",
        b"[" * 60_000, b'{"a":' * 9_000 + b"1" + b"}" * 9_000, b'{"reason":"\\ud800"}',
        b'{"reason":"\xed\xa0\x80"}', b'{"reason":1e999}', b'{"x":' + b"9" * 50_000 + b"}",
        b'{"reason":"a"} {"reason":"b"}', b"'a'", b'{"reason":"a",}', b'"' + b'\\"' * 30_000,
    ],
    ids=lambda raw: repr(raw[:24]),
)  # fmt: skip
async def test_a_body_that_is_not_what_it_should_be_is_a_422_problem(api, desk, raw):
    answer = await api.post("/start", content=raw)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert desk.calls == []


async def test_a_body_of_more_than_64_kb_is_refused_announced_or_not(api, desk):
    async def parts():
        for _ in range(70):
            yield b" " * 1024

    assert (await api.post("/start", content=b" " * 70_000)).status_code == 413
    assert (await api.post("/start", content=parts())).status_code == 413
    assert desk.calls == []


async def test_an_audit_that_verifies_is_told(api):
    assert (await api.post("/audit/verify")).json()["text"] == "the audit chain verifies"


async def test_trouble_inside_is_a_500_problem_without_its_cause(desk):
    desk.raises = RuntimeError("password=hunter2 in /secret/file.py")
    async with client_of(api_of(desk)) as client:
        answer = await client.post("/start")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in answer.text
    assert "file.py" not in answer.text
    assert "error-" in answer.json()["detail"]
