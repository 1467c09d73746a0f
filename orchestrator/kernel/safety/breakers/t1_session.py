"""T1: the FX session is closed, about to close, or has just opened."""

from __future__ import annotations

from orchestrator.model.time import Instant, Session, fx_session


def session_of(calendar: str, now: Instant) -> str:
    """`open` for a market that never closes; else what New York's clock says."""
    return fx_session(now) if calendar == "fx" else Session.OPEN


def t1_session(session: str) -> str | None:
    return None if session == Session.OPEN else f"session is {session}"
