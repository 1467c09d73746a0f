"""Keeps secrets out of what people read: those that were loaded, and what looks like one (X7)."""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import Any, cast

HIDDEN = "***"
_KNOWN_MAX = 500  # rotation never ends; those of long ago are worth nothing any more
_SHORT = 6  # what is shorter is a word, and would make every text unreadable

# A URL's password, bearer and JSON web tokens, Vault's tokens, OANDA's tokens.
_SHAPES = re.compile(
    r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"
    r"|(?<=[Bb]earer )[^\s\"']+"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|\bhv[sbr]\.[\w.-]{12,}"
    r"|\b[0-9a-f]{32}-[0-9a-f]{32}\b"
)

# A text with none of these, and shorter than a token, has no such shape; most are told so quickly.
_MARKS = ("://", "earer ", "eyJ", "hvs.", "hvb.", "hvr.")
_TOKEN_CHARS = 65


class Redactor:
    """Learns secrets, and takes them out of texts. May be called in any thread."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self._longest_first: tuple[str, ...] = ()  # one may be a part of another

    def learn(self, *secrets: str) -> None:
        """From now on none of these is shown. A short one cannot be told from a word."""
        new = [each for each in secrets if len(each) >= _SHORT and each not in self._known]
        if not new:
            return
        self._known.update(dict.fromkeys(new))
        while len(self._known) > _KNOWN_MAX:
            del self._known[next(iter(self._known))]
        self._longest_first = tuple(sorted(self._known, key=len, reverse=True))

    def clean(self, text: str) -> str:
        for secret in self._longest_first:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        if len(text) >= _TOKEN_CHARS or any(mark in text for mark in _MARKS):
            return _SHAPES.sub(HIDDEN, text)
        return text

    def __call__(
        self, _: object, __: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """A processor of structlog: the last before the renderer."""
        for key, value in event.items():
            event[key] = self._cleaned(value)
        return event

    def _cleaned(self, value: object) -> object:
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                return self.clean(value)
            case dict():
                table = cast("dict[object, object]", value)
                return {key: self._cleaned(each) for key, each in table.items()}
            case list() | tuple():
                return [self._cleaned(each) for each in cast("list[object]", value)]
            case _:
                text = str(value)
                cleaned = self.clean(text)
                return value if cleaned == text else cleaned


class RedactingFormatter(logging.Formatter):
    """The same for what libraries log by themselves, with the stacks of their errors."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__(logging.BASIC_FORMAT)
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.clean(super().format(record))
