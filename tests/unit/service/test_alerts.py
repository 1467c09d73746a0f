"""Alerts go out at once, once, and never get lost in silence."""

from __future__ import annotations

import pytest

from orchestrator.model.facts import AlertSent, Fact
from orchestrator.model.safety import Alert, Severity
from orchestrator.service.alerts import A_MINUTE, KEYS_MAX, Alerts


class Clock:
    speed = 1.0

    def __init__(self) -> None:
        self.at_ns = 10**18

    def now(self) -> int:
        return self.at_ns

    def mono_ns(self) -> int:
        return self.at_ns

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


class Sink:
    name = "spy"

    def __init__(self) -> None:
        self.heard: list[Alert] = []
        self.failure = ""
        self.bug: Exception | None = None

    def send(self, alert: Alert) -> str:
        if self.bug is not None:
            raise self.bug
        if not self.failure:
            self.heard.append(alert)
        return self.failure


class Desk:
    def __init__(self) -> None:
        self.clock = Clock()
        self.sink = Sink()
        self.noted: list[Fact] = []
        self.alerts = Alerts((self.sink,), self.clock, self.noted.append)

    def say(self, key: str = "k", severity: Severity = Severity.WARNING, text: str = "t") -> None:
        self.alerts.send(Alert(key=key, severity=severity, title="T", text=text, at_ns=1))

    def after(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.clock.at_ns += 10**9
            self.alerts.look()

    @property
    def texts(self) -> list[str]:
        return [alert.text for alert in self.sink.heard]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_first_goes_out_within_the_call(desk: Desk) -> None:
    desk.say()
    assert desk.texts == ["t"]
    assert desk.noted == [AlertSent(key="k", channel="spy", times=1, failure="")]


def test_repeats_are_counted_and_told_together_with_the_newest_text(desk: Desk) -> None:
    for number in range(6):
        desk.say(text=f"t{number}")
    assert desk.texts == ["t0"]
    desk.after(11)
    assert desk.texts == ["t0", "t5 (5 times since the last)"]
    assert [fact.times for fact in desk.noted] == [1, 5]


def test_what_goes_on_repeating_is_told_ever_more_rarely_but_always(desk: Desk) -> None:
    for _ in range(3_600):
        desk.say()
        desk.after(1)
    assert 10 < len(desk.texts) < 25
    assert sum(fact.times for fact in desk.noted) > 3_600 - 301
    desk.after(301)
    assert sum(fact.times for fact in desk.noted) == 3_600


def test_after_a_quiet_while_the_same_key_is_news_again(desk: Desk) -> None:
    desk.say(text="one")
    desk.after(11)
    desk.say(text="two")
    assert desk.texts == ["one", "two"]


def test_a_graver_one_of_the_same_key_does_not_wait(desk: Desk) -> None:
    desk.say()
    desk.say(severity=Severity.CRITICAL, text="worse")
    assert desk.texts == ["t", "worse"]


def test_other_keys_do_not_wait_for_each_other(desk: Desk) -> None:
    for key in "abc":
        desk.say(key=key)
    assert len(desk.texts) == 3


def test_a_flood_is_cut_and_says_how_many(desk: Desk) -> None:
    limit = A_MINUTE[Severity.WARNING]
    for number in range(limit + 25):
        desk.say(key=f"k{number}")
    assert len(desk.texts) == limit
    desk.after(60)
    assert desk.sink.heard[-1].title == "25 more alerts (warning)"
    assert sum(fact.times for fact in desk.noted) == limit + 25


def test_a_flood_of_warnings_keeps_no_critical_one_back(desk: Desk) -> None:
    for number in range(A_MINUTE[Severity.WARNING] * 2):
        desk.say(key=f"k{number}")
    desk.say(key="stop", severity=Severity.CRITICAL, text="stopped")
    assert desk.texts[-1] == "stopped"


def test_memory_stays_bounded_and_what_was_held_is_told(desk: Desk) -> None:
    desk.say(key="first")
    desk.say(key="first", text="again")
    for number in range(3 * KEYS_MAX):
        desk.say(key=f"k{number}")
    assert len(desk.alerts._held) <= KEYS_MAX
    desk.after(61)
    assert sum(fact.times for fact in desk.noted) == 2 + 3 * KEYS_MAX


def test_a_channel_that_fails_is_written_down(desk: Desk) -> None:
    desk.sink.failure = "the host does not answer"
    desk.say()
    assert desk.noted == [
        AlertSent(key="k", channel="spy", times=1, failure="the host does not answer")
    ]
    assert desk.alerts.failed == 1


def test_a_channel_with_a_bug_stops_neither_the_others_nor_the_caller(desk: Desk) -> None:
    broken, good = Sink(), Sink()
    broken.bug = RuntimeError("bug")
    alerts = Alerts((broken, good), desk.clock, desk.noted.append)
    alerts.send(Alert(key="k", severity=Severity.INFO, title="T", text="t", at_ns=1))
    assert len(good.heard) == 1
    assert [fact.failure for fact in desk.noted] == ["RuntimeError: bug", ""]


def test_the_end_of_a_life_tells_what_was_held_back(desk: Desk) -> None:
    desk.say()
    desk.say()
    desk.noted.clear()
    desk.alerts.flush()
    assert desk.texts == ["t", "t (1 times since the last)"]
    assert desk.noted == []  # a life's last record is its end
