"""Commands that act: what they send, what they tell, how they end."""

import json

import pytest

from orchestrator.model.queries import SignalRow
from orchestrator.service.views import AgentView, Done
from tests.unit.service.cli_desk import ACCOUNT, FakeBackend, command, listed, one, sample, service


@pytest.fixture
def desk():
    with service() as (script, url):
        yield script, FakeBackend(url)


DONE = one({"text": "it is done", "mode": "ready", "open_trades": [], "pending_orders": []})
ACTS = {
    "start": ("/start", {}),
    "start --reason because": ("/start", {"reason": "because"}),
    "stop": ("/stop", {"positions": "keep", "reason": ""}),
    "stop --close --reason r": ("/stop", {"positions": "close", "reason": "r"}),
    f"enable {ACCOUNT}": (f"/accounts/{ACCOUNT}/enable", {}),
    f"disable {ACCOUNT} -r r": (f"/accounts/{ACCOUNT}/disable", {"reason": "r"}),
    "breakers trip M2 --subject XAU_USD -r news": (
        "/breakers/M2/trip", {"subject": "XAU_USD", "reason": "news"},
    ),
    "breakers reset A3 -r seen": ("/breakers/A3/reset", {"subject": "", "reason": "seen"}),
    "audit verify --service": ("/audit/verify", {}),
    "resume stop-1 -r mended --open-trade 7": (
        "/resume", {"stop_id": "stop-1", "reason": "mended", "open_trades": ["7"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", ACTS)
def test_an_act_is_sent_and_its_answer_told(desk, words):
    script, backend = desk
    path, body = ACTS[words]
    script.say(path, DONE, method="POST")
    done = command(backend, *words.split())
    assert (done.exit_code, done.stdout, done.stderr) == (0, "it is done\n", "")
    asked = script.last(path)
    assert (asked.method, asked.body) == ("POST", body)
    assert asked.actor
    assert command(backend, *words.split(), "--json").stdout.encode().strip() == DONE


@pytest.mark.parametrize("words", ACTS)
def test_a_refusal_is_exit_code_1_with_every_reason(desk, words):
    script, backend = desk
    path, _ = ACTS[words]
    script.problem(path, 409, "Refused", "two reasons", "first", "second", method="POST")
    done = command(backend, *words.split())
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "orchestrator: Refused: two reasons\n  - first\n  - second\n"
    refused = command(backend, *words.split(), "--json")
    assert json.loads(refused.stdout)["errors"] == ["first", "second"]
    assert refused.exit_code == 1


def test_stop_names_all_that_stays_open(desk):
    script, backend = desk
    script.say("/stop", one(sample(Done)), method="POST")
    done = command(backend, "stop")
    assert "still open:" in done.stdout
    assert sample(Done)["open_trades"][0]["trade_id"] in done.stdout


def test_an_agent_is_restarted_by_its_name_only(desk):
    script, backend = desk
    script.say("/agents/a-1/restart", one(sample(AgentView)), method="POST")
    assert command(backend, "agents", "a-1", "--restart").exit_code == 0
    assert script.last("/agents/a-1/restart").method == "POST"
    assert command(backend, "agents", "--restart").exit_code == 2


@pytest.mark.parametrize("words", ["breakers reset A1", "breakers trip A1", "resume stop-1"])
def test_what_needs_a_reason_is_not_done_without(desk, words):
    script, backend = desk
    assert command(backend, *words.split()).exit_code == 2
    assert script.asked == []


def test_options_before_a_subcommand_are_refused_not_forgotten(desk):
    script, backend = desk
    words = "breakers --url http://127.0.0.1:1 reset A1 -r x"
    assert command(backend, *words.split()).exit_code == 2
    assert script.asked == []


# --- Signals -------------------------------------------------------------------------------------

TAKEN = one({"signal_id": "manual-1", "accounts": [ACCOUNT], "explain": "/explain/manual-1"})
SIGNAL = "signal EUR_USD buy --stop-distance 0.0020"


def test_a_signal_is_sent_as_it_was_typed(desk):
    script, backend = desk
    script.say("/signals", TAKEN, method="POST", status=202)
    words = f"{SIGNAL} -t 0.0040 --confidence 0.6 -a {ACCOUNT} --id my-1 --ttl-ms 500".split()
    done = command(backend, *words, "--note", "after the news")
    assert done.exit_code == 0
    assert "orchestrator explain manual-1" in done.stdout
    assert script.last("/signals").body == {
        "instrument": "EUR_USD", "side": "buy", "stop_distance": "0.0020",
        "target_distance": "0.0040", "confidence": "0.6", "strategy": "manual", "ttl_ms": 500,
        "note": "after the news", "accounts": [ACCOUNT], "signal_id": "my-1",
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        "signal EUR_USD buy", "signal EUR_USD hold -s 1", "signal EUR_USD buy -s 0",
        "signal EUR_USD buy -s -1", "signal EUR_USD buy -s NaN", "signal EUR_USD buy -s Infinity",
        "signal EUR_USD buy -s x", f"{SIGNAL} --confidence 1.1", f"{SIGNAL} -t nan",
        f"{SIGNAL} --ttl-ms 0",
    ],
)  # fmt: skip
def test_a_signal_that_makes_no_sense_never_leaves(desk, wrong):
    script, backend = desk
    assert command(backend, *wrong.split()).exit_code == 2
    assert script.asked == []


@pytest.mark.parametrize(("outcome", "code"), [("filled", 0), ("rejected", 1)])
def test_wait_tells_the_end_and_its_exit_code_says_whether_it_was_filled(desk, outcome, code):
    script, backend = desk
    row = sample(SignalRow) | {"signal_id": "manual-1", "accounts": [ACCOUNT]}
    ended = row["outcomes"][0] | {
        "ended": {"account_id": ACCOUNT, "outcome": outcome, "stage": "", "reason": "so it was"}
    }
    script.say("/signals", TAKEN, method="POST", status=202)
    script.say("/signals/manual-1", one(row | {"outcomes": []}), one(row | {"outcomes": [ended]}))
    done = command(backend, *SIGNAL.split(), "--wait")
    assert done.exit_code == code
    assert f"{outcome}: so it was" in done.stdout


# --- Resume --------------------------------------------------------------------------------------

IN_FORCE = one({"stop_id": "stop-9", "state": "stopped_flat", "reason": "drill", "persisted": True})


def test_resume_takes_the_stop_in_force_when_that_is_confirmed(desk):
    script, backend = desk
    script.say("/emergency-stop", IN_FORCE)
    script.say("/resume", DONE, method="POST")
    assert command(backend, "resume", "-r", "mended").exit_code == 2  # nobody there to ask
    assert script.asked[-1].path == "/emergency-stop"
    assert command(backend, "resume", "-r", "mended", "--yes").exit_code == 0
    assert script.last("/resume").body["stop_id"] == "stop-9"


def test_resume_without_a_stop_in_force_is_refused(desk):
    _, backend = desk
    done = command(backend, "resume", "-r", "x", "--yes")
    assert done.exit_code == 1
    assert "no emergency stop is in force" in done.stderr


def test_breakers_alone_lists_them(desk):
    script, backend = desk
    script.say("/breakers", listed())
    assert command(backend, "breakers", "--tripped").stdout == "no breaker is tripped\n"
    assert script.last("/breakers").query["tripped"] == "true"
