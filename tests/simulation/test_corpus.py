"""Recorded runs, played to this version's kernel: the same decisions, or the difference by name."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from orchestrator.main.drills import OwnSettings, main
from orchestrator.model.errors import FeedError
from orchestrator.research.corpus.recording import Recorder, replay
from orchestrator.research.drills.run import run_drill
from orchestrator.settings import load_settings

CORPUS = sorted((Path(__file__).parents[1] / "data" / "corpus").glob("*.jsonl.gz"))


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_this_version_decides_as_it_was_recorded(file: Path) -> None:
    played = replay(file)
    told = "\n".join(str(difference) for difference in played.differences)
    assert not played.differences, (
        f"{file.name} of version {played.version} is decided otherwise now:\n{told}\n"
        "If that is meant, say so in the change and the changelog, and record anew: make corpus"
    )
    assert played.decisions > 50


def test_the_corpus_is_there_and_small() -> None:
    assert len(CORPUS) >= 3
    assert sum(file.stat().st_size for file in CORPUS) < 300_000


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording")
    settings = load_settings(
        env={"STATE_DIR": str(folder), "INSTRUMENTS": "EUR_USD"}, env_file=None
    )
    recorder = Recorder("0", "a test")
    run_drill("disk-full", OwnSettings(settings, recorder), size=5)
    recorder.write(folder / "run.jsonl.gz")
    return folder / "run.jsonl.gz"


def spoilt(recording: Path, folder: Path, old: bytes, new: bytes, times: int = 1) -> Path:
    text = gzip.decompress(recording.read_bytes())
    assert old in text
    (folder / "spoilt.jsonl.gz").write_bytes(gzip.compress(text.replace(old, new, times)))
    return folder / "spoilt.jsonl.gz"


def test_a_new_recording_is_decided_alike(recording: Path) -> None:
    played = replay(recording)
    assert played.differences == ()
    assert (played.what, played.version) == ("a test", "0")


def test_another_decision_is_named(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = spoilt(recording, tmp_path, b"signal.ended", b"signal.bended")
    [difference] = replay(other).differences
    assert "no longer: signal.bended" in str(difference)
    assert "new:       signal.ended" in str(difference)
    assert main(["--replay", str(recording)]) == 0
    assert main(["--replay", str(other)]) == 1
    assert "OTHER DECISIONS" in capsys.readouterr().out


def test_tighter_limits_are_other_decisions(recording: Path, tmp_path: Path) -> None:
    tighter = spoilt(
        recording, tmp_path, b'"max_concurrent_trades":3', b'"max_concurrent_trades":0', -1
    )
    assert replay(tighter).differences


@pytest.mark.parametrize("content", [
    b"", b"not gzip", gzip.compress(b""), gzip.compress(b"{}\n"), gzip.compress(b"x" * 1000)[:-12],
], ids=["empty", "not gzip", "of nothing", "of another thing", "cut off"])  # fmt: skip
def test_what_is_no_recording_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl.gz").write_bytes(content)
    with pytest.raises(FeedError, match=r"x\.jsonl\.gz"):
        replay(tmp_path / "x.jsonl.gz")
    assert main(["--replay", str(tmp_path / "x.jsonl.gz")]) == 2


def test_a_recording_of_another_form_is_refused(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="form 9"):
        replay(spoilt(recording, tmp_path, b'"form":1', b'"form":9'))


def test_recording_changes_nothing_of_the_drill(tmp_path: Path) -> None:
    settings = load_settings(env={"STATE_DIR": str(tmp_path)}, env_file=None)
    heads = [
        run_drill("disk-full", OwnSettings(settings, recorder), size=5).audit_head
        for recorder in (None, Recorder("0", "a test"))
    ]
    assert heads[0] == heads[1]
