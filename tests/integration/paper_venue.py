"""The paper venue as a process of its own, and the plainest of clients."""

from __future__ import annotations

import gzip
import http.client
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

TOKEN = "secret"
USD = "101-001-1000001-001"
EUR = "101-001-1000001-002"
HEDGING = "101-001-1000001-003"


def decoded(answer: http.client.HTTPResponse) -> object:
    """The JSON of an answer; OANDA zips books for everyone."""
    body = answer.read()
    return json.loads(gzip.decompress(body) if answer.getheader("Content-Encoding") else body)


class Venue:
    """Started with `flags`; `with` ends it."""

    def __init__(
        self, folder: Path, *flags: str, feed: tuple[str, ...] = ("manual",),
        program: tuple[str, ...] = ("orchestrator.paper",),
    ) -> None:  # fmt: skip
        self.port_file = folder / "port"
        self.port_file.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", *program, "--port", "0", "--token", TOKEN,
                "--account", f"{USD}:USD:100000", "--account", f"{EUR}:EUR:50000",
                "--account", f"{HEDGING}:USD:100000:hedging", "--control",
                "--port-file", str(self.port_file), "--feed", *feed, *flags,
            ],
            stderr=subprocess.PIPE,
        )  # fmt: skip
        self.port = self._wait()

    def _wait(self) -> int:
        ends = time.monotonic() + 20  # noqa: TID251 - a process of its own
        while not self.port_file.exists():
            assert self.process.poll() is None, self.process.stderr.read().decode()
            assert time.monotonic() < ends, "the venue does not listen"  # noqa: TID251
            time.sleep(0.02)  # noqa: TID251 - waits for another process
        return int(self.port_file.read_text().split()[0])

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        self.process.send_signal(how)
        code = self.process.wait(timeout=10)
        self.process.stderr.close()
        return code

    def __enter__(self) -> Venue:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGKILL)
        else:
            self.process.stderr.close()

    def connect(self) -> http.client.HTTPConnection:
        """A connection of its own."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def ask(self, method: str, path: str, body: object = None, **headers: str):
        """(status, decoded body, headers) over a connection of its own."""
        connection = self.connect()
        try:
            sent = {"Authorization": f"Bearer {TOKEN}"} | headers
            data = body
            if body is not None and not isinstance(body, bytes):
                data = json.dumps(body).encode()
            if data is not None:
                sent.setdefault("Content-Type", "application/json")
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            return answer.status, decoded(answer), dict(answer.getheaders())
        finally:
            connection.close()

    def get(self, path: str):
        status, body, _ = self.ask("GET", path)
        assert status == 200, body
        return body

    def price(self, instrument: str, bid: str, ask: str, **fields: object) -> None:
        wish = {"instrument": instrument, "bid": bid, "ask": ask} | fields
        status, body, _ = self.ask("POST", "/control/prices", wish)
        assert status == 200, body
