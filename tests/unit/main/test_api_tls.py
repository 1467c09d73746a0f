"""The API's certificate: refused in plain words, taken anew when renewed, pinned by the CLI."""

from __future__ import annotations

import http.server
import shutil
import ssl
import threading
from pathlib import Path

import pytest

from orchestrator.main.api_tls import ApiTls, api_tls
from orchestrator.service.cli.client import Client
from orchestrator.service.cli.trouble import NotReachable, WrongUsage
from orchestrator.service.probe import main as probe
from orchestrator.settings import Settings, SettingsError
from tests.servers.tls import Certificate, certificate


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Not of this machine's names: the command line must not depend on them."""
    return certificate(tmp_path_factory.mktemp("ours"), "orchestrator.example.com")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("theirs"))


class Running:
    """A server that says 200 to /livez and 503 to /readyz, with this context."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(503 if self.path == "/readyz" else 200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Silence."""

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """A client that does not trust us is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_the_command_line_trusts_the_services_own_certificate_by_whatever_name(
    ours: Certificate, tmp_path: Path
):
    tls = ApiTls(ours.cert, ours.key, tmp_path)
    with Running(tls.context) as server:
        assert Client(server.url, "token", tmp_path / "service.pem").get("/livez") == b"{}"


def test_the_command_line_trusts_no_other_certificate_of_the_same_authority(
    ours: Certificate, tmp_path: Path
):
    """Goal: who can have certificates made cannot pretend to be the service."""
    twin = certificate(ours.ca.parent, "127.0.0.1", name="twin")
    ApiTls(ours.cert, ours.key, tmp_path)
    with Running(twin.server()) as server, pytest.raises(NotReachable, match="not trusted here"):
        Client(server.url, "token", tmp_path / "service.pem").get("/livez")


def test_a_chain_of_certificates_does_not_make_its_authority_trusted(
    ours: Certificate, tmp_path: Path
):
    chain = tmp_path / "chain.pem"
    chain.write_text(ours.cert.read_text() + ours.ca.read_text())
    ApiTls(chain, ours.key, tmp_path)
    assert (tmp_path / "service.pem").read_text() == ours.cert.read_text()


def test_another_machines_service_is_trusted_by_its_authority_and_name(
    theirs: Certificate, monkeypatch: pytest.MonkeyPatch
):
    with Running(theirs.server()) as server:
        with pytest.raises(NotReachable, match="not trusted here"):
            Client(server.url, None).get("/livez")
        monkeypatch.setenv("ORCHESTRATOR_CACERT", str(theirs.ca))
        assert Client(server.url, None).get("/livez") == b"{}"
        monkeypatch.setenv("ORCHESTRATOR_CACERT", "/no/such/file")
        with pytest.raises(WrongUsage, match="ORCHESTRATOR_CACERT"):
            Client(server.url, None).get("/livez")


def test_a_renewed_certificate_is_taken_without_a_restart(
    ours: Certificate, theirs: Certificate, tmp_path: Path
):
    cert, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    shutil.copy(ours.cert, cert)
    shutil.copy(ours.key, key)
    tls = ApiTls(cert, key, tmp_path)
    with Running(tls.context) as server:
        shutil.copy(theirs.cert, cert)
        tls.look()  # the key is still the old one: nothing is changed
        assert Client(server.url, None, tmp_path / "service.pem").get("/livez") == b"{}"
        assert (tmp_path / "service.pem").read_text() == ours.cert.read_text()
        shutil.copy(theirs.key, key)
        tls.look()
        assert (tmp_path / "service.pem").read_text() == theirs.cert.read_text()
        assert Client(server.url, None, tmp_path / "service.pem").get("/livez") == b"{}"
        key.unlink()
        tls.look()
        assert Client(server.url, None, tmp_path / "service.pem").get("/livez") == b"{}"


def test_files_that_cannot_be_used_are_told_by_their_variables(
    ours: Certificate, theirs: Certificate, tmp_path: Path
):
    with pytest.raises(SettingsError, match=r"API_TLS_CERT.*does not belong"):
        ApiTls(ours.cert, theirs.key, tmp_path)
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="no certificate and key in PEM"):
        ApiTls(nonsense, ours.key, tmp_path)
    with pytest.raises(SettingsError, match="cannot be read"):
        ApiTls(tmp_path / "gone", ours.key, tmp_path)
    assert not (tmp_path / "service.pem").exists()


def test_without_a_certificate_none_is_left_for_the_command_line(tmp_path: Path):
    (tmp_path / "service.pem").write_text("old")
    assert api_tls(Settings(state_dir=tmp_path)) is None
    assert not (tmp_path / "service.pem").exists()


# --- The health check --------------------------------------------------------------------------


@pytest.mark.parametrize("encrypted", [True, False])
def test_the_probe_asks_the_service_of_the_state_folder(
    ours: Certificate, tmp_path: Path, monkeypatch, capsys, encrypted: bool
):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    tls = ApiTls(ours.cert, ours.key, tmp_path)
    with Running(tls.context if encrypted else None) as server:
        (tmp_path / "service.url").write_text(f"{server.url}\n")
        assert probe([]) == 0
        assert probe(["readyz"]) == 1
        assert "readyz: 503" in capsys.readouterr().out
    assert probe([]) == 1


def test_the_probe_says_why_a_service_is_not_well(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    assert probe([]) == 1
    assert "service.url" in capsys.readouterr().out
    (tmp_path / "service.url").write_text("nonsense://[")
    assert probe([]) == 1
