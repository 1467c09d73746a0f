"""What deploy/Dockerfile says, done in a scratch folder: for machines without a container engine.

`python -m tests.image` (make image) does all of it, the installing of the dependencies too, which
takes minutes; the everyday tests use this interpreter's packages instead.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import msgspec

from tests.integration.processes import eventually

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
# What only a container engine can do: it makes users within the image.
NOT_HERE = ("groupadd ", "useradd ")


@dataclass(frozen=True)
class Step:
    word: str
    rest: str


def steps(path: Path = DOCKERFILE) -> list[Step]:
    """The Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", path.read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [Step(*line.split(maxsplit=1)) for line in lines]


def stages(path: Path = DOCKERFILE) -> list[list[Step]]:
    """The steps behind each FROM; what stands before the first is left out."""
    found: list[list[Step]] = []
    for step in steps(path):
        if step.word == "FROM":
            found.append([])
        elif found:
            found[-1].append(step)
    return found


def last(stage: list[Step], word: str) -> str:
    return [step.rest for step in stage if step.word == word][-1]


def words_of(stage: list[Step], word: str) -> list[str]:
    """An instruction in the form of a JSON list."""
    rest = last(stage, word)
    return json.loads(rest[rest.index("[") :])


def environment(stage: list[Step]) -> dict[str, str]:
    found: dict[str, str] = {}
    for step in stage:
        if step.word == "ENV":
            found.update(pair.split("=", 1) for pair in shlex.split(step.rest))
    return found


def let_through(name: str, ignore: Path = ROOT / ".dockerignore") -> bool:
    """Whether a file of the tree reaches the builder; the last pattern that fits it decides."""
    inside = True
    for line in ignore.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        keep, pattern = line.startswith("!"), line.lstrip("!")
        parts = Path(name).parts
        heads = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        plain = pattern.removeprefix("**/")
        fits = any(fnmatch(head, pattern) for head in heads) or (
            plain != pattern and any(fnmatch(part, plain) for part in parts)
        )
        inside = keep if fits else inside
    return inside


@dataclass
class Image:
    """The image's file system in a folder; `installed` = with the dependencies of its own."""

    folder: Path
    installed: bool = False
    user: int = 10001 if os.geteuid() == 0 else os.geteuid()
    python: str = sys.executable
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "run.log"
        self.log.touch()

    def here(self, text: str) -> str:
        """The image's absolute paths as they are here."""
        return re.sub(
            r"(?<![\w./-])/(opt|app|build|var/lib/orchestrator|shared|etc/orchestrator)\b",
            rf"{self.folder}/\1", text,
        )  # fmt: skip

    def build(self) -> None:
        for stage in stages():
            for step in stage:
                if step.word == "COPY" and "--from" not in step.rest:
                    self._copy(*step.rest.split())
                elif step.word == "RUN" and self._is_ours(step.rest):
                    self._run(step.rest)

    def _is_ours(self, command: str) -> bool:
        if command.startswith(NOT_HERE):
            return False
        if command.startswith("install") and os.geteuid() != 0:
            return True
        return self.installed or "/opt/orchestrator/bin/python" not in command.replace(
            "python -m venv", ""
        )

    def _copy(self, source: str, target: str) -> None:
        there = Path(self.here(target))
        there.parent.mkdir(parents=True, exist_ok=True)
        for path in _files(ROOT / source):
            name = path.relative_to(ROOT)
            if not let_through(str(name)):
                continue
            inner = path.relative_to(ROOT / source)
            goal = there if path == ROOT / source else there / inner
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, goal)

    def _run(self, command: str) -> None:
        if command.startswith("python -m venv") and not self.installed:
            return
        command = self.here(command.replace("python -m venv", f"{self.python} -m venv"))
        if os.geteuid() != 0:
            command = re.sub(r"-[og] 10001 ", "", command)
        subprocess.run(["sh", "-ec", command], cwd=self.folder, check=True)

    # -- what runs ---------------------------------------------------------------------------------

    def environment(self, **more: str) -> dict[str, str]:
        """The image's own, on a bare machine's."""
        told = {name: self.here(text) for name, text in environment(stages()[-1]).items()}
        bare = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
        told["PATH"] = told["PATH"].replace("$PATH", bare["PATH"])
        if not self.installed:
            told["PYTHONPATH"] += f":{_packages()}"
        return {**bare, **told, **more}

    def words(self, words: list[str]) -> list[str]:
        """The image's command; without its own interpreter, by this one."""
        if words[0] == "orchestrator":
            script = Path(self.here("/opt/orchestrator/bin/orchestrator"))
            own = self.here(script.read_text().splitlines()[0][2:])
            return [own if self.installed else self.python, str(script), *words[1:]]
        assert words[0] == "python"
        own = self.here("/opt/orchestrator/bin/python")
        return [own if self.installed else self.python, *words[1:]]

    def start(self, **more: str) -> subprocess.Popen[bytes]:
        """ENTRYPOINT and CMD as the image's user, in its working folder."""
        final = stages()[-1]
        words = self.words(words_of(final, "ENTRYPOINT") + words_of(final, "CMD"))
        with self.log.open("wb") as log:
            return subprocess.Popen(
                words, env=self.environment(**more), cwd=self.here(last(final, "WORKDIR")),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, **self._who(),
            )  # fmt: skip

    def healthy(self, **more: str) -> bool:
        """What HEALTHCHECK says."""
        words = self.words(words_of(stages()[-1], "HEALTHCHECK"))
        done = subprocess.run(
            words, env=self.environment(**more), cwd=self.folder, check=False, timeout=30,
            capture_output=True, **self._who(),
        )  # fmt: skip
        return done.returncode == 0

    def _who(self) -> dict[str, object]:
        if os.geteuid() == self.user:
            return {}
        return {"user": self.user, "group": self.user, "extra_groups": []}

    def choose(self) -> None:
        """An interpreter that the image's user may run; else this one, as whoever runs this.

        One in somebody's home is nobody else's to use.
        """
        here = Path(sys.executable)
        same = Path("/usr/bin") / f"python3.{sys.version_info.minor}"
        for python in (here, same):
            try:
                done = subprocess.run(
                    [python, "-c", "import msgspec"], check=False, capture_output=True, cwd="/",
                    env={"PATH": os.environ["PATH"], "PYTHONPATH": _packages()}, **self._who(),
                )  # fmt: skip
            except OSError:
                continue
            if done.returncode == 0:
                self.python = str(python)
                return
        self.python, self.user = sys.executable, os.geteuid()


def _packages() -> str:
    """Where this interpreter has its packages."""
    return str(Path(msgspec.__file__).parents[1])


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    yield from (each for each in sorted(path.rglob("*")) if each.is_file())


def snapshot(folder: Path) -> Mapping[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in _files(folder)}


def check(*, installed: bool, scratch: Path) -> None:
    """Built, started, found well, and ended in order; nothing written but in its state folder."""
    image = Image(scratch, installed=installed)
    image.choose()
    # As a builder's: whoever ran before in this process may have left a stricter one behind.
    umask = os.umask(0o022)
    try:
        image.build()
    finally:
        os.umask(umask)
    scratch.chmod(0o755)
    state = Path(image.here("/var/lib/orchestrator"))
    if os.geteuid() == 0:
        os.chown(state, image.user, image.user)
    before = {
        name: snapshot(scratch / name) for name in ("app", "opt") if (scratch / name).exists()
    }
    process = image.start(AGENT_DISCOVERY_PORT="0")
    try:
        eventually(
            "a healthy container", lambda: image.healthy() or _ended(process, image), 120, 0.5
        )
        signals = {"SIGTERM": signal.SIGTERM}
        process.send_signal(signals[last(stages()[-1], "STOPSIGNAL")])
        code = process.wait(30)
    finally:
        process.kill()
        process.wait()
    said = image.log.read_text()
    assert code == 0, said
    assert "service.stopped" in said, said
    assert not image.healthy(), "the probe says well of a service that has ended"
    for name, was in before.items():
        assert snapshot(scratch / name) == was, f"something was written into /{name}"
    assert state.stat().st_uid == image.user
    assert {path.stat().st_uid for path in state.iterdir()} == {image.user}


def _ended(process: subprocess.Popen[bytes], image: Image) -> bool:
    assert process.poll() is None, image.log.read_text()
    return False


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        scratch = Path(folder)
        scratch.chmod(0o755)
        check(installed=True, scratch=scratch)
    print("the image's steps were done, and what came of them runs and ends in order")


if __name__ == "__main__":
    main()
