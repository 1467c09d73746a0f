"""Answers as bytes: head and body in one piece, gzip and UNIX times for who asks for them."""

from __future__ import annotations

import gzip
import re
from email.utils import formatdate
from functools import lru_cache
from urllib.parse import parse_qsl

from orchestrator.model.time import NS_PER_S, Instant, format_time_unix, parse_time
from orchestrator.paper.call import Answer

GZIP_MIN = 1400  # shorter bodies fit one packet anyway
_FASTEST = 1
_REASONS = {
    200: "OK", 201: "Created", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 413: "Payload Too Large",
    415: "Unsupported Media Type", 416: "Range Not Satisfiable", 429: "Too Many Requests",
    500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout",
}  # fmt: skip
_RFC3339 = re.compile(rb'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z)"')

JSON = "application/json"


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    return f"Date: {formatdate(second, usegmt=True)}\r\n"


def date_header(at_ns: Instant) -> str:
    """The market's time as a header, so that clients can tell how far their clock is off."""
    return _date(at_ns // NS_PER_S)


def rendered(
    answer: Answer, request_id: str, *, close: bool = False, zipped: bool = False, kind: str = JSON
) -> bytes:
    """Head and body, for one write. `zipped`: the client said that it reads gzip."""
    body, headers = answer.body, answer.headers
    if answer.always_zipped or (zipped and len(body) >= GZIP_MIN):
        body = gzip.compress(body, _FASTEST, mtime=0)
        headers += "Content-Encoding: gzip\r\n"
    reason = _REASONS.get(answer.status, "")
    head = (
        f"HTTP/1.1 {answer.status} {reason}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nRequestID: {request_id}\r\n{headers}"
        f"{'Connection: close' + chr(13) + chr(10) if close else ''}\r\n"
    )
    return head.encode("latin-1", "replace") + body


def stream_head(request_id: str) -> bytes:
    """What stands before the first line of a stream."""
    return (
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
        f"Transfer-Encoding: chunked\r\nRequestID: {request_id}\r\n\r\n"
    ).encode()


def with_unix_times(body: bytes) -> bytes:
    """Every RFC 3339 time of a body in OANDA's UNIX form."""

    def change(match: re.Match[bytes]) -> bytes:
        return b'"%b"' % format_time_unix(parse_time(match[1].decode())).encode()

    return _RFC3339.sub(change, body)


def query_of(text: str) -> dict[str, str]:
    """Names and values; a name given twice joins with a comma, as lists are sent."""
    found: dict[str, str] = {}
    if not text:
        return found
    for name, value in parse_qsl(text, keep_blank_values=True):
        found[name] = f"{found[name]},{value}" if name in found else value
    return found
