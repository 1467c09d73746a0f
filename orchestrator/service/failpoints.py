"""Arms the failpoints of one process by words: where, at which pass, and what happens there (K10).

ORCHESTRATOR_FAILPOINT=journal.append.before:3=kill          the third pass ends the process
ORCHESTRATOR_FAILPOINT=latch.write.before:1+=error           the disk is full from now on
ORCHESTRATOR_FAILPOINT=journal.append.before:20=delay:6,...  a flush that takes six seconds
ORCHESTRATOR_FAILPOINT=send.order.after=kill@FILE            counted while FILE is there only
ORCHESTRATOR_FAILPOINT=journal.answer.before=kill:PIDFILE    a server dies: the id stands in a file
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import threading
from collections import Counter

import msgspec

from orchestrator.model import failpoints
from orchestrator.model.errors import OrchestratorError
from orchestrator.service.seams import block_s, die, end_family

VARIABLE = "ORCHESTRATOR_FAILPOINT"
_DATABASES = ("journal.", "market.")
_ON_THE_WIRE = ("send.", "journal.answer.")
_WORDS = re.compile(
    r"(?P<name>[a-z_]+\.[a-z_]+\.(before|after))(:(?P<nth>[1-9]\d*)(?P<on>\+)?)?="
    r"(?P<what>kill(:(?P<other>[^,@]+))?|error|delay:(?P<delay_s>\d+(\.\d+)?))(@(?P<file>[^,]+))?"
)


class BadFailpoint(OrchestratorError):
    """The variable's words do not name a failpoint and what is to happen there."""


class Strike(msgspec.Struct, frozen=True, kw_only=True):
    """What happens at the `nth` pass of a failpoint, or `on` from it at each."""

    name: str
    nth: int
    on: bool
    what: str  # kill | error | delay
    other: str = ""  # the file with the id of whom to kill; "" this process
    delay_s: float = 0.0
    file: str = ""  # passes count only while it exists; "" from the start on


def read_strikes(words: str) -> tuple[Strike, ...]:
    """BadFailpoint names the variable, and what it may say."""
    return tuple(_read_strike(each.strip()) for each in words.split(",") if each.strip())


def _read_strike(words: str) -> Strike:
    found = _WORDS.fullmatch(words)
    if found is None or found["name"] not in failpoints.names():
        raise BadFailpoint(
            f"{VARIABLE}: {words!r} is not NAME[:N[+]]=kill[:PIDFILE]|error|delay:SECONDS[@FILE] "
            "with a NAME of `orchestrator failpoints`"
        )
    if found["what"] == "error" and found["name"].startswith(_ON_THE_WIRE):
        raise BadFailpoint(f"{VARIABLE}: {words!r}: a send knows kill and delay only")
    return Strike(
        name=found["name"], nth=int(found["nth"] or 1), on=bool(found["on"]),
        what=found["what"].partition(":")[0], delay_s=float(found["delay_s"] or 0), 
        file=found["file"] or "", other=found["other"] or "",
    )  # fmt: skip


class Armed:
    """The listener. Passes are counted over all threads together."""

    def __init__(self, strikes: tuple[Strike, ...]) -> None:
        self._strikes = strikes
        self._passes: Counter[Strike] = Counter()
        self._lock = threading.Lock()

    def __call__(self, name: str) -> None:
        for strike in self._strikes:
            if strike.name == name and not (strike.file and not os.path.exists(strike.file)):
                self._pass(strike)

    def _pass(self, strike: Strike) -> None:
        with self._lock:
            self._passes[strike] += 1
            passes = self._passes[strike]
        if passes == strike.nth or (strike.on and passes > strike.nth):
            _happen(strike)


def _happen(strike: Strike) -> None:
    if strike.what == "kill":
        if not strike.other:
            die()
        end_family(strike.other)
        return
    if strike.what == "delay":
        block_s(strike.delay_s)
        return
    if strike.name.startswith(_DATABASES):
        raise sqlite3.OperationalError(f"failpoint {strike.name}: disk I/O error")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"failpoint {strike.name}")


def arm(words: str, environment: str) -> None:
    """Listen if there is anything to strike. BadFailpoint anywhere but on the paper venue."""
    strikes = read_strikes(words)
    if not strikes:
        return
    if environment != "paper":
        raise BadFailpoint(f"{VARIABLE} is for OANDA_ENVIRONMENT=paper only, not {environment}")
    failpoints.listen(Armed(strikes))
