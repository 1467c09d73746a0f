"""Whatever comes over the API's socket: an answer below 500 or a closed connection; then health."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator

import pytest

from tests.integration.processes import (
    Service,
    eventually,
    now_s,
)

READS = (
    "/accounts", "/agents", "/trades", "/positions", "/orders", "/signals", "/events", "/breakers",
    "/performance", "/metrics", "/health", "/explain/nothing", "/signals/nothing",
    "/accounts/nobody/status", "/agents/nobody/health", "/emergency-stop",
)  # fmt: skip
WRITES = (
    "/signals", "/start", "/stop", "/resume", "/accounts/101-001-1000001-001/enable",
    "/accounts/nobody/disable", "/agents/nobody/restart", "/breakers/A1/reset",
    "/breakers/nothing/trip", "/audit/verify",
)  # fmt: skip
HARMLESS_EMPTY = {
    "/start", "/stop", "/accounts/101-001-1000001-001/enable", "/audit/verify",
}  # fmt: skip
ODD_QUERIES = (
    "limit=-1", "limit=999999999999999999999", "limit=NaN", "cursor=%00", "cursor=" + "9" * 400,
    "since=yesterday", "type=" + "x" * 5000, "account='%20OR%201=1--", "limit=1&limit=2", "%ff=%fe",
    "cursor=-9223372036854775809", "since=9999-12-31T23:59:59Z", "since=0001-01-01T00:00:00Z",
)  # fmt: skip
ODD_PATHS = (
    "//", "/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/explain/%00", "/explain/" + "a" * 4000,
    "/explain/%F0%9F%92%A5", "/accounts/%0d%0aX: y/status".replace(" ", "%20"), "/trades/%2F",
    "/nothing", "/docs/../metrics",
)  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("hostile")) as running:
        yield running.start().wait_up()


@pytest.fixture(autouse=True)
def _stands_afterwards(service: Service) -> Iterator[None]:
    yield
    assert service.process is not None
    assert service.process.poll() is None
    answer = eventually("it still answers", lambda: service.try_ask("GET", "/health"), 10)
    assert answer.status == 200
    assert service.mode() == "running", "nothing hostile has moved the system"
    assert "Traceback" not in service.output(), service.output()[-3000:]


def test_without_the_right_token_nothing_is_told_and_nothing_done(service: Service):
    tokens = ("", "wrong", service.token[:-1], service.token + "x", "x" * 5000, "\u00fc\u00df")
    for token in tokens:
        for path in READS[:10]:
            assert service.ask("GET", path, token=_latin(token)).status in {400, 401, 431}, path
        for path in (*WRITES, "/emergency-stop"):
            answer = service.ask("POST", path, {"reason": "x"}, token=_latin(token))
            assert answer.status in {400, 401, 431}, (path, answer)
            assert service.token not in str(answer.body)


def _latin(text: str) -> str:
    return text.encode().decode("latin-1")


def test_odd_questions_are_refused_as_problems(service: Service):
    for path in READS:
        for query in ODD_QUERIES:
            answer = service.ask("GET", f"{path}?{query}")
            assert answer.status < 500, (path, query, answer)
    for path in ODD_PATHS:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            answer = service.ask(method, path)
            assert answer.status < 500, (method, path, answer)


def _garbage(rng: random.Random) -> Iterator[bytes]:
    yield b""
    yield b"null"
    yield b"[]"
    yield b"{"
    yield b"\xff\xfe\x00"
    yield b'{"a":' * 5000 + b"1" + b"}" * 5000
    yield b"[" * 60_000
    yield json.dumps({"reason": "x" * 100_000}).encode()
    yield b'{"reason":"\\ud800"}'
    yield b'{"reason":"a\\u0000b\\u001b[2J"}'
    yield b'{"reason":"x","reason":"y"}'
    yield b'{"stop_distance":1e999999}'
    for name in ("NaN", "Infinity", "-Infinity", "1e400", "-0", "9" * 5000, '"NaN"', '"1e400"'):
        yield (
            b'{"instrument":"EUR_USD","side":"buy","confidence":"0.6","stop_distance":%b}'
            % name.encode()
        )
    for _ in range(10):
        yield rng.randbytes(rng.randint(1, 2000))


def test_garbage_and_huge_bodies_are_refused(service: Service):
    rng = random.Random(42)
    for body in _garbage(rng):
        for path in WRITES:
            if path in HARMLESS_EMPTY and not body:
                continue  # a right request
            answer = service.ask("POST", path, body)
            assert answer.status < 500, (path, body[:60], answer)
            if path == "/signals":
                assert answer.status != 202, (body[-40:], answer)


def test_what_is_no_http_is_answered_or_closed_soon(service: Service):
    """Goal: a bad client costs its own connection only (X4: header time-out 5 s)."""
    rng = random.Random(43)
    host = b"Host: x\r\n"
    lines = (
        b"\x16\x03\x01\x02\x00" + rng.randbytes(200),
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /signals HTTP/1.1\r\n" + host + b"Content-Length: -5\r\n\r\n",
        b"POST /signals HTTP/1.1\r\n" + host + b"Content-Length: 99999999999999999999\r\n\r\n{",
        b"POST /signals HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + host * 3000 + b"\r\n",
        rng.randbytes(5000),
    )
    for line in lines:
        with socket.create_connection(("127.0.0.1", service.port), timeout=1.0) as client:
            try:
                client.sendall(line)
                answer = client.recv(200)
            except (ConnectionError, TimeoutError):
                continue
            assert not answer.startswith(b"HTTP/1.1 5"), (line[:60], answer)


def test_many_idle_connections_do_not_keep_the_emergency_lane_waiting(service: Service):
    """Goal: X4, the stop's lane is there while others flood. A read of the receipt stands for it
    here: the stop itself would end this service's day."""
    idle = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(200)]
    try:
        for client in idle:
            client.sendall(b"POST /signals HTTP/1.1\r\nHost: x\r\nContent-Le")
        began = now_s()
        assert service.ask("GET", "/emergency-stop").status == 404
        assert now_s() - began < 1
    finally:
        for client in idle:
            client.close()
