"""From `kill -9` to trading again: the real service and its paper venue, as processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.figures import Row, Section, spread

ROOT = Path(__file__).resolve().parent.parent
_START_S = 40.0
_TRADES_S = 1.5
_MUST_US, _GOAL_US = 30_000_000, 3_000_000


class Started(msgspec.Struct):
    """What a life says once it trades; monotonic nanoseconds. `spawned` by our own clock."""

    began: int
    imported: int
    opened: int
    trading: int
    equal: bool
    compared: list[str]
    rss_mb: float
    records: int
    orders: int
    spawned: int = 0


class Life:
    """A service process on a state folder; ended by its id, its paper venue by the one it noted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spawned = time.monotonic_ns()
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        plain = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        # One kill after another is a crash loop (S10), which is right, and not what is asked here.
        config = folder / "benchmark.toml"
        config.write_text("[breakers]\nunclean_starts = 1000\n")
        plain["ORCHESTRATOR_CONFIG"] = str(config)
        self._errors = (folder / "life.err").open("ab")
        self._process = subprocess.Popen(  # noqa: S603 -- our own module
            (sys.executable, "-m", "benchmarks.life", str(folder)),
            stdout=subprocess.PIPE, stderr=self._errors, env={**plain, "PYTHONPATH": path},
            cwd=ROOT,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    def started(self) -> Started:
        """Waits for it; RuntimeError with its last words when it ends instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            words = (self._folder / "life.err").read_text(errors="replace")[-800:]
            raise RuntimeError(f"the service did not come up: {words}")
        found = msgspec.json.decode(line, type=Started)
        found.spawned = self._spawned
        return found

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def stop(self) -> None:
        """In order; the paper venue ends with it."""
        self._process.send_signal(signal.SIGTERM)
        self._end()

    def _end(self) -> None:
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()


def end_paper(folder: Path) -> None:
    """The venue outlives a killed service by design; one that this run left behind ends here."""
    try:
        noted = msgspec.json.decode((folder / "paper.json").read_bytes())
        pid = int(noted["pid"])
        if str(folder) in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(pid, signal.SIGTERM)
    except (OSError, ValueError, KeyError):
        return  # it ended with its service


def run(quick: bool) -> Section:
    return measure(2 if quick else 5)


def measure(rounds: int) -> Section:
    """So many kills, one after another, on one state folder."""
    with tempfile.TemporaryDirectory(prefix="tso-bench-") as name:
        folder = Path(name)
        try:
            return _rounds(folder, rounds)
        finally:
            end_paper(folder)


def _rounds(folder: Path, rounds: int) -> Section:
    life = Life(folder)
    try:
        first = life.started()
        lives: list[Started] = []
        for _ in range(rounds):
            time.sleep(_TRADES_S)
            life.kill()
            life = Life(folder)
            lives.append(life.started())
    finally:
        life.stop()
    imports, packages = _imports()
    bare_ns, bare_mb = _dependencies()
    took = spread(each.trading - each.spawned for each in lives)
    worst = took.max if took else float("inf")
    whole = all(each.equal for each in lives)
    rows = (
        Row(name="floor: Python with the dependencies imported", spread=spread((bare_ns,))),
        Row(name="kill -9 -> trading again", spread=took,
            floor=f"x {took.p50 * 1000 / bare_ns:.1f} of its floor" if took else "",
            must="< 30 s", must_met=worst < _MUST_US,
            goal="< 3 s", goal_met=worst < _GOAL_US and whole),
        Row(name="  Python's own start", spread=spread(e.began - e.spawned for e in lives)),
        Row(name="  imports", spread=spread(e.imported - e.began for e in lives)),
        Row(name="  settings, store, gate", spread=spread(e.opened - e.imported for e in lives)),
        Row(name="  venue, ledger, history", spread=spread(e.trading - e.opened for e in lives)),
        Row(name="ledger equals the venue's books after", value=f"{sum(e.equal for e in lives)} of "
            f"{len(lives)}", must="always", must_met=whole, goal="always", goal_met=whole),
        Row(name="first start of all, with a new venue",
            spread=spread((first.trading - first.spawned,))),
        Row(name="memory at start", value=f"{max(e.rss_mb for e in lives):.0f} MB",
            floor=f"dependencies alone {bare_mb:.0f} MB", must="< 2 GB",
            must_met=max(e.rss_mb for e in lives) < 2_000, goal="< 200 MB",
            goal_met=max(e.rss_mb for e in lives) < 200),
    )  # fmt: skip
    notes = [
        f"journal {lives[-1].records:,} records after {rounds} lives of {_TRADES_S:g} s",
        f"imports by package, ms: {packages} (all: {imports:.0f} ms, under -X importtime)",
    ]
    notes += [text for each in lives for text in each.compared]
    return Section(title="Recovery: real service process, paper venue process, kill -9",
                   rows=rows, notes=tuple(notes))  # fmt: skip


_BARE = (
    "import fastapi, httptools, msgspec, numpy, prometheus_client, pydantic, structlog, uvloop\n"
    "from benchmarks.children import resident_mb\n"
    "print(resident_mb())"
)


def _dependencies() -> tuple[int, float]:
    """Nanoseconds and megabytes of a process that imports what we stand on, and ends."""
    took: list[int] = []
    said = ""
    for _ in range(3):
        began = time.monotonic_ns()
        said = subprocess.run(  # noqa: S603 -- our own words
            (sys.executable, "-c", _BARE), capture_output=True, text=True, check=True,
            timeout=_START_S, cwd=ROOT,
        ).stdout  # fmt: skip
        took.append(time.monotonic_ns() - began)
    return sorted(took)[1], float(said)


_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|( +)(\S+)")


def _imports() -> tuple[float, str]:
    """Milliseconds of `orchestrator.main.hosting`'s imports in all, and the dearest packages'."""
    said = subprocess.run(
        (sys.executable, "-X", "importtime", "-c", "import orchestrator.main.hosting"),
        capture_output=True, text=True, check=True, timeout=_START_S, cwd=ROOT,
    ).stderr  # fmt: skip
    own: dict[str, int] = {}
    for line in _LINE.finditer(said):
        package = line[4].partition(".")[0]
        own[package] = own.get(package, 0) + int(line[1])
    dearest = sorted(own.items(), key=lambda each: -each[1])[:8]
    words = ", ".join(f"{package} {spent / 1000:.0f}" for package, spent in dearest)
    return sum(own.values()) / 1000, words
