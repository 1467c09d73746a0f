"""Processes of a run: each one started here, ended here by its id, and bounded in time."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_END_S = 3.0
_spawn = multiprocessing.get_context("spawn")


class Child:
    """A function in a process of its own. It is given its end of a pipe as first argument."""

    def __init__(self, work: Callable[..., object], *arguments: object) -> None:
        self.pipe, theirs = _spawn.Pipe()
        self._process: BaseProcess = _spawn.Process(
            target=_guarded, args=(work, theirs, *arguments), daemon=True
        )
        self._process.start()
        theirs.close()

    def ask(self, *words: object, wait_s: float = 60.0) -> Any:  # noqa: ANN401 -- what the child says
        self.pipe.send(words)
        return self.hear(wait_s)

    def hear(self, wait_s: float = 60.0) -> Any:  # noqa: ANN401 -- as above
        """RuntimeError when the child failed, or says nothing in time."""
        try:
            if not self.pipe.poll(wait_s):
                raise RuntimeError(f"no word from a child process within {wait_s:g} s")
            said = self.pipe.recv()
        except EOFError as exc:
            raise RuntimeError("a child process ended without a word") from exc
        if isinstance(said, _Trouble):
            raise RuntimeError(f"a child process failed:\n{said.text}")  # noqa: TRY004
        return said

    def end(self) -> None:
        """Ended whatever it does; only this one process."""
        self.pipe.close()
        self._process.join(_END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_END_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.end()


def resident_mb() -> float:
    """Memory that this process holds now, 10^6 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class _Trouble:
    def __init__(self, text: str) -> None:
        self.text = text


def _guarded(work: Callable[..., object], pipe: Connection, *arguments: object) -> None:
    try:
        work(pipe, *arguments)
    except (BrokenPipeError, EOFError, KeyboardInterrupt):
        pass  # whoever asked is gone
    except BaseException:  # noqa: BLE001 -- told to whoever asked, who shows it
        pipe.send(_Trouble(traceback.format_exc()))
