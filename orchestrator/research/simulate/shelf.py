"""Between two lives: the store is copied, and an older copy is put back (SAFETY R6)."""

from __future__ import annotations

import shutil
from pathlib import Path

from orchestrator.research.simulate.world import World

_PUT_BACK = 0.5


def handle_copies(world: World) -> None:
    """The process is dead, its files are as it left them; the latch stands beside the store."""
    if not world.fates.has("older_store"):
        return
    shelf = world.folder / "shelf"
    if not shelf.exists():
        _copy(world.folder, shelf)
        world.copied_seq = world.judge.standing.last_seq
        world.tell(f"the store is copied at record {world.copied_seq}")
    elif world.fates.dice("older_store").random() < _PUT_BACK:
        for file in world.folder.glob("orchestrator.db*"):
            file.unlink()
        _copy(shelf, world.folder)
        shutil.rmtree(shelf)
        world.fates.struck["older_store"] += 1
        world.tell(f"an older copy is put back: record {world.copied_seq}")
        world.forgotten = world.signals
        world.judge.rewind(world.copied_seq)


def _copy(frm: Path, to: Path) -> None:
    to.mkdir(exist_ok=True)
    for file in frm.glob("orchestrator.db*"):
        shutil.copy(file, to)
