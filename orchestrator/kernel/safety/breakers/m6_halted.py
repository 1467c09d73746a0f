"""M6: the venue does not trade an instrument now."""

from __future__ import annotations


def m6_halted(*, tradeable: bool) -> str | None:
    return None if tradeable else "the venue says that it is not tradeable"
