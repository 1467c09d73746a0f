"""Price files, whatever stands in them: read exactly, or refused by name and line at the start."""

import gzip
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.errors import FeedError
from orchestrator.paper.feeds.replay import ReplayFeed

NAME = "EUR_USD_20140502.csv"
GOOD = [f"{i * 7},1.{10000 + i},1.{10010 + i}" for i in range(40)]
HOUR = "20140501 {hour:02d}:00,1.1,1.2,1.0,1.1,0,1.3,1.4,1.2,1.3,0"
BAD = [
    "x", "5", "5,1.1", "5,1.1,1.2,1.3", ",,", "a,b,c", "NaN,1.1,1.2", "5,NaN,1.2", "5,1.1,NaN",
    "5,inf,inf", "5,-1.1,1.2", "5,1.3,1.2", "5,0,1.2", "-5,1.1,1.2", "86400000,1.1,1.2",
    "5.5,1.1,1.2", "5,1.1,1e400", "5;1.1;1.2", "\x00", "5,1_1.1,1.2", "0x5,1.1,1.2",
]  # fmt: skip
UNIQUE = [*BAD, "0,1.1,1.2"]  # the last is right by itself, but earlier than the line before


def everything(feed):
    ticks = []
    while (due := feed.next_ns()) is not None:
        ticks += feed.due(due)
    return ticks


def opened(*paths):
    """The feed, or what was said instead of it."""
    try:
        return ReplayFeed(paths), ""
    except FeedError as error:
        return None, str(error)


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@given(place=st.integers(2, len(GOOD)), bad=st.sampled_from(UNIQUE), zipped=st.booleans())
def test_a_bad_line_is_found_at_the_start_by_file_and_number(folder, place, bad, zipped):
    lines = [*GOOD[:place], bad, *GOOD[place:]]
    text = ("\n".join(lines) + "\n").encode()
    path = folder / (NAME + ".gz" * zipped)
    path.write_bytes(gzip.compress(text, 1) if zipped else text)
    with pytest.raises(FeedError) as caught:
        ReplayFeed([path])
    assert f"{path}: line {place + 1}: " in str(caught.value) or (bad == "0,1.1,1.2" and place == 1)


@given(cut=st.integers(0, 400), garbage=st.binary(max_size=8))
def test_an_archive_cut_or_spoilt_anywhere_is_refused_or_read_whole(folder, cut, garbage):
    whole = gzip.compress("\n".join(GOOD).encode(), 1)
    path = folder / f"{NAME}.gz"
    path.write_bytes(whole[: max(0, len(whole) - cut)] + garbage)
    feed, said = opened(path)
    if feed is None:
        assert str(path) in said
    else:
        assert (len(everything(feed)), cut) == (len(GOOD), 0)


@given(text=st.binary(max_size=200) | st.lists(
    st.sampled_from([*GOOD, *BAD, "", "\r", "7,1.1,1.2\r"]), max_size=6,
).map(lambda lines: "\n".join(lines).encode()))  # fmt: skip
def test_any_bytes_are_refused_by_name_or_give_sound_prices_in_order(folder, text):
    path = folder / NAME
    path.write_bytes(text)
    feed, said = opened(path)
    if feed is None:
        assert str(path) in said
        return
    ticks = everything(feed)  # looked over: nothing is found later
    assert all(0 < tick.bid <= tick.ask for tick in ticks)
    assert all(a.venue_ns <= b.venue_ns for a, b in pairwise(ticks))


@given(place=st.integers(0, 9), part=st.integers(0, 10), bad=st.sampled_from(
    ["", "x", "NaN", "-1", "0", "inf", "1e3", "9999999999", "\x00", "20140501 99:00"]))  # fmt: skip
def test_a_bad_hour_is_refused_by_file_and_number(folder, place, part, bad):
    if part in {5, 10}:
        return  # sizes are not read
    hours = [HOUR.format(hour=hour) for hour in range(10)]
    parts = hours[place].split(",")
    hours[place] = ",".join([*parts[:part], bad, *parts[part + 1 :]])
    (folder / NAME).write_text("1,1.1,1.2\n")
    path = folder / "EUR_USD_2007_2014.csv"
    path.write_text("\n".join(hours))
    with pytest.raises(FeedError) as caught:
        list(ReplayFeed([folder / NAME, path]).history())
    assert f"{path}: line {place + 1}: " in str(caught.value)
