"""Types of messages by the names that frames give them, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast, get_args

import msgspec

from orchestrator.model.agent_words import Heard, Sayable
from orchestrator.model.base import Message
from orchestrator.model.signals import Answer, Question


def type_name(kind: type[Message]) -> str:
    """As `type` in its JSON."""
    return str(kind.__struct_config__.tag)


def _members(union: object) -> Iterable[type[Message]]:
    for part in get_args(union):
        yield from _members(part) if get_args(part) else (cast("type[Message]", part),)


BY_NAME: dict[str, type[Message]] = {
    type_name(kind): kind
    for union in (Heard, Sayable, Question, Answer)
    for kind in _members(union)
}


def classes_of(names: Iterable[str]) -> tuple[type[Message], ...]:
    """Those that we know: a newer agent may know more."""
    return tuple(BY_NAME[name] for name in names if name in BY_NAME)


def names_of(kinds: Iterable[type[Message]]) -> tuple[str, ...]:
    return tuple(type_name(kind) for kind in kinds)


def encode(message: object) -> bytes:
    """Its JSON, as it stands in frames."""
    return msgspec.json.encode(message)
