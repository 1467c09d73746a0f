"""Many seeds in turn or side by side, with their pace; what fails is made smaller and named."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing, suppress
from functools import partial
from itertools import islice
from multiprocessing import get_context, parent_process

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator.research.brood import code_of, hearing_sigterm, word_of
from orchestrator.research.simulate.fates import kinds_of
from orchestrator.research.simulate.patience import patiently
from orchestrator.research.simulate.run import simulate
from orchestrator.research.simulate.shrink import shrink
from orchestrator.research.simulate.verdict import Verdict
from orchestrator.service.seams import mono_ns

FAILED = 1
_CHUNK = 8
_AHEAD = 3  # chunks that wait for a process, for each of them
_NAMED_MAX = 50  # seeds listed in the last line
_SHRUNK_MAX = 5  # failing seeds that are made smaller


class Tally:
    """What is known so far."""

    def __init__(self) -> None:
        self.failed: list[Verdict] = []
        self.seeds = 0
        self.orders = 0
        self.lives = 0
        self.stops = 0
        self._began = mono_ns()

    def add(self, verdict: Verdict) -> None:
        self.seeds += 1
        self.orders += verdict.orders
        self.lives += verdict.lives
        self.stops += verdict.stops
        if not verdict.good:
            self.failed.append(verdict)

    @property
    def pace(self) -> float:
        """Seeds a second."""
        return self.seeds / max((mono_ns() - self._began) / 1e9, 1e-9)

    def __str__(self) -> str:
        took_s = (mono_ns() - self._began) / 1e9
        return (
            f"{self.seeds} seeds in {took_s:.1f} s ({self.pace:.1f} seeds/s): "
            f"{self.orders} orders, {self.lives} lives, {self.stops} emergency stops; "
            f"{len(self.failed)} failed"
        )


def simulate_many(out: Console, seeds: range, jobs: int, swarm: str = "") -> int:
    """The exit code: 0, 1 when a seed failed, 130 or 143 when it was ended before the last one."""
    tally = Tally()
    ended: KeyboardInterrupt | None = None
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True, soft_wrap=True), disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with bar:
        task = bar.add_task("simulating", total=len(seeds))
        try:
            with hearing_sigterm(), closing(_verdicts(seeds, jobs, swarm)) as verdicts:
                for verdict in verdicts:
                    tally.add(verdict)
                    if not verdict.good and len(tally.failed) <= _NAMED_MAX:
                        bar.console.print(f"seed {verdict.seed} fails: {verdict.violations[0]}")
                    text = f"{tally.pace:.1f} seeds/s, {len(tally.failed)} failed"
                    bar.update(task, advance=1, description=text)
        except KeyboardInterrupt as end:
            ended = end
    out.print(str(tally) if ended is None else f"{word_of(ended)} after {tally}")
    if tally.failed:
        _report(out, tally.failed, shrinking=ended is None)
    if ended is not None:
        return code_of(ended)
    return FAILED if tally.failed else 0


# -- running -------------------------------------------------------------------------------------


def _one(seed: int, swarm: str) -> Verdict:
    kinds = kinds_of(seed, swarm)
    return patiently(partial(simulate, kinds=kinds), seed, kinds)


def _chunk(seeds: Sequence[int], swarm: str) -> list[Verdict]:
    return [_one(seed, swarm) for seed in seeds]


def _verdicts(seeds: range, jobs: int, swarm: str) -> Generator[Verdict]:
    """As they come; closing it ends the processes without waiting for what they are at."""
    if jobs == 1:
        yield from (_one(seed, swarm) for seed in seeds)
        return
    chunks = (seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK))
    # Spawned, not forked: a run starts from a fresh interpreter on every platform.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_be_a_worker)
    try:
        yield from _as_they_come(pool, partial(_chunk, swarm=swarm), chunks, jobs * _AHEAD)
    except BaseException:
        _end_processes(pool)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _as_they_come(
    pool: ProcessPoolExecutor,
    work: Callable[[range], list[Verdict]],
    chunks: Iterable[range],
    ahead: int,
) -> Generator[Verdict]:
    waiting: set[Future[list[Verdict]]] = set()
    rest = iter(chunks)
    while True:
        waiting.update(pool.submit(work, chunk) for chunk in islice(rest, ahead - len(waiting)))
        if not waiting:
            return
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for each in sorted(done, key=lambda future: future.result()[0].seed):
            yield from each.result()


def _be_a_worker() -> None:
    """The terminal sends Ctrl-C to everyone; who asked ends who works, and is not outlived."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()  # returns at its end, `kill -9` included
        os.kill(os.getpid(), signal.SIGKILL)


def _end_processes(pool: ProcessPoolExecutor) -> None:
    """Those of this pool only, by their ids; a run has nothing that is worth an orderly end."""
    processes: dict[int, object] = dict(getattr(pool, "_processes", None) or {})
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


# -- telling -------------------------------------------------------------------------------------


def _report(out: Console, failed: Sequence[Verdict], *, shrinking: bool) -> None:
    for verdict in failed[:_SHRUNK_MAX]:
        smallest = shrink(verdict) if shrinking else verdict
        out.print(f"seed {smallest.seed}, with {len(smallest.kinds)} kinds of faults left:")
        for violation in smallest.violations:
            out.print(f"  {violation}")
        out.print(f"  repeat: {smallest.repeat} --trace")
    out.print(f"failed seeds: {_named(verdict.seed for verdict in failed)}")


def _named(seeds: Iterable[int]) -> str:
    every = [str(seed) for seed in sorted(seeds)]
    more = f" and {len(every) - _NAMED_MAX} more" if len(every) > _NAMED_MAX else ""
    return ", ".join(every[:_NAMED_MAX]) + more
