"""What a newcomer meets first: requirements, settings, the README's commands."""

import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

import orchestrator
from orchestrator.settings import Settings, load_settings
from orchestrator.settings.load import VARIABLES
from tests.tidy.tree import ROOT, files

LOCKS = ("requirements.txt", "requirements-runtime.txt")


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def pinned(name: str) -> dict[str, str]:
    """Package -> version, of a requirements file."""
    found = re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^ \\;]+)", read(name), re.MULTILINE)
    return dict(found)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- Requirements --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_pinned_and_hashed(name: str):
    entries = re.sub(r"\\\n", " ", read(name)).splitlines()
    entries = [line for line in entries if line.strip() and not line.strip().startswith("#")]
    assert len(entries) > 20
    shape = re.compile(r"[a-z0-9._-]+==[^ ;]+( ; [^\\]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")
    assert [line[:60] for line in entries if not shape.fullmatch(line)] == []


@pytest.mark.parametrize("name", LOCKS)
def test_what_pyproject_asks_for_is_locked(name: str):
    project = tomllib.loads(read("pyproject.toml"))["project"]
    asked = list(project["dependencies"])
    if name == "requirements.txt":
        asked += project["optional-dependencies"]["dev"]
    names = {normal(re.split(r"[<>=; ]", each, maxsplit=1)[0]) for each in asked}
    assert names - set(map(normal, pinned(name))) == set()


def test_the_service_and_the_tests_run_on_the_same_versions():
    everything = pinned("requirements.txt")
    assert pinned("requirements-runtime.txt").items() <= everything.items()


def test_each_dependency_has_a_line_that_justifies_it():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[<>=; ]", each, maxsplit=1)[0] for each in asked}
    listed = set(re.findall(r"^\| `([^`]+)`", read("docs/dependencies.md"), re.MULTILINE))
    assert listed == names


# --- Settings ------------------------------------------------------------------------------------


def example() -> dict[str, str]:
    lines = re.findall(r"^([A-Z][A-Z0-9_]*)=(.*)$", read(".env.example"), re.MULTILINE)
    assert len(lines) == len(dict(lines)), "a name stands twice"
    return dict(lines)


def test_the_example_names_every_setting_with_its_default():
    defaults = {
        row.name: row.value for row in Settings().describe() if row.name.lower() in VARIABLES
    }
    assert example() == defaults


def test_every_setting_in_the_example_has_a_comment_above_it():
    lines = read(".env.example").splitlines()
    for above, line in pairwise(lines):
        if re.match(r"[A-Z]", line):
            assert above.startswith(("#", "OANDA_BASE_URL")), line


def test_the_example_as_it_stands_is_a_working_paper_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(read(".env.example"))
    settings = load_settings(env={})
    assert settings.model_dump() == Settings().model_dump()
    assert settings.on_paper
    assert settings.starts_by_itself


# --- README --------------------------------------------------------------------------------------


def shown_commands() -> list[str]:
    """The command lines of the README's shell blocks, without comments."""
    blocks = re.findall(
        r"^```(?:sh|bash|console)\n(.*?)^```", read("README.md"), re.MULTILINE | re.DOTALL
    )
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def test_the_readme_shows_the_fixed_commands():
    fixed = {
        "make run",
        "make test",
        "pip install -r requirements.txt",
        "cp .env.example .env",
        "python -m uvicorn app.main:app --reload --port 8000",
        "pytest tests/",
        "pytest tests/test_orchestrator.py -v",
        "pytest --cov=app tests/",
    }
    assert fixed - set(shown_commands()) == set()


def test_the_readmes_make_targets_exist():
    named = set(re.findall(r"\bmake ([a-z]+)", read("README.md").replace("make it", "")))
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    assert named - targets == set()


def test_the_readmes_orchestrator_commands_exist():
    named = {
        match[1]
        for line in [*shown_commands(), *re.findall(r"`(.*?)`", read("README.md"))]
        if (match := re.match(r"(?:\.venv/bin/)?orchestrator ([a-z-]+)", line))
    }
    assert named, "the README names no command"
    asked = subprocess.run(
        [sys.executable, "-m", "orchestrator", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    known = set(re.findall(r"[a-z][a-z-]+", asked.stdout))
    assert named - known == set()


def test_the_readmes_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", read("README.md"))
    assert [link for link in links if not (ROOT / link).exists()] == []


# --- The rest of the front door ------------------------------------------------------------------


def test_the_version_is_the_changelogs_latest():
    latest = re.search(r"^## (\d+\.\d+\.\d+)", read("CHANGELOG.md"), re.MULTILINE)
    assert latest is not None
    assert latest[1] == orchestrator.__version__


def test_make_explains_each_target():
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    explained = set(re.findall(r"^([a-z]+):.*## \S", read("Makefile"), re.MULTILINE))
    assert explained == targets


def test_the_entry_points_are_scripts():
    for name in (".ci/run", ".ci/setup", ".ci/find-python"):
        path = ROOT / name
        assert path in files()
        assert path.stat().st_mode & 0o111, f"{name} is not executable"
        assert path.read_text().startswith("#!")
