"""`checkpoints.jsonl`: one signed checkpoint a line, appended and flushed; never rewritten."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from orchestrator.adapters.trail.files import sync_folder, write_all
from orchestrator.adapters.trail.key import SigningKey, is_signed
from orchestrator.model import failpoints
from orchestrator.model.checkpoint import Checkpoint

NAME = "checkpoints.jsonl"
OLD = "checkpoints.1.jsonl"
# A checkpoint a minute fills this in about a month; then the file becomes the old one, and the old
# one goes. Any later checkpoint vouches for all records before it.
BYTES_MAX = 16 * 1024 * 1024
_TAIL = 4096
_decode = msgspec.json.Decoder(Checkpoint).decode


class CheckpointFile:
    """Meets `ports.CheckpointBook`. A last line that was cut off by a crash is nobody's promise:
    readers pass over it, and the next write cuts it away.
    """

    def __init__(self, folder: Path, *, bytes_max: int = BYTES_MAX) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._bytes_max = bytes_max
        self.key = SigningKey(folder)

    def latest(self) -> Checkpoint | None:
        for name in (NAME, OLD):
            found = _last_of(self._folder / name)
            if found is not None:
                return found
        return None

    def every(self) -> list[Checkpoint]:
        """All that are kept, oldest first. ValueError names a line that is no checkpoint."""
        return [each for name in (OLD, NAME) for each in read_file(self._folder / name)]

    def write(self, checkpoint: Checkpoint) -> Checkpoint:
        mine = msgspec.structs.replace(checkpoint, key=self.key.public, signature="")
        signed = msgspec.structs.replace(mine, signature=self.key.sign(mine.signed_text()))
        self._make_room()
        is_new = not self._path.exists()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        handle = os.open(self._path, flags, 0o600)
        try:
            whole = _cut_torn_line(handle)
            failpoints.before("audit.checkpoint")
            try:
                write_all(handle, signed.line() + b"\n")
                os.fsync(handle)
            except OSError:
                # A part of a line must not stand before the next one.
                with suppress(OSError):
                    os.ftruncate(handle, whole)
                raise
        finally:
            os.close(handle)
        if is_new:
            sync_folder(self._folder)
        failpoints.after("audit.checkpoint")
        return signed

    def _make_room(self) -> None:
        with suppress(FileNotFoundError):
            if self._path.stat().st_size > self._bytes_max:
                failpoints.before("audit.turn")
                os.replace(self._path, self._folder / OLD)
                failpoints.after("audit.turn")

    def objection(self, checkpoint: Checkpoint) -> str:
        return objection_to(checkpoint, self.key.public)


def objection_to(checkpoint: Checkpoint, key: str) -> str:
    """Why it is not to be believed of the holder of this public key, or ""."""
    if checkpoint.key != key:
        return f"it is signed with another key ({checkpoint.key[:16]}...)"
    if not is_signed(key, checkpoint.signature, checkpoint.signed_text()):
        return "its signature is wrong"
    return ""


def read_file(path: Path) -> Iterator[Checkpoint]:
    """Oldest first; none of a file that is not there. ValueError names a line that is none."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n") and number == len(lines) and _torn(line):
            return
        try:
            yield _decode(line)
        except (msgspec.MsgspecError, ValueError) as exc:
            raise ValueError(f"{path}, line {number} is no checkpoint: {exc}") from exc


def _torn(line: bytes) -> bool:
    """Whether a last line without an end is only a part; a copied text may lack its line end."""
    try:
        _decode(line)
    except (msgspec.MsgspecError, ValueError):
        return True
    return False


def _last_of(path: Path) -> Checkpoint | None:
    """Of the end of the file alone: a start must not read a month's lines."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            tail = file.read()
    except FileNotFoundError:
        return None
    whole, end, _ = tail.rpartition(b"\n")
    if not end:
        return None
    try:
        return _decode(whole.rpartition(b"\n")[2])
    except (msgspec.MsgspecError, ValueError) as exc:
        raise ValueError(f"the last line of {path} is no checkpoint: {exc}") from exc


def _cut_torn_line(handle: int) -> int:
    """Where the file ends now: behind its last whole line."""
    size = os.fstat(handle).st_size
    start = max(0, size - _TAIL)
    tail = os.pread(handle, size - start, start)
    whole = start + tail.rfind(b"\n") + 1
    if whole < size:
        os.ftruncate(handle, whole)
    return whole
