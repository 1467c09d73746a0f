"""Checkpoints in their file: signed, whole, never rewritten; a torn line is nobody's promise."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from orchestrator.adapters.trail.book import NAME, OLD, CheckpointFile, objection_to, read_file
from orchestrator.adapters.trail.key import PRIVATE, public_key_of
from orchestrator.model.checkpoint import Checkpoint


def checkpoint(seq: int = 7, **change: object) -> Checkpoint:
    return msgspec.structs.replace(
        Checkpoint(origin="house", seq=seq, head="ab" * 32, at_ns=1, why="time"), **change
    )


def test_a_checkpoint_comes_back_signed_and_as_the_latest(tmp_path: Path) -> None:
    book = CheckpointFile(tmp_path)
    assert book.latest() is None
    made = [book.write(checkpoint(seq)) for seq in (1, 2, 3)]
    assert book.latest() == made[-1]
    assert CheckpointFile(tmp_path).every() == made
    assert [book.objection(each) for each in made] == ["", "", ""]


@pytest.mark.parametrize(
    "change", [{"seq": 8}, {"head": "cd" * 32}, {"origin": "b"}, {"at_ns": 2}, {"accepted": "x"}]
)
def test_any_changed_field_breaks_the_signature(tmp_path: Path, change: dict[str, object]) -> None:
    book = CheckpointFile(tmp_path)
    made = book.write(checkpoint())
    assert book.objection(msgspec.structs.replace(made, **change)) == "its signature is wrong"


def test_another_installations_key_is_not_believed(tmp_path: Path) -> None:
    theirs = CheckpointFile(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    made = CheckpointFile(other).write(checkpoint())
    assert "another key" in theirs.objection(made)
    assert objection_to(made, public_key_of(other)) == ""


def test_the_key_is_made_once_and_is_its_owners_only(tmp_path: Path) -> None:
    first = CheckpointFile(tmp_path).key.public
    assert CheckpointFile(tmp_path).key.public == first == public_key_of(tmp_path)
    assert (tmp_path / PRIVATE).stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(first)) == 32


def test_a_key_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    (tmp_path / PRIVATE).write_text("not a key")
    with pytest.raises(ValueError, match="audit-key holds no Ed25519 key"):
        CheckpointFile(tmp_path).write(checkpoint())


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_torn_last_line_is_passed_over_and_cut_by_the_next_write(
    tmp_path: Path, kept: int
) -> None:
    book = CheckpointFile(tmp_path)
    first = book.write(checkpoint(1))
    whole = (tmp_path / NAME).stat().st_size
    book.write(checkpoint(2))
    size = (tmp_path / NAME).stat().st_size
    os.truncate(tmp_path / NAME, whole + kept if kept > 0 else size - 2)
    assert book.latest() == first
    assert book.every() == [first]
    third = book.write(checkpoint(3))
    assert book.every() == [first, third]


def test_a_spoilt_line_before_the_last_is_named(tmp_path: Path) -> None:
    book = CheckpointFile(tmp_path)
    for seq in (1, 2, 3):
        book.write(checkpoint(seq))
    lines = (tmp_path / NAME).read_bytes().splitlines(keepends=True)
    (tmp_path / NAME).write_bytes(lines[0] + lines[1][:50] + b"\n" + lines[2])
    with pytest.raises(ValueError, match="line 2 is no checkpoint"):
        book.every()


def test_a_copied_line_without_its_line_end_is_still_read(tmp_path: Path) -> None:
    made = CheckpointFile(tmp_path).write(checkpoint())
    (tmp_path / "copy").write_bytes(made.line())
    assert list(read_file(tmp_path / "copy")) == [made]


def test_the_file_is_bounded_and_the_latest_is_never_lost(tmp_path: Path) -> None:
    book = CheckpointFile(tmp_path, bytes_max=2_000)
    for seq in range(1, 40):
        book.write(checkpoint(seq))
        assert book.latest().seq == seq
    assert (tmp_path / NAME).stat().st_size + (tmp_path / OLD).stat().st_size < 6_000
    assert [c.seq for c in book.every()] == list(range(40 - len(book.every()), 40))


def test_what_cannot_be_flushed_leaves_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = CheckpointFile(tmp_path)
    first = book.write(checkpoint(1))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            book.write(checkpoint(2))
    assert book.every() == [first]
    assert book.write(checkpoint(3)).seq == 3
    assert [c.seq for c in book.every()] == [1, 3]


@pytest.mark.parametrize("change", [{"seq": -1}, {"head": "ab"}, {"head": "xy" * 32}])
def test_nonsense_is_no_checkpoint(change: dict[str, object]) -> None:
    line = msgspec.json.encode({**msgspec.to_builtins(checkpoint()), **change})
    with pytest.raises((msgspec.MsgspecError, ValueError)):
        msgspec.json.decode(line, type=Checkpoint)
