"""A first start, from the banner to the first explained order; the end; and the start after it."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.integration.processes import (
    ACCOUNTS,
    Service,
    alive,
    eventually,
    now_s,
    venues_on,
)

STAGES = ("disagreement", "strategy_analysis", "parameter_optimization", "learning_safety")


def test_a_fresh_start_trades_ends_at_ctrl_c_and_goes_on_at_the_next(tmp_path: Path):
    """Goal: what a newcomer sees. Method: one folder, two lives, the synthetic market, no setting
    but the folder and the port."""
    with Service(tmp_path) as service:
        service.start().wait_up(20)
        banner = service.output()
        assert "API token: (kept in api-token there)" in banner
        token = service.token
        assert token not in banner, "a log is no place for it"
        assert (service.state / "api-token").stat().st_mode & 0o777 == 0o600
        assert service.state.stat().st_mode & 0o777 == 0o700
        venue = service.venue_pid

        order = eventually("a filled order", lambda: _filled(service), 120, 0.25)
        _explains_every_stage(service, order)

        began = now_s()
        service.send(signal.SIGINT)
        code = service.wait(15)
        assert now_s() - began < 10, "Ctrl-C ends within 10 s"
        assert not alive(venue), "the paper venue has gone, too"
        assert venues_on(service.state) == []
        assert code == 0, f"exit code {code}"

        before = _books(service)
        service.start().wait_up(20)
        assert "API token: " not in service.output(), "only the first start tells of it"
        assert service.token == token
        assert token not in service.output()
        # What was open goes on: the venue may since have closed a trade at its stop, no more.
        eventually("books equal", lambda: not service.book_differences(), 10)
        after = _books(service)
        for account_id in ACCOUNTS:
            assert after[account_id] >= before[account_id], "no transaction was lost"
        with service.store() as store:
            assert store.broken() is None
        assert eventually("it trades as before", lambda: service.mode() == "running", 10)


def _filled(service: Service) -> str | None:
    """The id of a trade of ours."""
    trades = service.get("/trades?limit=5")["items"]
    return next((each["trade"]["trade_id"] if "trade" in each else each["trade_id"]
                 for each in trades), None)  # fmt: skip


def _explains_every_stage(service: Service, trade: str) -> None:
    told = service.command("explain", trade)
    assert told.returncode == 0, told.stderr
    missing = [stage for stage in STAGES if stage not in told.stdout.replace(" ", "_").lower()]
    assert not missing, told.stdout
    as_json = service.command("explain", trade, "--json")
    assert as_json.returncode == 0
    for stage in STAGES:
        assert stage in as_json.stdout


def _books(service: Service) -> dict[str, int]:
    """The last transaction of each account, by our store."""
    with service.store() as store:
        books = store.kernel("always").books
    return {account_id: books[account_id].last_id for account_id in ACCOUNTS}  # type: ignore[index]
