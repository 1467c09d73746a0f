"""`events --follow`: each record once, in order, over lost connections."""

import json
import threading
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.sync.server import serve

from orchestrator.service.cli import live
from orchestrator.service.cli.client import Client
from orchestrator.service.cli.screen import Screen
from orchestrator.service.cli.trouble import NotAuthorised, NotReachable
from orchestrator.service.cli.watching import _followed, _Printer, _Wanted, show_events
from tests.unit.service.cli_desk import FakeBackend, command


def event(seq, kind="trade.opened", **more):
    record = {
        "seq": seq, "ts": f"2014-05-08T08:00:{seq:02d}.000000Z", "type": kind, "subject": "system",
        "corr": "", "actor": "kernel", "data": {"trade_id": str(seq)},
    }  # fmt: skip
    return record | more


class Feed:
    """`past`: what GET /events has; `lives`: what each connection is sent before it is closed."""

    def __init__(self):
        self.past = []
        self.lives = []
        self.types = []
        self.past_was_read = threading.Event()
        self.failures = 0  # so often /events is not to be had, after its first answer

    def answer(self, connection, request):
        worn_out = len(self.types) > 20  # a test that waits for what never comes ends, too
        if worn_out or request.headers.get("Authorization") != "Bearer secret-token":
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no")
        parts = urlsplit(request.path)
        if parts.path == "/ws":
            self.types.append(parse_qs(parts.query).get("types", [""])[0])
            return None
        if self.failures and self.past_was_read.is_set():
            self.failures -= 1
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "starting")
        limit = int(parse_qs(parts.query)["limit"][0])
        body = json.dumps({"items": self.past[::-1][:limit], "next": None}).encode()
        self.past_was_read.set()
        length = [("Content-Length", str(len(body))), ("Connection", "close")]
        return Response(200, "OK", Headers(length), body)

    def talk(self, connection):
        connection.send(json.dumps({"type": "heartbeat", "ts": None}))
        assert self.past_was_read.wait(5)
        for one in self.lives.pop(0) if self.lives else []:
            self.past.append(one)
            connection.send(json.dumps(one))


@contextmanager
def feeding():
    feed = Feed()
    with serve(feed.talk, "127.0.0.1", 0, process_request=feed.answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield feed, f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def feed(monkeypatch):
    monkeypatch.setattr(live, "_RETRY_S", 0.01)
    with feeding() as pair:
        yield pair


def first(count, url, limit=20, types=()):
    """The sequence numbers of the first events that are followed."""
    client = Client(url, "secret-token")
    following = _followed(client, {"limit": limit}, types)
    try:
        return [json.loads(next(following))["seq"] for _ in range(count)]
    finally:
        following.close()
        client.close()


def test_some_of_the_past_comes_first_then_what_comes(feed):
    script, url = feed
    script.past = [event(n) for n in range(1, 6)]
    script.lives = [[event(6), event(7)]]
    assert first(4, url, limit=2) == [4, 5, 6, 7]


def test_nothing_is_told_twice_and_nothing_lost_over_a_lost_connection(feed, capsys):
    script, url = feed
    script.past = [event(1)]
    script.lives = [[event(2)], [event(4)], [event(5)]]

    client = Client(url, "secret-token")
    following = _followed(client, {"limit": 20}, ())
    seen = [json.loads(next(following))["seq"] for _ in range(2)]
    script.past.append(event(3))  # while nobody was connected
    seen += [json.loads(next(following))["seq"] for _ in range(3)]
    following.close()
    client.close()
    assert seen == [1, 2, 3, 4, 5]
    assert "connected again" in capsys.readouterr().err


def test_a_service_that_starts_again_is_waited_for(feed):
    script, url = feed
    script.past = [event(1)]
    script.failures = 2
    script.lives = [[event(2)], [event(3)], [event(4)], [event(5)]]
    assert first(4, url) == [1, 2, 3, 4]


def test_the_types_are_asked_of_the_stream(feed):
    script, url = feed
    script.lives = [[event(1)]]
    first(1, url, types=("a.b", "c.d"))
    assert script.types[0] == "a.b,c.d"


def test_a_wrong_token_ends_it(feed):
    _, url = feed
    done = command(FakeBackend(), "events", "-f", "--url", url, "--token", "wrong")
    assert done.exit_code == 4


def test_no_service_ends_it_at_the_start():
    done = command(FakeBackend("http://127.0.0.1:9"), "events", "--follow", "--json")
    assert done.exit_code == 3
    with pytest.raises(NotReachable), live.Live(Client("http://127.0.0.1:9", None), ()) as one:
        one.open()


def test_a_token_that_is_revoked_ends_the_reconnecting(feed):
    _, url = feed
    client = Client(url, "secret-token")
    feed[0].past_was_read.set()
    with live.Live(client, ()) as one:
        one.open()
        one.close()
        client._token = "revoked"
        with pytest.raises(NotAuthorised):
            one.open()


def test_followed_json_is_one_document_a_line(capsys):
    printer = _Printer(None)
    for n in (1, 2):
        raw = json.dumps(event(n)).encode()
        printer.tell(live_event(n), raw)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2]


def live_event(seq, **more):
    from orchestrator.service.cli.answers import Event
    from orchestrator.service.cli.client import read

    return read(Event, json.dumps(event(seq, **more)).encode())


def test_lines_stand_under_their_day_and_wrap_under_themselves(capsys):
    from orchestrator.service.cli.answers import Listed

    long = live_event(2, data={"trade_id": "2", "strategy": "words " * 30})
    show_events(Screen(width=80, colour=False), Listed(items=(long, live_event(1))))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2014-05-08 (UTC)"
    assert lines[1].startswith("08:00:01.000  trade.opened")
    assert lines[3].startswith(" " * 20)
    assert max(map(len, lines)) <= 80


def test_what_the_stream_cannot_filter_is_filtered_here():
    wanted = _Wanted(subject="", signal="s-1")
    assert wanted.takes(live_event(1, corr="s-1"))
    assert not wanted.takes(live_event(1, corr="s-2"))
