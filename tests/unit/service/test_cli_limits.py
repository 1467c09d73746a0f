"""Limits and overrides on the command line, against a scripted service."""

import json

import pytest

from orchestrator.service.views import AccountLimitsView, Done, OverrideView
from tests.unit.service.cli_desk import ACCOUNT, FakeBackend, command, listed, one, sample, service

DONE = one(sample(Done))


@pytest.fixture
def desk():
    with service() as (script, url):
        yield script, FakeBackend(url)


def test_limits_show_what_is_in_force_and_who_tightened_it(desk):
    script, backend = desk
    script.say("/limits", listed(sample(AccountLimitsView)))
    text = command(backend, "limits", columns=160).stdout
    assert "risk_per_trade" in text
    assert "loss_cluster" in text
    assert "x 0.5" in text
    whole = command(backend, "limits", ACCOUNT, columns=160).stdout
    assert "max_concurrent_trades" in whole
    assert "no such account" in command(backend, "limits", "nobody").stdout
    raw = json.loads(command(backend, "limits", "--json").stdout)
    assert raw["items"][0]["in_force"]["risk_per_trade"] == "0.01"


def test_overrides_are_listed(desk):
    script, backend = desk
    script.say("/overrides", listed(sample(OverrideView)))
    assert "loosens" in command(backend, "override", columns=160).stdout
    script.say("/overrides", listed())
    assert "no override stands" in command(backend, "override").stdout


ACTS = {
    f"override set risk_per_trade 0.03 -s {ACCOUNT} -r hedge --minutes 10 --role admin": (
        "/overrides",
        {"limit": "risk_per_trade", "value": "0.03", "subject": ACCOUNT, "reason": "hedge",
         "uses": 1, "role": "admin", "minutes": 10},
    ),
    "override set collar 0.005 -s system -r news": (
        "/overrides",
        {"limit": "collar", "value": "0.005", "subject": "system", "reason": "news", "uses": 1,
         "role": "operator"},
    ),
    f"override reset A3 -s {ACCOUNT} -r seen --role admin": (
        "/overrides",
        {"limit": "A3", "subject": ACCOUNT, "reason": "seen", "role": "admin"},
    ),
    "override end o1 -r calm": ("/overrides/o1/end", {"reason": "calm", "role": "operator"}),
}  # fmt: skip


@pytest.mark.parametrize("words", ACTS)
def test_what_moves_a_limit_is_sent_whole(desk, words):
    script, backend = desk
    path, body = ACTS[words]
    script.say(path, DONE, method="POST")
    found = command(backend, *words.split())
    assert found.exit_code == 0, found.stderr
    assert script.last(path).body == body


def test_a_refusal_tells_every_reason(desk):
    script, backend = desk
    reasons = ("no reason is given", "loosening a limit needs the role admin")
    script.problem("/overrides", 409, "Refused", "; ".join(reasons), *reasons, method="POST")
    words = f"override set collar 0.05 -s {ACCOUNT} -r x"
    found = command(backend, *words.split(), columns=160)
    assert found.exit_code == 1
    assert all(reason in found.stderr for reason in reasons)
