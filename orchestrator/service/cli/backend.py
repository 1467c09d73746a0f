"""What the command line needs of the machine it runs on; everything else it asks of the API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from orchestrator.service.cli.trail import TrailDesk


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`orchestrator run`, validated: files exist, `speed` is "max" or a finite number above 0.

    None leaves a setting as the environment has it. `replay` empty: the configured market.
    """

    replay: tuple[Path, ...] = ()
    speed: str = "1"
    exact: bool = False
    exit_at_end: bool = False
    state: Path | None = None
    seed: int | None = None
    summary: Path | None = None
    port: int | None = None
    host: str | None = None
    log_level: str | None = None
    quiet: bool = False
    until_flat: bool = False


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that `doctor` looked at. `ok` None is a warning; `hint` says what to do, or ""."""

    name: str
    ok: bool | None
    text: str
    hint: str = ""


class ServiceAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where the service of a state folder answers. `token` None: there is none to be found.

    `certificate`: the service's own, if it speaks TLS; None: whom the machine trusts decides.
    """

    url: str
    token: str | None
    state_dir: Path
    certificate: Path | None = None


class LocalStop(msgspec.Struct, frozen=True, kw_only=True):
    """A gate that was closed without the service's help. `took_us` until it was closed.

    `persisted` false: closed now, but a restart would not know of it.
    """

    stop_id: str
    took_us: int
    persisted: bool
    already_stopped: bool = False
    state_dir: Path


class Backend(Protocol):
    """Met by the wiring. Texts of its exceptions are shown to a person as they are."""

    def run(self, options: RunOptions) -> int:
        """Serve until the end; the exit code."""
        ...

    def paper(self, arguments: list[str]) -> int:
        """The paper venue's own command line; the exit code."""
        ...

    def agent(self, arguments: list[str]) -> int:
        """An agent's own command line; the exit code."""
        ...

    def simulate(self, arguments: list[str]) -> int:
        """The simulator's own command line; the exit code."""
        ...

    def crash_sweep(self, arguments: list[str]) -> int:
        """The crash sweep's own command line; the exit code."""
        ...

    def chaos(self, arguments: list[str]) -> int:
        """The campaign's own command line; the exit code."""
        ...

    def drill(self, arguments: list[str]) -> int:
        """The drills' own command line; the exit code."""
        ...

    def certs(self, arguments: list[str]) -> int:
        """The command line of the development authority; the exit code."""
        ...

    def bus(self, arguments: list[str]) -> int:
        """The command line of the message broker; the exit code."""
        ...

    def db(self, arguments: list[str]) -> int:
        """The command line of the databases; the exit code."""
        ...

    def doctor(self) -> Sequence[Check]: ...

    def trail(self) -> TrailDesk:
        """The audit trail at rest, without the service's help."""
        ...

    def settings_rows(self) -> Sequence[tuple[str, str, str]]:
        """(name, value or ***, source) of every setting."""
        ...

    def service(self, state: Path | None) -> ServiceAddress:
        """The address of a state folder's service; None: the folder of the settings."""
        ...

    def local_stop(self, reason: str, *, liquidate: bool, state: Path | None) -> LocalStop:
        """Close the gate of a state folder without network, token or event loop."""
        ...
