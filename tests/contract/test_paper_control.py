"""Troubles on demand over real sockets: each fault alone, limits, halts, deposits, the clock."""

import gzip
import http.client
import json
import socket
import time
from contextlib import contextmanager

import pytest

from tests.integration.paper_venue import EUR, TOKEN, USD, Venue

ORDERS = f"/v3/accounts/{USD}/orders"
ORDER = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}}


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    with Venue(tmp_path_factory.mktemp("venue")) as venue:
        venue.price("EUR_USD", "1.10000", "1.10010")
        yield venue


def last_id(venue):
    return int(venue.get(f"/v3/accounts/{USD}/summary")["lastTransactionID"])


def fault(venue, **fields):
    status, body, _ = venue.ask("POST", "/control/faults", fields)
    assert status == 200, body


def test_faults_come_before_or_after_the_effect_as_they_were_asked_for(venue):
    def on_orders(**fields):
        fault(venue, method="POST", path="/orders", **fields)

    for drop, made in (("before", 0), ("after", 2)):
        before = last_id(venue)
        on_orders(drop=drop)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            venue.ask("POST", ORDERS, ORDER)
        assert last_id(venue) - before == made
    before = last_id(venue)
    on_orders(status=503, times=2)
    assert [venue.ask("POST", ORDERS, ORDER)[0] for _ in range(3)] == [503, 503, 201]
    assert last_id(venue) - before == 2
    on_orders(delay_ms=150)
    began = time.monotonic()  # noqa: TID251 - another process delays
    assert venue.ask("POST", ORDERS, ORDER)[0] == 201
    assert time.monotonic() - began >= 0.15  # noqa: TID251
    on_orders(drop="before")
    assert venue.ask("DELETE", "/control/faults")[1] == {"waiting": 0}
    assert venue.ask("POST", ORDERS, ORDER)[0] == 201
    for bad in ({"drop": "maybe"}, {"status": 200}, {"times": 0}, {"delay_ms": -1},
                {"probability": 2}, {"nth": 0}, {"body": "odd"}, {"speling": 1}):  # fmt: skip
        assert venue.ask("POST", "/control/faults", bad)[0] == 400


def test_a_status_can_hide_an_effect_that_happened(venue):
    before = last_id(venue)
    fault(venue, operation="orders.create", status=504, when="after")
    status, body, _ = venue.ask("POST", ORDERS, ORDER)
    assert (status, body["errorMessage"]) == (504, "Timeout waiting for response.")
    assert last_id(venue) == before + 2


def test_faults_know_operations_accounts_and_the_nth_request(venue):
    fault(venue, operation="accounts.summary", account=EUR, nth=3, times=2, status=429)
    got = [venue.ask("GET", f"/v3/accounts/{a}/summary")[0] for a in [USD, EUR] * 6]
    assert got == [200, 200, 200, 200, 200, 429, 200, 429, 200, 200, 200, 200]
    fault(venue, operation="accounts.summary", status=401)
    status, body, _ = venue.ask("GET", f"/v3/accounts/{USD}/summary")
    assert (status, body["errorMessage"][:12]) == (401, "Insufficient")


def test_probability_is_seeded(venue):
    def round_of_faults():
        venue.ask("DELETE", "/control/faults")
        fault(venue, operation="accounts.summary", probability=0.5, times=10**6, status=503)
        got = [venue.ask("GET", f"/v3/accounts/{USD}/summary")[0] for _ in range(20)]
        [told] = venue.get("/control/faults")["faults"]
        assert (told["fitted"], told["met"]) == (20, got.count(503))
        venue.ask("DELETE", "/control/faults")
        return got

    first = round_of_faults()
    assert {200, 503} == set(first)
    assert round_of_faults() == first


def whole(venue, method, path, body=None):
    """(status, headers, body as it came), read until the connection ends."""
    connection = http.client.HTTPConnection("127.0.0.1", venue.port, timeout=5)
    headers = {"Authorization": f"Bearer {TOKEN}", "Connection": "close"}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    try:
        return answer.status, answer.headers, answer.read()
    except http.client.IncompleteRead as error:
        return answer.status, answer.headers, error.partial
    finally:
        connection.close()


def test_bodies_that_are_cut_senseless_empty_or_of_a_maintenance_page(venue):
    path = f"/v3/accounts/{USD}/summary"
    fault(venue, path=path, body="cut")
    _, headers, body = whole(venue, "GET", path)
    assert 0 < len(body) < int(headers["Content-Length"])
    for how in ("garbage", "empty"):
        fault(venue, path=path, body=how)
        status, headers, body = whole(venue, "GET", path)
        assert (status, int(headers["Content-Length"])) == (200, len(body))
        with pytest.raises(ValueError):  # noqa: PT011 - of JSON or of UTF-8
            json.loads(body)
    fault(venue, path=path, status=503, body="html")
    status, headers, body = whole(venue, "GET", path)
    assert (status, headers["Content-Type"], b"maintenance" in body) == (503, "text/html", True)


def test_a_delay_before_the_effect_holds_the_order_itself(venue):
    before = last_id(venue)
    fault(venue, operation="orders.create", delay_ms=300)
    body = json.dumps(ORDER).encode()
    with raw(venue, post(ORDERS, body)):
        assert last_id(venue) == before
        time.sleep(0.5)  # noqa: TID251 - another process delays
        assert last_id(venue) == before + 2
    fault(venue, operation="orders.create", delay_ms=300, when="after")
    with raw(venue, post(ORDERS, body)):
        ends = time.monotonic() + 0.25  # noqa: TID251 - another process delays the answer
        while last_id(venue) != before + 4:
            assert time.monotonic() < ends  # noqa: TID251


def test_reads_can_lag_behind_writes(venue):
    before = venue.get(f"/v3/accounts/{USD}")
    assert venue.ask("POST", ORDERS, ORDER)[0] == 201
    for path in (f"/v3/accounts/{USD}", f"/v3/accounts/{USD}/transactions/sinceid?id=0",
                 f"/v3/accounts/{USD}/openTrades"):  # fmt: skip
        fault(venue, path=path, stale=2)
        assert venue.get(path)["lastTransactionID"] == before["lastTransactionID"]
    fault(venue, path=f"/v3/accounts/{USD}", stale=2)
    assert venue.get(f"/v3/accounts/{USD}")["account"] == before["account"]
    assert last_id(venue) == int(before["lastTransactionID"]) + 2


def post(path, body):
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


@contextmanager
def raw(venue, text: bytes):
    with socket.create_connection(("127.0.0.1", venue.port), timeout=5) as connection:
        connection.sendall(text)
        yield connection


@contextmanager
def stream(venue, path):
    with raw(venue, f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
             .encode()) as connection:  # fmt: skip
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 200
        yield answer


TRANSACTIONS = f"/v3/accounts/{USD}/transactions/stream"


def heard(answer, count):
    """Ids of the next transactions, heartbeats left out."""
    ids = []
    while len(ids) < count:
        line = json.loads(answer.readline())
        if line["type"] != "HEARTBEAT":
            ids.append(int(line["id"]))
    return ids


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        ({"stream": "drop"}, [0, 2, 3]), ({"stream": "double"}, [0, 1, 1, 2, 3]),
        ({"stream": "swap"}, [0, 2, 1, 3]), ({"stream": "drop", "times": 2}, [0, 3]),
    ],
)  # fmt: skip
def test_lines_of_a_stream_are_lost_doubled_or_swapped(venue, trouble, expected):
    with stream(venue, TRANSACTIONS) as answer:
        fault(venue, operation="transactions.stream", nth=2, **trouble)
        first = last_id(venue) + 1
        for _ in range(2):
            assert venue.ask("POST", ORDERS, ORDER)[0] == 201
        assert heard(answer, len(expected)) == [first + n for n in expected]


def test_a_stream_can_be_cut_or_fall_silent(venue):
    with stream(venue, TRANSACTIONS) as answer:
        fault(venue, operation="transactions.stream", stream="disconnect")
        assert venue.ask("POST", ORDERS, ORDER)[0] == 201
        try:
            ended = answer.readline()
        except (ConnectionError, http.client.HTTPException):
            ended = b""
        assert ended == b""
    with stream(venue, TRANSACTIONS) as answer:
        fault(venue, operation="transactions.stream", stream="silence", silence_ms=200)
        first = last_id(venue) + 1
        assert venue.ask("POST", ORDERS, ORDER)[0] == 201
        time.sleep(0.3)  # noqa: TID251 - another process is silent
        assert venue.ask("POST", ORDERS, ORDER)[0] == 201
        assert heard(answer, 2) == [first + 2, first + 3]
    with stream(venue, TRANSACTIONS) as answer:
        fault(venue, operation="transactions.stream", stream="silence")
        first = last_id(venue) + 1
        assert venue.ask("POST", ORDERS, ORDER)[0] == 201
        venue.ask("DELETE", "/control/faults")
        assert venue.ask("POST", ORDERS, ORDER)[0] == 201
        assert heard(answer, 2) == [first + 2, first + 3]
    fault(venue, operation="pricing.stream", status=429)
    assert venue.ask("GET", f"/v3/accounts/{USD}/pricing/stream?instruments=EUR_USD")[0] == 429


def test_an_instrument_is_halted_and_opened(venue):
    halt = {"instrument": "EUR_USD", "tradeable": False}
    assert venue.ask("POST", "/control/instruments", halt)[0] == 200
    venue.price("EUR_USD", "1.10000", "1.10010")
    [price] = venue.get(f"/v3/accounts/{USD}/pricing?instruments=EUR_USD")["prices"]
    assert not price["tradeable"]
    _, body, _ = venue.ask("POST", ORDERS, ORDER)
    assert body["orderCancelTransaction"]["reason"] == "MARKET_HALTED"
    venue.ask("POST", "/control/instruments", halt | {"tradeable": True})
    assert "orderFillTransaction" in venue.ask("POST", ORDERS, ORDER)[1]
    assert venue.ask("POST", "/control/instruments", {"instrument": "X"})[0] == 400


def test_funds_are_paid_in_and_out(venue):
    before = venue.get(f"/v3/accounts/{EUR}/summary")["account"]["balance"]
    status, body, _ = venue.ask("POST", "/control/funds", {"account": EUR, "amount": "250.5"})
    made = body["transferFundsTransaction"]
    assert (status, made["type"], made["amount"]) == (200, "TRANSFER_FUNDS", "250.5000")
    assert float(made["accountBalance"]) == float(before) + 250.5
    status, body, _ = venue.ask("POST", "/control/funds", {"account": EUR, "amount": "-99999999"})
    assert (status, body["errorCode"]) == (400, "INSUFFICIENT_FUNDS")
    for bad in ("NaN", "0", "1e30"):
        assert venue.ask("POST", "/control/funds", {"account": EUR, "amount": bad})[0] == 400


def test_the_clock_jumps_and_changes_its_speed(tmp_path):
    with Venue(tmp_path) as venue:
        venue.price("EUR_USD", "1.10000", "1.10010")
        assert venue.ask("POST", ORDERS, ORDER)[0] == 201
        before = venue.get("/control/clock")["now_ns"]
        status, body, _ = venue.ask("POST", "/control/clock", {"jump_s": 7 * 86_400})
        assert status == 200, body
        assert body["now_ns"] - before >= 7 * 86_400 * 10**9
        days = venue.get(f"/v3/accounts/{USD}/transactions/sinceid?id=5")["transactions"]
        assert [t["type"] for t in days] == ["DAILY_FINANCING"] * 5
        assert venue.ask("POST", "/control/clock", {"speed": 5000})[1]["speed"] == 5000.0
        began = venue.get("/control/clock")["now_ns"]
        time.sleep(0.1)  # noqa: TID251 - another process runs fast
        assert venue.get("/control/clock")["now_ns"] - began > 400 * 10**9
        for bad in ({"jump_s": -1}, {"speed": 0}, {"speed": "fast"}, {"jump_s": 1e9}):
            assert venue.ask("POST", "/control/clock", bad)[0] == 400


def test_market_time_goes_on_after_a_restart_and_no_roll_is_charged_twice(tmp_path):
    flags = ("--state", str(tmp_path / "state"))
    since = f"/v3/accounts/{USD}/transactions/sinceid?id=0"
    with Venue(tmp_path, *flags) as venue:
        venue.price("EUR_USD", "1.10000", "1.10010")
        assert venue.ask("POST", ORDERS, ORDER)[0] == 201
        venue.ask("POST", "/control/clock", {"jump_s": 7 * 86_400})
        assert venue.ask("POST", ORDERS, ORDER)[0] == 201
        before, clock = venue.get(since), venue.get("/control/clock")["now_ns"]
    with Venue(tmp_path, *flags) as venue:
        assert venue.get("/control/clock")["now_ns"] >= clock - 10**9
        venue.price("EUR_USD", "1.10000", "1.10010")
        assert venue.get(since) == before
        time.sleep(0.05)  # noqa: TID251 - another process's clock runs
        [first, *_] = venue.ask("POST", ORDERS, ORDER)[1].values()
        assert first["time"] > before["transactions"][-1]["time"]


def test_limits_are_kept_when_asked_for(tmp_path):
    flags = ("--limits", "--stream-port", "0")
    with Venue(tmp_path, *flags) as venue:
        port, streams = (int(line) for line in (tmp_path / "port").read_text().split())
        # Limits are by the second of another process, which a busy machine may stretch: not once
        # more than is allowed, and in some second less than is asked.
        assert any(_too_many(port) for _ in range(10))
        assert any(_too_many_connections(streams) for _ in range(10))
        assert venue.ask("GET", "/control/clock")[0] == 200  # the control is never limited


def _too_many(port) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    got = []
    for _ in range(150):
        connection.request("GET", "/v3/accounts", headers={"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        answer.read()
        got.append((answer.status, answer.headers["Retry-After"]))
    connection.close()
    assert got[:120] == [(200, None)] * 120
    pause(1.1)
    return (429, "1") in got[120:]


def _too_many_connections(streams) -> bool:
    status = [plain_get(streams, "/v3/accounts") for _ in range(3)]
    pause(1.1)
    return status == [200, 200, 429]


def pause(seconds):
    time.sleep(seconds)  # noqa: TID251 - another process counts by the second


def plain_get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_long_answers_are_zipped_for_who_reads_that(venue):
    sent = {"Authorization": f"Bearer {TOKEN}", "Accept-Encoding": "gzip, deflate"}
    connection = http.client.HTTPConnection("127.0.0.1", venue.port, timeout=5)
    for path, zipped in ((f"/v3/accounts/{USD}/instruments", True), ("/v3/accounts", False)):
        connection.request("GET", path, headers=sent)
        answer = connection.getresponse()
        body = answer.read()
        assert int(answer.headers["Content-Length"]) == len(body)
        assert (answer.headers["Content-Encoding"] == "gzip") is zipped
        assert json.loads(gzip.decompress(body) if zipped else body)
    connection.close()
