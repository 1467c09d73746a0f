"""The gate's word: what every order asks just before its first byte leaves.

The word lives in a small file that is mapped into memory, so that another process (the local
command, the guard) closes it by one assignment, without network, token or event loop (SAFETY G3).
Its first byte is a stop's, its second the guard's; either one closes. The latch file beside it
carries who and why. A stop's byte or a latch, found at start, means stopped (SAFETY 5.3).
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import msgspec

from orchestrator.model import failpoints
from orchestrator.model.time import Instant

_OPEN = 0
_CLOSED = 1
_SIZE = 4096
_STOP, _HOLD = 0, 1  # which byte is whose


Objection: TypeAlias = Callable[[], str]


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
        self._word = map_word(folder)
        # Both bytes in one look; a byte that is neither open nor closed is closed.
        self._both = memoryview(self._word)[:2].cast("H")
        self._leads: Objection | None = None
        self._reduces: Objection | None = None

    def lead_by(self, objection: Objection | None, reducing: Objection | None) -> None:
        """Ask these as well, at each look: a lease's deadline for orders, and for what reduces.

        None: there is one node only. They tell why not, or "".
        """
        self._leads, self._reduces = objection, reducing

    @property
    def closed(self) -> bool:
        return self._both[0] != _OPEN or (self._leads is not None and self._leads() != "")

    @property
    def stopped(self) -> bool:
        """By a stop; such a word opens only by a resume."""
        return self._word[_STOP] != _OPEN

    @property
    def held(self) -> bool:
        """By the guard, until the loop is well again (G4, G5)."""
        return self._word[_HOLD] != _OPEN

    @property
    def why(self) -> str:
        """Why an order may not leave, while it is closed."""
        if self.stopped:
            return "the emergency stop has closed the gate"
        if self.held:
            return "the guard has closed the gate: the main loop was blocked"
        return (self._leads() if self._leads is not None else "") or "the gate was closed just now"

    def bars_reducing(self) -> str | None:
        """The gate's answer to a cancel or a close: its word never stands in their way (INV-01),
        a leadership that is over does: the node that leads now closes.
        """
        return None if self._reduces is None else self._reduces() or None

    def close(self) -> None:
        """One assignment; idempotent; safe from any thread, signal handler or process."""
        self._word[_STOP] = _CLOSED

    def hold(self) -> None:
        """As `close`, by the guard."""
        self._word[_HOLD] = _CLOSED

    def release(self) -> None:
        """The guard's part opens; a stop's stays as it is."""
        self._word[_HOLD] = _OPEN

    def latch(self, latch: Latch) -> None:
        """Write the latch durably: file flushed, then its folder. OSError when it cannot be."""
        temporary = self._latch_path.with_suffix(".tmp")
        failpoints.before("latch.write")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            give_to_owner(handle, self._latch_path.parent)
            _write_whole(handle, msgspec.json.encode(latch))
            os.fsync(handle)
        finally:
            os.close(handle)
        failpoints.after("latch.write")
        failpoints.before("latch.rename")
        os.replace(temporary, self._latch_path)
        self._sync_folder()
        failpoints.after("latch.rename")

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
        """Remove the latch, durably, then open the stop's byte; only after a recorded resume.

        False, and nothing is opened, when the latch is another stop's, come in the meantime.
        """
        found = self.read_latch()
        if found is not None and found.stop_id != stop_id:
            return False
        failpoints.before("latch.remove")
        self._latch_path.unlink(missing_ok=True)
        self._sync_folder()
        failpoints.after("latch.remove")
        self._word[_STOP] = _OPEN
        return True

    def _sync_folder(self) -> None:
        handle = os.open(self._latch_path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_whole(handle: int, content: bytes) -> None:
    """A disk that fills up takes a part and says so by a smaller number only."""
    if os.write(handle, content) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def map_word(folder: Path) -> mmap.mmap:
    """The page that all processes of a state folder share; made at the first use."""
    handle = os.open(folder / "gate", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        give_to_owner(handle, folder)
        size = os.fstat(handle).st_size
        if size < _SIZE:
            # Really written: a page that lacks its block would kill who assigns it, disk full.
            os.pwrite(handle, bytes(_SIZE - size), size)
        return mmap.mmap(handle, _SIZE)
    finally:
        os.close(handle)


def give_to_owner(handle: int, folder: Path) -> None:
    """A stop by root (`sudo orchestrator emergency-stop --local`) is the service's to read."""
    owner = folder.stat()
    if os.geteuid() == 0 and os.fstat(handle).st_uid != owner.st_uid:
        os.fchown(handle, owner.st_uid, owner.st_gid)
