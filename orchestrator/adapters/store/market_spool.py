"""Batches of market data that wait on this machine's disk until their server is back.

One file a batch, named by its place in the line; written under another name first, so that a file
that is there is whole, or was cut by a power failure and is then found out by its checksum.
"""

from __future__ import annotations

import os
import re
import zlib
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from orchestrator.adapters.store.market_queue import Item

_NAME = re.compile(r"(\d{12})-(\d{1,6})-([0-9a-z-]{1,80})-(\d{1,18})\.batch")
_BLOCK = 4_096  # what a small file costs the disk at least
_CHECKSUM = 4
_DECODE = msgspec.msgpack.Decoder(list[Item]).decode
_ENCODE = msgspec.msgpack.Encoder().encode


class Batch(NamedTuple):
    """Rows that are stored together; `writer` and `number` make sure that it happens once."""

    writer: str
    number: int
    items: Sequence[Item]


class _File(NamedTuple):
    path: Path
    rows: int
    size: int
    writer: str
    number: int


class Spool:
    """First in, first out. Beyond `bytes_max` the oldest goes. For one thread; OSError passes."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._bytes = 0
        self.rows = 0
        self._files: deque[_File] = deque()
        self._next = 1
        self._look()

    def __len__(self) -> int:
        return len(self._files)

    def put(self, batch: Batch) -> int:
        """How many older rows had to go for it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        payload = zlib.compress(_ENCODE(list(batch.items)), 1)
        name = f"{self._next:012d}-{len(batch.items)}-{batch.writer}-{batch.number}.batch"
        path = self._folder / name
        unfinished = path.with_suffix(".new")
        try:
            unfinished.write_bytes(zlib.crc32(payload).to_bytes(_CHECKSUM, "big") + payload)
            unfinished.replace(path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
        self._next += 1
        self._note(_File(path, len(batch.items), len(payload), batch.writer, batch.number))
        return self._make_room()

    def first(self) -> Batch | None:
        """The oldest; None when nothing waits. ValueError for one that cannot be read."""
        if not self._files:
            return None
        file = self._files[0]
        raw = file.path.read_bytes()
        payload = raw[_CHECKSUM:]
        if zlib.crc32(payload).to_bytes(_CHECKSUM, "big") != raw[:_CHECKSUM]:
            raise ValueError(f"{file.path.name} is cut or damaged")
        try:
            items = _DECODE(zlib.decompress(payload))
        except (msgspec.MsgspecError, zlib.error) as exc:
            raise ValueError(f"{file.path.name} cannot be read: {exc}") from exc
        return Batch(file.writer, file.number, items)

    def drop_first(self) -> int:
        """It is stored, or of no use; how many rows it had."""
        file = self._files.popleft()
        self._bytes -= max(_BLOCK, file.size)
        self.rows -= file.rows
        file.path.unlink(missing_ok=True)
        return file.rows

    def _make_room(self) -> int:
        gone = 0
        while self._bytes > self._bytes_max and len(self._files) > 1:
            gone += self.drop_first()
        return gone

    def _look(self) -> None:
        """What an earlier life left."""
        if not self._folder.is_dir():
            return
        for name in sorted(os.listdir(self._folder)):
            match = _NAME.fullmatch(name)
            path = self._folder / name
            if match is None:
                if name.endswith(".new"):
                    path.unlink(missing_ok=True)
                continue
            size = path.stat().st_size
            self._note(_File(path, int(match[2]), size, match[3], int(match[4])))
            self._next = int(match[1]) + 1

    def _note(self, file: _File) -> None:
        self._files.append(file)
        self._bytes += max(_BLOCK, file.size)
        self.rows += file.rows
