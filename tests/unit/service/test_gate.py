"""The gate's word and its latch: a byte that any process closes, a file that outlives all."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.service.gate import Gate, Latch

LATCH = Latch(stop_id="stop-1", actor="anna", reason="test", liquidate=True, closed_ns=5)


def _close_from_elsewhere(folder: str) -> None:
    Gate(Path(folder)).close()


def test_a_new_gate_is_open_and_has_no_latch(tmp_path):
    gate = Gate(tmp_path / "state")
    assert not gate.closed
    assert gate.read_latch() is None


def test_closing_is_seen_by_every_gate_of_the_folder_and_by_a_later_one(tmp_path):
    gate, neighbour = Gate(tmp_path), Gate(tmp_path)
    gate.close()
    gate.close()
    assert neighbour.closed
    assert Gate(tmp_path).closed


def test_another_process_closes_the_word_without_any_help_of_ours(tmp_path):
    gate = Gate(tmp_path)
    child = multiprocessing.get_context("fork").Process(
        target=_close_from_elsewhere, args=(str(tmp_path),)
    )
    child.start()
    child.join(10)
    assert child.exitcode == 0
    assert gate.closed


def test_the_word_outlives_a_kill_of_the_process_that_closed_it(tmp_path):
    gate = Gate(tmp_path)
    code = (
        "import os, signal, sys; from pathlib import Path; "
        "from orchestrator.service.gate import Gate; Gate(Path(sys.argv[1])).close(); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=os.getcwd())
    assert done.returncode == -9
    assert gate.closed


@pytest.mark.parametrize("byte", [1, 2, 0x80, 0xFF])
def test_any_word_that_is_not_open_is_closed(tmp_path, byte):
    Gate(tmp_path)
    with (tmp_path / "gate").open("r+b") as word:
        word.write(bytes([byte]))
    assert Gate(tmp_path).closed


def test_a_latch_is_read_back_as_it_was_written(tmp_path):
    Gate(tmp_path).latch(LATCH)
    assert Gate(tmp_path).read_latch() == LATCH


def test_a_second_latch_replaces_the_first_whole(tmp_path):
    gate = Gate(tmp_path)
    gate.latch(Latch(stop_id="a" * 3000, actor="x", reason="y", liquidate=False, closed_ns=1))
    gate.latch(LATCH)
    assert gate.read_latch() == LATCH


def test_the_latch_is_flushed_before_it_is_named_and_its_folder_after(tmp_path, monkeypatch):
    calls: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(handle: int) -> None:
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        real_sync(handle)

    def replace(source: Path, target: Path) -> None:
        calls.append("replace")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    Gate(tmp_path).latch(LATCH)
    assert calls == ["file", "replace", "folder"]


def test_the_latch_goes_durably_before_the_word_opens(tmp_path, monkeypatch):
    gate = Gate(tmp_path)
    gate.close()
    gate.latch(LATCH)
    seen: list[tuple[bool, bool]] = []
    real = os.fsync

    def sync(handle: int) -> None:
        seen.append((gate.closed, (tmp_path / "stop.latch").exists()))
        real(handle)

    monkeypatch.setattr(os, "fsync", sync)
    gate.reopen(LATCH.stop_id)
    assert seen == [(True, False)]
    assert not gate.closed
    assert gate.read_latch() is None


def test_another_stops_latch_keeps_everything_closed(tmp_path):
    """Somebody outside stopped while this one was being resumed."""
    gate = Gate(tmp_path)
    gate.close()
    gate.latch(LATCH)
    assert not gate.reopen("stop-another")
    assert gate.closed
    assert gate.read_latch() == LATCH


def test_the_word_stays_closed_when_the_latch_cannot_be_removed(tmp_path, monkeypatch):
    gate = Gate(tmp_path)
    gate.close()
    gate.latch(LATCH)

    def broken(_: int) -> None:
        raise OSError(5, "input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="input/output"):
        gate.reopen(LATCH.stop_id)
    assert gate.closed


def test_a_latch_that_was_cut_off_while_being_written_leaves_the_old_one(tmp_path, monkeypatch):
    gate = Gate(tmp_path)
    gate.latch(LATCH)

    def full(_: int) -> None:
        raise OSError(28, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space"):
            gate.latch(Latch(stop_id="b", actor="b", reason="b", liquidate=False, closed_ns=1))
    assert gate.read_latch() == LATCH


@pytest.fixture(scope="module")
def one_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("latches")


@given(st.binary(max_size=200))
def test_whatever_stands_in_the_latch_file_means_stopped(one_folder, raw):
    gate = Gate(one_folder)
    (one_folder / "stop.latch").write_bytes(raw)
    latch = gate.read_latch()
    assert latch is not None
    assert latch.stop_id
    assert latch.liquidate


@pytest.mark.parametrize(
    "raw",
    [b"", b"null", b'{"stop_id": 7}', b'{"stop_id":"s"', b"\xff\xfe", b'{"stop_id":"\xff"}'],
)
def test_an_unreadable_latch_stops_all_accounts_and_liquidates(tmp_path, raw):
    gate = Gate(tmp_path)
    (tmp_path / "stop.latch").write_bytes(raw)
    latch = gate.read_latch()
    assert latch is not None
    assert latch.accounts == ()
    assert latch.liquidate


def test_a_latch_that_may_not_be_opened_means_stopped_too(tmp_path):
    """As when another user wrote it: the system's answer is an error other than "not there"."""
    gate = Gate(tmp_path)
    (tmp_path / "stop.latch").mkdir()
    latch = gate.read_latch()
    assert latch is not None
    assert latch.liquidate


def test_the_files_are_for_their_owner_only(tmp_path):
    folder = tmp_path / "state"
    gate = Gate(folder)
    gate.latch(LATCH)
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "gate").stat().st_mode & 0o077 == 0
    assert (folder / "stop.latch").stat().st_mode & 0o077 == 0


# -- the guard's part ---------------------------------------------------------------------------


def test_a_held_gate_is_closed_and_no_stop(tmp_path):
    gate = Gate(tmp_path)
    gate.hold()
    assert (gate.closed, gate.held, gate.stopped) == (True, True, False)
    assert Gate(tmp_path).held
    gate.release()
    assert not gate.closed


def test_neither_the_guard_nor_a_resume_opens_the_others_part(tmp_path):
    gate = Gate(tmp_path)
    gate.hold()
    gate.close()
    gate.release()
    assert gate.closed
    gate.hold()
    assert gate.reopen("any")
    assert (gate.closed, gate.stopped, gate.held) == (True, False, True)


def test_the_words_page_is_on_the_disk_before_anyone_assigns_it(tmp_path):
    """A page that lacks its block would kill the process that closes the gate on a full disk."""
    Gate(tmp_path)
    assert (tmp_path / "gate").stat().st_blocks * 512 >= 4096


def test_a_disk_that_takes_only_a_part_of_the_latch_leaves_the_old_one(tmp_path, monkeypatch):
    gate = Gate(tmp_path)
    gate.latch(LATCH)
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:7]))
    with pytest.raises(OSError, match="No space left"):
        gate.latch(Latch(stop_id="stop-2", actor="b", reason="r", liquidate=True, closed_ns=6))
    assert gate.read_latch() == LATCH
