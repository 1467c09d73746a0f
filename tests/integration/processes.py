"""The service as real processes: started on a free port and a folder of its own, never outlived."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from orchestrator.adapters.oanda.wire import AccountAnswer, checked_account
from orchestrator.kernel.orders.reconcile import differences
from orchestrator.model.money import AccountId
from orchestrator.research.crash_sweep.journals import FILE, copied_store
from tests.integration.journals import StoreCopy

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
USD = "101-001-1000001-001"
EUR = "101-001-1000001-002"
ACCOUNTS = (USD, EUR)


def now_s() -> float:
    return time.monotonic()  # noqa: TID251 -- real processes live in real time


def wall_ns() -> int:
    return time.time_ns()  # noqa: TID251 -- compared with the venue's own log


def pause(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 -- waits for another process


def eventually(
    what: str, look: Callable[[], T | None], within_s: float, every_s: float = 0.05
) -> T:
    """What `look` finds, as soon as it finds anything (truthy); fails after `within_s`, or after a
    minute when that is later: the machine may be busy, and no test asks how fast things are.
    """
    within_s = max(within_s, 60.0)
    ends = now_s() + within_s
    while True:
        found = look()
        if found:
            return found
        assert now_s() < ends, f"not within {within_s:g} s: {what}"
        pause(every_s)


def alive(pid: int) -> bool:
    """Whether a process lives; one that only waits to be reaped does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZX"


def _words_of(pid: int) -> list[str]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return raw.decode(errors="replace").split("\0")


def venues_on(folder: Path) -> list[int]:
    """Process ids of all paper venues whose books stand somewhere below this folder."""
    every = (int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit())
    return [pid for pid in every if _keeps_books_below(folder, pid) and alive(pid)]


def _keeps_books_below(folder: Path, pid: int) -> bool:
    return any(
        word.startswith(f"{folder}/") and word.endswith("/paper-state") for word in _words_of(pid)
    )


def end_all_on(folder: Path) -> None:
    """Kill what a test has left behind, by process id: venues, guards and their rescues."""
    for pid in (*guards_on(folder), *venues_on(folder)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def guards_on(folder: Path) -> list[int]:
    """Guards of services whose state folder stands below this folder, and rescues that they run."""
    every = (int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit())
    return [pid for pid in every if _guards_below(folder, pid) and alive(pid)]


def _guards_below(folder: Path, pid: int) -> bool:
    words = _words_of(pid)
    below = any(word.startswith(f"{folder}/") for word in words)
    return below and ("orchestrator.service.guard" in words or "--until-flat" in words)


class Answer(msgspec.Struct):
    """An HTTP answer; `body` is the decoded JSON, or the text where it is none."""

    status: int
    body: Any
    took_ms: float


# These tests kill, hurry, and share their machine: what would block them for that comes later.
_PATIENT = """
[breakers]
entries_per_h = 1000000
orders_in_10_s = 100000
losing_run = 100
stop_outs = 100
rejects = 1000
unclean_starts = 1000
loop_lag_ms_max = 2000
"""


class Service:
    """One service on one state folder, over as many lives as a test needs.

    Used in `with`: leaving kills what is left of it, the paper venue too, by process id.
    """

    def __init__(self, folder: Path, *words: str, toml: str = "", **environment: str) -> None:
        """`words`: what follows `orchestrator run`. `environment`: settings beside the defaults."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.state = folder / "state"
        self.words = words
        self.lives = 0
        self.program = ("-m", "orchestrator")
        self.prefix: tuple[str, ...] = ()  # what runs the program elsewhere, under the same pid
        self.process: subprocess.Popen[bytes] | None = None
        self.asked = 0
        self.venue_tls: ssl.SSLContext | None = None
        settings = {
            "STATE_DIR": str(self.state), "AGENT_DISCOVERY_PORT": "0", "LOG_LEVEL": "info",
            **environment,
        }  # fmt: skip
        if "[breakers]" not in toml:
            toml += _PATIENT
        if toml:
            config = folder / "orchestrator.toml"
            config.write_text(toml)
            settings["ORCHESTRATOR_CONFIG"] = str(config)
        self.environment = clean_environment(settings)

    # -- life -----------------------------------------------------------------------------------

    def start(self) -> Service:
        """Begin a life; `wait_up` waits until it serves."""
        self.lives += 1
        (self.state / "service.url").unlink(missing_ok=True)
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                (*self.prefix, sys.executable, *self.program, "run", *self.words),
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=self.folder,
                env=self.environment,
            )  # fmt: skip
        return self

    @property
    def _out(self) -> Path:
        return self.folder / f"out-{self.lives}.txt"

    def output(self) -> str:
        """Everything that this life has printed."""
        return self._out.read_text(errors="replace")

    def wait_up(self, within_s: float = 60.0) -> Service:
        """Until trading goes on, or is known to be stopped."""
        eventually("the service is up", self._is_up, within_s, 0.03)
        return self

    def _is_up(self) -> bool:
        process = self.process
        assert process is not None, "never started"
        assert process.poll() is None, f"ended with {process.poll()}:\n{self.output()}"
        if not (self.state / "service.url").exists():
            return False
        health = self.try_ask("GET", "/health")
        return health is not None and health.body["mode"] in {"running", "stopped"}

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """`kill -9`: no chance to do anything any more."""
        self.send(signal.SIGKILL)
        self.wait()

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, within_s: float = 60.0) -> int:
        """The exit code."""
        assert self.process is not None
        return self.process.wait(timeout=within_s)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self.lives:
            print(f"--- output of life {self.lives} ---\n{self.output()[-6000:]}")
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(timeout=10)
        end_all_on(self.folder)

    # -- asking the service ---------------------------------------------------------------------

    @property
    def token(self) -> str:
        return (self.state / "api-token").read_text().strip()

    @property
    def port(self) -> int:
        port = urlsplit((self.state / "service.url").read_text().strip()).port
        assert port
        return port

    def ask(
        self, method: str, path: str, body: object = None, *, token: str | None = None,
        timeout_s: float = 10.0, **headers: str,
    ) -> Answer:  # fmt: skip
        """Over a connection of its own, each time as another client: limits of pace are for one.

        `token` "" sends none.
        """
        told = self.token if token is None else token
        sent = ({"Authorization": f"Bearer {told}"} if told else {}) | headers
        self.asked += 1
        client = f"127.0.0.{2 + self.asked % 250}"
        return exchange(self.port, method, path, body, sent, timeout_s, client)

    def try_ask(
        self, method: str, path: str, body: object = None, timeout_s: float = 2.0
    ) -> Answer | None:
        """None while nobody answers."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask(method, path, body, timeout_s=timeout_s)
        return None

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status == 200, (path, answer)
        return answer.body

    def mode(self) -> str | None:
        """The system's mode; None while nobody answers."""
        answer = self.try_ask("GET", "/health")
        return None if answer is None else answer.body["mode"]

    def signal(self, name: str, instrument: str, side: str, **more: object) -> Answer | None:
        """A person's signal; None when nobody answers any more."""
        wish = {
            "signal_id": name, "instrument": instrument, "side": side, "stop_distance": "0.00300",
            "target_distance": "0.00600", "confidence": "0.6", "strategy": f"hand-{name[-2:]}",
            "ttl_ms": 20_000, **more,
        }  # fmt: skip
        return self.try_ask("POST", "/signals", wish, 15.0)

    def command(self, *words: str, within_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """`orchestrator WORDS`, to its end."""
        return run_program("-m", "orchestrator", *words, environment=self.environment,
                           folder=self.folder, within_s=within_s)  # fmt: skip

    # -- asking the venue, whose books are the judge --------------------------------------------

    def venue_record(self) -> dict[str, Any]:
        return json.loads((self.state / "paper.json").read_text())

    @property
    def venue_pid(self) -> int:
        return int(self.venue_record()["pid"])

    def venue(self, path: str, method: str = "GET", body: object = None) -> Any:
        record = self.venue_record()
        sent = {"Authorization": f"Bearer {record['token']}"}
        answer = exchange(record["port"], method, path, body, sent, 10.0, tls=self.venue_tls)
        assert answer.status in {200, 201}, (path, answer)
        return answer.body

    def venue_transactions(self, account_id: str) -> list[dict[str, Any]]:
        """All of an account's transactions, oldest first."""
        found = self.venue(f"/v3/accounts/{account_id}/transactions/sinceid?id=0")
        return found["transactions"]

    def open_trades(self) -> list[tuple[str, str]]:
        """(account, trade) of all that is open at the venue."""
        return [
            (a, trade["id"])
            for a in ACCOUNTS
            for trade in self.venue(f"/v3/accounts/{a}/openTrades")["trades"]
        ]

    def writes_heard(self) -> list[dict[str, Any]]:
        """The venue's own log of every write that reached it."""
        path = self.state / "paper-requests.log"
        if not path.exists():
            return []
        lines = path.read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def orders_heard(self) -> list[dict[str, Any]]:
        """Requests that create orders; closing a trade or a position is another path."""
        return [w for w in self.writes_heard()
                if w["method"] == "POST" and w["path"].endswith("/orders")]  # fmt: skip

    # -- reading the store, beside the service --------------------------------------------------

    @contextlib.contextmanager
    def store(self) -> Iterator[StoreCopy]:
        """A consistent copy of the journal as it stands, also while the service writes."""
        folder = self.folder / "copy"
        with copied_store(self.state, folder) as copy:
            yield StoreCopy(copy, folder / FILE, self.environment)

    def book_differences(self) -> list[str]:
        """Our ledger, rebuilt from the store, against the venue's accounts (INV-06)."""
        accounts = {a: self.venue(f"/v3/accounts/{a}") for a in ACCOUNTS}
        with self.store() as store:
            books = store.kernel("fx").books
        found: list[str] = []
        for name, raw in accounts.items():
            told = msgspec.json.decode(msgspec.json.encode(raw), type=AccountAnswer)
            account = checked_account(told, AccountId(name))
            book = books.get(AccountId(name))
            found += ["no book"] if book is None else differences(book, account)
        return found


def clean_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Nothing of the developer's own settings reaches a test's service."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return {**kept, "HOME": "/nonexistent", "PYTHONPATH": str(ROOT), "ORCHESTRATOR_CONFIG": "",
            **settings}  # fmt: skip


def run_program(
    *words: str, environment: Mapping[str, str], folder: Path, within_s: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """`python WORDS`, to its end; fails when it takes longer than `within_s`."""
    return subprocess.run(
        (sys.executable, *words), env=dict(environment), cwd=folder, timeout=within_s, text=True,
        capture_output=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def exchange(
    port: int, method: str, path: str, body: object, headers: Mapping[str, str], timeout_s: float,
    client: str = "127.0.0.1", tls: ssl.SSLContext | None = None,
) -> Answer:  # fmt: skip
    """One request on a connection of its own; bytes are sent as they are, all else as JSON."""
    if tls is None:
        connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=timeout_s, source_address=(client, 0)
        )
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout_s, context=tls)
    began = now_s()
    try:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = dict(headers)
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        connection.request(method, path, data, sent)
        answer = connection.getresponse()
        raw = answer.read()
        took_ms = (now_s() - began) * 1000
    finally:
        connection.close()
    try:
        decoded: Any = json.loads(raw)
    except ValueError:
        decoded = raw.decode(errors="replace")
    return Answer(answer.status, decoded, took_ms)
