"""S12: the audit trail could not be written, signed or verified."""

from __future__ import annotations


def s12_audit(*, ok: bool, reason: str) -> str | None:
    """Any failure at all: a trail with a hole proves nothing."""
    return None if ok else f"the audit trail failed: {reason or 'no reason given'}"
