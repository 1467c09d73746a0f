"""What the guard decides from what it sees, on a clock of ours."""

from __future__ import annotations

import pytest

from orchestrator.service.vigil import Seen, Verdict, Vigil

MS = 1_000_000
S = 1_000 * MS
BEGAN = 1_000 * S


class Scene:
    """A service that beats each 100 ms unless it is told not to; the guard looks as often."""

    def __init__(self, *, beats: bool = True) -> None:
        self.now = BEGAN
        self.vigil = Vigil(self.now)
        self.beats = beats
        self.beat = BEGAN if beats else 0
        self.held = False
        self.held_since = 0
        self.fit = 0
        self.flat = False
        self.liquidates = False

    def run(self, seconds: float) -> list[tuple[float, Verdict]]:
        """What was said, at which second of this run; what is said is done."""
        said: list[tuple[float, Verdict]] = []
        for tick in range(1, round(seconds * 10) + 1):
            self.now += 100 * MS
            if self.beats:
                self.beat = self.now
            verdict = self.vigil.look(
                Seen(
                    now_ns=self.now, beat_ns=self.beat, held=self.held,
                    held_since_ns=self.held_since, fit_ns=self.fit, flat=self.flat,
                    liquidates=self.liquidates,
                )
            )  # fmt: skip
            if verdict is Verdict.HOLD:
                self.held, self.held_since = True, self.now
            elif verdict is Verdict.RELEASE:
                self.held = False
            if verdict is not None and (not said or said[-1][1] is not verdict):
                said.append((tick / 10, verdict))
        return said


def test_a_loop_that_beats_is_left_alone():
    assert Scene().run(60) == []


def test_two_seconds_without_a_beat_close_the_gate():
    scene = Scene()
    scene.run(3)
    scene.beats = False
    assert scene.run(4) == [(2.0, Verdict.HOLD)]


def test_without_a_stop_a_blocked_service_is_held_and_never_killed():
    scene = Scene()
    scene.beats = False
    assert scene.run(300) == [(2.0, Verdict.HOLD)]


def test_a_stop_with_positions_waits_five_seconds_for_a_blocked_loop_and_no_longer():
    scene = Scene()
    scene.beats, scene.liquidates = False, True
    assert scene.run(8) == [(2.0, Verdict.HOLD), (5.0, Verdict.KILL)]


def test_a_stop_that_has_done_its_work_kills_nobody():
    scene = Scene()
    scene.beats, scene.liquidates, scene.flat = False, True, True
    assert scene.run(60) == [(2.0, Verdict.HOLD)]


def test_the_gate_opens_after_five_good_seconds_and_a_fresh_reconciliation():
    scene = Scene()
    scene.beats = False
    scene.run(3)
    scene.beats = True
    scene.run(1)
    scene.fit = scene.now
    said = scene.run(10)
    assert [verdict for _, verdict in said] == [Verdict.RELEASE]
    assert 3.8 < said[0][0] < 4.2, "five seconds from the first beat again"


def test_good_beats_alone_do_not_open_it():
    scene = Scene()
    scene.beats = False
    scene.run(3)
    scene.beats = True
    assert scene.run(60) == []


def test_a_reconciliation_from_before_the_last_silence_does_not_count():
    scene = Scene()
    scene.beats = False
    scene.run(3)
    scene.beats = True
    scene.run(1)
    scene.fit = scene.now
    scene.run(2)
    scene.beats = False
    scene.run(3)
    scene.beats = True
    assert scene.run(60) == []


def test_beats_that_come_too_seldom_are_not_good_ones():
    scene = Scene()
    scene.beats = False
    scene.run(3)
    for _ in range(20):
        scene.beats = True
        scene.run(0.1)
        scene.fit = scene.now
        scene.beats = False
        assert Verdict.RELEASE not in [verdict for _, verdict in scene.run(1.5)]


def test_a_guard_that_was_frozen_itself_closes_at_once_but_looks_anew_before_it_kills():
    scene = Scene()
    scene.liquidates = True
    scene.beats = False
    scene.now += 60 * S  # the whole machine was away
    assert scene.run(4) == [(0.1, Verdict.HOLD)]
    assert scene.run(4) == [(0.1, Verdict.HOLD), (1.1, Verdict.KILL)]


@pytest.mark.parametrize(("liquidates", "said"), [(False, []), (True, [(60.0, Verdict.KILL)])])
def test_a_life_that_does_not_begin_to_beat_has_a_minute_and_lets_no_order_out(liquidates, said):
    scene = Scene(beats=False)
    scene.liquidates = liquidates
    assert scene.run(70) == said


def test_a_beat_from_before_the_guard_gives_the_guard_its_own_five_seconds():
    scene = Scene(beats=False)
    scene.beat = BEGAN - 100 * S
    scene.liquidates = True
    assert scene.run(6) == [(0.1, Verdict.HOLD), (5.0, Verdict.KILL)]
