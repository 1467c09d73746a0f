"""One service per state folder: an advisory lock that dies with its process."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from orchestrator.model.errors import StoreError, StoreLocked

if TYPE_CHECKING:
    from pathlib import Path


class FolderLock:
    """Holds `FOLDER/lock` from construction to `release`, or to the death of the process.

    The file stays when released: deleting it would let two services hold two files of one name.
    Raises StoreLocked, which tells the other process' id, or StoreError.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._file = self._open()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.read(self._file, 32).decode("ascii", "replace").strip() or "unknown"
            self.release()
            raise StoreLocked(
                f"the state folder {folder} is in use by the service with process id {holder};"
                " stop that one, or give this one a state folder of its own"
            ) from exc
        except OSError as exc:
            self.release()
            raise StoreError(f"the state folder {folder} cannot be locked: {exc}") from exc
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StoreError(f"{self._path} cannot be opened: {exc.strerror}") from exc

    def release(self) -> None:
        """Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
