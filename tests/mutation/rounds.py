"""Runs the tests against each mutant: collected once, then a forked process for every one.

A mutant meets only the tests that reach its line and take no longer than `slow_s`: those first that
found others of its function, then the quickest. The first that fails ends it.
"""

from __future__ import annotations

import ast
import gc
import inspect
import mmap
import os
import resource
import signal
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import coverage
import pytest

from tests.mutation.mutants import Mutant, plant

_KERNEL = "*/orchestrator/kernel/*"
_MEMORY = 3 << 30
_WALL_S = 300
_CPU_S = 1.0  # more than a test took without a mutant, and twenty times as long: it hangs
_CPU_TIMES = 20.0
_UNUSED = {"event_loop_policy"}  # given to every test by pytest-asyncio; for coroutines only
_FOUND, _SURVIVED, _BROKEN = 1, 0, 70


class Verdict(NamedTuple):
    """`how`: found | hung | survived | no test; `by`: the test that found it."""

    mutant: Mutant
    how: str
    by: str


class Rounds:
    """A plugin of pytest that takes the place of its loop."""

    def __init__(
        self, mutants: Sequence[Mutant], jobs: int, slow_s: float,
        told: Callable[[Verdict], None],
    ) -> None:  # fmt: skip
        self._mutants = mutants
        self._jobs = jobs
        self._slow_s = slow_s
        self._told = told
        self._failed = False
        self._items: list[pytest.Item] = []
        self._took: list[float] = []
        self._reach: dict[str, dict[int, set[int]]] = {}
        self._finders: dict[str, list[int]] = {}
        self._killer = mmap.mmap(-1, 4 * jobs)
        self._running: dict[int, tuple[Mutant, int]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed |= report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._items = session.items
        if session.testsfailed or not self._items:
            raise pytest.UsageError("the tests cannot be collected")
        self._run_clean()
        gc.collect()
        gc.freeze()  # so that a forked process copies little
        try:
            for mutant in self._mutants:
                self._begin(mutant)
            while self._running:
                self._reap()
        finally:
            for pid in self._running:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        return True

    # -- without a mutant -------------------------------------------------------------------------

    def _run_clean(self) -> None:
        """Each test once: how long it takes, and which lines of the kernel it reaches."""
        cover = coverage.Coverage(data_file=None, include=[_KERNEL])
        cover.start()
        for index, item in enumerate(self._items):
            cover.switch_context(str(index))
            began = time.process_time()
            self._run(item)
            self._took.append(time.process_time() - began)
            if self._failed:
                raise pytest.UsageError(f"{item.nodeid} fails without any mutant")
        cover.stop()
        data = cover.get_data()
        for file in data.measured_files():
            by_line = data.contexts_by_lineno(file)
            self._reach[str(Path(file).relative_to(Path.cwd()))] = {
                line: {int(name) for name in names if name} for line, names in by_line.items()
            }

    def _run(self, item: pytest.Item) -> None:
        """A test that needs no fixture is called as it stands: most last some microseconds."""
        assert isinstance(item, pytest.Function)
        given: dict[str, object] = item.callspec.params if hasattr(item, "callspec") else {}
        needs = set(item.fixturenames) - set(given) - _UNUSED
        if needs or inspect.iscoroutinefunction(item.obj):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            return
        try:
            item.obj(**given)
        except BaseException:  # noqa: BLE001 -- pytest.fail, SystemExit: whatever it raises
            self._failed = True

    # -- with one ---------------------------------------------------------------------------------

    def _begin(self, mutant: Mutant) -> None:
        while len(self._running) >= self._jobs:
            self._reap()
        order = self._order(mutant)
        if not order:
            self._told(Verdict(mutant, "no test", ""))
            return
        slot = next(iter(set(range(self._jobs)) - {slot for _, slot in self._running.values()}))
        pid = os.fork()
        if pid == 0:
            self._child(mutant, order, slot)
        self._running[pid] = (mutant, slot)

    def _order(self, mutant: Mutant) -> list[int]:
        finders = self._finders.get(mutant.target, [])
        rank = {index: place - len(finders) for place, index in enumerate(finders)}
        reach = self._reach.get(mutant.path, {})
        tests: set[int] = set()
        for line in _statement(mutant.path, mutant.line):
            tests |= reach.get(line, set())
        if not tests:  # a default in the function's head, which ran at import
            tests.update(
                *(reach.get(line, ()) for line in range(mutant.lines[0], mutant.lines[1] + 1))
            )
        tests = {index for index in tests if self._took[index] <= self._slow_s}
        return sorted(tests, key=lambda index: (rank.get(index, 0), self._took[index]))

    def _child(self, mutant: Mutant, order: Sequence[int], slot: int) -> None:
        """Never returns: its exit code is the verdict."""
        code = _BROKEN
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_WALL_S)
            self._items[0].config.pluginmanager.unregister(name="terminalreporter")
            plant(mutant)
            code = self._try(order, slot)
        finally:
            os._exit(code)

    def _try(self, order: Sequence[int], slot: int) -> int:
        for index in order:
            struct.pack_into("i", self._killer, 4 * slot, index)
            signal.setitimer(signal.ITIMER_PROF, _CPU_S + _CPU_TIMES * self._took[index])
            self._run(self._items[index])
            if self._failed:
                return _FOUND
        return _SURVIVED

    def _reap(self) -> None:
        pid, status = os.wait()
        mutant, slot = self._running.pop(pid)
        (index,) = struct.unpack_from("i", self._killer, 4 * slot)
        code = os.waitstatus_to_exitcode(status)
        if code == _BROKEN:
            raise RuntimeError(f"{mutant.name} could not be put in:\n{mutant.source}")
        if code == _SURVIVED:
            self._told(Verdict(mutant, "survived", ""))
            return
        finders = self._finders.setdefault(mutant.target, [])
        if index in finders:
            finders.remove(index)
        finders.insert(0, index)
        how = "found" if code == _FOUND else "hung"
        self._told(Verdict(mutant, how, self._items[index].nodeid))


_statements: dict[str, dict[int, range]] = {}


def _statement(path: str, line: int) -> range:
    """The lines of the innermost statement around `line`; of one with a body, its head alone."""
    if path not in _statements:
        _statements[path] = dict(_spans(ast.parse(Path(path).read_text())))
    return _statements[path].get(line, range(line, line + 1))


def _spans(tree: ast.AST) -> Iterator[tuple[int, range]]:
    """Outer statements first, so that inner ones replace them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            body: list[ast.stmt] = getattr(node, "body", [])
            end = (node.end_lineno or node.lineno) + 1
            span = range(node.lineno, max(node.lineno + 1, body[0].lineno if body else end))
            for line in span:
                yield line, span
