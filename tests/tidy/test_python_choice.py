""".ci/find-python: the first Python that runs, is new enough, and can make environments."""

import os
import subprocess
import sys
from pathlib import Path

from tests.tidy.tree import ROOT


def find(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    path = (
        f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin" if folder.name == "first" else str(folder)
    )
    return subprocess.run(
        ["/bin/sh", str(ROOT / ".ci/find-python")],
        env={"PATH": path, **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def script(path: Path, body: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_a_shim_that_leads_nowhere_is_passed_over(tmp_path: Path):
    script(tmp_path / "first" / "python3.14", "exit 127")
    script(tmp_path / "first" / "python3.13", f'exec "{sys.executable}" "$@"')
    done = find(tmp_path / "first")
    assert (done.returncode, done.stdout) == (0, "python3.13\n")


def test_python_names_another(tmp_path: Path):
    script(tmp_path / "mine", f'exec "{sys.executable}" "$@"')
    done = find(tmp_path, PYTHON=str(tmp_path / "mine"))
    assert done.stdout == f"{tmp_path / 'mine'}\n"


def test_a_named_python_that_is_too_old_is_refused(tmp_path: Path):
    script(tmp_path / "old", "exit 1")
    done = find(tmp_path, PYTHON=str(tmp_path / "old"))
    assert done.returncode == 1
    assert "is not a Python 3.11 or newer" in done.stderr


def test_without_any_the_message_says_what_to_install(tmp_path: Path):
    script(tmp_path / "bin" / "cat", 'while IFS= read -r line; do echo "$line"; done')
    done = find(tmp_path / "bin")
    assert done.returncode == 1
    assert "No usable Python found" in done.stderr
    assert "apt install python3 python3-venv" in done.stderr
