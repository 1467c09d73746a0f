"""Agents that were started by hand, beside a service under test; ended by their process ids."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class Programs:
    """Started commands, by name. Leaving the `with` kills what is left of them."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def agent(self, role: str, instance: int, *words: str) -> None:
        """`orchestrator agent ROLE --instance N`."""
        more = ("agent", role, "--instance", str(instance), *words)
        self.start(f"{role}-{instance}", (sys.executable, "-m", "orchestrator", *more))

    def start(self, name: str, command: Sequence[str]) -> None:
        with (self._folder / f"{name}.out").open("ab") as out:
            self._running[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env=self._environment, cwd=self._folder,
            )  # fmt: skip

    def output(self, name: str) -> str:
        return (self._folder / f"{name}.out").read_text(errors="replace")

    def send(self, name: str, number: signal.Signals) -> None:
        self._running[name].send_signal(number)

    def kill(self, name: str) -> None:
        self._running[name].kill()
        self._running[name].wait(timeout=10)

    def wait(self, name: str, within_s: float = 20.0) -> int:
        """The exit code."""
        return self._running[name].wait(timeout=within_s)

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.wait(timeout=10)
