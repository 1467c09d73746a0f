"""The emergency stop: asks nothing, takes any way that works, and never claims too much."""

import json

import pytest

from tests.unit.service.cli_desk import ACCOUNT, FakeBackend, command, one, service

RECEIPT = {
    "stop_id": "stop-1", "state": "liquidating", "actor": "api:ann", "reason": "x",
    "gate_closed_at": "2026-01-31T12:00:00.000000Z", "took_us": 40, "persisted": True,
    "liquidate": True, "already_stopped": False, "last_order_first_byte_at": None,
    "accounts": [{"account_id": ACCOUNT, "still_open": ["7"], "realized_pl": "0"}],
}  # fmt: skip
FLAT = RECEIPT | {
    "state": "stopped_flat",
    "accounts": [{
        "account_id": ACCOUNT, "trades_closed": ["7"], "realized_pl": "-3.5",
        "verified_at": "2026-01-31T12:00:02.000000Z",
    }],
}  # fmt: skip
REMOTE = "https://orchestrator.invalid:8443"


@pytest.fixture
def desk():
    with service() as (script, url):
        script.say("/emergency-stop", one(RECEIPT), method="POST")
        yield script, FakeBackend(url)


def test_it_stops_at_once_and_follows_until_flat(desk):
    script, backend = desk
    script.say("/emergency-stop", one(RECEIPT), one(FLAT))
    done = command(backend, "emergency-stop", "--reason", "quotes look wrong")
    assert done.exit_code == 0
    assert script.asked[0].method == "POST"  # nothing was asked before
    assert script.asked[0].body == {
        "reason": "quotes look wrong", "liquidate": True, "accounts": [],
    }  # fmt: skip
    for text in ("STOPPED  stop-1", "40 us", "closed 1 trade", "realised -3.5", "stopped_flat"):
        assert text in done.stdout, text
    assert backend.called("local_stop") == []


def test_before_the_venue_was_read_nothing_is_called_flat(desk):
    script, backend = desk
    unread = RECEIPT | {"accounts": [{"account_id": ACCOUNT}]}
    script.say("/emergency-stop", one(unread), method="POST")
    told = command(backend, "emergency-stop", "--no-wait").stdout
    assert "still open: not read yet" in " ".join(told.split())


def test_no_wait_ends_with_the_first_receipt(desk):
    script, backend = desk
    done = command(backend, "emergency-stop", "--no-wait", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == RECEIPT
    assert len(script.asked) == 1


def test_json_is_the_last_receipt_only(desk):
    script, backend = desk
    script.say("/emergency-stop", one(FLAT))
    assert json.loads(command(backend, "emergency-stop", "--json").stdout) == FLAT


def test_not_liquidating_leaves_nothing_to_follow(desk):
    script, backend = desk
    words = ["emergency-stop", "--no-liquidate", "-a", ACCOUNT, "-a", "b"]
    assert command(backend, *words).exit_code == 0
    assert script.asked[0].body["liquidate"] is False
    assert script.asked[0].body["accounts"] == [ACCOUNT, "b"]
    assert len(script.asked) == 1


def test_a_closed_market_is_not_waited_for_and_not_called_good(desk):
    script, backend = desk
    script.say("/emergency-stop", one(RECEIPT | {"state": "waiting_market"}))
    done = command(backend, "emergency-stop")
    assert done.exit_code == 1
    assert "not everything is: waiting_market" in done.stderr


def test_a_service_that_is_down_is_stopped_by_the_local_way():
    backend = FakeBackend("http://127.0.0.1:9")
    done = command(backend, "emergency-stop", "-r", "why", "--no-liquidate")
    assert done.exit_code == 0
    assert backend.called("local_stop") == [("local_stop", "why", False, None)]
    assert "the service does not answer at http://127.0.0.1:9" in done.stderr
    assert "without the service" in done.stderr
    assert "STOPPED HERE  stop-local" in done.stdout


def test_a_service_that_hangs_is_given_one_second(desk):
    script, backend = desk
    script.held.add("/emergency-stop")
    done = command(backend, "emergency-stop")
    assert done.exit_code == 0
    assert len(backend.called("local_stop")) == 1


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_no_answer_of_the_service_keeps_the_gate_open(desk, status):
    script, backend = desk
    script.problem("/emergency-stop", status, "No", "not now", method="POST")
    done = command(backend, "emergency-stop", "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert (told["local"], told["stop_id"], told["persisted"]) == (True, "stop-local", True)
    assert told["service"]


def test_an_unreadable_answer_keeps_no_gate_open(desk):
    script, backend = desk
    script.say("/emergency-stop", b"<html>", method="POST")
    assert command(backend, "emergency-stop").exit_code == 0
    assert len(backend.called("local_stop")) == 1


def test_broken_settings_keep_no_gate_open(monkeypatch):
    backend = FakeBackend()

    def broken(_):
        raise ValueError("MAX_DAILY_LOSS=6 is no fraction")

    monkeypatch.setattr(backend, "service", broken)
    done = command(backend, "emergency-stop")
    assert done.exit_code == 0
    assert len(backend.called("local_stop")) == 1
    assert "MAX_DAILY_LOSS" in done.stderr


def test_a_wrong_account_is_told_loudly_and_stops_nothing_else(desk):
    script, backend = desk
    script.problem("/emergency-stop", 404, "No such account", "There is no 'x'.", method="POST")
    done = command(backend, "emergency-stop", "--account", "x")
    assert done.exit_code == 1
    assert "NOT STOPPED" in done.stderr
    assert backend.called("local_stop") == []


def test_another_machines_service_is_never_claimed_to_be_stopped():
    backend = FakeBackend()
    done = command(backend, "emergency-stop", "--url", REMOTE)
    assert done.exit_code == 3
    assert len(backend.called("local_stop")) == 1
    assert "THE SERVICE IS NOT KNOWN TO BE STOPPED" in done.stderr


def test_local_needs_neither_network_nor_token(desk):
    script, backend = desk
    done = command(backend, "emergency-stop", "--local", "--account", ACCOUNT)
    assert done.exit_code == 0
    assert script.asked == []
    assert backend.called("service") == []
    assert "all accounts are stopped" in done.stderr


def test_a_gate_that_cannot_be_closed_is_no_stop():
    backend = FakeBackend()
    backend.raises = OSError("read-only file system")
    done = command(backend, "emergency-stop", "--local")
    assert done.exit_code == 1
    assert "NOT STOPPED" in done.stderr
    assert "kill -9" in done.stderr


def test_a_stop_that_was_not_written_down_says_so():
    backend = FakeBackend()
    backend.persisted = False
    assert "NOT WRITTEN DOWN" in command(backend, "emergency-stop", "--local").stdout


@pytest.mark.parametrize("reason", ["", "\x1b\x07", "x" * 900])
def test_no_reason_is_too_odd_to_stop(desk, reason):
    script, backend = desk
    assert command(backend, "emergency-stop", "--no-wait", "-r", reason).exit_code == 0
    sent = script.asked[0].body["reason"]
    assert 1 <= len(sent) <= 500
    assert sent.isprintable()
