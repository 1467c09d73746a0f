"""One kill, from the first life to the settled end; and all of them, several side by side."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import msgspec

from orchestrator.research.crash_sweep.judge import unsettled, violations, words_of
from orchestrator.research.crash_sweep.process import Died, Late, Service, eventually
from orchestrator.research.crash_sweep.scenes import (
    SCENES,
    Scene,
    Story,
    open_trades,
    take_one,
    work_on,
)
from orchestrator.service.seams import mono_ns

_SETTLE_S = 120.0
_DIES_S = 10.0
_KILLED = -9


class Kill(msgspec.Struct, frozen=True):
    """Where the process dies: `order/send.order.before:2`, the second pass within that scene."""

    scene: str
    place: str
    nth: int

    @property
    def name(self) -> str:
        return f"{self.scene}/{self.place}:{self.nth}"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """`deaths` 0: the place was not passed there, which proves nothing."""

    kill: Kill
    deaths: int
    lives: int
    wrong: tuple[str, ...]
    took_s: float
    words: str = ""


def kills(only: str = "") -> list[Kill]:
    """All of the sweep, or those whose name contains `only`."""
    every = [
        Kill(scene, f"{place}.{when}", nth)
        for scene, story in SCENES.items()
        for place, passes in story.places.items()
        for nth in passes
        for when in ("before", "after")
    ]
    return [kill for kill in every if only in kill.name]


def sweep(chosen: Iterable[Kill], jobs: int) -> Iterator[Result]:
    """As they end."""
    pool = ThreadPoolExecutor(jobs)
    try:
        yield from (each.result() for each in as_completed([pool.submit(run, k) for k in chosen]))
    finally:
        pool.shutdown(cancel_futures=True)  # interrupted: those under way end, and tidy up


def run(kill: Kill) -> Result:
    """A scene that is cut off at `kill`, then again in the recovery, then allowed to settle."""
    began_ns = mono_ns()
    folder = Path(tempfile.mkdtemp(prefix="tso-sweep-"))
    service = Service(folder, f"{kill.place}:{kill.nth}=kill")
    story = Story(promised=[])
    wrong: tuple[str, ...]
    try:
        wrong = _told(service, story, SCENES[kill.scene])
    except (Late, Died, OSError, KeyError, ValueError) as exc:
        wrong = (f"{type(exc).__name__}: {exc}",)
    finally:
        service.clear_away()
    words = words_of(folder) if wrong else ""
    shutil.rmtree(folder, ignore_errors=True)
    return Result(
        kill=kill, deaths=service.deaths, lives=service.lives, wrong=wrong, words=words,
        took_s=(mono_ns() - began_ns) / 1e9,
    )  # fmt: skip


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
    return not unsettled(service)
