"""Recorded storms, played to the kernel: the same facts, acts and state, to the last byte."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from tests import storms

FILES = sorted(storms.FOLDER.glob("*.jsonl.gz"))


def test_there_are_storms():
    assert len(FILES) >= 20
    assert sum(file.stat().st_size for file in FILES) < 1_500_000


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".jsonl.gz"))
def test_a_recorded_storm_is_decided_to_the_last_byte_as_it_was(file: Path):
    told = list(islice(storms.played(storms.read(file)), 3))
    assert not told, "\n".join(
        (*told, "If that is meant: `make storms` records anew (say so in the changelog)")
    )


def test_another_decision_is_named():
    lines = storms.read(FILES[0])
    at = next(n for n, line in enumerate(lines) if b'"kinds":[' in line)
    lines[at] = lines[at].replace(b'"kinds":[', b'"kinds":["signal.invented",')
    [told] = islice(storms.played(lines), 1)
    assert f"line {at + 1}, " in told
    assert "was ('signal.invented', " in told


def test_another_content_of_the_same_kind_is_named():
    lines = storms.read(FILES[0])
    at = next(n for n, line in enumerate(lines) if b'"kinds":[' in line)
    said = lines[at].split(b'"said":')[1].split(b",")[0].split(b"}")[0]
    lines[at] = lines[at].replace(b'"said":' + said, b'"said":1')
    [told] = islice(storms.played(lines), 1)
    assert told.startswith(f"line {at + 1}, ")
    assert "another content of" in told


def test_another_answer_of_the_gate_is_named():
    lines = next(
        lines
        for lines in map(storms.read, FILES)
        if any(b'"asked"' in line and b'"answer":null' in line for line in lines)
    )
    at = next(n for n, line in enumerate(lines) if b'"answer":null' in line)
    lines[at] = lines[at].replace(b'"answer":null', b'"answer":"never"')
    [told] = islice(storms.played(lines), 1)
    assert told.startswith(f"line {at + 1}: may send ")
    assert told.endswith("was 'never'")
