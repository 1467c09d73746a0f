"""What goes over the wire: commands as bytes, replies, and how long who waits for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

import hiredis

Word: TypeAlias = "bytes | str | int"
# A reply: bytes, a number, a list of replies, None, or an error of the server's.
Reply: TypeAlias = "bytes | int | list[Reply] | hiredis.ReplyError | None"


# Its own annotations know commands of one word only, and no result.
packed = cast("Callable[[tuple[Word, ...]], bytes]", hiredis.pack_command)


def text(reply: Reply) -> str:
    """A reply's words; a person's text for any other kind."""
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)


def rows(reply: Reply) -> list[Reply]:
    """A list of replies; of anything else none."""
    return reply if isinstance(reply, list) else []


def number(reply: Reply) -> int:
    """A number, also as a text; 0 for anything else."""
    if isinstance(reply, int):
        return reply
    return int(reply) if isinstance(reply, bytes) and reply.isdigit() else 0
