"""The gate's word: one byte that every order asks just before its first byte leaves.

The word lives in a small file that is mapped into memory, so that another process (the local
command) closes it by one assignment, without network, token or event loop (SAFETY G3). The latch
file beside it carries who and why. Either of the two, found at start, means stopped (SAFETY 5.3).
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import msgspec

from orchestrator.model.time import Instant

_OPEN = 0
_CLOSED = 1
_SIZE = 4096


class Latch(msgspec.Struct, frozen=True, kw_only=True):
    """The latch file's content."""

    stop_id: str
    actor: str
    reason: str
    liquidate: bool
    closed_ns: Instant
    accounts: tuple[str, ...] = ()


class Gate:
    """The word and the latch of one state folder. OSError when the folder cannot be written."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._latch_path = folder / "stop.latch"
        handle = os.open(folder / "gate", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._give_to_owner(handle)
            if os.fstat(handle).st_size < _SIZE:
                os.ftruncate(handle, _SIZE)
            self._word = mmap.mmap(handle, _SIZE)
        finally:
            os.close(handle)

    @property
    def closed(self) -> bool:
        return self._word[0] != _OPEN

    def close(self) -> None:
        """One assignment; idempotent; safe from any thread, signal handler or process."""
        self._word[0] = _CLOSED

    def latch(self, latch: Latch) -> None:
        """Write the latch durably: file flushed, then its folder. OSError when it cannot be."""
        temporary = self._latch_path.with_suffix(".tmp")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            self._give_to_owner(handle)
            os.write(handle, msgspec.json.encode(latch))
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, self._latch_path)
        self._sync_folder()

    def read_latch(self) -> Latch | None:
        """None when there is no latch; one that cannot be read still means stopped."""
        try:
            raw = self._latch_path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            raw = b""  # there is one, and it may not be read: stopped all the same
        try:
            return msgspec.json.decode(raw, type=Latch)
        except ValueError:  # not JSON, not UTF-8, or not a latch
            return Latch(
                stop_id="stop-unreadable-latch", actor="unknown", liquidate=True, closed_ns=0,
                reason="the latch file cannot be read",
            )  # fmt: skip

    def reopen(self, stop_id: str) -> bool:
        """Remove the latch, durably, then open the word; only after a recorded resume.

        False, and nothing is opened, when the latch is another stop's, come in the meantime.
        """
        found = self.read_latch()
        if found is not None and found.stop_id != stop_id:
            return False
        self._latch_path.unlink(missing_ok=True)
        self._sync_folder()
        self._word[0] = _OPEN
        return True

    def _give_to_owner(self, handle: int) -> None:
        """A stop by root (`sudo orchestrator emergency-stop --local`) is the service's to read."""
        folder = self._latch_path.parent.stat()
        if os.geteuid() == 0 and os.fstat(handle).st_uid != folder.st_uid:
            os.fchown(handle, folder.st_uid, folder.st_gid)

    def _sync_folder(self) -> None:
        handle = os.open(self._latch_path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
