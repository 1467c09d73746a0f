"""A scripted service over real HTTP, and a backend that remembers what it was asked."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from typer.testing import CliRunner

from orchestrator.service.api import examples
from orchestrator.service.api.render import json_of
from orchestrator.service.cli.backend import Check, LocalStop, ServiceAddress
from orchestrator.service.cli.main import build

ACCOUNT = "101-001-1000001-001"
OTHER = "101-001-1000001-002"


class Asked:
    """One request as the service saw it."""

    def __init__(self, method, target, headers, body):
        parts = urlsplit(target)
        self.method = method
        self.path = parts.path
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.token = headers.get("Authorization", "")
        self.actor = headers.get("X-Actor", "")
        self.body = json.loads(body) if body else None


class Script:
    """`answers`: (method, path) -> (status, bytes), or a list of them, the last one for ever."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        self.hold = threading.Event()  # requests to held paths wait for it
        self.held = set()

    def say(self, path, *documents, method="GET", status=200):
        self.answers[method, path] = [(status, d) for d in documents]

    def problem(self, path, status, title, detail, *errors, method="GET"):
        document = {"title": title, "status": status, "detail": detail, "errors": errors}
        self.say(path, json.dumps(document).encode(), method=method, status=status)

    def next(self, asked):
        self.asked.append(asked)
        found = self.answers.get((asked.method, asked.path))
        if not found:
            return 404, b'{"title": "Not found", "detail": "not in the script"}'
        return found.pop(0) if len(found) > 1 else found[0]

    def last(self, path):
        return [a for a in self.asked if a.path == path][-1]


@contextmanager
def service():
    """(script, url) of a service on a free loopback port."""
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5

        def do_GET(self):
            self._answer("GET")

        def do_POST(self):
            self._answer("POST")

        def _answer(self, method):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, document = script.next(Asked(method, self.path, self.headers, body))
            if urlsplit(self.path).path in script.held:
                script.hold.wait(10)
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(document)))
                self.end_headers()
                self.wfile.write(document)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield script, f"http://127.0.0.1:{server.server_port}"
    finally:
        script.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


class FakeBackend:
    """Every call is kept in `calls`; `raises` is raised instead of an answer."""

    def __init__(self, url="http://127.0.0.1:9"):
        self.url = url
        self.token = "secret-token"
        self.calls = []
        self.raises = None
        self.code = 0
        self.checks = [
            Check(name="settings", ok=True, text="valid"),
            Check(name="state folder", ok=None, text="readable by others", hint="chmod 700 state"),
        ]
        self.persisted = True

    def _call(self, *what):
        self.calls.append(what)
        if self.raises is not None:
            raise self.raises

    def run(self, options):
        self._call("run", options)
        return self.code

    def paper(self, arguments):
        self._call("paper", arguments)
        return self.code

    def simulate(self, arguments):
        self._call("simulate", arguments)
        return self.code

    def certs(self, arguments):
        self._call("certs", arguments)
        return self.code

    def chaos(self, arguments):
        self._call("chaos", arguments)
        return self.code

    def bus(self, arguments):
        self._call("bus", arguments)
        return self.code

    def crash_sweep(self, arguments):
        self._call("crash-sweep", arguments)
        return self.code

    def doctor(self):
        self._call("doctor")
        return self.checks

    def settings_rows(self):
        return [("RISK_PER_TRADE", "0.02", "default"), ("OANDA_API_KEY", "***", "environment")]

    def service(self, state):
        self._call("service", state)
        return ServiceAddress(url=self.url, token=self.token, state_dir=state or Path("state"))

    def local_stop(self, reason, *, liquidate, state):
        self._call("local_stop", reason, liquidate, state)
        return LocalStop(
            stop_id="stop-local", took_us=42, persisted=self.persisted, state_dir=Path("state"),
        )  # fmt: skip

    def called(self, name):
        return [call for call in self.calls if call[0] == name]


def command(backend, *words, columns=80, **env):
    """The result of a command line; `exit_code`, `stdout`, `stderr`."""
    plain = {
        "COLUMNS": str(columns) if columns else None, "ORCHESTRATOR_URL": None,
        "ORCHESTRATOR_TOKEN": None, "NO_COLOR": None, "FORCE_COLOR": None,
    }  # fmt: skip
    return CliRunner().invoke(build(backend), list(words), env=plain | env)


def sample(kind):
    """What the API shows of a kind: its own documented example, by its own renderer."""
    return json.loads(json_of(examples.of(kind)))


def listed(*items, cursor=None):
    return json.dumps({"items": items, "next": cursor}).encode()


def one(item):
    return json.dumps(item).encode()


def widest(text):
    return max(len(line) for line in text.splitlines())
