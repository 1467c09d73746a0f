"""Child processes: found again by pid and start, never mistaken, ended in order."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from orchestrator.service import children
from orchestrator.service.children import ChildFailed, ChildRecord, PaperProcess, _start_ticks

DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print(1, flush=True); time.sleep(60)"
)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until it is told to end."""
    process = subprocess.Popen(("sleep", "60"))
    yield process
    process.kill()
    process.wait()


def _paper(folder, fingerprint="same", arguments=()) -> PaperProcess:
    return PaperProcess(folder, arguments, "token-new", fingerprint)


def _leave_record(folder, pid: int, ticks: int | None = None, fingerprint: str = "same") -> None:
    record = ChildRecord(
        pid=pid, started_ticks=_start_ticks(pid) if ticks is None else ticks,
        fingerprint=fingerprint, port=4321, token="token-old",
    )  # fmt: skip
    (folder / "paper.json").write_bytes(msgspec.json.encode(record))


def test_nothing_is_found_where_nothing_was_left(tmp_path):
    paper = _paper(tmp_path)
    assert not paper.find()
    assert not paper.alive
    with pytest.raises(ChildFailed):
        _ = paper.port


def test_a_living_child_of_an_earlier_life_is_adopted_with_its_port_and_token(tmp_path, sleeper):
    _leave_record(tmp_path, sleeper.pid)
    paper = _paper(tmp_path)
    assert paper.find()
    assert (paper.port, paper.token, paper.pid, paper.alive) == (
        4321,
        "token-old",
        sleeper.pid,
        True,
    )


def test_a_child_that_was_asked_to_be_something_else_is_not_adopted_nor_harmed(tmp_path, sleeper):
    _leave_record(tmp_path, sleeper.pid, fingerprint="other")
    paper = _paper(tmp_path)
    with pytest.raises(ChildFailed, match=str(sleeper.pid)):
        paper.find()
    asyncio.run(paper.stop())
    assert sleeper.poll() is None


def test_another_process_with_the_same_pid_is_not_taken(tmp_path, sleeper):
    _leave_record(tmp_path, sleeper.pid, ticks=_start_ticks(sleeper.pid) - 1)
    paper = _paper(tmp_path)
    assert not paper.find()
    asyncio.run(paper.stop())
    assert sleeper.poll() is None


@pytest.mark.parametrize("fingerprint", ["same", "other"])
def test_a_child_that_is_gone_is_not_found(tmp_path, sleeper, fingerprint):
    _leave_record(tmp_path, sleeper.pid, fingerprint=fingerprint)
    sleeper.kill()
    sleeper.wait()
    assert not _paper(tmp_path).find()


def test_a_zombie_is_gone(tmp_path, sleeper):
    _leave_record(tmp_path, sleeper.pid)
    ticks = _start_ticks(sleeper.pid)
    assert ticks > 0
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert _start_ticks(sleeper.pid) == -1
    assert not _paper(tmp_path).find()


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff", b'{"pid": "x"}', b'{"token": "\xff"}', b"null"]
)
def test_a_record_that_cannot_be_read_is_no_record(tmp_path, raw):
    (tmp_path / "paper.json").write_bytes(raw)
    assert not _paper(tmp_path).find()


def test_a_name_with_spaces_and_brackets_does_not_confuse_the_reading_of_proc(tmp_path):
    script = tmp_path / "a ) b (c"
    script.symlink_to("/bin/sleep")
    process = subprocess.Popen((str(script), "60"))
    try:
        assert _start_ticks(process.pid) > 0
    finally:
        process.kill()
        process.wait()


def test_an_adopted_child_is_ended_and_its_record_removed(tmp_path, sleeper):
    _leave_record(tmp_path, sleeper.pid)
    paper = _paper(tmp_path)
    assert paper.find()
    asyncio.run(paper.stop())
    assert sleeper.wait(5) == -signal.SIGTERM
    assert not (tmp_path / "paper.json").exists()
    assert not paper.alive


def test_a_child_that_does_not_listen_is_killed_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(children, "_STOP_S", 0.1)
    with subprocess.Popen((sys.executable, "-c", DEAF), stdout=subprocess.PIPE) as deaf:
        deaf.stdout.readline()
        _leave_record(tmp_path, deaf.pid)
        paper = _paper(tmp_path)
        assert paper.find()
        asyncio.run(paper.stop())
        assert deaf.wait(5) == -signal.SIGKILL


def test_a_child_that_cannot_start_tells_its_last_words(tmp_path):
    paper = _paper(tmp_path, arguments=("--no-such-option",))
    with pytest.raises(ChildFailed, match="no-such-option"):
        asyncio.run(paper.start(port=0))
    assert not (tmp_path / "paper.json").exists()
    paper._process.wait()


def test_a_started_venue_is_found_by_the_next_life_and_ended_by_it(tmp_path):
    words = ("--account", "101-001-1000001-001:USD:100000", "--feed", "synthetic")
    first = _paper(tmp_path, arguments=words)
    asyncio.run(first.start(port=0))
    try:
        assert first.alive
        assert (tmp_path / "paper.json").stat().st_mode & 0o077 == 0
        later = _paper(tmp_path, arguments=words)
        assert later.find()
        assert (later.pid, later.port, later.token) == (first.pid, first.port, "token-new")
    finally:
        asyncio.run(first.stop())
    assert not first.alive
    assert not _paper(tmp_path, arguments=words).find()
