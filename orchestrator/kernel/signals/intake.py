"""A signal as a stranger's: what is wrong with it, before anything is asked about it."""

from __future__ import annotations

import re
from collections.abc import Container
from decimal import Decimal

import msgspec

from orchestrator.model.limits import CheckLimits
from orchestrator.model.money import AccountId, InstrumentName, Side
from orchestrator.model.signals import Outcome, Signal
from orchestrator.model.time import NS_PER_MS, Instant

_FORM = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_TEXT_MAX = 128
_NOTE_MAX = 1_000
_FEATURES_MAX = 100


class Defect(msgspec.Struct, frozen=True, kw_only=True):
    """Why a signal is not taken, and as what it ends."""

    outcome: Outcome
    reason: str


def well_named(signal_id: object) -> bool:
    """Whether the id may stand in records at all."""
    return isinstance(signal_id, str) and _FORM.fullmatch(signal_id) is not None


def defect_of(
    signal: Signal,
    now: Instant,
    limits: CheckLimits,
    instruments: Container[InstrumentName],
    accounts: Container[AccountId],
) -> Defect | None:
    """The first thing wrong with a well-named signal; None: it may be asked about."""
    text = _words(signal, instruments, accounts) or _numbers(signal) or _time(signal, now, limits)
    if text is not None:
        return Defect(outcome=Outcome.REJECTED, reason=text)
    if now > signal.expires_ns:
        age_ms = (now - signal.created_ns) // NS_PER_MS
        return Defect(outcome=Outcome.EXPIRED, reason=f"{age_ms} ms old, lives {signal.ttl_ms} ms")
    return None


def _words(
    signal: Signal, instruments: Container[InstrumentName], accounts: Container[AccountId]
) -> str | None:
    if signal.instrument not in instruments:
        return f"instrument {str(signal.instrument)[:32]!r} is not traded here"
    if not isinstance(signal.side, Side):  # pyright: ignore[reportUnnecessaryIsInstance] -- a stranger's
        return "side is neither buy nor sell"
    for word, text in (
        ("strategy", signal.strategy), ("regime", signal.regime), ("source", signal.source),
    ):  # fmt: skip
        if not text or len(text) > _TEXT_MAX:
            return f"{word} is empty or longer than {_TEXT_MAX}"
    if len(signal.note) > _NOTE_MAX or len(signal.features) > _FEATURES_MAX:
        return f"over {_FEATURES_MAX} features, or a note over {_NOTE_MAX} characters"
    if not all(feature.value.is_finite() for feature in signal.features):
        return "a feature is not finite"
    foreign = [name for name in signal.accounts if name not in accounts]
    return f"account {foreign[0][:64]!r} is not configured" if foreign else None


def _numbers(signal: Signal) -> str | None:
    prices: list[tuple[str, Decimal | None]] = [
        ("reference price", signal.reference_price), ("stop distance", signal.stop_distance),
        ("target distance", signal.target_distance),
    ]  # fmt: skip
    for word, value in prices:
        if value is not None and not (value.is_finite() and value > 0):
            return f"{word} {value} is not above zero"
    if not (signal.confidence.is_finite() and 0 < signal.confidence <= 1):
        return f"confidence {signal.confidence} is not within (0, 1]"
    if signal.stop_distance >= signal.reference_price:
        return f"stop distance {signal.stop_distance} reaches below zero"
    return None


def _time(signal: Signal, now: Instant, limits: CheckLimits) -> str | None:
    if not 0 < signal.ttl_ms <= limits.signal_ttl_ms_max:
        return f"time to live {signal.ttl_ms} ms is not within 1 ... {limits.signal_ttl_ms_max}"
    if signal.created_ns - now > limits.future_ms_max * NS_PER_MS:
        return f"{(signal.created_ns - now) // NS_PER_MS} ms from the future"
    return None
