"""Windows and spans of a profile: over midnight, over daylight saving, to the second."""

from orchestrator.model.profiles import PLAIN, Profile, Span, Window, utc
from orchestrator.model.time import NS_PER_S, parse_time

NIGHT = Window(days=(6, 0, 1, 2, 3), from_s=22 * 3600, to_s=6 * 3600, zone="UTC")


def at(text):
    return parse_time(text)


def test_utc_tells_weekday_and_second():
    assert utc(at("2026-11-18T14:00:01Z")) == (2, 14 * 3600 + 1)


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins():
    assert NIGHT.holds(at("2026-11-15T22:00:00Z"))  # Sunday evening
    assert not NIGHT.holds(at("2026-11-15T21:59:59.999999999Z"))
    assert NIGHT.holds(at("2026-11-20T05:59:59Z"))  # Friday early: Thursday's night
    assert not NIGHT.holds(at("2026-11-20T06:00:00Z"))
    assert not NIGHT.holds(at("2026-11-20T22:00:00Z"))  # Friday's own night is none
    assert not NIGHT.holds(at("2026-11-15T05:00:00Z"))  # nor is Saturday's


def test_a_window_by_new_yorks_clock_follows_daylight_saving():
    hours = Window(days=(4,), from_s=8 * 3600, to_s=9 * 3600, zone="New York")
    assert hours.holds(at("2026-11-20T13:30:00Z"))  # winter: UTC-5
    assert hours.holds(at("2026-07-17T12:30:00Z"))  # summer: UTC-4
    assert not hours.holds(at("2026-07-17T13:30:00Z"))


def test_a_span_holds_for_its_currencies_only_and_ends_to_the_nanosecond():
    start = at("2026-12-04T13:15:00Z")
    news = Span(from_ns=start, to_ns=start + NS_PER_S, text="jobs", currencies=("USD",))
    assert news.holds(start, "EUR_USD")
    assert not news.holds(start, "EUR_GBP")
    assert not news.holds(start, None)
    assert not news.holds(start + NS_PER_S, "EUR_USD")
    assert Span(from_ns=start, to_ns=start + 1, text="holiday").holds(start, None)


def test_a_profile_says_why_there_is_no_new_risk():
    start = at("2026-12-04T13:15:00Z")
    news = Span(from_ns=start, to_ns=start + NS_PER_S, text="jobs", currencies=("USD",))
    profile = Profile(name="firm", hours=(NIGHT,), news=(news,))
    assert profile.off(start) == "outside the hours of profile firm"
    assert profile.off(at("2026-11-15T23:00:00Z")) is None
    assert profile.newsworthy(start, "EUR_USD") == "jobs"
    assert profile.newsworthy(start, "EUR_GBP") is None
    assert PLAIN.off(start) is None
