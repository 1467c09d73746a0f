"""The names of files in a state folder that more than one part of the wiring knows."""

from __future__ import annotations

from pathlib import Path

API_TOKEN = "api-token"  # noqa: S105 -- the name of a file
SERVICE_URL = "service.url"
SERVICE_CERTIFICATE = "service.pem"  # the API's own, where it speaks TLS
CURRENT = "current"  # under STATE_DIR: the folder of the replay that is served there
STOP_LATCH = "stop.latch"
AGENTS_SOCKET = "agents.sock"
AGENTS_HEARD = "agents.heard"  # what agents elsewhere were told in an exact replay


def text_of(path: Path) -> str | None:
    """The file's only line; None when there is no such file, or nothing in it."""
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


def current_folder(state_dir: Path) -> Path:
    """The folder of the service that works under STATE_DIR: a replay has one of its own there."""
    named = text_of(state_dir / CURRENT)
    return Path(named) if named and Path(named).is_dir() else state_dir
