"""The processes of one command, which end with it however it ends: in order, by a signal, killed.

They are known by a mark in their environment, which children hand on to theirs. A small process of
its own waits for the end of this one's pipe, so that `kill -9` leaves nothing behind either.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from orchestrator.service.seams import block_s, children_of, new_id

MARK = "ORCHESTRATOR_BROOD"
INTERRUPTED = 130
TERMINATED = 143
_ROOT = Path(__file__).resolve().parents[2]
_OVER = "over"
_LOOK_S = 0.05
_LOOKS_MAX = 600
_KEEPER_S = 60.0


class BroodOver(OSError):
    """Nobody is started any more."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, where it ends things as Ctrl-C does."""


def code_of(end: KeyboardInterrupt) -> int:
    """The exit code that a shell would give."""
    return TERMINATED if isinstance(end, Terminated) else INTERRUPTED


def word_of(end: KeyboardInterrupt) -> str:
    return "ended by SIGTERM" if isinstance(end, Terminated) else "interrupted"


@contextmanager
def hearing_sigterm() -> Generator[None]:
    """SIGTERM does what Ctrl-C does just then, and ends in `Terminated`.

    An event loop ends its work in its own way, where an exception between its steps might be lost.
    """
    heard = False
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return

    def hear(_: int, frame: FrameType | None) -> None:
        nonlocal heard
        heard = True
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        if not callable(on_ctrl_c):
            raise Terminated
        on_ctrl_c(signal.SIGINT, frame)

    old = signal.signal(signal.SIGTERM, hear)
    try:
        yield
    except KeyboardInterrupt as exc:
        if not heard:
            raise
        raise Terminated from exc
    finally:
        signal.signal(signal.SIGTERM, old)


def kept_environment(*names: str) -> dict[str, str]:
    """Of this process's, for one that is started: these, and the mark. BroodOver: start nobody."""
    if os.environ.get(MARK) == _OVER:
        raise BroodOver("the command is at its end")
    return {name: os.environ[name] for name in (*names, MARK) if name in os.environ}


class Brood:
    """In `with`: a folder of its own, and whoever is started meanwhile; both are gone after it."""

    def __init__(self, prefix: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=prefix))
        self.folder.chmod(0o755)  # a database may run as another user
        self._mark = new_id("brood")
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Brood:
        path = filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))
        self._keeper = subprocess.Popen(  # noqa: S603 -- our own module, our own words
            (sys.executable, "-m", __name__, self._mark, str(self.folder)), stdin=subprocess.PIPE,
            start_new_session=True,
            env={**_unmarked(os.environ), "PYTHONPATH": os.pathsep.join(path)},
        )  # fmt: skip
        os.environ[MARK] = self._mark
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        os.environ[MARK] = _OVER  # threads of this process may be about to start somebody
        end_marked(self._mark)
        remove(self.folder)
        if kind is None or issubclass(kind, Exception):
            del os.environ[MARK]  # this process goes on, and may start others
        keeper = self._keeper
        assert keeper is not None, "never begun"
        with suppress(subprocess.TimeoutExpired):
            keeper.communicate(timeout=_KEEPER_S)


def _unmarked(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in environment.items() if name != MARK}


def end_marked(mark: str) -> None:
    """SIGKILL to each by its id, until two looks in a row find nobody: some are just being born."""
    quiet = 0
    for _ in range(_LOOKS_MAX):
        found = set(_marked(f"{MARK}={mark}".encode()))
        quiet = 0 if found else quiet + 1
        if quiet > 1:
            return
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        block_s(_LOOK_S)


def remove(folder: Path) -> None:
    """Who has just been killed may have written until then."""
    for _ in range(_LOOKS_MAX):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        block_s(_LOOK_S)


def _marked(words: bytes) -> Generator[int]:
    """And their children: a server's may overwrite what they were given."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            ours = words in (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended in the meantime, or is somebody else's
        pid = int(path.name)
        if ours and pid != os.getpid():
            yield pid
            yield from children_of(pid)


def keep(mark: str, folder: str) -> None:
    """Waits until nobody holds the other end of standard input, then clears away."""
    with suppress(OSError):
        while sys.stdin.buffer.read(1):
            pass
    end_marked(mark)
    remove(Path(folder))


if __name__ == "__main__":
    keep(*sys.argv[1:])
