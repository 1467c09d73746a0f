"""`uvicorn app.main:app` as SPEC 13 has it: the same service under another server."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.integration.processes import (
    Answer,
    clean_environment,
    end_all_on,
    eventually,
    exchange,
    now_s,
    venues_on,
)


def test_uvicorn_serves_the_app_and_ends_on_sigterm(tmp_path: Path):
    state = tmp_path / "state"
    port = _free_port()
    environment = clean_environment({"STATE_DIR": str(state), "AGENT_DISCOVERY_PORT": str(port)})
    out = (tmp_path / "out.txt").open("wb")
    with out, subprocess.Popen(
        (sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port)),
        cwd=tmp_path, env=environment, stdout=out, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            health = eventually("it is up", lambda: _running(port), 20)
            assert health["status"] in {"ok", "degraded"}
            token = (state / "api-token").read_text().strip()
            accounts = _ask(port, "/accounts", token)
            assert accounts is not None
            assert len(accounts.body["items"]) == 2
            began = now_s()
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=15)
            assert now_s() - began < 10
        finally:
            process.kill()
            said = (tmp_path / "out.txt").read_text()
            left = venues_on(state)
            end_all_on(state)
    assert code in {0, -signal.SIGTERM}, said  # uvicorn itself ends by the signal that it got
    assert left == [], "the paper venue has ended with it"
    assert "API token: (kept in api-token there)" in said
    assert token not in said
    assert '"event":"service.stopped"' in said
    assert "Traceback" not in said


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ask(port: int, path: str, token: str = "") -> Answer | None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with contextlib.suppress(OSError, http.client.HTTPException):
        return exchange(port, "GET", path, None, headers, 5.0)
    return None


def _running(port: int) -> dict[str, str] | None:
    answer = _ask(port, "/health")
    if answer is None or answer.body.get("mode") != "running":
        return None
    return answer.body
