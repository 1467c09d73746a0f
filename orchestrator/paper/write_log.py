"""The witness of every write that was asked for, when, and what was answered."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec


class WriteLog:
    """Append-only, one JSON line a request."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, **fields: object) -> None:
        """Write a line, before the answer leaves."""
        os.write(self._fd, msgspec.json.encode(fields) + b"\n")

    def close(self) -> None:
        os.close(self._fd)
