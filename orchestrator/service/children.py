"""Child processes of the service: the embedded paper venue, found again after a crash."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from orchestrator.model import failpoints
from orchestrator.model.errors import OrchestratorError

log = structlog.get_logger()

_START_S = 20.0
_STOP_S = 3.0
_POLL_S = 0.02


class ChildFailed(OrchestratorError):
    """A child process did not come up; the text carries the last lines that it wrote."""


class ChildRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a running child, beside its state: how to find and recognise it."""

    pid: int
    started_ticks: int  # of /proc/PID/stat, so that another process with that pid is not taken
    fingerprint: str  # of what it was asked to be
    port: int
    token: str


class PaperProcess:
    """The paper venue as a process that survives this service's kill, so that trades stay real.

    A service that starts again on the same state folder adopts the venue that is still running;
    one that ends in order ends it. Its own state is in its own file and outlives both.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str],
        token: str,
        fingerprint: str,
        *,
        module: str = "orchestrator.paper",
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """`module`: what is run. `secrets`: variables for it, which no list of processes shows."""
        self._module = module
        self._secrets = dict(secrets or {})
        self._folder = folder
        self._arguments = tuple(arguments)
        self._token = token
        self._fingerprint = fingerprint
        self._record: ChildRecord | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        if self._record is None:
            raise ChildFailed("the paper venue has not been started")
        return self._record.port

    @property
    def token(self) -> str:
        return self._token if self._record is None else self._record.token

    @property
    def pid(self) -> int:
        return 0 if self._record is None else self._record.pid

    def find(self) -> bool:
        """Whether a venue of an earlier life is alive and is the one wanted; then it is adopted.

        ChildFailed when one is alive that was asked to be something else.
        """
        record = self._read_record()
        if record is None or _start_ticks(record.pid) != record.started_ticks:
            return False
        if record.fingerprint != self._fingerprint:
            raise ChildFailed(
                f"a paper venue with other settings still runs (process {record.pid}) on the state "
                f"folder {self._folder}; end it with `kill {record.pid}`, or use another STATE_DIR"
            )
        self._record = record
        log.info("paper.adopted", pid=record.pid, port=record.port)
        return True

    async def start(self, *, port: int) -> None:
        """Port 0: a free one. ChildFailed when it does not listen within 20 s."""
        await self._end_orphans()
        port_file = self._folder / "paper.port"
        port_file.unlink(missing_ok=True)
        output = self._folder / "paper.out"
        with output.open("ab") as sink:
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 -- our own module, our own words
                (sys.executable, "-m", self._module, *self._arguments,
                 "--port", str(port), "--port-file", str(port_file)),
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True,
                env={**os.environ, **self._secrets, "PYTHONPATH": import_path(),
                     "PAPER_TOKEN": self._token},
            )  # fmt: skip
        listening = await self._port_of(port_file, output)
        self._record = ChildRecord(
            pid=self._process.pid, started_ticks=_start_ticks(self._process.pid),
            fingerprint=self._fingerprint, port=listening, token=self._token,
        )  # fmt: skip
        self._write_record(self._record)
        log.info("paper.started", pid=self._process.pid, port=listening)

    async def _end_orphans(self) -> None:
        """A venue on our very state file that no record tells of: its service was killed just then.

        Nobody knows its token, and its books are in the file, so it may go.
        """
        for pid in _pids_with(self._module, self._arguments):
            log.warning("paper.orphan_ended", pid=pid)
            _signal(pid, signal.SIGTERM)
            for _ in range(int(_STOP_S / _POLL_S)):
                if _start_ticks(pid) < 0:
                    break
                await asyncio.sleep(_POLL_S)
            else:
                _signal(pid, signal.SIGKILL)

    async def _port_of(self, port_file: Path, output: Path) -> int:
        for _ in range(int(_START_S / _POLL_S)):
            port = _port_in(port_file)
            if port is not None:
                return port
            if self._process is not None and self._process.poll() is not None:
                break
            await asyncio.sleep(_POLL_S)
        raise ChildFailed(f"the paper venue did not start: {_tail_of(output)}")

    def last_words(self) -> str:
        """The last lines that it wrote."""
        return _tail_of(self._folder / "paper.out")

    @property
    def alive(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return self._record is not None and (
            _start_ticks(self._record.pid) == self._record.started_ticks
        )

    async def stop(self) -> None:
        """SIGTERM, and after 3 s SIGKILL; only the process that was started or adopted here."""
        record = self._record
        if record is None or not self.alive:
            return
        _signal(record.pid, signal.SIGTERM)
        for _ in range(int(_STOP_S / _POLL_S)):
            if not self.alive:
                break
            await asyncio.sleep(_POLL_S)
        else:
            _signal(record.pid, signal.SIGKILL)
        (self._folder / "paper.json").unlink(missing_ok=True)

    def _read_record(self) -> ChildRecord | None:
        try:
            return msgspec.json.decode((self._folder / "paper.json").read_bytes(), type=ChildRecord)
        except (OSError, ValueError):  # none, not ours to read, or not a record
            return None

    def _write_record(self, record: ChildRecord) -> None:
        temporary = self._folder / "paper.json.tmp"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(record))
        failpoints.before("paper.record")
        os.replace(temporary, self._folder / "paper.json")
        failpoints.after("paper.record")


def _pids_with(module: str, arguments: Sequence[str]) -> list[int]:
    """Processes of this user that run the paper venue with exactly these words."""
    wanted = "\0".join(arguments).encode()
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
            ours = folder.stat().st_uid == os.geteuid()
        except OSError:
            continue  # it has ended in the meantime
        if ours and module.encode() in line and wanted in line:
            found.append(int(folder.name))
    return found


def _port_in(path: Path) -> int | None:
    return int(path.read_text()) if path.exists() else None


def _tail_of(path: Path) -> str:
    return " | ".join(path.read_text(errors="replace").strip().splitlines()[-5:])


def import_path() -> str:
    here = str(Path(__file__).resolve().parents[2])
    old = os.environ.get("PYTHONPATH")
    return here if not old else here + os.pathsep + old


def _start_ticks(pid: int) -> int:
    """When a process began, in clock ticks since boot; -1 when there is none, or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] in "ZX" else int(fields[19])


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        log.info("paper.gone", pid=pid)
