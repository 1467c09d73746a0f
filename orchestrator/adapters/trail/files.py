"""Small files that are whole or not there, and on the disk when the call returns."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.model import failpoints


def replace_durably(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """The whole content under that name, or the old one. OSError."""
    temporary = path.with_name(path.name + ".tmp")
    failpoints.before("file.replace")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        write_all(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(temporary, path)
    sync_folder(path.parent)
    failpoints.after("file.replace")


def write_all(handle: int, content: bytes) -> None:
    """A disk that is nearly full takes less than it was given: the rest is asked for again."""
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def sync_folder(folder: Path) -> None:
    """So that a name which was made or moved there survives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
