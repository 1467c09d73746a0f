"""How commands begin and end: addresses, tokens, exit codes, help, and this machine's commands."""

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.service.cli.backend import Check, RunOptions
from orchestrator.service.cli.main import build
from tests.unit.service.cli_desk import ACCOUNT, FakeBackend, command, listed, service, widest

COMMANDS = [
    "emergency-stop", "resume", "status", "agents", "accounts", "trades", "positions", "orders",
    "signals", "events", "explain", "performance", "start", "stop", "enable", "disable", "signal",
    "breakers", "breakers trip", "breakers reset", "audit", "audit verify", "audit export",
    "audit prune", "audit checkpoint", "audit key", "audit compare", "run", "doctor",
]  # fmt: skip
ASKING = [name for name in COMMANDS if name not in {"audit", "run", "doctor"}]
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches_by_example_within_80_columns(name):
    done = command(FakeBackend(), *name.split(), "--help")
    assert done.exit_code == 0
    assert "Example" in done.stdout
    assert f"orchestrator {name}" in done.stdout
    assert widest(done.stdout) <= 80


@pytest.mark.parametrize("name", ASKING)
def test_whoever_asks_the_service_has_the_common_options(name):
    text = command(FakeBackend(), *name.split(), "--help").stdout
    assert [o for o in ("--json", "--url", "--token", "--state") if o not in text] == []


def test_the_first_help_names_every_command_and_the_exit_codes():
    text = command(FakeBackend(), "--help").stdout
    assert [n for n in COMMANDS if n.split()[0] not in text] == []
    assert "3 service not" in text
    assert "emergency-stop" in text.split("Options")[0]


def test_the_version_is_told():
    assert command(FakeBackend(), "--version").stdout.strip().count(".") == 2


# --- The service that is not there ---------------------------------------------------------------


def test_no_service_is_exit_code_3_with_what_to_do():
    done = command(FakeBackend("http://127.0.0.1:9"), "status")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == (
        "orchestrator: the service does not answer at http://127.0.0.1:9: is it running? "
        "start it with: orchestrator run\n"
    )


def test_no_service_in_json_is_a_problem_document():
    done = command(FakeBackend("http://127.0.0.1:9"), "trades", "--json")
    assert done.exit_code == 3
    assert "does not answer" in json.loads(done.stdout)["detail"]


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"]
)
def test_a_cut_answer_is_no_answer(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        done = command(FakeBackend(), "start", "--url", f"http://127.0.0.1:{port}")
        thread.join()
    assert done.exit_code == 3
    assert "it may have been done all the same" in done.stderr


@pytest.mark.parametrize("document", [b"<html>", b'{"items": 7}', b'{"items": [{}]}', b"\xff"])
def test_an_answer_that_is_none_of_ours_is_told(document):
    with service() as (script, url):
        script.say("/trades", document)
        done = command(FakeBackend(url), "trades")
    assert done.exit_code == 1
    assert "the answer cannot be read" in done.stderr


@pytest.mark.parametrize("status", [401, 403])
def test_a_bad_token_is_exit_code_4_with_where_it_is_found(status):
    with service() as (script, url):
        script.problem("/trades", status, "Wrong token", "Send the header.")
        done = command(FakeBackend(url), "trades", "--json")
    assert done.exit_code == 4
    assert json.loads(done.stdout)["title"] == "Wrong token"


# --- Addresses and tokens ------------------------------------------------------------------------


def test_options_and_environment_name_the_service_and_token():
    with service() as (script, url):
        script.say("/trades", listed())
        command(FakeBackend(), "trades", "--url", url, "--token", "other")
        assert script.asked[-1].token == "Bearer other"
        command(FakeBackend(), "trades", ORCHESTRATOR_URL=url, ORCHESTRATOR_TOKEN="of-the-env")
        assert script.asked[-1].token == "Bearer of-the-env"
        command(FakeBackend(), "trades", "--url", url)
        assert script.asked[-1].token == "Bearer secret-token"


def test_the_state_folder_leads_to_its_service():
    with service() as (script, url):
        script.say("/trades", listed())
        backend = FakeBackend(url)
        command(backend, "trades", "--state", "elsewhere")
    assert backend.called("service") == [("service", Path("elsewhere"))]


def test_this_machines_token_is_not_sent_to_another_machine():
    backend = FakeBackend()
    done = command(backend, "trades", "--url", "http://no-such-host.invalid:1")
    assert done.exit_code == 3
    assert backend.called("service") == []


def test_a_token_never_travels_unencrypted_to_another_machine():
    done = command(FakeBackend(), "trades", "--url", "http://10.0.0.1:8000", "--token", "t")
    assert done.exit_code == 2
    assert "unencrypted" in done.stderr


@pytest.mark.parametrize(
    "url",
    ["8000", "ftp://x", "http://", "http://h:99999", "http://h:0", "http://u@h", "http://h/?q",
     "http://a b", "http://[::1"],
)  # fmt: skip
def test_an_address_that_is_none_is_wrong_usage(url):
    done = command(FakeBackend(), "status", "--url", url)
    assert done.exit_code == 2
    assert "http://127.0.0.1:8000" in done.stderr


def test_broken_settings_are_told_in_one_line():
    backend = FakeBackend()
    backend.raises = ValueError("RISK_PER_TRADE=2 is above 0.1")
    done = command(backend, "status")
    assert done.exit_code == 1
    assert "RISK_PER_TRADE=2" in done.stderr
    assert "Traceback" not in done.stderr


# --- Ctrl-C, colour ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [["run"], ["paper"], ["simulate"], ["crash-sweep"], ["doctor"], ["emergency-stop", "--local"]],
)
def test_ctrl_c_ends_quietly_with_130(words):
    backend = FakeBackend()
    backend.raises = KeyboardInterrupt()
    done = command(backend, *words)
    assert (done.exit_code, done.stdout, done.stderr) == (130, "", "")


def test_colour_is_for_terminals_that_want_it(monkeypatch, capsys):
    from orchestrator.service.cli.screen import Screen, terminal

    Screen(width=80, colour=True).line("x", "good")
    assert capsys.readouterr().out == "\x1b[32mx\x1b[0m\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal().colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal().colour


# --- Run, paper, doctor --------------------------------------------------------------------------


def test_run_without_options_leaves_all_to_the_settings():
    backend = FakeBackend()
    assert command(backend, "run").exit_code == 0
    assert backend.calls == [("run", RunOptions())]


def test_run_hands_its_options_on(tmp_path):
    tape = tmp_path / "EUR_USD_20140508.csv.gz"
    tape.touch()
    backend = FakeBackend()
    backend.code = 7
    words = ["run", "--replay", str(tape), "--replay", str(tape), "--speed", "60", "--exit-at-end"]
    words += ["--summary", str(tmp_path / "s.json"), "--state", str(tmp_path), "--seed", "5"]
    words += ["--port", "8010", "--host", "127.0.0.1", "--log-level", "debug", "--quiet"]
    assert command(backend, *words).exit_code == 7
    assert backend.calls[0][1] == RunOptions(
        replay=(tape, tape), speed="60", exit_at_end=True, summary=tmp_path / "s.json",
        state=tmp_path, seed=5, port=8010, host="127.0.0.1", log_level="debug", quiet=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        "run --speed 60", "run --exit-at-end", "run --summary s.json", "run --replay missing.csv",
        "run --replay TAPE --speed 0", "run --replay TAPE --speed -1", "run --port 70000",
        "run --replay TAPE --speed nan", "run --replay TAPE --speed Infinity", "run --seed -1",
        "run --replay TAPE --speed fast", "run --replay TAPE --summary no/such/folder/s.json",
        "run --log-level loud", "run surplus",
    ],
)  # fmt: skip
def test_run_refuses_what_makes_no_sense_before_anything_starts(tmp_path, wrong):
    tape = tmp_path / "EUR_USD.csv"
    tape.touch()
    backend = FakeBackend()
    assert command(backend, *wrong.replace("TAPE", str(tape)).split()).exit_code == 2
    assert backend.calls == []


@pytest.mark.parametrize("program", ["paper", "simulate", "crash-sweep", "certs", "bus", "chaos"])
def test_the_words_of_other_programs_are_their_own_help_included(program):
    backend = FakeBackend()
    backend.code = 2
    words = ["--help", "--port", "8101", "--account", f"{ACCOUNT}:USD:1", "-x"]
    assert command(backend, program, *words).exit_code == 2
    assert backend.calls == [(program, words)]


def test_doctor_says_what_to_do():
    done = command(FakeBackend(), "doctor", "--settings")
    assert done.exit_code == 0
    said = " ".join(done.stdout.split())
    for text in ("good settings valid", "look state folder", "-> chmod 700 state"):
        assert text in said, text
    assert "OANDA_API_KEY *** environment" in said


def test_a_bad_check_is_exit_code_1():
    backend = FakeBackend()
    backend.checks.append(Check(name="venue", ok=False, text="no answer", hint="check the network"))
    done = command(backend, "doctor", "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["good"] is False
    assert told["checks"][-1] == {
        "name": "venue", "ok": False, "text": "no answer", "hint": "check the network",
    }  # fmt: skip
    assert "BAD   venue" in command(backend, "doctor").stdout


def test_the_command_line_starts_without_what_only_trading_needs():
    """Start-up time is import time: neither kernel nor numbers, nor the help's typesetter."""
    code = (
        "import sys, orchestrator.service.cli.main as m; m.build(None);"
        "print([n for n in ('rich', 'numpy', 'fastapi', 'websockets', 'asyncio',"
        " 'orchestrator.kernel', 'orchestrator.agents') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_command_is_built_once():
    names = [c.name for c in build(FakeBackend()).registered_commands]
    assert len(names) == len(set(names))
