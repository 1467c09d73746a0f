"""The shape of an agent: what it hears, what it says, its settings; what users import."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias, TypeVar

from orchestrator.model.base import NOTHING, Message, Says
from orchestrator.model.signals import Role

__all__ = ["NOTHING", "Agent", "Message", "Role", "Says", "hears"]

A = TypeVar("A", bound="Agent")
M = TypeVar("M", bound=Message)
_Method: TypeAlias = Callable[[Any, Any], Says]

_MARK = "__hears__"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def hears(message: type[M]) -> Callable[[Callable[[A, M], Says]], Callable[[A, M], Says]]:
    """Marks the method that is called with each message of exactly this type.

    Typed: a method whose parameter is not a `message` is an error in the editor. One method, one
    type of message. A method that overrides a marked one by name is heard in its place, with or
    without the decorator.
    """
    _check_message(message)

    def mark(method: Callable[[A, M], Says]) -> Callable[[A, M], Says]:
        setattr(method, _MARK, message)
        return method

    return mark


def _mark_of(method: object) -> type[Message] | None:
    return getattr(method, _MARK, None)


def _check_message(kind: object) -> None:
    if not (isinstance(kind, type) and issubclass(kind, Message)):
        raise TypeError(f"{kind!r} is not a type of message")


class Agent:
    """One small class that forms opinions: a method for each message it hears.

    `role`: the task it does, or shares with others of that role. `name`: `[a-z][a-z0-9_]{0,39}`,
    unique among a service's agents. `version`: stands with each of its decisions in the audit
    trail; change it when behaviour changes. `says`: every type of message it may say; the host
    drops and reports anything else. `learns_when_asked`: its state depends on what it was asked;
    of several instances each then hears every question, and one of them answers.

    Settings are keyword arguments of `__init__` with defaults; their docstring gives the units.
    An agent owns no clock, dice, log, file or socket: time stands in the messages, a regular beat
    is `Beat`, and what happened is said. So the same code runs live, in replay and in tests.

    Nothing is stored for an agent. After a start it hears `History` for each instrument and the
    past `TradeOutcome`s, oldest first, before anything live, and rebuilds its state from these.
    """

    role: ClassVar[Role]
    name: ClassVar[str]
    version: ClassVar[str] = "1"
    says: ClassVar[tuple[type[Message], ...]] = ()
    learns_when_asked: ClassVar[bool] = False

    _methods: ClassVar[dict[type[Message], _Method]] = {}

    def __init_subclass__(cls) -> None:
        """Builds the table of what is heard; TypeError where the class contradicts itself."""
        super().__init_subclass__()
        cls._methods = {kind: getattr(cls, name) for kind, name in _table_of(cls).items()}
        if cls._methods:
            _check_named(cls)

    @classmethod
    def heard(cls) -> tuple[type[Message], ...]:
        """Every type of message that some method hears; the host delivers no others."""
        return tuple(cls._methods)

    @classmethod
    def may_say(cls, kind: type[Message]) -> bool:
        """Whether `kind` stands in `says`; asked by the host for each message said."""
        return kind in cls.says

    def hear(self, message: Message) -> Says:
        """What the agent has to say to this message; NOTHING when it does not hear its type.

        Raises whatever the agent's method raises: the host turns that into a rejection.
        """
        method = self._methods.get(type(message))
        return NOTHING if method is None else method(self, message)


def _table_of(cls: type[Agent]) -> dict[type[Message], str]:
    """Message type -> name of the method; a nearer class replaces what its bases say."""
    table: dict[type[Message], str] = {}
    for owner in reversed(cls.__mro__):
        own: dict[type[Message], str] = {}
        for name, value in vars(owner).items():
            kind = _mark_of(value)
            if kind is None:
                continue
            if kind in own:
                raise TypeError(
                    f"{owner.__name__} hears {kind.__name__} twice: {own[kind]} and {name}"
                )
            own[kind] = name
        table.update(own)
    return table


def _check_named(cls: type[Agent]) -> None:
    if not isinstance(getattr(cls, "role", None), Role):
        raise TypeError(f"{cls.__name__}.role must be one of Role, e.g. Role.MARKET_ANALYSIS")
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise TypeError(f"{cls.__name__}.name must match {_NAME.pattern}, not {name!r}")
    said: object = getattr(cls, "says", None)
    if not isinstance(said, tuple):
        raise TypeError(f"{cls.__name__}.says must be a tuple of message types, e.g. (Signal,)")
    for kind in cls.says:
        _check_message(kind)
