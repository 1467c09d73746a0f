"""A7: something that must be known of an account is not."""

from __future__ import annotations

import msgspec

from orchestrator.kernel.safety.view import seconds_text
from orchestrator.model.limits import BreakerLimits
from orchestrator.model.time import Instant, seconds


class Knowledge(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an account. None where there is nothing of the kind to know."""

    reconciled: bool
    differences: tuple[str, ...]
    unknown_since_ns: Instant | None  # of the oldest UNKNOWN intent
    behind_ns: Instant | None  # transactions that the venue spoke of are missing since
    heard_ns: Instant  # last sign of life: transactions stream, or a read that worked
    valued: bool  # every open trade can be valued in home currency


def a7_unknown(  # noqa: PLR0911 -- a list of what can be missing
    known: Knowledge, now: Instant, limits: BreakerLimits
) -> str | None:
    """The first thing that is missing, or None when all is known."""
    if not known.reconciled:
        if known.differences:
            return f"differs from the venue: {'; '.join(known.differences[:5])}"
        return "not reconciled with the venue"
    if known.unknown_since_ns is not None:
        age = now - known.unknown_since_ns
        if age > seconds(limits.unknown_s_max):
            return f"an order's outcome is unknown for {seconds_text(age)}"
    silent = now - known.heard_ns
    if silent > seconds(limits.transactions_silence_s_max):
        return f"transactions silent for {seconds_text(silent)}"
    if known.behind_ns is not None:
        behind = now - known.behind_ns
        if behind > seconds(limits.transactions_silence_s_max):
            return f"transactions missing for {seconds_text(behind)}"
    if not known.valued:
        return "a conversion rate or price of an open trade is missing"
    return None
