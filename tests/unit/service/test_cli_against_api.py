"""The command line and the API as they are, over a real socket: paths, filters and shapes fit."""

import asyncio
import json
import threading

import pytest
import uvicorn

from orchestrator.model.reducing import ReductionState
from orchestrator.service.cli.client import Client
from orchestrator.service.cli.watching import _followed
from tests.unit.service.api.fake_desk import ACCOUNT, TOKEN, FakeDesk, api_of
from tests.unit.service.cli_desk import FakeBackend, command, widest


class Serving(uvicorn.Server):
    """A server in a thread that tells when it listens."""

    def __init__(self, desk):
        config = uvicorn.Config(
            api_of(desk), port=0, log_level="error", ws="websockets-sansio", lifespan="off",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.listening.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"


@pytest.fixture
def api():
    """(desk, backend, url) of the true API over a fake desk."""
    desk = FakeDesk(asyncio.Event)
    server = Serving(desk)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.listening.wait(10)
        backend = FakeBackend(server.url)
        backend.token = TOKEN
        yield desk, backend, server.url
    finally:
        server.should_exit = True
        thread.join()


WORDS = [
    "status", "agents", "agents odd-1", "agents odd-1 --restart", "accounts",
    f"accounts {ACCOUNT}", "trades -w all", f"trades -w closed -a {ACCOUNT} -i EUR_USD -n 2",
    "positions -i EUR_USD", "orders", "orders -w pending", f"orders -a {ACCOUNT} --strategy trend",
    "signals --outcome filled -n 5", "performance", f"performance -a {ACCOUNT}", "breakers",
    "breakers --tripped", "events -n 3 --type signal.ended --since 2014-01-01T00:00:00Z",
    "explain 6362", "start -r x", "stop --close", f"enable {ACCOUNT}", f"disable {ACCOUNT} -r x",
    "breakers trip M2 -r x", f"breakers reset A1 -r x --subject {ACCOUNT}",
    "audit verify --service",
    "signal EUR_USD buy -s 0.002 -t 0.004 --note x", "emergency-stop --no-wait",
    "resume stop-1 -r x --open-trade 7",
]  # fmt: skip


def test_every_command_is_understood_by_the_api(api):
    desk, backend, _ = api
    for words in WORDS:
        if words.startswith("emergency"):
            assert desk.receipt is None
        done = command(backend, *words.split())
        assert (done.exit_code, done.stderr) == (0, ""), words
        assert widest(done.stdout) <= 80, words
    assert backend.called("local_stop") == []
    actors = {call[1] for call in desk.calls if call[0] in {"start", "stop", "emergency_stop"}}
    assert len(actors) == 1
    assert actors.pop().startswith("api:")


def test_closing_by_hand_is_understood_by_the_api(api):
    desk, backend, _ = api
    for words in (
        f"close {ACCOUNT} EUR_USD -u 100 --side long -r x", f"cancel {ACCOUNT} 6371 -r x",
        f"close {ACCOUNT} EUR_USD -t 6363 --id mine", f"tighten {ACCOUNT} 6363 1.3835",
        "reductions -n 1",
    ):  # fmt: skip
        done = command(backend, *words.split())
        assert (done.exit_code, done.stderr) == (0, ""), words
        assert widest(done.stdout) <= 80, words
    kinds = [call[1].kind.value for call in desk.calls if call[0] == "reduce"]
    assert kinds == ["close_position", "cancel_order", "close_trade", "tighten_stop"]
    assert desk.calls[-2][1].command_id == "mine"
    desk.reduced = ReductionState.UNKNOWN
    assert "orchestrator reductions" in command(backend, "close", ACCOUNT, "EUR_USD").stdout
    assert command(backend, "close", "no-such", "EUR_USD").exit_code == 1
    assert command(backend, "close", ACCOUNT, "EUR_USD", "-u", "-3").exit_code == 2


def test_a_wrong_token_is_told_apart_from_a_refusal(api):
    _, backend, _ = api
    assert command(backend, "trades", "--token", "wrong").exit_code == 4
    assert command(backend, "accounts", "no-such").exit_code == 1


def test_the_next_page_is_where_the_first_one_said(api):
    _, backend, _ = api
    first = json.loads(command(backend, "events", "-n", "3", "--json").stdout)
    more = json.loads(
        command(backend, "events", "-n", "3", "--cursor", first["next"], "--json").stdout
    )
    seqs = [one["seq"] for one in first["items"] + more["items"]]
    assert seqs == [25, 24, 23, 22, 21, 20]


def test_events_are_followed(api):
    desk, _, url = api
    client = Client(url, TOKEN)
    following = _followed(client, {"limit": 1}, ("signal.ended",))
    try:
        assert json.loads(next(following))["seq"] == 25
        assert len(desk.listeners) == 1
    finally:
        following.close()
        client.close()
