"""The trail's transactions against the venue's own log: each once, none missing, none invented."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.main import audit_venue
from orchestrator.main.audit import Trail
from orchestrator.model.errors import VenueUnreachable
from orchestrator.model.money import AccountId
from orchestrator.model.venue import Transaction
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.service.cli.trail import VerifyReport, VerifyWishes
from orchestrator.settings import Settings
from tests.house import USD_ACCOUNT, House, in_virtual_time, new_market


class Log:
    """The venue's log as it stands, with what a test leaves out or adds."""

    def __init__(self, venue: InProcessVenue) -> None:
        self.venue = self
        self._inner = venue
        self.without: set[int] = set()
        self.closed = False

    async def transactions_since(
        self, account_id: AccountId, since: int
    ) -> tuple[tuple[Transaction, ...], int]:
        found, last = await self._inner.transactions_since(account_id, since)
        return tuple(tx for tx in found if tx.number not in self.without), last

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    """A day's trades, and then the service ends."""
    made: list[Log] = []

    async def story() -> None:
        async with House(tmp_path, new_market()) as house:
            await house.calm(40)
            await house.buy(accounts=(USD_ACCOUNT,))
            await house.calm(3)
            made.append(Log(house.venue))

    in_virtual_time(story)

    async def look_at(_: Settings) -> Log:
        return made[0]

    monkeypatch.setattr("orchestrator.main.audit_venue.look_at", look_at)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return made[0]


def verify() -> VerifyReport:
    return Trail().verify(VerifyWishes(venue=True, quiet=True))


def test_a_complete_trail_agrees_from_its_first_watermark_on(log: Log) -> None:
    report = verify()
    assert (report.state, report.exit_code) == ("good", 0), report.text
    usd = next(each for each in report.venue if each.account_id == USD_ACCOUNT)
    assert usd.good
    assert usd.compared == usd.last - usd.watermark > 2
    assert log.closed


def test_what_the_venue_does_not_know_is_named(log: Log) -> None:
    last = next(each for each in verify().venue if each.account_id == USD_ACCOUNT).last
    log.without.add(last)
    report = verify()
    assert (report.state, report.exit_code) == ("broken", 1)
    usd = next(each for each in report.venue if each.account_id == USD_ACCOUNT)
    assert (usd.unknown, usd.missing) == ((last,), ())


@pytest.mark.usefixtures("log")
def test_what_the_trail_lacks_is_named() -> None:
    skipped: list[int] = []
    take = audit_venue.Applied._take

    def forgetful(self: audit_venue.Applied, account_id: str, number: int, seq: int) -> None:
        if not skipped and account_id == USD_ACCOUNT and self.ids.get(account_id):
            skipped.append(number)
            return
        take(self, account_id, number, seq)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(audit_venue.Applied, "_take", forgetful)
        report = verify()
    usd = next(each for each in report.venue if each.account_id == USD_ACCOUNT)
    assert (report.exit_code, list(usd.missing)) == (1, skipped)


def test_a_venue_that_cannot_be_asked_is_no_verdict(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: Settings) -> Log:
        raise VenueUnreachable("connection refused")

    monkeypatch.setattr("orchestrator.main.audit_venue.look_at", away)
    report = verify()
    assert (report.state, report.exit_code) == ("unreadable", 2)
    assert "connection refused" in report.text
    assert not log.closed
