"""What strangers may say: signals at the door, and the stages' answers to their questions."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from orchestrator.kernel.signals.answers import judge
from orchestrator.kernel.signals.intake import defect_of, well_named
from orchestrator.kernel.signals.path import Ask, Paths, Progress, proposal_of
from orchestrator.model.limits import CheckLimits
from orchestrator.model.money import InstrumentSpec, Side
from orchestrator.model.signals import (
    AccountView,
    Allocation,
    AskAllocation,
    AskScore,
    AskSizing,
    AskVerdict,
    Feature,
    Outcome,
    Role,
    Score,
    Share,
    Signal,
    Sizing,
    Verdict,
)
from orchestrator.model.time import NS_PER_S

D = Decimal
NOW = 1_000 * NS_PER_S


def signal_of(**changes):
    signal = Signal(
        signal_id="s1", strategy="trend", instrument="EUR_USD", side=Side.BUY,
        reference_price=D("1.1"), stop_distance=D("0.002"), target_distance=D("0.004"),
        confidence=D("0.6"), created_ns=NOW, ttl_ms=10_000,
    )  # fmt: skip
    return msgspec.structs.replace(signal, **changes)


def defect(now=NOW, **changes):
    return defect_of(signal_of(**changes), now, CheckLimits(), {"EUR_USD"}, {"a", "b"})


@pytest.mark.parametrize("name", ["s1", "A-b_c.d:9", "x" * 64])
def test_good_ids(name):
    assert well_named(name)


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a\n", "ü", "a/b", None, 7])
def test_bad_ids(name):
    assert not well_named(name)


def test_a_good_signal_has_no_defect():
    assert defect() is None
    assert defect(target_distance=None, accounts=("a",), confidence=D(1)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"reference_price": D("NaN")}, {"reference_price": D("-1.1")}, {"reference_price": D(0)},
        {"stop_distance": D(0)}, {"stop_distance": D("NaN")}, {"stop_distance": D("Infinity")},
        {"stop_distance": D("-0.1")}, {"stop_distance": D("1.1")}, {"target_distance": D(0)},
        {"target_distance": D("sNaN")}, {"confidence": D(0)}, {"confidence": D("1.01")},
        {"confidence": D("NaN")}, {"instrument": "XXX_YYY"}, {"side": "up"}, {"ttl_ms": 0},
        {"ttl_ms": -5}, {"ttl_ms": 30_001}, {"accounts": ("zzz",)}, {"strategy": ""},
        {"strategy": "x" * 129}, {"note": "x" * 1_001},
        {"features": (Feature(name="f", value=D("NaN")),)},
        {"created_ns": NOW + NS_PER_S + 1_000_000},
    ],
)  # fmt: skip
def test_every_defect_is_rejected(changes):
    assert defect(**changes).outcome is Outcome.REJECTED


def test_time_to_live_and_future_at_their_edges():
    assert defect(ttl_ms=30_000) is None
    assert defect(ttl_ms=1) is None
    assert defect(created_ns=NOW + 2 * NS_PER_S).reason == "2000 ms from the future"
    assert defect(created_ns=NOW + NS_PER_S) is None
    assert defect(now=NOW + 10 * NS_PER_S) is None
    assert defect(now=NOW + 10 * NS_PER_S + 1).outcome is Outcome.EXPIRED


# -- answers ---------------------------------------------------------------------------


def view_of(name):
    return AccountView(
        account_id=name, currency="USD", balance=D(1), nav=D(1), margin_used=D(0),
        margin_available=D(1), risk_per_trade=D("0.02"), open_risk=D(0), headroom_units=D(1_000),
    )  # fmt: skip


SPEC = InstrumentSpec(name="EUR_USD")
ALLOCATION = AskAllocation(signal=signal_of(), accounts=(view_of("a"), view_of("b")), seed=1)
SCORE = AskScore(
    signal=signal_of(), account=view_of("a"), spec=SPEC, bid=D("1.1"), ask=D("1.1001"),
    weight=D(1), confidence=D("0.5"),
)  # fmt: skip


def allocation(*shares, confidence="0.5", signal_id="s1"):
    made = tuple(Share(account_id=a, weight=D(w), reason="r") for a, w in shares)
    return Allocation(signal_id=signal_id, confidence=D(confidence), shares=made)


def score(**changes):
    made = Score(
        signal_id="s1", account_id="a", approved=True, score=D("0.5"), expected_r=D("0.1"),
        win_rate=D("0.5"), samples=3, reasons=("ok",),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


SIZING = AskSizing(
    signal=signal_of(), account=view_of("a"), spec=SPEC, bid=D("1.1"), ask=D("1.1001"),
    weight=D(1), confidence=D("0.5"), score=score(),
)  # fmt: skip


def sizing(**changes):
    made = Sizing(
        signal_id="s1", account_id="a", units=D(1_000), stop_price=D("1.098"),
        target_price=D("1.104"), risk=D(2), reasons=("ok",),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


VERDICT = AskVerdict(
    signal=signal_of(), account=view_of("a"), bid=D("1.1"), ask=D("1.1001"), sizing=sizing()
)


def verdict(**changes):
    made = Verdict(signal_id="s1", account_id="a", approved=True, scale=D(1), reasons=("ok",))
    return msgspec.structs.replace(made, **changes)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (ALLOCATION, allocation(("a", "1"), ("b", "0"))),
        (ALLOCATION, allocation(("b", "0.3"), ("a", "1"), confidence="0.6")),
        (SCORE, score()),
        (SIZING, sizing()),
        (SIZING, sizing(target_price=None, units=D(1))),
        (VERDICT, verdict(scale=D("0.1"))),
    ],
)
def test_a_proper_answer_passes(question, answer):
    found = judge(question, answer, "")
    assert (found.sound, found.passed) == (True, True)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (ALLOCATION, allocation(("a", "1"))),  # one is missing
        (ALLOCATION, allocation(("a", "1"), ("b", "1"), ("c", "1"))),  # a foreign one
        (ALLOCATION, allocation(("a", "1"), ("a", "1"))),  # twice
        (ALLOCATION, allocation(("a", "1.01"), ("b", "0"))),
        (ALLOCATION, allocation(("a", "-0.1"), ("b", "0"))),
        (ALLOCATION, allocation(("a", "NaN"), ("b", "0"))),
        (ALLOCATION, allocation(("a", "sNaN"), ("b", "0"))),
        (ALLOCATION, allocation(("a", "1"), ("b", "0"), confidence="0.61")),
        (ALLOCATION, allocation(("a", "1"), ("b", "0"), confidence="0")),
        (ALLOCATION, allocation(("a", "1"), ("b", "0"), confidence="NaN")),
        (ALLOCATION, allocation(("a", "1"), ("b", "0"), signal_id="s2")),
        (SCORE, score(signal_id="s2")),
        (SCORE, score(account_id="b")),
        (SCORE, score(score=D("NaN"))),
        (SCORE, score(score=D(2))),
        (SCORE, score(win_rate=D("-0.1"))),
        (SCORE, score(expected_r=D("Infinity"))),
        (SCORE, score(samples=-1)),
        (SIZING, sizing(units=D("NaN"))),
        (SIZING, sizing(units=D(-1_000))),
        (SIZING, sizing(units=D("10.5"))),
        (SIZING, sizing(risk=D("NaN"))),
        (SIZING, sizing(risk=D(-1))),
        (SIZING, sizing(stop_price=D("1.1001"))),
        (SIZING, sizing(stop_price=D("1.0980001"))),
        (SIZING, sizing(stop_price=D("NaN"))),
        (SIZING, sizing(stop_price=D(0))),
        (SIZING, sizing(target_price=D("1.1001"))),
        (SIZING, sizing(target_price=D("1.1000"))),
        (SIZING, sizing(target_price=D("NaN"))),
        (SIZING, sizing(account_id="b")),
        (VERDICT, verdict(scale=D(0))),
        (VERDICT, verdict(scale=D("1.1"))),
        (VERDICT, verdict(scale=D("NaN"))),
        (VERDICT, verdict(account_id="b")),
        (VERDICT, score()),
        (SCORE, verdict()),
        (ALLOCATION, sizing()),
        (SCORE, None),
        (SCORE, score(score="high")),
    ],
)
def test_nonsense_is_not_sound(question, answer):
    found = judge(question, answer, "")
    assert (found.sound, found.passed) == (False, False)
    assert found.reason


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (SCORE, score(approved=False)),
        (SIZING, sizing(units=D(0))),
        (VERDICT, verdict(approved=False)),
    ],
)
def test_a_sound_refusal_keeps_its_reasons(question, answer):
    found = judge(question, answer, "")
    assert (found.sound, found.passed, found.reason) == (True, False, "ok")


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        (SCORE, score(signal_id="s2"), "scores another signal or account"),
        (SCORE, score(score=D(2)), "score 2 is not within [0, 1]"),
        (SCORE, score(win_rate=D(2)), "win rate 2 is not within [0, 1]"),
        (SCORE, score(reasons=()), "score 0.5"),
        (SCORE, score(reasons=("dear", "late")), "dear; late"),
        (SIZING, sizing(signal_id="s2"), "sizes another signal or account"),
        (SIZING, sizing(units=D(0), reasons=()), "nothing fits"),
        (SIZING, sizing(reasons=()), "1000 units"),
        (SIZING, sizing(target_price=D("NaN")), "target NaN is not a price of EUR_USD"),
        (SIZING, sizing(target_price=D("1.1050001")), "target 1.1050001 is not a price of EUR_USD"),
        (VERDICT, verdict(signal_id="s2"), "judges another signal or account"),
        (VERDICT, verdict(reasons=()), "scale 1"),
    ],
)
def test_an_answer_is_told_in_words(question, answer, reason):
    assert judge(question, answer, "").reason == reason


def test_prices_below_one_and_a_risk_of_nothing_are_figures():
    cheap = msgspec.structs.replace(SIZING, bid=D("0.65"), ask=D("0.6501"))
    low = sizing(stop_price=D("0.64"), target_price=D("0.66"), risk=D(0))
    assert judge(cheap, low, "").passed


def test_reasons_are_kept_up_to_their_bound_and_cut_beyond():
    whole, longer = "x" * 500, "y" * 501
    assert judge(SCORE, score(reasons=(whole,)), "").reason == whole
    assert judge(SCORE, score(reasons=(longer,)), "").reason == f"{'y' * 497}..."


def test_an_error_is_told_and_cut():
    found = judge(SCORE, score(), "x" * 2_000)
    assert not found.sound
    assert found.reason.startswith("failed: xxx")
    assert len(found.reason) < 600


def test_a_sell_is_judged_from_the_bid():
    sell = msgspec.structs.replace(SIZING, signal=signal_of(side=Side.SELL))
    good = sizing(units=D(-5), stop_price=D("1.1001"), target_price=D("1.0999"))
    assert judge(sell, good, "").passed
    assert not judge(sell, sizing(units=D(-5), stop_price=D("1.1000"), target_price=None), "").sound


# -- open questions --------------------------------------------------------------------


def test_ids_of_questions_differ_over_lives_and_close_once():
    paths = Paths()
    assert paths.next_id(1) != Paths().next_id(2)
    asked = Ask(
        ask_id=5, role=Role.DISAGREEMENT, signal_id="s1", account_id="", question=ALLOCATION,
        deadline_ns=10,
    )  # fmt: skip
    paths.open(asked)
    assert paths.late(10) == []
    assert paths.late(11) == [asked]
    assert paths.close(5) == asked
    assert paths.close(5) is None


def test_a_signal_has_one_open_question_at_an_account_and_forgets_it_with_its_end():
    paths = Paths()
    first, second = (
        Ask(
            ask_id=n, role=Role.DISAGREEMENT, signal_id="s1", account_id="a", question=ALLOCATION,
            deadline_ns=10,
        )
        for n in (1, 2)
    )  # fmt: skip
    paths.open(first)
    paths.open(second)
    assert paths.close(1) == first  # an earlier question: the later one is still open
    paths.forget("s1", "a")
    assert paths.asks == {}
    paths.open(first)
    assert paths.close(1) == first
    paths.open(second)
    paths.close(2)
    paths.asks[2] = second
    paths.forget("s1", "a")  # closed: nothing of it is remembered to be taken away
    assert paths.asks == {2: second}


def test_ids_of_questions_never_meet_over_epochs_and_grow():
    paths = Paths()
    assert [paths.next_id(7) for _ in range(3)] == [7_000_000_001, 7_000_000_002, 7_000_000_003]


def test_a_proposal_says_all_that_the_stages_came_to():
    progress = Progress(weight=D("0.5"), confidence=D("0.55"), score=score(score=D("0.7")))
    order = proposal_of(signal_of(), "a", progress, sizing(), D(900))
    assert (order.units, order.stop_price, order.target_price) == (
        D(900), D("1.098"), D("1.104"),
    )  # fmt: skip
    assert (order.score, order.confidence) == (D("0.7"), D("0.55"))
    assert (order.signal_id, order.account_id, order.strategy) == ("s1", "a", "trend")
    unscored = proposal_of(signal_of(), "a", Progress(), sizing(), D(900))
    assert unscored.score == 0
