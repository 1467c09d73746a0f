"""Commands that look: their tables, their JSON, what they ask the service for."""

import json

import pytest

from orchestrator.model.journal import Record
from orchestrator.model.queries import Explanation, PerformanceRow, SignalRow
from orchestrator.model.safety import BreakerView, StopReceipt
from orchestrator.service.api.shapes import OrderItem, TradeItem
from orchestrator.service.views import AccountStatus, AgentView, Health, PositionView
from tests.unit.service.cli_desk import (
    ACCOUNT,
    OTHER,
    FakeBackend,
    command,
    listed,
    one,
    sample,
    service,
    widest,
)


@pytest.fixture
def desk():
    """(script, backend) of a service that shows one of everything."""
    with service() as (script, url):
        trade = sample(TradeItem) | {"account_id": ACCOUNT, "state": "open"}
        closed = trade | {
            "trade_id": "77", "state": "closed", "realized_pl": "-1234.5", "close_price": "1.25",
            "close_reason": "STOP_LOSS_ORDER", "closed_at": "2014-05-08T09:00:00.000000Z",
        }  # fmt: skip
        account = sample(AccountStatus) | {"account_id": ACCOUNT, "nav": "1234567.891"}
        blocked = account | {"account_id": OTHER, "nav": None, "blocked_by": ["A1 daily loss"]}
        script.say("/health", one(sample(Health)))
        script.say("/agents", listed(sample(AgentView)))
        script.say("/agents/x/health", one(sample(AgentView)))
        script.say("/accounts", listed(account, blocked))
        script.say(f"/accounts/{ACCOUNT}/status", one(account))
        script.say("/trades", listed(trade, closed, cursor="44"))
        script.say("/positions", listed(sample(PositionView)))
        script.say("/orders", listed(sample(OrderItem)))
        script.say("/signals", listed(sample(SignalRow)))
        script.say("/breakers", listed(sample(BreakerView)))
        script.say("/performance", listed(sample(PerformanceRow)))
        script.say("/events", listed(sample(Record), cursor="9"))
        script.say("/explain/6362", one(sample(Explanation)))
        yield script, FakeBackend(url)


READS = {
    "agents": ("/agents", ["agent", "state", "healthy"]),
    "agents x": ("/agents/x/health", ["response", "p50"]),
    "accounts": ("/accounts", ["NAV", "1,234,567.89 USD", "no new trades: A1 daily loss"]),
    f"accounts {ACCOUNT}": (f"/accounts/{ACCOUNT}/status", ["drawdown", "reconciled", "yes"]),
    "trades": ("/trades", ["-1,234.50", "add --cursor 44", "open P/L"]),
    "positions": ("/positions", ["average price", "EUR_USD"]),
    "orders": ("/orders", ["EUR_USD"]),
    "signals": ("/signals", ["outcome", "1 filled"]),
    "breakers": ("/breakers", ["evidence", "tripped"]),
    "performance": ("/performance", ["profit factor", "55.00 %"]),
    "events": ("/events", ["signal.ended", "(UTC)", "add --cursor 9"]),
    "explain 6362": ("/explain/6362", ["order 6362 belongs to signal", "+0.000 ms", "filled"]),
}


@pytest.mark.parametrize("words", READS)
def test_a_table_says_what_matters_within_80_columns(desk, words):
    script, backend = desk
    path, wanted = READS[words]
    done = command(backend, *words.split())
    assert (done.exit_code, done.stderr) == (0, "")
    assert [text for text in wanted if text not in done.stdout] == []
    assert widest(done.stdout) <= 80
    assert script.last(path).token == "Bearer secret-token"


@pytest.mark.parametrize("words", READS)
def test_json_is_the_apis_own_document_and_nothing_else(desk, words):
    script, backend = desk
    path, _ = READS[words]
    done = command(backend, *words.split(), "--json")
    assert done.exit_code == 0
    assert done.stdout.encode().strip() == script.answers["GET", path][0][1]


def test_filters_and_pages_reach_the_api(desk):
    script, backend = desk
    words = f"trades --which closed --account {ACCOUNT} -i EUR_USD --strategy trend -n 7 --cursor 5"
    command(backend, *words.split())
    assert script.last("/trades").query == {
        "state": "closed", "account": ACCOUNT, "instrument": "EUR_USD", "strategy": "trend",
        "limit": "7", "cursor": "5",
    }  # fmt: skip
    words = "events --type a.b --type c.d --signal s-1 --subject x -n 3"
    command(backend, *words.split())
    assert script.last("/events").query == {
        "type": "a.b,c.d", "signal": "s-1", "subject": "x", "limit": "3",
    }  # fmt: skip


def test_what_is_not_known_is_never_shown_as_zero(desk):
    _, backend = desk
    line = next(li for li in command(backend, "accounts").stdout.splitlines() if OTHER in li)
    assert " - " in line


def test_an_odd_word_stays_one_part_of_the_path(desk):
    script, backend = desk
    command(backend, "explain", "../start?x=1")
    assert script.asked[-1].path == "/explain/..%2Fstart%3Fx%3D1"


def test_what_the_service_says_cannot_steer_the_terminal(desk):
    script, backend = desk
    bad = sample(AgentView) | {"reason": "\x1b[2J\x07 evil\nline", "agent_id": "a\x1b]0;x"}
    script.say("/agents", listed(bad))
    done = command(backend, "agents")
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout
    assert "evil" in done.stdout


def test_nan_and_huge_numbers_are_shown_and_break_nothing(desk):
    script, backend = desk
    odd = sample(AccountStatus) | {"nav": "NaN", "day_pl": "NaN", "unrealized_pl": "1E+30"}
    script.say("/accounts", listed(odd))
    done = command(backend, "accounts", columns=200)
    assert done.exit_code == 0
    assert "NaN" in done.stdout


def test_an_empty_list_says_so(desk):
    script, backend = desk
    script.say("/trades", listed())
    assert command(backend, "trades").stdout == "no trades\n"


def test_a_missing_stop_is_named(desk):
    script, backend = desk
    script.say("/trades", listed(sample(TradeItem) | {"state": "open", "stop_price": None}))
    assert " none " in command(backend, "trades").stdout


def test_wide_and_piped_output_leaves_nothing_out(desk):
    _, backend = desk
    narrow, piped = command(backend, "trades"), command(backend, "trades", columns=None)
    assert "not shown at this width" in narrow.stdout
    assert "not shown at this width" not in piped.stdout


# --- Status --------------------------------------------------------------------------------------


def test_status_shows_the_whole_on_one_screen(desk):
    script, backend = desk
    health = sample(Health) | {"mode": "running", "market_speed": 60.0}
    script.say(
        "/health", one(health | {"components": [{"name": "venue", "ok": False, "text": "gone"}]})
    )
    done = command(backend, "status")
    assert done.exit_code == 0
    for text in (
        "PAPER  RUNNING", "market time", "UTC, at 60 x", "1,234,567.89 USD", "none in force",
        "1 tripped: M2", "1 healthy", "trouble", "venue: gone",
    ):  # fmt: skip
        assert text in done.stdout, text
    assert widest(done.stdout) <= 80
    assert len(done.stdout.splitlines()) < 24


def test_status_shows_the_stop_in_force_and_how_to_resume(desk):
    script, backend = desk
    receipt = sample(StopReceipt)
    script.say("/emergency-stop", one(receipt))
    text = " ".join(command(backend, "status").stdout.split())
    assert "IN FORCE" in text
    assert f"orchestrator resume {receipt['stop_id']} --reason" in text


def test_status_tells_the_last_stop(desk):
    script, backend = desk
    raised = sample(Record) | {
        "type": "stop.raised", "actor": "api:ann", "data": {"stop_id": "s", "reason": "drill"},
    }  # fmt: skip
    script.say("/events", listed(raised))
    text = " ".join(command(backend, "status").stdout.split())
    assert "none in force; last 2014-05-08" in text
    assert "by api:ann: drill" in text


def test_status_as_json_is_one_document_of_the_apis_parts(desk):
    _, backend = desk
    whole = json.loads(command(backend, "status", "--json").stdout)
    assert whole["health"] == sample(Health)
    assert whole["accounts"]["items"][0]["account_id"] == ACCOUNT
    assert whole["emergency_stop"] is None
    assert set(whole) == {
        "health", "accounts", "breakers", "agents", "emergency_stop", "last_stop",
    }  # fmt: skip


def test_status_of_a_starting_service_is_no_failure(desk):
    script, backend = desk
    script.say("/health", one({"status": "starting", "mode": "starting", "environment": "unknown"}))
    script.problem("/accounts", 503, "Not ready", "The service is still starting.")
    done = command(backend, "status")
    assert done.exit_code == 0
    assert "the service is starting" in done.stdout


# --- Explain -------------------------------------------------------------------------------------


def test_a_story_is_told_by_account_with_times_from_its_start(desk):
    script, backend = desk
    story = sample(Explanation)
    first = {"seq": 1, "account_id": "", "what": "signal.accepted", "who": "kernel"}
    story["timeline"] = [
        first | {"at_at": "2014-05-08T08:00:00.000000Z", "text": "trend wishes to buy EUR_USD"},
        {
            "seq": 2, "at_at": "2014-05-08T08:00:00.001250Z", "account_id": ACCOUNT,
            "what": "stage.decided", "who": "strategy_analysis-1",
            "text": "strategy_analysis rejected in 812 us: expected value below costs",
        },
        {
            "seq": 3, "at_at": "2014-05-08T08:00:02.500000Z", "account_id": OTHER,
            "what": "trade.opened", "who": "kernel", "text": "trade 9 opened",
        },
    ]  # fmt: skip
    story["signal"]["accounts"] = [ACCOUNT, OTHER]
    story["also"] = [{"kind": "trade", "signal_id": "s-2", "account_id": OTHER}]
    script.say("/explain/6362", one(story))
    done = command(backend, "explain", "6362", "--account", ACCOUNT)
    for text in (
        "All accounts", "+1.250 ms", "+2.500 s", "expected value below costs", "not ended yet",
        f"trade of {OTHER}",
    ):  # fmt: skip
        assert text in " ".join(done.stdout.split()), text
    assert "strategy_analysis-1 rejected in 812 us" in " ".join(done.stdout.split())
    assert script.last("/explain/6362").query == {"account": ACCOUNT}
    assert widest(done.stdout) <= 80


def test_what_nobody_knows_cannot_be_explained(desk):
    script, backend = desk
    script.problem("/explain/zz", 404, "Nothing to explain", "No signal bears the id 'zz'.")
    done = command(backend, "explain", "zz")
    assert done.exit_code == 1
    assert "No signal bears the id" in done.stderr
    assert done.stdout == ""
