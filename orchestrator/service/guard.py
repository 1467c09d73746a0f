"""The guard: a small process beside the service that needs none of its loop (SAFETY G3-G5).

    python -m orchestrator.service.guard FOLDER SERVICE_PID RESCUE...

It shares the gate's word and the beats with the service that started it, its parent. Each tenth of
a second it looks: beats missing, it holds the gate; missing while a stop stands and positions are
open, it kills the service and lets the words RESCUE close them; well again, it lets go. Standard
input is its string to the service: "end" is an orderly end, its end without that a death.

It imports little, so that it is small and soon there: no asyncio, and so not the seams either.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from orchestrator.service.gate import Gate, Latch
from orchestrator.service.pulse import Pulse
from orchestrator.service.vigil import Seen, Verdict, Vigil

LOOK_S = 0.1
SOCKET = "guard.sock"
OTHERS_LIVE = 3  # a rescue's exit code: another service works on the folder
_GRACE_S = 4.0  # a service that died by itself is perhaps started again by whoever looks after it
_AGAIN_S = (1.0, 2.0, 5.0, 10.0, 30.0)
_REQUEST_MAX = 4096
FAILPOINT = "ORCHESTRATOR_FAILPOINT"


class Guard:
    """One guard of one life of the service. `parent`: the service's process id."""

    def __init__(self, folder: Path, rescue: tuple[str, ...], parent: int) -> None:
        self._folder = folder
        self._rescue = rescue
        self._parent = parent
        self._gate = Gate(folder)
        self._pulse = Pulse(folder)
        now_ns = time.monotonic_ns()
        self._vigil = Vigil(now_ns)
        if self._gate.held:
            self._pulse.held(now_ns)  # an earlier life's; its clock may have been another
        self._handle = _handle_of(parent)
        self._said = b""
        self._killed = False
        self._last_beat_ns = 0

    # -- looking ----------------------------------------------------------------------------------

    def watch(self, listener: socket.socket | None) -> None:
        """Until the service has ended, in whichever way."""
        while True:
            self._pulse.guard_beat(time.monotonic_ns())
            wanted = [sys.stdin.fileno(), *([listener] if listener else [])]
            ready, _, _ = select.select(wanted, [], [], LOOK_S)
            if sys.stdin.fileno() in ready and self._string_is_cut():
                return
            if listener is not None and listener in ready:
                self._answer(listener)
            self._look()

    def _string_is_cut(self) -> bool:
        got = os.read(sys.stdin.fileno(), 64)
        self._said += got
        return not got

    def _look(self) -> None:
        seen = self._seen(liquidates=False)
        if self._vigil.patience_is_over(seen):
            seen = self._seen(liquidates=self._liquidates())  # only then: it may read a file
        match self._vigil.look(seen):
            case Verdict.HOLD:
                self._hold(seen.now_ns)
            case Verdict.RELEASE:
                self._gate.release()
                _log("info", "guard.released", "the loop beats again and all is reconciled")
            case Verdict.KILL:
                self._hold(seen.now_ns)
                self._kill()
            case None:
                pass

    def _seen(self, *, liquidates: bool) -> Seen:
        pulse = self._pulse
        return Seen(
            now_ns=time.monotonic_ns(), beat_ns=pulse.beat_ns, held=self._gate.held,
            held_since_ns=pulse.held_since_ns, fit_ns=pulse.fit_ns, flat=pulse.flat,
            liquidates=liquidates,
        )  # fmt: skip

    def _liquidates(self) -> bool:
        """Whether a stop stands that wants positions closed; one without its latch does."""
        latch = self._gate.read_latch()
        return self._gate.stopped if latch is None else latch.liquidate

    def _hold(self, now_ns: int) -> None:
        new = not self._gate.held
        self._gate.hold()
        self._pulse.held(now_ns)
        if new:
            _log("error", "alert.raised", "the gate is closed: the main loop is blocked")

    def _kill(self) -> None:
        """Only our own parent, known by a handle that no other process can inherit."""
        if self._killed or os.getppid() != self._parent:
            return
        self._killed = True
        _log("error", "alert.raised", "a stop cannot wait for a blocked loop: service killed")
        if self._handle >= 0:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        else:
            os.kill(self._parent, signal.SIGKILL)

    # -- the control socket -----------------------------------------------------------------------

    def _answer(self, listener: socket.socket) -> None:
        """One request, one answer, both one line of JSON; a bad one costs nobody anything."""
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(LOOK_S)
                request = json.loads(connection.recv(_REQUEST_MAX))
                connection.sendall(json.dumps(self._said_to(request)).encode() + b"\n")
        except (OSError, ValueError, TypeError, AttributeError) as exc:
            _log("warning", "guard.misasked", str(exc))

    def _said_to(self, request: dict[str, object]) -> dict[str, object]:
        if request.get("ask") == "stop":
            return self._stop(request)
        age_ms = (time.monotonic_ns() - self._pulse.beat_ns) // 1_000_000
        return {
            "pid": os.getpid(), "service": self._parent, "held": self._gate.held,
            "stopped": self._gate.stopped, "flat": self._pulse.flat,
            "beat_age_ms": age_ms if self._pulse.beat_ns else None,
        }  # fmt: skip

    def _stop(self, request: dict[str, object]) -> dict[str, object]:
        """The gate's word first; then who and why, unless a stop stands already."""
        self._gate.close()
        found, persisted = self._gate.read_latch(), True
        if found is None:
            latch = Latch(
                stop_id=f"stop-{os.urandom(8).hex()}", actor=f"guard:{os.getuid()}",
                reason=str(request.get("reason") or "unspecified")[:500],
                liquidate=request.get("liquidate") is not False, closed_ns=time.time_ns(),
            )  # fmt: skip
            try:
                self._gate.latch(latch)
            except OSError as exc:
                persisted = False
                _log("error", "latch.failed", str(exc))
            self._gate.close()  # a resume may have come in between
        return {"stopped": True, "persisted": persisted, "already_stopped": found is not None}

    # -- after the service ------------------------------------------------------------------------

    def after(self) -> None:
        """The service is gone. A stop with positions left is carried out by another life of it."""
        if self._said.startswith(b"end") or not self._left_open():
            return
        self._last_beat_ns = self._pulse.beat_ns
        _log("error", "alert.raised", "the service died within a liquidation, which goes on")
        if not self._killed:
            self._wait(_GRACE_S)
        for attempt in range(1_000_000):
            if not self._left_open() or self._taken_over():
                return
            if self._run_rescue():
                return
            self._wait(_AGAIN_S[min(attempt, len(_AGAIN_S) - 1)])

    def _left_open(self) -> bool:
        return self._liquidates() and not self._pulse.flat

    def _taken_over(self) -> bool:
        """Another life beats already."""
        return self._pulse.beat_ns not in {0, self._last_beat_ns}

    def _run_rescue(self) -> bool:
        """Whether this guard is needed no more: the rescue has its own, or has ended well."""
        armed_no_more = {k: v for k, v in os.environ.items() if k != FAILPOINT}
        with (self._folder / "rescue.out").open("ab") as out:
            rescue = subprocess.Popen(  # noqa: S603 -- the service's own words
                self._rescue, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, env=armed_no_more,
            )  # fmt: skip
        while (code := rescue.poll()) is None:
            if self._taken_over():
                return True
            self._wait(LOOK_S)
        return code in {0, OTHERS_LIVE}

    def _wait(self, seconds: float) -> None:
        time.sleep(seconds)


def _handle_of(pid: int) -> int:
    """A handle on exactly this process; -1 where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _listen(folder: Path) -> socket.socket | None:
    """For this folder's owner only; None where the system allows none (a path that is too long)."""
    where = os.open(folder, os.O_RDONLY)
    short = f"/proc/self/fd/{where}/{SOCKET}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        (folder / SOCKET).unlink(missing_ok=True)
        old = os.umask(0o177)
        try:
            listener.bind(short if os.path.exists("/proc/self/fd") else str(folder / SOCKET))
        finally:
            os.umask(old)
        listener.listen(8)
    except OSError as exc:
        _log("warning", "guard.deaf", str(exc))
        listener.close()
        return None
    finally:
        os.close(where)
    return listener


def _log(level: str, event: str, text: str) -> None:
    line = {"level": level, "event": event, "title": "guard", "text": text,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}  # fmt: skip
    try:
        os.write(2, json.dumps(line).encode() + b"\n")
    except OSError:
        return  # nobody reads any more; the gate does not depend on it


def main(words: list[str]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with its service, by its string
    folder = Path(words[0])
    guard = Guard(folder, tuple(words[2:]), int(words[1]))
    listener = _listen(folder)
    guard.watch(listener)
    if listener is not None:
        listener.close()
    guard.after()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
