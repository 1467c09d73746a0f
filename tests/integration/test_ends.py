"""What a long command has started ends with it: Ctrl-C, SIGTERM, or its own `kill -9`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.research.brood import MARK, Brood, kept_environment
from tests.integration.processes import ROOT, clean_environment, eventually

# In a session of its own, as a guard is, and with a child that has lost its parent.
_PARENT = """
import subprocess, sys, time

from orchestrator.research.brood import Brood, code_of, hearing_sigterm, kept_environment, word_of

GRANDCHILD = [sys.executable, "-c", "import time; time.sleep(600)"]
CHILD = [sys.executable, "-c", f"import subprocess; subprocess.Popen({GRANDCHILD!r})"]
try:
    with hearing_sigterm(), Brood("tso-ends-") as brood:
        (brood.folder / "books").write_text("x")
        kept = kept_environment("PATH", "LANG")
        subprocess.run(CHILD, env=kept, start_new_session=True, check=True)
        print("up", brood.folder, flush=True)
        while True:
            time.sleep(600)
except KeyboardInterrupt as end:
    print(word_of(end), flush=True)
    raise SystemExit(code_of(end))
"""


def _with(word: str) -> list[int]:
    """Process ids of all that were given LANG=`word`."""
    return list(_found(f"LANG={word}".encode()))


def _found(word: bytes) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if word in words:
            yield int(path.name)


class Command:
    """A program in a folder for its temporary files; leaving ends what is left of it."""

    def __init__(self, folder: Path, *words: str) -> None:
        folder.chmod(0o755)
        self.word = f"ends-{os.getpid()}-{folder.name}"
        self.folder = folder / "tmp"
        self.folder.mkdir()
        self.said = folder / "said.txt"
        environment = clean_environment({"TMPDIR": str(self.folder), "LANG": self.word})
        with self.said.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                cwd=folder, env={**environment, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pid in _with(self.word):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def others(self) -> list[int]:
        return [pid for pid in _with(self.word) if pid != self.process.pid]

    def end(self, number: signal.Signals, *, at_once: bool = True) -> int:
        """The exit code; nobody is left after it, and no file; not `at_once`: a moment later."""
        self.process.send_signal(number)
        code = self.process.wait(60)
        if number is signal.SIGKILL or not at_once:
            eventually("the others end", lambda: not self.others(), 30)
            eventually("the files go", lambda: not list(self.folder.iterdir()), 30)
        assert self.others() == []
        assert list(self.folder.iterdir()) == []
        return code


ENDS = [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)]


@pytest.mark.parametrize(("number", "code"), ENDS)
def test_nobody_of_a_brood_outlives_the_command(tmp_path, number, code):
    with Command(tmp_path, "-c", _PARENT) as command:
        eventually("its words", lambda: b"up" in command.said.read_bytes(), 60)
        assert [path.name for path in command.folder.glob("*/*")] == ["books"]
        assert len(command.others()) == 2  # the grandchild, and who keeps watch
        assert command.end(number) == code
        words = command.said.read_text().split()
        assert ("SIGTERM" in words) == (code == 143)
        assert ("interrupted" in words) == (code == 130)


def test_a_brood_that_has_ended_in_order_leaves_this_process_as_it_was():
    with pytest.raises(ValueError, match="x"), Brood("tso-ends-") as failed:
        raise ValueError("x")
    with Brood("tso-ends-") as brood:
        assert kept_environment() == {MARK: os.environ[MARK]}
    assert kept_environment() == {}
    assert not failed.folder.exists()
    assert not brood.folder.exists()


@pytest.mark.parametrize(("number", "code"), ENDS[::2])
def test_nobody_of_a_simulation_side_by_side_outlives_it(tmp_path, number, code):
    words = ("-m", "orchestrator", "simulate", "--seeds", "100000", "--jobs", "2")
    with Command(tmp_path, *words) as command:
        eventually("two workers", lambda: len(command.others()) >= 2, 60)
        # A worker that was just being born, and Python's own helper, find the end for themselves.
        assert command.end(number, at_once=False) == code
        if code > 0:
            said = command.said.read_text()
            assert " seeds in " in said
            assert ("ended by SIGTERM after" in said) == (code == 143)


def test_nobody_of_a_crash_sweep_outlives_it(tmp_path):
    words = ("-m", "orchestrator", "crash-sweep", "--only", "order/send.order", "--jobs", "1")
    with Command(tmp_path, *words) as command:
        # The service, its guard, its venue, and who keeps watch over the sweep.
        eventually("a service with its guard and venue", lambda: len(command.others()) >= 4, 60)
        assert command.end(signal.SIGTERM) == 143
        assert "ended by SIGTERM after 0 of 4 kills, 0 failed" in command.said.read_text()
