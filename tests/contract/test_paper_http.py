"""The paper venue over a raw socket: errors as OANDA's, never a 500, nothing lost by a kill."""

import http.client
import json
import random
import resource
import signal
import socket
import time
from contextlib import contextmanager

import pytest

from tests.integration.paper_venue import EUR, HEDGING, TOKEN, USD, Venue, decoded

ORDERS = f"/v3/accounts/{USD}/orders"


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("venue")
    with Venue(folder, "--log", str(folder / "log"), "--state", str(folder / "state")) as venue:
        venue.folder = folder
        venue.price("EUR_USD", "1.10000", "1.10010")
        yield venue


@contextmanager
def raw(venue, text: bytes):
    with socket.create_connection(("127.0.0.1", venue.port), timeout=10) as connection:
        connection.sendall(text)
        yield connection


def request(method, path, *headers, body=b""):
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404), ("GET", "/v3", 404), ("GET", "/v3/accounts/x", 400),
        ("GET", "/v3/accounts/101-001-1000001-999", 403), ("GET", f"/v3/accounts/{USD}/magic", 404),
        ("DELETE", f"/v3/accounts/{USD}/orders", 405), ("GET", f"{ORDERS}/999", 404),
        ("GET", f"/v3/accounts/{USD}/trades/@none", 404), ("PUT", f"{ORDERS}/7/cancel", 404),
        ("GET", f"/v3/accounts/{USD}/positions/XAU_USD", 404),
        ("GET", f"/v3/accounts/{USD}/positions/XXX_YYY", 400),
        ("GET", f"/v3/accounts/{USD}/pricing", 400),
        ("GET", f"/v3/accounts/{USD}/pricing?instruments=XXX_YYY", 400),
        ("GET", f"/v3/accounts/{USD}/pricing?instruments=EUR_USD&since=never", 400),
        ("GET", f"/v3/accounts/{USD}/pricing/stream", 400),
        ("GET", f"/v3/accounts/{USD}/pricing/stream?instruments=EUR_USD&snapshot=maybe", 400),
        ("POST", f"/v3/accounts/{USD}/pricing/stream?instruments=EUR_USD", 405),
        ("GET", f"/v3/accounts/{USD}/transactions/sinceid", 400),
        ("GET", f"/v3/accounts/{USD}/transactions/sinceid?id=-1", 400),
        ("GET", f"/v3/accounts/{USD}/transactions/sinceid?id=99999", 416),
        ("GET", f"/v3/accounts/{USD}/transactions/idrange?from=1&to=99999", 416),
        ("GET", f"/v3/accounts/{USD}/transactions/999999999999999999999999", 404),
        ("GET", f"/v3/accounts/{USD}/transactions?pageSize=5000", 400),
        ("GET", f"/v3/accounts/{USD}/transactions?pageSize=%C2%B2", 400),
        ("GET", f"/v3/accounts/{USD}/transactions?from=99999999999999999999", 400),
        ("GET", "/v3/instruments/EUR_USD/candles?count=5001", 400),
        ("GET", "/v3/instruments/EUR_USD/candles?granularity=M3", 400),
        ("GET", "/v3/instruments/EUR_USD/candles?price=X", 400),
        ("GET", "/v3/instruments/EUR_USD/candles?from=2999-01-01T00:00:00Z", 400),
        ("GET", "/v3/instruments/XXX_YYY/candles", 400),
        ("GET", f"/v3/accounts/{USD}/changes", 400),
        ("GET", f"/v3/accounts/{USD}/changes?sinceTransactionID=x", 400),
        ("GET", f"/v3/accounts/{USD}/changes?sinceTransactionID=99999", 416),
        ("GET", f"{ORDERS}?state=SOME", 400), ("GET", f"{ORDERS}?count=501", 400),
        ("POST", "/control/prices", 400),
    ],
)  # fmt: skip
def test_each_mistake_has_its_status_and_a_text(venue, method, path, status):
    got, body, headers = venue.ask(method, path)
    assert (got, bool(body["errorMessage"])) == (status, True), body
    assert headers["RequestID"]


def test_a_wrong_token_is_401_on_reads_writes_and_streams(venue):
    for method, path in (("GET", "/v3/accounts"), ("POST", ORDERS), ("GET", "/control/clock"),
                         ("GET", f"/v3/accounts/{USD}/transactions/stream")):  # fmt: skip
        got, body, _ = venue.ask(method, path, Authorization="Bearer wrong")
        assert (got, body["errorMessage"]) == (
            401,
            "Insufficient authorization to perform request.",
        )


def test_another_content_type_is_415_and_a_huge_body_413(venue):
    data = b'{"order":{}}'
    assert venue.ask("POST", ORDERS, data, **{"Content-Type": "text/plain"})[0] == 415
    assert venue.ask("POST", ORDERS, b'{"x":"' + b"a" * 1_000_100 + b'"}')[0] == 413


def test_no_body_gives_a_500_or_half_an_order(venue):
    """Bodies cut, stretched and mixed at random: each answer is whole, the ids have no hole."""
    dice = random.Random(11)
    good = json.dumps({
        "order": {
            "type": "LIMIT", "instrument": "EUR_USD", "units": "100", "price": "1.05",
            "timeInForce": "GTD", "gtdTime": "2099-01-01T00:00:00Z", "positionFill": "DEFAULT",
            "stopLossOnFill": {"price": "1.01", "clientExtensions": {"id": "a"}},
            "trailingStopLossOnFill": {"distance": "0.01"}, "clientExtensions": {"id": "b"},
        }
    }).encode()  # fmt: skip
    odd = [b"null", b"[]", b"{}", b"-1", b'""', b'"NaN"', b"1e400", b'"1E-400"', b"true", b"\xff",
           b'"\\ud800"', b"[" * 2000, b'{"a":' * 2000]  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", venue.port, timeout=10)
    for _ in range(400):
        body = bytearray(good)
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(len(body))
            match dice.randrange(4):
                case 0:
                    del body[at : at + dice.randint(1, 9)]
                case 1:
                    body[at : at + 1] = dice.choice(odd)
                case 2:
                    body[at : at + 1] = bytes([dice.randrange(256)])
                case _:
                    colon = body.find(b":", at)
                    body[colon + 1 : body.find(b",", colon)] = dice.choice(odd)
        kind, path = dice.choice([
            ("POST", ORDERS), ("PUT", f"/v3/accounts/{USD}/trades/5/orders"),
            ("PUT", f"/v3/accounts/{USD}/trades/5/close"), ("PUT", f"{ORDERS}/5"),
            ("PUT", f"/v3/accounts/{USD}/positions/EUR_USD/close"),
            ("PATCH", f"/v3/accounts/{USD}/configuration"), ("POST", "/control/prices"),
            ("POST", "/control/funds"), ("POST", "/control/instruments"),
            ("PUT", f"/v3/accounts/{USD}/orders/5/clientExtensions"),
        ])  # fmt: skip
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        connection.request(kind, path, bytes(body), headers)
        answer = connection.getresponse()
        read = decoded(answer)
        assert answer.status < 500, (kind, path, bytes(body), read)
    connection.close()
    answer = venue.get(f"/v3/accounts/{USD}/transactions/sinceid?id=0")
    assert [int(t["id"]) for t in answer["transactions"]] == list(
        range(1, int(answer["lastTransactionID"]) + 1)
    )
    assert venue.process.poll() is None


def test_no_query_gives_a_500(venue):
    """Every read with parameters of every kind, senseless ones among them."""
    dice = random.Random(12)
    account = f"/v3/accounts/{USD}"
    paths = [
        "/v3/instruments/EUR_USD/candles", f"{account}/candles/latest", f"{account}/orders",
        f"{account}/trades", f"{account}/transactions", f"{account}/transactions/idrange",
        f"{account}/transactions/sinceid", f"{account}/changes", f"{account}/pricing",
        f"{account}/instruments", "/v3/instruments/EUR_USD/orderBook", f"{account}/orders/@%2F",
        f"{account}/positions/%F0%9F%98%80", f"{account}/trades/%00",
    ]  # fmt: skip
    names = [
        "from", "to", "count", "granularity", "price",
        "smooth", "includeFirst", "dailyAlignment", "alignmentTimezone", "weeklyAlignment",
        "units", "ids", "state", "instrument", "beforeID",
        "pageSize", "type", "id", "since", "sinceTransactionID",
        "instruments", "candleSpecifications", "includeUnitsAvailable",
    ]  # fmt: skip
    values = ["", "0", "1", "-1", "5", "9" * 30, "1e3", "NaN", "True", "maybe", "EUR_USD", "M1",
              "M", "D", "W", "ALL", "%00", "%F0%9F%98%80", "2024-03-12T00:00:00Z", "UTC", "../..",
              "America/New_York", "Monday", "EUR_USD:M1:B", "1,2,3", "%C2%B2",
              "0.5"]  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", venue.port, timeout=10)
    for _ in range(600):
        chosen = dice.sample(names, dice.randint(0, 5))
        query = "&".join(f"{name}={dice.choice(values)}" for name in chosen)
        path = f"{dice.choice(paths)}?{query}"
        connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        read = decoded(answer)
        assert answer.status < 500, (path, read)
    connection.close()


def test_requests_byte_by_byte_and_several_in_one_packet(venue):
    text = request("GET", f"/v3/accounts/{EUR}/summary")
    with raw(venue, b"") as connection:
        for index in range(len(text)):
            connection.sendall(text[index : index + 1])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
    with raw(venue, text * 3) as connection:
        got = b""
        while got.count(b"HTTP/1.1 200 OK") < 3:
            got += connection.recv(65536)
    with raw(venue, b"\x16\x03\x01 what is this\r\n\r\n") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")
        assert connection.recv(65536) == b""


def pages(venue, path, key):
    """Every id of a list, by following its Link headers."""
    found = []
    while path:
        status, body, headers = venue.ask("GET", path)
        assert status == 200, body
        found.append([one["id"] for one in body[key]])
        link = headers.get("Link", "")
        assert link.endswith('; rel="next"') or not link
        path = link.partition(f"<http://127.0.0.1:{venue.port}")[2].partition(">")[0]
    return found


def test_lists_lead_from_page_to_page(venue):
    resting = {"order": {"type": "LIMIT", "instrument": "EUR_USD", "units": "1", "price": "0.5"}}
    market = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}}
    account = f"/v3/accounts/{HEDGING}"
    made = [venue.ask("POST", f"{account}/orders", resting)[1] for _ in range(7)]
    ids = [m["orderCreateTransaction"]["id"] for m in made][::-1]
    assert pages(venue, f"{account}/orders?count=3", "orders") == [ids[:3], ids[3:6], ids[6:]]
    chosen = f"{account}/orders?ids={ids[0]},{ids[5]}&instrument=EUR_USD"
    assert pages(venue, chosen, "orders") == [[ids[0], ids[5]]]
    made = [venue.ask("POST", f"{account}/orders", market)[1] for _ in range(4)]
    ids = [m["orderFillTransaction"]["id"] for m in made][::-1]
    assert pages(venue, f"{account}/trades?count=2&state=ALL", "trades") == [ids[:2], ids[2:]]
    beside = f"{account}/trades?beforeID={ids[1]}&count=500"
    assert pages(venue, beside, "trades") == [ids[1:]]


def test_a_client_may_wait_before_it_sends_its_body(venue):
    """As .NET's does: the head first, the body after "100 Continue"."""
    body = b'{"order":{"type":"MARKET","instrument":"EUR_USD","units":"1"}}'
    head = request("POST", ORDERS, "Content-Type: application/json", "Expect: 100-continue",
                   f"Content-Length: {len(body)}")  # fmt: skip
    with raw(venue, head) as connection:
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 Created")


def test_a_body_may_come_in_chunks(venue):
    body = b'{"order":{"type":"MARKET","instrument":"EUR_USD","units":"1"}}'
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:7], body[7:]))
    head = request("POST", ORDERS, "Transfer-Encoding: chunked")
    with raw(venue, head + pieces + b"0\r\n\r\n") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 Created")


def test_a_head_request_is_answered_without_a_body(venue):
    """Two on one connection, so that a stray body would spoil the second."""
    text = request("HEAD", f"/v3/accounts/{USD}/summary")
    with raw(venue, text + request("GET", f"/v3/accounts/{USD}/summary")) as connection:
        got = b""
        while b'"account"' not in got:
            got += connection.recv(65536)
    first, second, _ = got.split(b"\r\n\r\n", 2)
    assert first.startswith(b"HTTP/1.1 405")
    assert b"Allow: GET" in first
    assert second.startswith(b"HTTP/1.1 200")


def test_unix_times_are_given_to_who_asks(venue):
    headers = {"Accept-Datetime-Format": "UNIX"}
    _, body, _ = venue.ask("GET", f"/v3/accounts/{USD}/transactions/1", **headers)
    seconds, _, fraction = body["transaction"]["time"].partition(".")
    assert int(seconds) > 1_700_000_000
    assert len(fraction) == 9


def read_lines(connection, count):
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    assert answer.getheader("Transfer-Encoding") == "chunked"
    return [json.loads(answer.readline()) for _ in range(count)]


def test_a_price_stream_begins_with_a_snapshot_and_conflates(venue):
    venue.price("EUR_USD", "1.10000", "1.10010")
    path = f"/v3/accounts/{USD}/pricing/stream?instruments=EUR_USD%2CUSD_JPY"
    with raw(venue, request("GET", path)) as connection:
        time.sleep(0.3)  # noqa: TID251 - another process conflates by time
        for step in range(1, 6):
            venue.price("EUR_USD", f"1.1000{step}", f"1.1001{step}")
        heard = [line["closeoutBid"] for line in read_lines(connection, 3)]
    assert heard[0] == "1.10000"
    assert heard[-1] == "1.10005"
    venue.price("EUR_USD", "1.10000", "1.10010")


def test_heartbeats_keep_a_quiet_stream_alive(venue):
    with raw(venue, request("GET", f"/v3/accounts/{EUR}/transactions/stream")) as connection:
        [beat] = read_lines(connection, 1)
    assert beat["type"] == "HEARTBEAT"
    assert beat["lastTransactionID"] == venue.get(f"/v3/accounts/{EUR}")["lastTransactionID"]


def test_a_price_by_hand_stays_put_and_is_given_back(venue):
    clock = venue.get("/control/clock")
    assert (clock["speed"], clock["calendar"], clock["finished"]) == (1.0, "always", False)
    [price] = venue.get(f"/v3/accounts/{USD}/pricing?instruments=EUR_USD")["prices"]
    assert price["closeoutBid"] == "1.10000"
    released = {"instrument": "EUR_USD", "release": True}
    assert venue.ask("POST", "/control/prices", released)[1]["released"]


def test_the_log_is_a_witness_of_every_write(venue):
    order = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}}
    before = time.time_ns()  # noqa: TID251 - another process stamps it
    venue.ask("POST", ORDERS, order, ClientRequestID="intent-7")
    line = json.loads((venue.folder / "log").read_text().splitlines()[-1])
    assert (line["method"], line["path"], line["client_request_id"], line["status"]) == (
        "POST", ORDERS, "intent-7", 201,
    )  # fmt: skip
    assert before <= line["received_ns"] <= time.time_ns()  # noqa: TID251


def test_kill_9_loses_nothing_that_was_answered_and_term_ends_within_a_second(tmp_path):
    flags = ("--state", str(tmp_path / "state"))
    order = {
        "order": {
            "type": "MARKET", "instrument": "EUR_USD", "units": "1000",
            "stopLossOnFill": {"price": "1.05000"}, "clientExtensions": {"id": "k"},
        }
    }  # fmt: skip
    with Venue(tmp_path, *flags) as venue:
        venue.price("EUR_USD", "1.10000", "1.10010")
        for _ in range(20):
            assert venue.ask("POST", ORDERS, order)[0] == 201
        account = venue.get(f"/v3/accounts/{USD}")
        log = venue.get(f"/v3/accounts/{USD}/transactions/sinceid?id=0")
        venue.end(signal.SIGKILL)
    with Venue(tmp_path, *flags) as venue:
        assert venue.get(f"/v3/accounts/{USD}/transactions/sinceid?id=0") == log
        venue.price("EUR_USD", "1.10000", "1.10010")
        assert venue.get(f"/v3/accounts/{USD}") == account
        began = time.monotonic()  # noqa: TID251 - another process ends
        assert venue.end() == 0
        assert time.monotonic() - began < 1.0  # noqa: TID251


def test_a_venue_that_cannot_keep_an_order_stops_instead_of_answering(tmp_path):
    path = tmp_path / "state"
    order = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1000"}}
    with Venue(tmp_path, "--state", str(path)) as venue:
        venue.price("EUR_USD", "1.10000", "1.10010")
        full = path.stat().st_size + 100
        resource.prlimit(venue.process.pid, resource.RLIMIT_FSIZE, (full, full))
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            venue.ask("POST", ORDERS, order)
        assert venue.process.wait(timeout=5) == 1
        assert b"--state" in venue.process.stderr.read()
    with Venue(tmp_path, "--state", str(path)) as venue:
        assert venue.get(f"/v3/accounts/{USD}")["lastTransactionID"] == "3"
        venue.price("EUR_USD", "1.10000", "1.10010")
        assert venue.ask("POST", ORDERS, order)[0] == 201
