"""One kill, from the first life to the settled end; and all of them, several side by side."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

import msgspec

from orchestrator.model.errors import StoreError
from orchestrator.research.crash_sweep.judge import unsettled, violations, words_of
from orchestrator.research.crash_sweep.process import Died, Service
from orchestrator.research.crash_sweep.scenes import (
    OF_SERVER,
    POSTGRES_SCENES,
    SCENES,
    Scene,
    Story,
    open_trades,
    take_one,
    work_on,
)
from orchestrator.research.crash_sweep.stages import OnFile, Struck
from orchestrator.research.waiting import Late, eventually
from orchestrator.service.seams import block_s, mono_ns

_SETTLE_S = 120.0
_DIES_S = 10.0
_LOOK_S = 0.2
_KILLED = -9


class Kill(msgspec.Struct, frozen=True):
    """Where the process dies: `order/send.order.before:2`, the second pass within that scene.

    With `/server` behind it is the journal's server that dies there, and the service lives on.
    """

    scene: str
    place: str
    nth: int
    server: bool = False

    @property
    def name(self) -> str:
        return f"{self.scene}/{self.place}:{self.nth}" + ("/server" if self.server else "")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """`deaths` 0: the place was not passed there, which proves nothing."""

    kill: Kill
    deaths: int
    lives: int
    wrong: tuple[str, ...]
    took_s: float
    words: str = ""


class Stage(Protocol):
    """Where journals are kept. `servers_too`: on servers that may be killed."""

    @property
    def servers_too(self) -> bool: ...

    def service(
        self, folder: Path, strike: str, *, server: bool
    ) -> AbstractContextManager[Service]: ...


def kills(only: str = "", scenes: Mapping[str, Scene] = SCENES) -> list[Kill]:
    """All of the sweep's on SQLite, or those whose name contains `only`."""
    every = [
        Kill(scene, f"{place}.{when}", nth)
        for scene, story in scenes.items()
        for place, passes in story.places.items()
        for nth in passes
        for when in ("before", "after")
    ]
    return [kill for kill in every if only in kill.name]


def server_kills(only: str = "") -> list[Kill]:
    """The same places, where they are the server's business, with its death instead."""
    every = (
        msgspec.structs.replace(kill, server=True)
        for kill in kills(scenes=POSTGRES_SCENES)
        if kill.place.startswith(OF_SERVER)
    )
    return [kill for kill in every if only in kill.name]


def sweep(
    chosen: Sequence[Kill], jobs: int, stage: Stage | None = None, folder: Path | None = None
) -> Iterator[Result]:
    """As they end. Who does not want the rest leaves: nobody waits for what is under way."""
    waiting: SimpleQueue[Kill] = SimpleQueue()
    ended: SimpleQueue[Result | BaseException] = SimpleQueue()
    for kill in chosen:
        waiting.put(kill)

    def work() -> None:
        with suppress(Empty):
            while True:
                kill = waiting.get_nowait()
                try:
                    ended.put(run(kill, stage or OnFile(), folder))
                except BaseException as exc:  # noqa: BLE001 -- raised again below
                    ended.put(exc)

    for number in range(jobs):
        threading.Thread(target=work, name=f"sweep-{number}", daemon=True).start()
    for _ in chosen:
        result = ended.get()
        if isinstance(result, BaseException):
            raise result
        yield result


def run(kill: Kill, stage: Stage, within: Path | None = None) -> Result:
    """A scene that is cut off at `kill`, then again in the recovery, then allowed to settle."""
    began_ns = mono_ns()
    folder = Path(tempfile.mkdtemp(prefix="tso-sweep-", dir=within))
    try:
        with stage.service(folder, f"{kill.place}:{kill.nth}", server=kill.server) as service:
            wrong = _tried(service, SCENES[kill.scene])
            words = words_of(service.folder) if wrong else ""
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Result(
        kill=kill, deaths=_deaths(service), lives=service.lives, wrong=wrong, words=words,
        took_s=(mono_ns() - began_ns) / 1e9,
    )  # fmt: skip


def _deaths(service: Service) -> int:
    return service.server_deaths if isinstance(service, Struck) else service.deaths


def _tried(service: Service, scene: Scene) -> tuple[str, ...]:
    story = Story(promised=[])
    try:
        if isinstance(service, Struck):
            return _lived_through(service, story, scene)
        return _told(service, story, scene)
    except (Late, Died, StoreError, OSError, KeyError, ValueError) as exc:
        return (f"{type(exc).__name__}: {exc}",)
    finally:
        service.clear_away()


def _lived_through(service: Struck, story: Story, scene: Scene) -> tuple[str, ...]:
    """The server dies, twice, and is started again; the service lives on, or ends and comes again.

    What it cannot write it refuses; it needs nobody to trade again.
    """
    scene.prepare(service, story)
    service.arm()
    with suppress(Died):
        scene.act(service, story)
    with suppress(Died):
        work_on(service, story)
    service.disarm()
    eventually("the server is back", service.server_is_back, _SETTLE_S)
    if service.dead:
        service.start()
    if not service.up():
        return (f"does not come up again: it ended with {service.code}",)
    return _judged(service, story)


def _told(service: Service, story: Story, scene: Scene) -> tuple[str, ...]:
    scene.prepare(service, story)
    service.arm()
    try:
        scene.act(service, story)
    except Died:
        eventually("dead", lambda: service.dead, _DIES_S)
    if service.code == _KILLED:
        service.deaths += 1
        _again(service, story)
    service.disarm()
    if service.dead:
        service.start()
    if not service.up():
        return (f"does not come up again: it ended with {service.code}",)
    return _judged(service, story)


def _again(service: Service, story: Story) -> None:
    """The same kill in the recovery of the first, or soon after, where that passes the place."""
    service.start()
    try:
        if service.up():
            work_on(service, story)
    except Died:
        eventually("dead", lambda: service.dead, _DIES_S)
    service.deaths += service.code == _KILLED


def _judged(service: Service, story: Story) -> tuple[str, ...]:
    try:
        if not story.stopped:
            eventually("trading again", lambda: take_one(service, story), _SETTLE_S)
        eventually("settled", lambda: _settled(service, story), _SETTLE_S)
    except Late as late:
        return (str(late), unsettled(service), *violations(service, story))
    return tuple(violations(service, story))


def _settled(service: Service, story: Story) -> bool:
    if story.stopped and story.resumed is False and open_trades(service):
        return False
    found = unsettled(service)
    if found:
        block_s(_LOOK_S)
    return not found
