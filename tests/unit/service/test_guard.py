"""The guard as a real process, beside a pretended service: this test."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.service.gate import Gate, Latch
from orchestrator.service.guarded import GuardProcess
from orchestrator.service.pulse import Pulse

WITHIN_S = 20.0  # generous: nothing here is judged by its time
LATCH = Latch(stop_id="stop-1", actor="anna", reason="test", liquidate=True, closed_ns=5)
# Says that it was called, as the rescue's life of a service would.
RESCUE = (sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write('rescued')")


def eventually(what: str, look: Callable[[], object]) -> None:
    until = time.monotonic() + WITHIN_S  # noqa: TID251 -- a real process lives in real time
    while not look():
        assert time.monotonic() < until, what  # noqa: TID251
        time.sleep(0.02)  # noqa: TID251


def beat(pulse: Pulse, *, flat: bool = False) -> None:
    pulse.beat(time.monotonic_ns(), flat=flat)  # noqa: TID251


class Scene:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gate, self.pulse = Gate(folder), Pulse(folder)
        self.pulse.begin()
        self.rescued = folder / "rescued"
        self.guard = GuardProcess(folder, (*RESCUE, str(self.rescued)))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Scene:
        self.guard.start()
        self.process = self.guard._process
        eventually("the guard looks", lambda: self.pulse.guard_beat_ns)
        return self

    @property
    def ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def ask(self, **request: object) -> dict[str, object]:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(WITHIN_S)
            folder = os.open(self.folder, os.O_RDONLY)
            line.connect(f"/proc/self/fd/{folder}/guard.sock")
            os.close(folder)
            line.sendall(json.dumps(request).encode())
            return json.loads(line.recv(4096))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()
    made.guard.end(in_order=True)


def test_missing_beats_close_the_gate_and_leave_a_stops_own_word_open(scene):
    beat(scene.pulse)
    scene.start()
    eventually("held", lambda: scene.gate.held)
    assert scene.gate.closed
    assert not scene.gate.stopped
    assert "loop was blocked" in scene.gate.why


def test_it_ends_with_a_service_that_ends_in_order_even_within_a_stop(scene):
    scene.gate.close()
    scene.start()
    scene.guard.end(in_order=True)
    eventually("the guard has ended", lambda: scene.ended)
    assert not scene.rescued.exists()


def test_it_ends_with_a_service_that_dies_without_a_stop(scene):
    scene.start()
    scene.guard.end(in_order=False)
    eventually("the guard has ended", lambda: scene.ended)
    assert not scene.rescued.exists()


def test_a_death_within_a_liquidation_is_followed_by_another_life(scene):
    scene.gate.close()
    scene.gate.latch(LATCH)
    beat(scene.pulse)
    scene.start()
    scene.guard.end(in_order=False)
    eventually("rescued", scene.rescued.exists)
    eventually("the guard has ended", lambda: scene.ended)


def test_a_death_after_the_liquidation_is_nobodys_business(scene):
    scene.gate.close()
    scene.gate.latch(LATCH)
    beat(scene.pulse, flat=True)
    scene.start()
    scene.guard.end(in_order=False)
    eventually("the guard has ended", lambda: scene.ended)
    assert not scene.rescued.exists()


def test_signals_for_the_service_do_not_end_its_guard(scene):
    scene.start()
    assert scene.process is not None
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        scene.process.send_signal(number)
    looked = scene.pulse.guard_beat_ns
    eventually("it looks on", lambda: scene.pulse.guard_beat_ns > looked)


def test_a_dead_guard_and_a_frozen_one_are_found_out(scene):
    scene.start()
    assert scene.guard.trouble() == ""
    scene.process.send_signal(signal.SIGSTOP)
    eventually("frozen", lambda: scene.guard.trouble() == "does not look any more")
    scene.guard.kill()
    assert scene.guard.trouble() == "was never started"


def test_its_socket_is_the_owners_only_and_stops_everything(scene):
    beat(scene.pulse)
    scene.start()
    eventually("a socket", (scene.folder / "guard.sock").exists)
    assert (scene.folder / "guard.sock").stat().st_mode & 0o777 == 0o600
    assert scene.ask(ask="status")["stopped"] is False
    said = scene.ask(ask="stop", reason="by hand", liquidate=False)
    assert said == {"stopped": True, "persisted": True, "already_stopped": False}
    latch = scene.gate.read_latch()
    assert scene.gate.stopped
    assert latch is not None
    assert (latch.reason, latch.liquidate) == ("by hand", False)
    assert scene.ask(ask="stop")["already_stopped"] is True


@pytest.mark.parametrize("words", [b"", b"nonsense", b"[]", b"\xff\xfe", b'"stop"'])
def test_words_that_nobody_understands_cost_nothing(scene, words):
    beat(scene.pulse)
    scene.start()
    eventually("a socket", (scene.folder / "guard.sock").exists)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(scene.folder / "guard.sock"))
        line.sendall(words)
    assert scene.ask(ask="status")["stopped"] is False


def test_a_service_that_is_stuck_within_a_stop_is_killed_and_no_other_process(tmp_path):
    """The pretended service is a process of its own, frozen by a signal, as by a blocked loop."""
    rescued = tmp_path / "rescued"
    code = (
        "import sys, time; from pathlib import Path; "
        "from orchestrator.service.guarded import GuardProcess; "
        "from orchestrator.service.pulse import Pulse; "
        "folder = Path(sys.argv[1]); pulse = Pulse(folder); pulse.begin(); "
        "guard = GuardProcess(folder, tuple(sys.argv[2:])); guard.start(); "
        "pulse.beat(time.monotonic_ns(), flat=False); print(guard.pid, flush=True); "
        "time.sleep(120)"
    )
    gate = Gate(tmp_path)
    words = (sys.executable, "-c", code, str(tmp_path), *RESCUE, str(rescued))
    with subprocess.Popen(words, stdout=subprocess.PIPE) as service:
        assert service.stdout is not None
        assert int(service.stdout.readline()) > 0
        gate.close()
        service.send_signal(signal.SIGSTOP)
        eventually("killed", lambda: service.poll() == -signal.SIGKILL)
    assert gate.held
    eventually("rescued", rescued.exists)
