"""T3: the account's hours, news and holidays."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.model.money import InstrumentName
from orchestrator.model.profiles import Profile, Span
from orchestrator.model.safety import Effect
from orchestrator.model.time import Instant


def t3_account(profile: Profile, now: Instant) -> tuple[Effect, str] | None:
    """Outside the account's hours (block or flatten, as its profile says), or in its news."""
    off = profile.off(now)
    if off is not None:
        return profile.off_hours, off
    news = profile.newsworthy(now, None)
    return None if news is None else (Effect.BLOCK, news)


def t3_everywhere(
    windows: Iterable[Span], now: Instant, instrument: InstrumentName | None
) -> str | None:
    """The news or holiday of all accounts that holds now: for all instruments if none is given."""
    for window in windows:
        if bool(window.currencies) is (instrument is not None) and window.holds(now, instrument):
            return window.text
    return None
