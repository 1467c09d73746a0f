"""The failpoints of the real code under simulation: kills and failures at each of them (K10)."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from orchestrator.model import failpoints
from orchestrator.research.simulate.death import Death
from orchestrator.research.simulate.world import World

_DATABASE = "journal."
_SENDS = "send."


@contextmanager
def struck(world: World, death: Death) -> Generator[None]:
    """Within, this life passes its failpoints in danger; what it does after its death is undone."""

    def pass_(name: str) -> None:
        if world.elsewhere:
            return  # another process writes, which lives on
        death.check()
        if name.startswith(_SENDS):
            return  # the venue here has no socket; the line has its own faults
        if world.fates.strikes("crash_at_failpoint"):
            death.strike(f"killed at {name}")
        if world.fates.strikes("disk_fails"):
            world.tell(f"the disk fails at {name}")
            raise _failure(name)

    failpoints.listen(pass_)
    try:
        yield
    finally:
        failpoints.listen(None)


def _failure(name: str) -> Exception:
    if name.startswith(_DATABASE):
        return sqlite3.OperationalError(f"disk I/O error at {name}")
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
