"""`orchestrator paper --feed live` on another paper venue: two processes, real sockets."""

from __future__ import annotations

import time

import pytest

from orchestrator.main.paper import run
from tests.integration.paper_venue import TOKEN, USD, Venue

LIVE = ("orchestrator", "paper")


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    with Venue(tmp_path / "source") as venue:
        for name, bid, ask in (
            ("EUR_USD", "1.10000", "1.10010"),
            ("USD_JPY", "150.000", "150.010"),
        ):
            venue.price(name, bid, ask)
        yield venue


def until(look, what):
    ends = time.monotonic() + 10  # noqa: TID251 - other processes
    while not look():
        assert time.monotonic() < ends, what  # noqa: TID251
        time.sleep(0.02)  # noqa: TID251


def quoted(venue, name="EUR_USD"):
    found = venue.get(f"/v3/accounts/{USD}/pricing?instruments={name}")["prices"]
    return (found[0]["bids"][0]["price"], found[0]["tradeable"]) if found else None


def test_prices_of_the_source_become_ours_and_fill_orders(source, tmp_path, monkeypatch):
    monkeypatch.setenv("PAPER_SOURCE_TOKEN", TOKEN)
    where = f"http://127.0.0.1:{source.port}"
    flags = ("--source", where, "--instruments", "EUR_USD")
    with Venue(tmp_path, *flags, feed=("live",), program=LIVE) as venue:
        until(lambda: quoted(venue) == ("1.10000", True), "the first price")
        source.price("EUR_USD", "1.20000", "1.20010")
        until(lambda: quoted(venue) == ("1.20000", True), "the next price")
        order = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "100"}}
        status, body, _ = venue.ask("POST", f"/v3/accounts/{USD}/orders", order)
        assert (status, body["orderFillTransaction"]["price"]) == (201, "1.20010")
        # By hand: it stays put, and goes back to what the source said meanwhile.
        venue.price("EUR_USD", "1.50000", "1.50010")
        source.price("EUR_USD", "1.30000", "1.30010")
        until(lambda: venue.get("/control/clock")["source"]["ticks"] >= 3, "the third price")
        assert quoted(venue) == ("1.50000", True)
        venue.ask("POST", "/control/prices", {"instrument": "EUR_USD", "release": True})
        assert quoted(venue) == ("1.30000", True)
        told = venue.get("/control/clock")
        assert (told["calendar"], told["source"]["connected"]) == ("always", True)
        assert TOKEN not in str(told)
        status, body, _ = venue.ask("POST", "/control/clock", {"jump_s": 60})
        assert (status, body["errorMessage"]) == (
            400,
            "The clock follows the source of live prices",
        )
        source.end()
        until(
            lambda: not venue.get("/control/clock")["source"]["connected"], "the end of the source"
        )
        assert venue.end() == 0


@pytest.fixture
def failed(capfd, monkeypatch):
    """The exit code and the words of a venue that does not come up."""

    def start(*flags: str, **env: str) -> tuple[int, str]:
        for name in ("PAPER_SOURCE_TOKEN", "OANDA_API_KEY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        account = ("--account", f"{USD}:USD:1")
        code = run(["--port", "0", "--token", "t", *account, "--feed", "live", *flags])
        return code, capfd.readouterr().err

    return start


def test_what_is_wrong_with_a_source_is_told_in_one_line(source, failed):
    where = f"http://127.0.0.1:{source.port}"
    code, said = failed("--source", where)
    assert (code, "PAPER_SOURCE_TOKEN" in said) == (2, True)
    code, said = failed("--source", "http://example.com", PAPER_SOURCE_TOKEN="t0ken")
    assert (code, "plain HTTP is for this machine only" in said) == (2, True)
    code, said = failed("--source", "demo", PAPER_SOURCE_TOKEN="t0ken")
    assert (code, "must be practice, live or an address" in said) == (2, True)
    code, said = failed("--source", where, PAPER_SOURCE_TOKEN="t0ken")
    assert (code, "refuses the token" in said, "t0ken" in said) == (1, True, False)
    wanted = ("--instruments", "EUR_USD,ABC_USD")
    code, said = failed("--source", where, *wanted, OANDA_API_KEY=TOKEN)
    assert (code, "the source has no ABC_USD" in said) == (1, True)
    other = ("--source-account", "101-001-1000001-009")
    code, said = failed("--source", where, *other, PAPER_SOURCE_TOKEN=TOKEN)
    assert (code, "refuses account 101-001-1000001-009" in said) == (1, True)
    source.end()
    code, said = failed("--source", where, PAPER_SOURCE_TOKEN=TOKEN)
    assert (code, "cannot be read" in said, said.count("\n")) == (1, True, 1)
