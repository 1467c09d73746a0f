"""Exported records: JSON lines, one record each, byte for byte what was hashed; `.gz` is packed."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from orchestrator.adapters.store.trail import Pruned
from orchestrator.model import failpoints
from orchestrator.model.errors import StoreError
from orchestrator.model.journal import Record, from_line, to_line

FOLDER = "archive"
_CHUNK = 1 << 20


def write_lines(path: Path, records: Iterable[Record]) -> int:
    """How many were written; "-" is standard output. A file is whole and on the disk, or the old
    one stands: it is written under another name first. OSError.
    """
    if str(path) == "-":
        return _write(sys.stdout.buffer, records)
    temporary = path.with_name(f"{path.name}.part")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            count = _write_packed(file, records) if path.suffix == ".gz" else _write(file, records)
            file.flush()
            failpoints.before("audit.export")
            os.fsync(file.fileno())
        os.replace(temporary, path)
        failpoints.after("audit.export")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.absolute().parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return count


def _write_packed(file: IO[bytes], records: Iterable[Record]) -> int:
    # Neither name nor time in the head: the same records make the same file.
    with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as packed:
        return _write(packed, records)


def _write(file: IO[bytes] | gzip.GzipFile, records: Iterable[Record]) -> int:
    count = 0
    for record in records:
        file.write(to_line(record) + b"\n")
        count += 1
    return count


def read_lines(path: Path, heard: Callable[[int], None] | None = None) -> Iterator[Record]:
    """StoreError names the first line that is none; `heard` is told how many bytes were read.

    A gzip file that was cut ends with a StoreError too: an export is whole or worth nothing.
    """
    number = 0
    try:
        with path.open("rb") as raw:
            lines: Iterable[bytes] = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            for number, line in enumerate(lines, 1):
                yield from_line(line)
                if heard is not None and number % 1000 == 0:
                    heard(raw.tell())
    except ValueError as exc:
        raise StoreError(f"{path}, line {number}: {exc}") from exc
    except (OSError, EOFError, zlib.error) as exc:
        raise StoreError(f"{path} cannot be read after line {number}: {exc}") from exc


def pruned_records(prunings: Iterable[Pruned], folder: Path | None, after: int) -> Iterator[Record]:
    """From number `after` (exclusive), out of the files that they name, in order.

    StoreError for a file that is not there: only a recovery without a snapshot needs it.
    """
    seq = after
    for pruned in prunings:
        if pruned.upto <= seq:
            continue
        file = (folder or Path(FOLDER)) / pruned.file
        if not file.exists():
            raise StoreError(
                f"records up to {pruned.upto} were pruned into {file}, which is not there, and"
                " no snapshot of this version can do without them: put it back for one start"
            )
        for record in read_lines(file):
            if seq < record.seq <= pruned.upto:
                yield record
                seq = record.seq


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex. OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
