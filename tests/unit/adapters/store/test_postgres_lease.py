"""A session that the server has ended, met by the question that finds it so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from orchestrator.adapters.store import postgres_lease
from orchestrator.adapters.store.postgres_connection import driver
from orchestrator.adapters.store.postgres_lease import PostgresLease
from orchestrator.model.errors import LeaseError


class Session:
    """Answers every question, or raises what it is made of."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.trouble = trouble
        self.asked = 0
        self.ended = False

    async def fetch(self, *_: object) -> Sequence[Sequence[Any]]:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return [("row",)]

    async def add_listener(self, *_: object) -> None: ...

    def is_closed(self) -> bool:
        return self.ended

    def terminate(self) -> None:
        self.ended = True


def lease_on(monkeypatch: pytest.MonkeyPatch, *sessions: Session) -> PostgresLease:
    waiting = list(sessions)

    async def connect(*_: object, **__: object) -> Session:
        return waiting.pop(0)

    monkeypatch.setattr(postgres_lease, "connect", connect)
    return PostgresLease("postgresql://x/y", node="n", holder="h", address="")


def silent_too_long() -> Exception:
    error = driver().PostgresError("terminating connection due to idle-session timeout")
    error.sqlstate = "57P05"
    return error


@pytest.mark.parametrize(
    "farewell",
    [
        silent_too_long(),
        driver().InternalClientError(
            "cannot switch to state 11; another operation (2) is in progress"
        ),
    ],
)
def test_a_session_that_ended_for_silence_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, farewell: Exception
):
    """The farewell is read, the connection's end is not: what was not asked is asked anew."""
    first, second = Session(), Session()
    lease = lease_on(monkeypatch, first, second)

    async def story() -> None:
        assert await lease.renew()
        first.trouble = farewell
        assert await lease.renew()

    asyncio.run(story())
    assert first.ended
    assert second.asked == 2  # that it lives, and the renewal


def test_a_fresh_session_that_ends_at_once_is_a_failure(monkeypatch: pytest.MonkeyPatch):
    first, second = Session(), Session(silent_too_long())
    lease = lease_on(monkeypatch, first, second, Session())

    async def story() -> None:
        assert await lease.renew()
        first.trouble = silent_too_long()
        with pytest.raises(LeaseError):
            await lease.renew()

    asyncio.run(story())
    assert second.ended


def test_what_may_have_been_carried_out_is_not_asked_twice(monkeypatch: pytest.MonkeyPatch):
    first, second = Session(), Session()
    lease = lease_on(monkeypatch, first, second)

    async def story() -> None:
        assert await lease.renew()
        first.trouble = driver().ConnectionDoesNotExistError("closed in the middle of operation")
        with pytest.raises(LeaseError, match="closed in the middle"):
            await lease.renew()

    asyncio.run(story())
    assert second.asked == 0
