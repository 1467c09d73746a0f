"""A task group whose children can be ended together; what raises still takes the group down."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class NestClosed(RuntimeError):
    """The group is ending: nobody is left to do this work."""


class Nest:
    """The children of one life, made in one group; `cancel` ends those that are left."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._children: set[asyncio.Task[Any]] = set()

    def create_task(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """NestClosed when the group takes no more; the work is not begun then."""
        try:
            task = self._group.create_task(work, name=name)
        except RuntimeError as exc:
            work.close()
            raise NestClosed(name) from exc
        self._children.add(task)
        task.add_done_callback(self._children.discard)
        return task

    def cancel(self, name: str = "") -> None:
        """All children, or those of that name."""
        for task in tuple(self._children):
            if not name or task.get_name() == name:
                task.cancel()
