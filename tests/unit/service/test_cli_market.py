"""`orchestrator data`: what is stored, and files of it that a replay plays."""

import gzip
import json
from decimal import Decimal

import pytest

from orchestrator.paper.feeds.replay import ReplayFeed
from orchestrator.service.api.shapes import CandleItem, SpanItem
from tests.unit.service.cli_desk import FakeBackend, command, listed, sample, service, widest


def tick(at: str, bid: str, ask: str = "1.20000") -> dict:
    return {"instrument": "EUR_USD", "bid": bid, "ask": ask, "venue_at": at, "tradeable": True}


@pytest.fixture
def desk():
    with service() as (script, url):
        script.say("/market-data", listed(sample(SpanItem)))
        script.say("/candles", listed(sample(CandleItem)))
        first = listed(
            tick("2014-05-08T00:00:00.000000Z", "1.10000"),
            tick("2014-05-08T10:00:00.123456Z", "1.10001"),
            cursor="17",
        )
        last = listed(
            tick("2014-05-08T10:00:00.123999Z", "1.30000"),  # crossed
            tick("2014-05-08T23:59:59.999999Z", "1.10002"),
        )
        script.say("/ticks", first, last)
        yield script, FakeBackend(url)


def test_what_is_stored_fits_80_columns(desk):
    done = command(desk[1], "data", "info")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "EUR_USD" in done.stdout
    assert "512,000" in done.stdout
    assert widest(done.stdout) <= 80
    assert json.loads(command(desk[1], "data", "info", "--json").stdout)["items"]


def test_an_exported_day_can_be_replayed(desk, tmp_path):
    script, backend = desk
    done = command(
        backend, "data", "export", "EUR_USD", "--day", "2014-05-08", "--to", str(tmp_path)
    )
    assert (done.exit_code, done.stderr) == (0, "")
    asked = [one.query for one in script.asked if one.path == "/ticks"]
    assert [one.get("cursor") for one in asked] == [None, "17"]
    assert asked[0]["since"] == "2014-05-08T00:00:00.000000000Z"
    assert asked[0]["until"] == "2014-05-09T00:00:00.000000000Z"
    file = tmp_path / "EUR_USD_20140508.csv.gz"
    with gzip.open(file, "rt") as lines:
        assert lines.read().splitlines() == [
            "0,1.10000,1.20000", "36000123,1.10001,1.20000", "86399999,1.10002,1.20000",
        ]  # fmt: skip
    feed = ReplayFeed([file])
    played = feed.due(2**62)
    assert [one.bid for one in played] == [
        Decimal("1.10000"),
        Decimal("1.10001"),
        Decimal("1.10002"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_candles_are_exported_with_their_names(desk, tmp_path):
    script, backend = desk
    words = ["data", "export", "EUR_USD", "--day", "2014-05-08", "--days", "2", "--candles", "H1"]
    done = command(backend, *words, "--to", str(tmp_path), "--json")
    (told,) = json.loads(done.stdout)["items"]
    assert (told["rows"], told["file"]) == (
        1, str(tmp_path / "EUR_USD_H1_20140508_20140509.csv.gz"),
    )  # fmt: skip
    with gzip.open(told["file"], "rt") as lines:
        names, row = lines.read().splitlines()
    assert names.startswith("start_at,volume,complete,bid_o")
    assert ",87,True,1.38402," in row
    assert script.last("/candles").query["granularity"] == "H1"


def test_a_file_that_is_there_is_not_touched(desk, tmp_path):
    file = tmp_path / "EUR_USD_20140508.csv.gz"
    file.write_text("mine")
    done = command(
        desk[1], "data", "export", "EUR_USD", "--day", "2014-05-08", "--to", str(tmp_path)
    )
    assert done.exit_code == 1
    assert "there already" in done.stderr
    assert file.read_text() == "mine"


def test_an_export_that_breaks_off_leaves_no_file(desk, tmp_path):
    script, backend = desk
    script.problem("/ticks", 503, "History cannot be read", "The store cannot be read now.")
    done = command(
        backend, "data", "export", "EUR_USD", "--day", "2014-05-08", "--to", str(tmp_path)
    )
    assert done.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_busy_service_is_given_time(desk, tmp_path):
    script, backend = desk
    answers = script.answers["GET", "/ticks"]
    busy = (429, b'{"title": "Too many requests", "detail": "wait"}')
    script.answers["GET", "/ticks"] = [answers[0], busy, answers[1]]
    done = command(
        backend, "data", "export", "EUR_USD", "--day", "2014-05-08", "--to", str(tmp_path)
    )
    assert done.exit_code == 0
    assert len([one for one in script.asked if one.path == "/ticks"]) == 3


@pytest.mark.parametrize(
    "words",
    [
        ["eur/usd", "--day", "2014-05-08"], ["EUR_USD", "--day", "yesterday"],
        ["EUR_USD", "--day", "2014-13-41"], ["EUR_USD"],
        ["EUR_USD", "--day", "2014-05-08", "--days", "0"],
        ["EUR_USD", "--day", "2014-05-08", "--candles", "../../M1"],
        ["EUR_USD", "--day", "2014-05-08", "--to", "/no/such/folder"],
    ],
)  # fmt: skip
def test_a_question_without_sense_is_wrong_usage(desk, words):
    done = command(desk[1], "data", "export", *words)
    assert done.exit_code == 2
