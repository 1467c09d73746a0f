"""What every message is: a frozen struct with a tag; the type is the topic."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all messages. Frozen is shallow: fields hold tuples, never lists or dicts."""


Says: TypeAlias = tuple[Message, ...]
NOTHING: Says = ()
