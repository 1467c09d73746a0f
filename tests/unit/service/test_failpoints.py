"""Failpoints: silent until armed, armed on paper only, struck at the pass that was named."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator

import pytest

from orchestrator.model import failpoints
from orchestrator.service.failpoints import BadFailpoint, arm, read_strikes
from orchestrator.service.gate import Gate, Latch
from orchestrator.service.seams import children_of
from tests.integration.processes import alive, eventually

LATCH = Latch(stop_id="stop-1", actor="anna", reason="test", liquidate=True, closed_ns=5)


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.listen(None)


def test_who_listens_hears_each_write_from_both_sides_in_order(tmp_path):
    heard: list[str] = []
    failpoints.listen(heard.append)
    Gate(tmp_path).latch(LATCH)
    assert heard == [
        "latch.write.before", "latch.write.after", "latch.rename.before", "latch.rename.after",
    ]  # fmt: skip
    assert set(heard) <= set(failpoints.names())


def test_an_error_strikes_the_pass_that_was_named_and_no_other(tmp_path):
    arm("latch.write.before:2=error", "paper")
    gate = Gate(tmp_path)
    gate.latch(LATCH)
    with pytest.raises(OSError, match="No space left"):
        gate.latch(LATCH)
    gate.latch(LATCH)


def test_a_plus_strikes_from_that_pass_on():
    arm("journal.append.before:2+=error", "paper")
    failpoints.before("journal.append")
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError):
            failpoints.before("journal.append")


def test_a_kill_leaves_what_was_durable_and_nothing_of_what_came_after(tmp_path):
    """The latch has its content but not its name: the folder reads as it did before."""
    code = (
        "import sys; from pathlib import Path; from orchestrator.service.failpoints import arm; "
        "from orchestrator.service.gate import Gate, Latch; "
        "arm('latch.rename.before=kill', 'paper'); "
        "Gate(Path(sys.argv[1])).latch(Latch(stop_id='s', actor='a', reason='r', liquidate=True,"
        " closed_ns=1))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert (tmp_path / "stop.tmp").exists()
    assert Gate(tmp_path).read_latch() is None


@pytest.mark.parametrize("environment", ["practice", "live"])
def test_nothing_is_armed_but_on_the_paper_venue(environment):
    with pytest.raises(BadFailpoint, match="paper only"):
        arm("send.order.before=kill", environment)
    failpoints.before("send.order")


@pytest.mark.parametrize(
    "words",
    ["send.order=kill", "send.nothing.before=kill", "send.order.before=explode",
     "send.order.before:0=kill", "send.order.before=error", "latch.write.before=delay", "x"],
)  # fmt: skip
def test_words_that_name_nothing_refuse_to_start(words):
    with pytest.raises(BadFailpoint, match="ORCHESTRATOR_FAILPOINT"):
        read_strikes(words)


def test_several_strikes_are_read_from_one_line():
    first, second = read_strikes("journal.append.after:3=kill, send.read.before=delay:0.5")
    assert (first.name, first.nth, first.what) == ("journal.append.after", 3, "kill")
    assert (second.nth, second.what, second.delay_s) == (1, "delay", 0.5)


def test_unarmed_failpoints_are_silent_even_for_places_that_do_not_exist():
    failpoints.before("no.place")
    failpoints.after("no.place")


def test_a_server_dies_by_the_id_in_its_file_and_its_children_with_it(tmp_path):
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    server = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE)
    try:
        while not (family := children_of(server.pid)):
            assert server.poll() is None
        pid_file = tmp_path / "server.pid"
        pid_file.write_text(f"{server.pid}\n/somewhere\n5432\n")
        arm(f"journal.answer.before:2=kill:{pid_file}", "paper")
        failpoints.before("journal.answer")
        assert server.poll() is None
        failpoints.before("journal.answer")
        assert server.wait(60) == -9
        eventually("its children end", lambda: not any(map(alive, family)), 60)
    finally:
        server.kill()
        server.communicate()


def test_what_is_on_the_wire_cannot_fail_as_a_write_does():
    with pytest.raises(BadFailpoint, match="kill and delay only"):
        read_strikes("journal.answer.before=error")
