"""A write's outcome under everything a venue or a network can do to it."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest

from orchestrator.model.orders import (
    Answered,
    NotSent,
    Rejected,
    Unknown,
    WriteKind,
    WriteRequest,
)
from tests.unit.adapters.oanda_server import (
    ACCOUNT,
    IN_A_HURRY,
    OTHER,
    QUICK,
    Outcomes,
    Script,
    answer,
    cancel,
    filled,
    open_gate,
    order,
    say_filled,
    saying,
    send,
    serving,
    until,
    venue_at,
    warm,
)


async def outcome_of(script: Script, request=None, limits=QUICK):
    async with serving(script), venue_at(script.url, limits) as venue:
        return await send(venue, request)


async def test_a_201_carries_its_transactions_in_the_order_of_their_ids():
    outcome = await outcome_of(Script())
    assert isinstance(outcome, Answered)
    assert [t.type for t in outcome.transactions] == ["MARKET_ORDER", "ORDER_FILL"]
    assert (outcome.status, outcome.last_transaction_id) == (201, 11)


async def test_an_order_is_posted_exactly_as_given_with_its_request_id():
    script = Script()
    await outcome_of(script, order("i-42"))
    (request,) = script.requests
    assert request.line == f"POST /v3/accounts/{ACCOUNT}/orders"
    assert request.body == order("i-42").body.encode()
    assert request.headers["clientrequestid"] == "i-42"
    assert request.headers["authorization"] == "Bearer a-token"
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("kind", "target", "line"),
    [
        (WriteKind.PROTECT, "7", f"PUT /v3/accounts/{ACCOUNT}/trades/7/orders"),
        (
            WriteKind.CANCEL,
            "@a b/../c",
            f"PUT /v3/accounts/{ACCOUNT}/orders/@a%20b%2F..%2Fc/cancel",
        ),
        (WriteKind.CLOSE_TRADE, "7", f"PUT /v3/accounts/{ACCOUNT}/trades/7/close"),
        (
            WriteKind.CLOSE_POSITION,
            "EUR_USD",
            f"PUT /v3/accounts/{ACCOUNT}/positions/EUR_USD/close",
        ),
    ],
)
async def test_each_kind_of_write_has_its_path(kind, target, line):
    script = Script()
    body = "" if kind is WriteKind.CANCEL else "{}"
    await outcome_of(script, WriteRequest(kind=kind, account_id=ACCOUNT, target=target, body=body))
    assert script.lines == [line]


@pytest.mark.parametrize(
    "request_",
    [
        order("bad\r\nX-Evil: 1"),
        order("a b"),
        order(account="999"),
        cancel(""),
    ],
)
async def test_what_must_not_stand_in_a_head_is_not_sent(request_):
    script = Script()
    assert isinstance(await outcome_of(script, request_), NotSent)
    assert script.requests == []


REJECTED = {
    "orderRejectTransaction": {
        "id": "9", "type": "MARKET_ORDER_REJECT", "accountID": ACCOUNT,
        "time": "2014-05-08T12:00:00.000000000Z",
        "rejectReason": "UNITS_INVALID",
    },
    "relatedTransactionIDs": ["9"], "lastTransactionID": "9",
    "errorCode": "UNITS_INVALID", "errorMessage": "Order units specified are invalid",
}  # fmt: skip


@pytest.mark.parametrize("status", [400, 404])
async def test_a_readable_refusal_is_a_rejection_with_its_transaction(status):
    script = Script()
    script.answer = saying(answer(status, REJECTED))
    outcome = await outcome_of(script)
    assert isinstance(outcome, Rejected)
    assert (outcome.status, outcome.code) == (status, "UNITS_INVALID")
    assert [t.number for t in outcome.transactions] == [9]


@pytest.mark.parametrize("body", [b"<html>", {"errorMessage": "Insufficient authorization"}])
@pytest.mark.parametrize("status", [401, 403])
async def test_bad_credentials_are_a_rejection_whatever_the_body(status, body):
    script = Script()
    script.answer = saying(answer(status, body))
    assert isinstance(await outcome_of(script), Rejected)


async def test_a_429_proves_that_nothing_was_accepted():
    script = Script()
    script.answer = saying(answer(429, {"errorMessage": "slow down"}, "Retry-After: 1\r\n"))
    outcome = await outcome_of(script)
    assert isinstance(outcome, NotSent)
    assert outcome.reason == "429 slow down"
    assert not outcome.by_gate


FINE = filled(type("R", (), {"headers": {}, "path": f"/v3/accounts/{ACCOUNT}/orders"})())
NAN = {**FINE, "orderFillTransaction": {**FINE["orderFillTransaction"], "pl": "NaN"}}
FOREIGN = {**FINE, "orderCreateTransaction": {**FINE["orderCreateTransaction"], "accountID": OTHER}}
STRANGE = {
    **FINE,
    "orderCreateTransaction": {**FINE["orderCreateTransaction"], "clientExtensions": {"id": "x"}},
}
REFUSED_ANOTHER = {
    **REJECTED,
    "orderRejectTransaction": {
        **REJECTED["orderRejectTransaction"],
        "clientExtensions": {"id": "x"},
    },
}
CUT = answer(201, FINE)


@pytest.mark.parametrize(
    "said",
    [
        answer(500, {"errorMessage": "oops"}),
        answer(502, b"<html>Bad gateway</html>"),
        answer(504, {"errorMessage": "Timeout waiting for response."}),
        answer(408, {"errorMessage": "x"}),
        answer(302, b"", "Location: /elsewhere\r\n"),
        answer(201, b"not json"),
        answer(201, b""),
        answer(201, b"[]"),
        answer(201, {}),
        answer(201, {"lastTransactionID": "5"}),
        answer(201, {**FINE, "lastTransactionID": "5x"}),
        answer(201, NAN),
        answer(201, FOREIGN),
        answer(201, STRANGE),
        answer(400, b"<html>"),
        answer(400, REFUSED_ANOTHER),
        answer(400, {**REJECTED, "orderRejectTransaction": FOREIGN["orderCreateTransaction"]}),
        answer(400, {**REJECTED, "orderFillTransaction": FINE["orderFillTransaction"]}),
        answer(201, gzip.compress(json.dumps(FINE).encode())[:-4], "Content-Encoding: gzip\r\n"),
        answer(201, FINE, "Content-Encoding: br\r\n"),
        answer(201, FINE).replace(b"Content-Length", b"X-Length"),
        answer(201, FINE, "Transfer-Encoding: chunked\r\n"),
        answer(201, b"x" * 1_000_001),
        b"HTTP/1.1 201 Created\r\nX: " + b"y" * 70_000,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=lambda said: repr(said[:60]),
)
async def test_what_proves_nothing_is_unknown_and_never_sent_again(said):
    script = Script()
    script.answer = saying(said)
    outcome = await outcome_of(script)
    assert isinstance(outcome, Unknown), outcome
    assert outcome.reason
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (answer(201, FINE).replace(b"Content-Length", b"X-Length"), "no length"),
        (b"HTTP/1.1 201 Created\r\nX: " + b"y" * 70_000, "endless header"),
        (answer(201, b" " * 1_000_001), "longer than"),
    ],
    ids=["no length", "endless header", "endless body"],
)
async def test_an_answer_without_end_is_not_waited_for(said, reason):
    script = Script()
    script.answer = saying(said)
    outcome = await outcome_of(script)
    assert isinstance(outcome, Unknown)
    assert reason in outcome.reason


async def test_a_success_that_names_no_transaction_at_all_proves_nothing():
    script = Script()
    script.answer = saying(answer(200, {}))
    assert isinstance(await outcome_of(script, cancel()), Unknown)


async def test_an_answer_that_never_comes_is_unknown():
    script = Script()
    script.answer = saying()
    outcome = await outcome_of(script, limits=IN_A_HURRY)
    assert outcome == Unknown(reason="no answer in 0.2 s")
    assert len(script.requests) == 1


@pytest.mark.parametrize("part", [0, 1, 30, len(CUT) - 1])
async def test_a_cut_answer_is_unknown(part):
    script = Script()

    async def cut(peer, request):
        del request
        await peer.say(CUT[:part])
        peer.writer.close()

    script.answer = cut
    assert isinstance(await outcome_of(script), Unknown)
    assert len(script.requests) == 1


async def test_a_reset_after_the_request_is_unknown_and_not_sent_again():
    script = Script()

    async def reset(peer, request):
        del request
        peer.reset()

    script.answer = reset
    assert isinstance(await outcome_of(script), Unknown)
    assert len(script.requests) == 1


async def test_a_slow_drip_does_not_outlive_the_answer_time():
    script = Script()

    async def drip(peer, request):
        del request
        for byte in CUT:
            await peer.say(bytes([byte]))
            await asyncio.sleep(0.02)

    script.answer = drip
    assert isinstance(await outcome_of(script, limits=IN_A_HURRY), Unknown)


@pytest.mark.parametrize("gzipped", [False, True])
async def test_odd_chunks_byte_by_byte_are_read(gzipped):
    script = Script()

    async def chunked(peer, request):
        plain = json.dumps(filled(request)).encode()
        body = gzip.compress(plain) if gzipped else plain
        coding = b"Content-Encoding: gzip\r\n" if gzipped else b""
        chunks = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in body)
        said = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n" + coding + b"\r\n"
        for byte in said + chunks + b"0\r\n\r\n":
            peer.writer.write(bytes([byte]))
        await peer.writer.drain()

    script.answer = chunked
    assert isinstance(await outcome_of(script), Answered)


async def test_a_100_continue_is_not_the_answer():
    script = Script()
    script.answer = saying(b"HTTP/1.1 100 Continue\r\n\r\n", answer(400, REJECTED))
    assert isinstance(await outcome_of(script), Rejected)


async def test_nobody_there_is_proof_that_nothing_was_sent():
    async with venue_at("http://127.0.0.1:1") as venue:
        outcome = await send(venue)
    assert isinstance(outcome, NotSent)
    assert "no connection" in outcome.reason


async def test_a_close_while_idle_costs_no_order():
    """The warm connections are closed and the loop has not seen it: the order takes a new one."""
    script = Script()
    async with serving(script), venue_at(script.url) as venue:
        await warm(venue)
        for peer in script.peers:
            peer.hang_up()
        assert isinstance(await send(venue), Answered)
    assert len(script.requests) == 1


async def test_a_close_that_crosses_the_order_on_its_way_is_unknown():
    script = Script()
    async with serving(script), venue_at(script.url) as venue:
        await warm(venue)
        outcomes = Outcomes()
        venue.submit(order(), open_gate, outcomes.done())
        for peer in script.peers:
            peer.hang_up()
        (outcome,) = await outcomes.wait()
    assert isinstance(outcome, Unknown)
    assert len(script.requests) <= 1


async def test_two_answers_to_one_request_do_not_become_the_next_ones_answer():
    script = Script()

    async def twice(peer, request):
        said = answer(201, filled(request))
        await peer.say(said + said[:-20])

    script.answer = twice
    async with serving(script), venue_at(script.url) as venue:
        await warm(venue)
        first = await send(venue, order("i-1"))
        script.answer = Script().answer
        second = await send(venue, order("i-2"))
    assert isinstance(first, Answered)
    assert isinstance(second, Answered)
    assert second.transactions[0].client_extensions.id == "i-2"
    assert len(script.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 429, 503])
async def test_a_refusal_without_a_name_that_is_told_twice_is_not_the_next_orders(status):
    """An accepted order would look refused, or (429) as never sent, and be sent again."""
    script = Script()
    refusal = answer(status, {"errorMessage": "no"}, "Retry-After: 0\r\n")

    async def say(peer, request):
        if len(script.requests) > 1:
            return await say_filled(peer, request)
        await peer.say(refusal)
        await asyncio.sleep(0.005)  # the next order is on its way by now
        return await peer.say(refusal)

    script.answer = say
    async with serving(script), venue_at(script.url) as venue:
        assert not isinstance(await send(venue, order("i-1")), Answered)
        assert isinstance(await send(venue, order("i-2")), Answered)


async def test_a_venue_that_speaks_unasked_loses_the_connection():
    script = Script()
    async with serving(script), venue_at(script.url) as venue:
        await warm(venue)
        await script.peers[0].say(answer(201, FINE))
        await until(lambda: venue.stats.connections_lost == 1)
        assert isinstance(await send(venue), Answered)


async def test_connection_close_is_honoured():
    script = Script()

    async def last(peer, request):
        await peer.say(answer(201, filled(request), "Connection: close\r\n"))

    script.answer = last
    async with serving(script), venue_at(script.url) as venue:
        for name in ("i-1", "i-2", "i-3"):
            assert isinstance(await send(venue, order(name)), Answered)
    assert len(script.requests) == 3


async def test_closing_the_client_ends_every_write_once():
    script = Script()
    script.answer = saying()
    outcomes = Outcomes()
    async with serving(script), venue_at(script.url) as venue:
        await warm(venue)
        for number in range(4):
            venue.submit(order(f"i-{number}"), open_gate, outcomes.done(f"i-{number}"))
        await venue.close()
        venue.submit(order("late"), open_gate, outcomes.done("late"))
        await outcomes.wait(5)
    kinds = {name: type(outcome) for name, outcome, _ in outcomes.all}
    assert len(outcomes.all) == 5
    assert kinds["i-0"] is Unknown
    assert kinds["i-3"] is NotSent
    assert kinds["late"] is NotSent


async def test_counters_tell_what_happened():
    script = Script()
    async with serving(script), venue_at(script.url, IN_A_HURRY) as venue:
        await send(venue)
        script.answer = saying()
        await send(venue, order("i-2"))
        assert venue.stats.requests == {("order", "201"): 1, ("order", "lost"): 1}
