"""How numbers, times and events are written; columns that fit."""

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model import facts
from orchestrator.service.cli import texts
from orchestrator.service.cli.answers import Event
from orchestrator.service.cli.screen import Column, Screen
from orchestrator.service.cli.sentences import sentence

D = Decimal


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (texts.money(D("1234567.891"), "USD"), "1,234,567.89 USD"),
        (texts.money(D("-0.5"), "EUR"), "-0.50 EUR"),
        (texts.money(D(5), signed=True), "+5.00"),
        (texts.money(D(0), signed=True), "0.00"),
        (texts.money(None, "USD"), "-"),
        (texts.money(D("NaN")), "NaN"),
        (texts.units(D("-12000")), "-12,000"),
        (texts.units(D("0.50")), "+0.50"),
        (texts.units(D("1E+3")), "+1,000"),
        (texts.units(D("NaN")), "+NaN"),
        (texts.percent(D("0.0123")), "1.23 %"),
        (texts.moment("2026-01-31T12:00:00.123456Z"), "2026-01-31 12:00:00"),
        (texts.moment(None), "-"),
        (texts.clock("2026-01-31T12:00:00.123456Z"), "12:00:00.123"),
        (texts.after("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000812Z"), "+0.812 ms"),
        (texts.after("2026-01-31T12:00:00Z", "2026-01-31T15:05:00Z"), "+3 h 05 min"),
        (texts.after("2026-01-31T12:00:01Z", "2026-01-31T12:00:00Z"), "-1.000 s"),
        (texts.after("nonsense", "2026-01-31T12:00:00"), "-"),
        (texts.span(59), "59 s"),
        (texts.span(3 * 86400 + 7200), "3 d 02 h"),
        (texts.latency(812), "812 us"),
        (texts.latency(1500), "1.5 ms"),
        (texts.count(1, "trade"), "1 trade"),
        (texts.count(0, "order"), "0 orders"),
    ],
)
def test_values_read_well(told, wanted):
    assert told == wanted


@given(
    rows=st.lists(st.tuples(*[st.text(max_size=60)] * 4), min_size=1, max_size=4),
    width=st.integers(40, 200),
)
def test_a_table_that_can_shrink_never_exceeds_the_terminal(rows, width):
    said = []
    screen = Screen(width=width, colour=False)
    columns = (
        Column("a", drop=1), Column("b", right=True, drop=3), Column("c", drop=2),
        Column("d", fold=True),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", said.append)
        screen.table(columns, rows, "empty")
    assert max(map(len, said)) <= width
    assert all(line.isprintable() for line in said)


def test_the_least_needed_column_goes_first(capsys):
    columns = (Column("a"), Column("b", drop=2), Column("c", drop=1))
    Screen(width=40, colour=False).table(columns, [("x" * 15, "y" * 15, "z" * 15)], "")
    told = capsys.readouterr().out
    assert "z" in told
    assert "not shown at this width: b" in told


ALL_FACTS = sorted(
    kind.__struct_config__.tag for kind in facts.Fact.__args__ if kind.__struct_config__.tag
)


@pytest.mark.parametrize("kind", ALL_FACTS)
def test_every_fact_is_told_even_with_nothing_in_it(kind):
    for data in ({}, {"signal": None, "intent": 7, "objections": "x"}):
        event = {"seq": 1, "ts": None, "type": kind, "subject": "who", "data": data}
        told = sentence(msgspec.json.decode(json.dumps(event), type=Event))
        assert "who" in told
        assert "{" not in told


def test_facts_of_a_path_are_sentences():
    def told(kind, **data):
        return sentence(Event(seq=1, type=kind, subject="system", data=data))

    assert told("signal.accepted", signal={
        "signal_id": "s", "strategy": "trend", "side": "buy", "instrument": "EUR_USD",
        "reference_price": "1.1",
    }) == "s: trend wishes to buy EUR_USD at 1.1"  # fmt: skip
    assert told("checks.decided", passed=False, objections=["C05 old", "C10 risk"]) == (
        "refused: C05 old; C10 risk"
    )
    assert told("stage.decided", stage="learning_safety", passed=True, latency_us=9, reason="") == (
        "learning_safety passed, 9 us"
    )
    assert told("never.heard", n=1, text="x", deep={}) == "n 1, text x"
