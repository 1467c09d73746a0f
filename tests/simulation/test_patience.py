"""A run that never ends is ended and has failed; Ctrl-C tells what is known."""

import asyncio
import signal

import pytest

from orchestrator.research.simulate import many, patience
from orchestrator.research.simulate.__main__ import main
from orchestrator.research.simulate.patience import patiently


def _verdict(run):
    return patiently(run, 7, ("crash",), patience_s=0.05)


def test_a_run_without_an_end_is_a_failed_seed():
    def run(_):
        while True:
            pass

    verdict = _verdict(run)
    assert not verdict.good
    assert (verdict.seed, verdict.kinds) == (7, ("crash",))
    assert "stuck" in verdict.violations[0]
    assert "test_patience.py" in verdict.violations[0]


def test_whoever_swallows_the_first_alarm_hears_the_next(monkeypatch):
    monkeypatch.setattr(patience, "_AGAIN_S", 0.05)
    swallowed = []

    def run(_):
        while True:
            try:
                while True:
                    pass
            except BaseException as exc:
                if swallowed:
                    raise
                swallowed.append(exc)

    assert "stuck" in _verdict(run).violations[0]
    assert swallowed


def test_an_event_loop_does_not_keep_the_alarm_for_itself():
    async def spin():
        while True:
            pass

    assert "stuck" in _verdict(lambda _: asyncio.run(spin())).violations[0]


def test_a_run_that_raises_is_a_failed_seed():
    def run(_):
        raise RuntimeError("no more of this")

    assert "no more of this" in _verdict(run).violations[0]


def test_an_alarm_set_before_still_rings():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    outer = signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        _verdict(lambda _: 1 / 0)
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < left <= 0.2
        signal.pause()
    finally:
        signal.setitimer(signal.ITIMER_REAL, *outer)
        signal.signal(signal.SIGALRM, before)
    assert rung


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_tells_what_is_known_so_far(jobs, monkeypatch, capsys):
    whole = many.Tally.add

    def add(self, verdict):
        whole(self, verdict)
        if self.seeds == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(many.Tally, "add", add)
    assert main(["--seeds", "100000", "--jobs", jobs]) == 130
    said = capsys.readouterr().out
    assert said.startswith("interrupted after 3 seeds in ")
    assert "seeds/s" in said
