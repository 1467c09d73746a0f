"""Networks of their own for programs under test, each at a cable that may really be cut (Linux).

All of it happens within one network namespace that `apart` makes: the machine's own network is
never touched, and what was made ends with the last process in there. Root may do that, and any
user whom the kernel lets have namespaces of his own; `hindrance` tells why not.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")

NETWORK = "198.18.0.0/15"  # kept for tests of networks (RFC 2544): routed nowhere
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_NOBODY = "02:00:00:00:00:01"  # an address that no card here has: who is sent it drops it
_TRIES = 2_000
_PROBE = "ip link set lo up && ip link add tso-probe type veth peer name tso-other"


def apart(words: Sequence[str]) -> list[str]:
    """The command line that runs these words in a network of their own, under the same user."""
    more = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    return ["unshare", "--net", *more, *words]


@functools.cache
def hindrance() -> str:
    """Why no network can be made here; "" where it can."""
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed"
    done = subprocess.run(apart(["sh", "-c", _PROBE]), capture_output=True, text=True, check=False)
    return (done.stderr.strip().splitlines() or ["refused"])[-1] if done.returncode else ""


def come_apart() -> None:
    """Called first of all by a program that was begun by `apart`: its own loopback, and its end
    when who began it is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: exit_now())
    _run("ip", "link", "set", "lo", "up")


def exit_now() -> None:
    """Through every `finally`."""
    raise SystemExit(143)


class Place:
    """A network at a cable of its own: `here` is our end's address, `there` the other's.

    Used in `with`. It lasts as long as its holder, a process that ends with ours.
    """

    def __init__(self, number: int) -> None:
        self.here, self.there = f"198.18.{number}.1", f"198.18.{number}.2"
        self._cable = f"tso{os.getpid()}c{number}"
        self._holder: subprocess.Popen[bytes] | None = None
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        # `cat` ends when its input does, which is when we do, however we end.
        holder = self._holder = subprocess.Popen(
            ("unshare", "--net", "cat"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        ours = os.readlink("/proc/self/ns/net")
        for _ in range(_TRIES):
            if os.readlink(self._net) != ours:
                break
            threading.Event().wait(0.01)
        pid = str(holder.pid)
        _run(
            "ip", "link", "add", self._cable, "type", "veth", "peer", "name", "cable", "netns", pid
        )
        _run("ip", "address", "add", f"{self.here}/30", "dev", self._cable)
        _run(*self.within("ip", "address", "add", f"{self.there}/30", "dev", "cable"))
        _run(*self.within("ip", "link", "set", "lo", "up"))
        _run(*self.within("ip", "link", "set", "cable", "up"))
        _run("ip", "link", "set", self._cable, "up")
        self._threads = ThreadPoolExecutor(8, initializer=self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        if self._threads is not None:
            self._threads.shutdown()
        with suppress(AssertionError):
            _run("ip", "link", "delete", self._cable)
        if self._holder is not None:
            self._holder.kill()
            self._holder.communicate()

    @property
    def _net(self) -> str:
        assert self._holder is not None, "not entered"
        return f"/proc/{self._holder.pid}/ns/net"

    def within(self, *words: str) -> tuple[str, ...]:
        """The command line that runs these words over there; its process id is theirs."""
        return ("nsenter", f"--net={self._net}", *words)

    def do(self, work: Callable[[], T]) -> T:
        """Called in a thread over there: the sockets that it opens are there, too."""
        assert self._threads is not None, "not entered"
        return self._threads.submit(work).result()

    def _enter(self) -> None:
        with Path(self._net).open("rb") as net:
            failed = ctypes.CDLL(None, use_errno=True).setns(net.fileno(), _CLONE_NEWNET)
        assert not failed, os.strerror(ctypes.get_errno())

    # -- the cable -------------------------------------------------------------------------------

    def cut(self) -> None:
        """No packet passes, and nobody is told."""
        _run("ip", "link", "set", self._cable, "down")

    def deafen(self) -> None:
        """What is sent to there is lost; what comes from there arrives."""
        self._astray(self.there, self._cable)

    def mute(self) -> None:
        """What comes from there is lost; what is sent to there arrives."""
        self._astray(self.here, "cable", *self.within())

    def _astray(self, to: str, cable: str, *prefix: str) -> None:
        _run(*prefix, "ip", "neighbour", "replace", to, "lladdr", _NOBODY, "nud", "permanent",
             "dev", cable)  # fmt: skip

    def mend(self) -> None:
        """Whatever was done to it."""
        _run("ip", "link", "set", self._cable, "up")
        for to, cable, prefix in (
            (self.there, self._cable, ()), (self.here, "cable", self.within()),
        ):  # fmt: skip
            with suppress(AssertionError):  # it was not led astray
                _run(*prefix, "ip", "neighbour", "delete", to, "dev", cable)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr or done.stdout}"
