"""What an answer or the log says of an order; where they say nothing it stays unknown."""

from decimal import Decimal

import msgspec
import pytest

from orchestrator.kernel.orders.reading import COUNTED_MAX, Settling, read_outcome, settle
from orchestrator.model.orders import Answered, IntentState, NotSent, Rejected, Unknown
from orchestrator.model.time import NS_PER_S
from orchestrator.model.venue import TradeOpen, TradeReduce
from tests.unit.kernel.ledger_makers import NAME, intent, named, tx

OTHER = "tso-" + "0" * 32
CREATE = tx(11, "MARKET_ORDER", client_extensions=named())
FILL = tx(
    12,
    "ORDER_FILL",
    order_id="11",
    reason="MARKET_ORDER",
    trade_opened=TradeOpen(trade_id="12", units=Decimal(1000)),
)
CANCEL = tx(12, "ORDER_CANCEL", order_id="11", reason="INSUFFICIENT_MARGIN")
REJECT = tx(11, "MARKET_ORDER_REJECT", client_extensions=named(), reject_reason="UNITS_INVALID")


def answered(*transactions, status=201):
    return Answered(status=status, transactions=transactions, last_transaction_id=12)


def refused(status=400, code="UNITS_INVALID", message="bad units", transactions=()):
    return Rejected(status=status, code=code, message=message, transactions=transactions)


def test_a_filled_order_names_its_order_its_trade_and_the_transaction_that_settled_it():
    reading = read_outcome(intent(), answered(CREATE, FILL))
    assert reading.state is IntentState.FILLED
    assert (reading.order_id, reading.trade_id, reading.transaction_id) == ("11", "12", 12)


def test_a_created_answer_with_a_cancel_is_not_a_fill():
    reading = read_outcome(intent(), answered(CREATE, CANCEL))
    assert (reading.state, reading.reason) == (IntentState.CANCELLED, "INSUFFICIENT_MARGIN")
    assert reading.order_id == "11"


def test_an_order_that_only_was_created_is_pending():
    reading = read_outcome(intent(), answered(CREATE))
    assert (reading.state, reading.order_id) == (IntentState.PENDING, "11")
    assert reading.transaction_id == 11


def test_the_rest_of_a_partial_fill_is_still_a_fill():
    assert read_outcome(intent(), answered(CREATE, FILL, tx(13, "ORDER_CANCEL", order_id="11"))
    ).state is IntentState.FILLED  # fmt: skip


def test_an_order_that_only_closes_names_the_trade_that_it_closed():
    closed = TradeReduce(trade_id="9", units=Decimal(-5))
    whole = tx(12, "ORDER_FILL", order_id="11", trades_closed=(closed,))
    part = tx(12, "ORDER_FILL", order_id="11", trade_reduced=closed)
    none = tx(12, "ORDER_FILL", order_id="11")
    assert settle(NAME, (CREATE, whole)).trade_id == "9"
    assert settle(NAME, (CREATE, part)).trade_id == "9"
    assert settle(NAME, (CREATE, none)).trade_id == ""


@pytest.mark.parametrize(
    "transactions",
    [
        (),
        (tx(11, "MARKET_ORDER", client_extensions=named(OTHER)), FILL),
        (tx(11, "MARKET_ORDER"), FILL),
        (tx(11, "HEARTBEAT"),),
    ],
)
def test_an_answer_without_a_transaction_of_ours_proves_nothing(transactions):
    reading = read_outcome(intent(), answered(*transactions))
    assert reading.state is IntentState.UNKNOWN
    assert "201" in reading.reason


def test_silence_is_unknown_and_never_failed():
    reading = read_outcome(intent(), Unknown(reason="no answer in 5 s"))
    assert (reading.state, reading.reason) == (IntentState.UNKNOWN, "no answer in 5 s")


def test_a_rejected_order_says_why():
    reading = read_outcome(intent(), refused())
    assert (reading.state, reading.credentials) == (IntentState.REJECTED, False)
    assert (reading.order_id, reading.transaction_id) == ("", 0)
    assert reading.reason == "HTTP 400 UNITS_INVALID bad units"


def test_the_reject_transaction_speaks_for_itself():
    reading = read_outcome(intent(), refused(transactions=(REJECT,)))
    assert (reading.state, reading.reason) == (IntentState.REJECTED, "UNITS_INVALID")
    assert reading.transaction_id == 11


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_told_apart(status):
    reading = read_outcome(intent(), refused(status, "", ""))
    assert (reading.state, reading.credentials) == (IntentState.REJECTED, True)


@pytest.mark.parametrize(
    "outcome",
    [refused(500), refused(302), refused(200), refused(408), refused(404, "", ""),
     refused(400, "", "")],
)  # fmt: skip
def test_a_refusal_without_proof_is_unknown(outcome):
    assert read_outcome(intent(), outcome).state is IntentState.UNKNOWN


def test_a_refusal_that_carries_our_fill_is_a_fill():
    outcome = refused(transactions=(CREATE, FILL))
    assert read_outcome(intent(), outcome).state is IntentState.FILLED


def test_what_was_not_sent_is_blocked_and_tells_by_whom():
    by_gate = read_outcome(intent(), NotSent(reason="stopped", by_gate=True))
    by_network = read_outcome(intent(), NotSent(reason="refused"))
    assert (by_gate.state, by_gate.by_gate) == (IntentState.BLOCKED, True)
    assert (by_network.state, by_network.by_gate) == (IntentState.BLOCKED, False)


def test_the_log_settles_by_client_id_by_request_id_and_by_the_fills_own_name():
    by_request = tx(11, "MARKET_ORDER", request_id=NAME)
    assert settle(NAME, (by_request, FILL)).state is IntentState.FILLED
    late = tx(12, "ORDER_FILL", order_id="11", client_order_id=NAME)
    reading = settle(NAME, (late,))
    assert (reading.state, reading.order_id) == (IntentState.FILLED, "11")
    gone = tx(12, "ORDER_CANCEL", order_id="11", client_order_id=NAME, reason="MARKET_HALTED")
    assert settle(NAME, (gone,)).state is IntentState.CANCELLED


def test_a_log_that_does_not_name_it_settles_nothing():
    assert settle(NAME, ()) is None
    assert settle(NAME, (tx(11, "MARKET_ORDER_REJECT"), tx(12, "LIMIT_ORDER_REJECT"))) is None
    assert settle(NAME, (tx(11, "ORDER_CANCEL_REJECT", client_order_id=NAME),)) is None
    assert settle(NAME, (FILL, CANCEL)) is None
    assert settle(NAME, (tx(12, "ORDER_FILL"), tx(13, "ORDER_CANCEL"))) is None


def test_two_orders_of_one_intent_are_both_named():
    second = tx(14, "MARKET_ORDER", client_extensions=named())
    assert settle(NAME, (CREATE, FILL, second)).order_ids == ("11", "14")


def test_the_log_may_come_in_pieces():
    assert settle(NAME, (CREATE,)).order_ids == ("11",)
    reading = settle(NAME, (FILL,), orders=("11",))
    assert (reading.state, reading.order_ids) == (IntentState.FILLED, ("11",))
    assert settle(NAME, (CANCEL,), orders=("11",)).state is IntentState.CANCELLED
    assert settle(NAME, (CREATE,), orders=("11",)) is None
    assert settle(NAME, (tx(13, "ORDER_FILL", order_id="9"),), orders=("11",)) is None
    assert settle(NAME, (), orders=("11",)) is None


def test_an_order_told_twice_is_one_order():
    assert settle(NAME, (CREATE, CREATE, FILL)).order_ids == ("11",)


def test_a_later_order_outweighs_an_earlier_reject():
    created = tx(12, "MARKET_ORDER", client_extensions=named())
    assert settle(NAME, (REJECT, created)).state is IntentState.PENDING


def at(seconds):
    return round(seconds * NS_PER_S)


def searched(*reads, highest=10):
    search = Settling(ended_ns=0, highest=highest)
    for second, last_id in reads:
        search.count(at(second), last_id, last_id)
    return search


def test_absent_needs_ten_seconds_and_three_reads_apart():
    search = searched((1, 10), (4, 10), (10, 10))
    assert search.is_absent(at(10))
    assert not search.is_absent(at(9.999))


@pytest.mark.parametrize(
    "reads",
    [
        (),
        ((10, 10), (12, 10)),
        ((1, 10), (4, 10), (9.9, 10)),  # the last one is too early to show a late order
        ((10, 10), (11, 10), (11.9, 10)),  # too close together
        ((1, 10), (4, 9), (10, 10)),  # one lags behind what was seen
        ((1, 10), (4, 12), (10, 11)),
    ],
)
def test_less_than_that_proves_nothing(reads):
    assert not searched(*reads).is_absent(at(60))


def test_reads_exactly_two_seconds_apart_count():
    assert searched((8, 10), (10, 10), (12, 10)).is_absent(at(12))


def test_a_read_behind_the_watermark_does_not_count():
    assert searched((1, 9), (4, 9), (10, 9)).counted_ns == []


def test_a_read_that_is_not_in_the_books_yet_does_not_count():
    search = Settling(ended_ns=0, highest=10)
    search.count(at(1), 12, applied_to=11)
    assert search.counted_ns == []
    assert search.highest == 12


def test_the_very_first_read_counts():
    search = Settling(ended_ns=at(5))
    assert search.highest == 0
    search.count(at(5), 0, 0)
    assert search.counted_ns == [at(5)]


def test_a_read_from_before_the_request_ended_does_not_count():
    search = Settling(ended_ns=at(5), highest=10)
    search.count(at(4), 10, 10)
    assert search.counted_ns == []


def test_a_search_is_bounded():
    search = searched(*((2 * n, 10) for n in range(COUNTED_MAX + 5)))
    assert len(search.counted_ns) == COUNTED_MAX
    assert search.is_absent(at(10**6))


def test_a_search_survives_a_snapshot():
    search = searched((1, 10), (4, 11))
    assert msgspec.json.decode(msgspec.json.encode(search), type=Settling) == search


def test_a_blocked_order_says_why():
    assert read_outcome(intent(), NotSent(reason="stopped", by_gate=True)).reason == "stopped"


def test_the_reason_of_refused_credentials_is_kept():
    assert read_outcome(intent(), refused(401, "", "no such token")).reason == (
        "HTTP 401  no such token"
    )


@pytest.mark.parametrize(
    "outcome", [refused(400, "", "bad units"), refused(400, "UNITS_INVALID", "")]
)
def test_a_code_or_a_message_alone_proves_a_refusal(outcome):
    assert read_outcome(intent(), outcome).state is IntentState.REJECTED


def test_a_refusal_without_proof_tells_what_was_said():
    reading = read_outcome(intent(), refused(404, "", ""))
    assert reading.reason == "HTTP 404: no proof that nothing was accepted"


def test_what_the_log_leaves_out_is_empty():
    silent = tx(12, "ORDER_FILL", client_order_id=NAME)
    assert (settle(NAME, (silent,)).reason, settle(NAME, (silent,)).order_ids) == ("", ())
    refusal = tx(11, "MARKET_ORDER_REJECT", client_extensions=named())
    assert settle(NAME, (refusal,)).reason == ""
