"""Recorded storms: what the kernel heard in simulated runs, and all that it said, to the last byte.

tests/simulation/test_recorded_storms.py plays them to the kernel: a change of the code that is to
change nothing changes nothing. After one that is meant, `python -m tests.storms --again` writes
what is decided now of the same events, and `make storms` simulates and records anew.

The drills' corpus (orchestrator/research/corpus) asks for less and reaches less: decisions without
their wording, that a new version must take as an old one did.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import coverage
import msgspec

from orchestrator.kernel.engine import Kernel, Step
from orchestrator.model.events import Event
from orchestrator.model.limits import KernelPlan
from orchestrator.model.time import Instant

FOLDER = Path(__file__).parent / "data" / "storms"
_LOOK_EVERY = 50  # events between two looks at the whole state
_KERNEL = "*/orchestrator/kernel/*"


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: a kernel's plan, and its state when the recording began."""

    what: str
    plan: KernelPlan
    state: msgspec.Raw


class Heard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="heard"):
    """An event; checksums of what was decided and, now and then, of the state after it."""

    now: Instant
    event: Event
    said: int
    kinds: tuple[str, ...] = ()
    state: int = 0


class Asked(msgspec.Struct, frozen=True, kw_only=True, tag="asked"):
    """The gate's question before a send, and the answer."""

    now: Instant
    intent_id: str
    answer: str | None


_encode = msgspec.json.Encoder(order="sorted").encode
_start = msgspec.json.Decoder(Start).decode
_line = msgspec.json.Decoder(Heard | Asked).decode


def _said(step: Step) -> int:
    return zlib.crc32(_encode((step.facts, step.acts)))


def _state(kernel: Kernel) -> int:
    """Without the state's definition, in whose texts two Pythons differ."""
    return zlib.crc32(kernel.snapshot().partition(b'"state":')[2])


def _kinds(step: Step) -> tuple[str, ...]:
    return tuple(str(type(each).__struct_config__.tag) for each in (*step.facts, *step.acts))


class RecordedKernel(Kernel):
    """A kernel that writes down what it hears and says, up to `most` events."""

    lives: ClassVar[list[RecordedKernel]] = []
    most = 2_500

    def __init__(self, plan: KernelPlan) -> None:
        super().__init__(plan)
        self._own_plan = plan
        self._events = 0
        self.lines: list[bytes] = []
        self.lives.append(self)

    def step(self, event: Event, now: Instant) -> Step:
        if not self.lines:
            state = msgspec.Raw(self.snapshot())
            self.lines.append(_encode(Start(what="", plan=self._own_plan, state=state)))
        step = super().step(event, now)
        if self._events < self.most:
            self._events += 1
            state = _state(self) if self._events % _LOOK_EVERY == 0 else 0
            self.lines.append(_encode(
                Heard(now=now, event=event, said=_said(step), kinds=_kinds(step), state=state)
            ))  # fmt: skip
        return step

    def may_send(self, intent_id: str, now: Instant) -> str | None:
        answer = super().may_send(intent_id, now)
        if self.lines and self._events < self.most:
            self.lines.append(_encode(Asked(now=now, intent_id=intent_id, answer=answer)))
        return answer


def _again(
    lines: Sequence[bytes],
) -> Iterator[tuple[int, Heard | Asked, Kernel, Step | str | None]]:
    """Every line, with what a fresh kernel that has heard those before it makes of it."""
    start = _start(lines[0])
    kernel = Kernel(start.plan)
    saved, own = msgspec.json.decode(start.state), msgspec.json.decode(kernel.snapshot())
    kernel.restore(_encode(saved | {"shape": own["shape"]}))
    for number, text in enumerate(lines[1:], 2):
        line = _line(text)
        if isinstance(line, Asked):
            yield number, line, kernel, kernel.may_send(line.intent_id, line.now)
        else:
            yield number, line, kernel, kernel.step(line.event, line.now)


def played(lines: Sequence[bytes]) -> Iterator[str]:
    """Play a recording to a fresh kernel; yields what differs, line by line."""
    for number, line, kernel, made in _again(lines):
        if isinstance(line, Asked):
            if made != line.answer:
                yield f"line {number}: may send {line.intent_id}? {made!r}, was {line.answer!r}"
            continue
        assert isinstance(made, Step)
        name = type(line.event).__name__
        if _kinds(made) != line.kinds:
            yield f"line {number}, {name}: {_kinds(made)}, was {line.kinds}"
        elif _said(made) != line.said:
            yield f"line {number}, {name}: another content of {made.facts} {made.acts}"
        elif line.state and _state(kernel) != line.state:
            yield f"line {number}, {name}: the state differs since one of the last {_LOOK_EVERY}"


def decided_anew(lines: Sequence[bytes]) -> Iterator[bytes]:
    """The same events, with what this kernel decides of them."""
    yield lines[0]
    for _, line, kernel, made in _again(lines):
        if isinstance(line, Asked):
            yield _encode(msgspec.structs.replace(line, answer=made))
        else:
            assert isinstance(made, Step)
            state = _state(kernel) if line.state else 0
            yield _encode(msgspec.structs.replace(
                line, said=_said(made), kinds=_kinds(made), state=state
            ))  # fmt: skip


def _write(path: Path, lines: Sequence[bytes]) -> None:
    path.write_bytes(gzip.compress(b"\n".join(lines), 9, mtime=0))


def read(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).splitlines()


# -- recording ------------------------------------------------------------------------------------


def _record(seeds: Sequence[tuple[int, str]]) -> Iterator[tuple[str, list[bytes]]]:
    """Lives of simulated runs. The simulator is given kernels that write down what they hear."""
    from orchestrator.research.simulate import parts
    from orchestrator.research.simulate.fates import kinds_of
    from orchestrator.research.simulate.run import simulate

    parts.Kernel = RecordedKernel
    for seed, swarm in seeds:
        RecordedKernel.lives = []
        simulate(seed, kinds=kinds_of(seed, swarm))
        for number, life in enumerate(RecordedKernel.lives, 1):
            if len(life.lines) > _LOOK_EVERY:
                name = f"{seed}{'-' + swarm if swarm else ''}-{number}"
                yield name, life.lines
        print(f"seed {seed} {swarm}: {len(RecordedKernel.lives)} lives", flush=True)


def _reach(lines: Sequence[bytes]) -> set[tuple[str, tuple[int, int]]]:
    """The branches of the kernel that a recording takes."""
    cover = coverage.Coverage(data_file=None, include=[_KERNEL], branch=True)
    with cover.collect():
        different = list(played(lines))
    if different:
        raise ValueError(f"it does not repeat: {different[0][:500]}")
    data = cover.get_data()
    return {(file, arc) for file in data.measured_files() for arc in data.arcs(file) or ()}


def main(words: Sequence[str]) -> int:
    """Simulate seeds of each swarm; keep the lives that reach what no other does."""
    parser = argparse.ArgumentParser(prog="python -m tests.storms")
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--files", type=int, default=48)
    parser.add_argument("--again", action="store_true", help="the recorded events, decided anew")
    asked = parser.parse_args(words)
    if asked.again:
        for path in sorted(FOLDER.glob("*.gz")):
            _write(path, list(decided_anew(read(path))))
        return 0
    seeds = [(70_001 + i, swarm) for i in range(asked.seeds) for swarm in ("", "wide", "soon")]
    found: dict[str, tuple[list[bytes], set[Any]]] = {}
    for name, lines in _record(seeds):
        try:
            found[name] = (lines, _reach(lines))
        except ValueError as exc:
            print(f"  {name} is left out: {exc}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.gz"):
        old.unlink()
    reached: set[Any] = set()
    for _ in range(asked.files):
        name, (lines, reach) = max(found.items(), key=lambda item: len(item[1][1] - reached))
        print(f"{name}: {len(lines):,} lines, {len(reach - reached):,} branches more")
        if len(reach - reached) < 3:
            break
        reached |= reach
        _write(FOLDER / f"{name}.jsonl.gz", lines)
        del found[name]
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
