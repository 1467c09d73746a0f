"""A run's events and decisions in a file: written beside a kernel, played to a new one."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.kernel.engine import Kernel, Step
from orchestrator.model.errors import FeedError
from orchestrator.model.events import Event
from orchestrator.model.facts import Fact, subject_of
from orchestrator.model.limits import KernelPlan
from orchestrator.model.time import Instant

FORM = 1
# What a decision is, apart from its wording: evidence may be told better, and mean the same.
_WORDS = (
    "breaker", "effect", "latched", "outcome", "stage", "passed", "state", "mode", "enabled",
    "transaction_id", "refused",
)  # fmt: skip


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A recording's first line: how the kernel was set up, and by which version."""

    form: int
    version: str
    what: str
    plan: KernelPlan


class Heard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event at one instant, and the decisions that followed."""

    now: Instant
    event: Event
    said: tuple[str, ...] = ()


_encode = msgspec.json.Encoder(order="sorted").encode
_head = msgspec.json.Decoder(Head).decode
_heard = msgspec.json.Decoder(Heard).decode


def decision_of(fact: Fact) -> str:
    """A fact as a decision: its kind, whom it concerns, and what was decided."""
    words = [str(type(fact).__struct_config__.tag), subject_of(fact)]
    for name in _WORDS:
        value = getattr(fact, name, None)
        if value is not None and value != "":
            # A refusal's text may change; that it was one may not.
            words.append(f"{name}={'yes' if name == 'refused' else value}")
    return " ".join(words)


class Recorder:
    """Stands between a host and its kernel's `step`; only the first life is recorded."""

    def __init__(self, version: str, what: str) -> None:
        self._version = version
        self._what = what
        self._lines: list[bytes] = []

    def attach(self, kernel: Kernel, plan: KernelPlan) -> None:
        """From the next event on. A second kernel is let alone."""
        if self._lines:
            return
        head = Head(form=FORM, version=self._version, what=self._what, plan=plan)
        self._lines.append(_encode(head))
        inner: Callable[[Event, Instant], Step] = kernel.step

        def step(event: Event, now: Instant) -> Step:
            taken = inner(event, now)
            said = tuple(decision_of(fact) for fact in taken.facts)
            self._lines.append(_encode(Heard(now=now, event=event, said=said)))
            return taken

        vars(kernel)["step"] = step

    def write(self, path: Path) -> int:
        """How many events. OSError."""
        packed = gzip.compress(b"\n".join(self._lines) + b"\n", 9, mtime=0)
        path.write_bytes(packed)
        return len(self._lines) - 1


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where a new kernel decides otherwise, for the first time."""

    line: int
    event: str
    now: Instant
    recorded: tuple[str, ...]
    decided: tuple[str, ...]

    def __str__(self) -> str:
        missing = [text for text in self.recorded if text not in self.decided]
        new = [text for text in self.decided if text not in self.recorded]
        told = [f"line {self.line}, {self.event}:"]
        told += [f"  no longer: {text}" for text in missing]
        told += [f"  new:       {text}" for text in new]
        if not (missing or new):
            told.append(f"  in another order: {', '.join(self.decided)}")
        return "\n".join(told)


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    what: str
    version: str
    events: int
    decisions: int
    differences: tuple[Difference, ...]


def replay(path: Path, differences_max: int = 5) -> Replayed:
    """Feed a recording to a fresh kernel. FeedError for a file that is no recording.

    After a first difference the kernels' states differ, so that further ones may only follow.
    """
    lines = _lines(path)
    head = _read(_head, next(lines, (1, b""))[1], path, 1)
    if head.form != FORM:
        raise FeedError(f"{path} is a recording of form {head.form}, this version reads {FORM}")
    kernel = Kernel(head.plan)
    events = decisions = 0
    found: list[Difference] = []
    for number, line in lines:
        heard = _read(_heard, line, path, number)
        said = tuple(decision_of(fact) for fact in kernel.step(heard.event, heard.now).facts)
        events += 1
        decisions += len(said)
        if said != heard.said and len(found) < differences_max:
            found.append(Difference(
                line=number, event=type(heard.event).__name__, now=heard.now,
                recorded=heard.said, decided=said,
            ))  # fmt: skip
    return Replayed(
        what=head.what, version=head.version, events=events, decisions=decisions,
        differences=tuple(found),
    )  # fmt: skip


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with gzip.open(path) as file:
            yield from enumerate(file, 1)
    except (OSError, EOFError) as exc:
        raise FeedError(f"{path} cannot be read: {exc}") from exc


def _read(decode: Callable[[bytes], Any], line: bytes, path: Path, number: int) -> Any:  # noqa: ANN401
    try:
        return decode(line)
    except (msgspec.MsgspecError, ValueError) as exc:
        raise FeedError(f"{path}, line {number} is not of a recording: {exc}") from exc
