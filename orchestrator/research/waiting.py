"""Waiting for other processes, with an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from orchestrator.service.seams import block_s, mono_ns

T = TypeVar("T")
_POLL_S = 0.02


class Late(Exception):
    """Something that had to happen did not, within its time."""


def eventually(what: str, look: Callable[[], T | None], within_s: float) -> T:
    """What `look` finds as soon as it finds anything (truthy); Late after `within_s`."""
    ends_ns = mono_ns() + int(within_s * 1e9)
    while not (found := look()):
        if mono_ns() > ends_ns:
            raise Late(f"not within {within_s:g} s: {what}")
        block_s(_POLL_S)
    return found
