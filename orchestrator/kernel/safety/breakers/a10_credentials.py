"""A10: the venue refuses our credentials: nothing of this account can be sent or known."""

from __future__ import annotations


def a10_credentials(*, ok: bool, reason: str) -> str | None:
    """401 or 403; over when a secret that was read anew works."""
    return None if ok else f"the venue refused our credentials: {reason or 'no reason given'}"
