"""A message on a stream: who says it, its own id, and its bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from orchestrator.adapters.bus.redis.words import Reply, rows, text

_PAIR = 2


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message. It may come more than once: `event_id` tells (SAFETY 12, bus).

    `deliveries`: how often it was given to somebody, where that is known, else 1.
    """

    stream: str
    entry_id: str
    event_id: str
    source: str
    data: bytes
    deliveries: int = 1


# Returned: the effect is done. An exception: not done, so it is given again.
Handle: TypeAlias = "Callable[[Entry], Awaitable[None] | None]"


def entry_of(stream: str, reply: Reply, deliveries: int = 1) -> Entry | None:
    """None for what no part of ours has written: another shape, missing fields."""
    pair = rows(reply)
    if len(pair) != _PAIR:
        return None
    words = rows(pair[1])
    fields = {key: value for key, value in zip(words[::2], words[1::2], strict=False)}  # noqa: C416 -- typed
    event_id, source, data = (fields.get(name) for name in (b"id", b"src", b"d"))
    if not (isinstance(event_id, bytes) and isinstance(source, bytes) and isinstance(data, bytes)):
        return None
    return Entry(
        stream=stream, entry_id=text(pair[0]), event_id=text(event_id), source=text(source),
        data=data, deliveries=deliveries,
    )  # fmt: skip


def place_of(reply: Reply) -> str:
    """The id under which it stands on its stream; "" for nonsense."""
    pair = rows(reply)
    return text(pair[0]) if pair and isinstance(pair[0], bytes) else ""


def places(reply: Reply) -> list[tuple[str, list[Reply]]]:
    """What XREAD and XREADGROUP answer: (stream, its entries)."""
    found: list[tuple[str, list[Reply]]] = []
    for each in rows(reply):
        pair = rows(each)
        if len(pair) == _PAIR:
            found.append((text(pair[0]), rows(pair[1])))
    return found
