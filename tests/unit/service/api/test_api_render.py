"""The renderer: one rule for every view and row."""

import inspect
import json
from decimal import Decimal

import jsonschema
import msgspec
import pytest

from orchestrator.model import queries
from orchestrator.model.journal import Record
from orchestrator.model.safety import StopReceipt
from orchestrator.service import views
from orchestrator.service.api import examples
from orchestrator.service.api.render import json_of, number_text, rendered, time_text
from orchestrator.service.api.schema import answer_schemas, ref

EVERY_STRUCT = sorted(
    {
        kind
        for module in (views, queries)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, msgspec.Struct)
        and (issubclass(kind, queries.Row) or kind.__module__ == module.__name__)
    }
    - {
        queries.Page,
        queries.SignalFilter,
        queries.Row,
        views.View,
        views.Refused,
        views.SignalTaken,
    },
    key=lambda kind: kind.__name__,
)


def found_in_examples(kind):
    """The first struct of this kind anywhere inside the samples."""
    waiting = [examples.of(one) for one in examples.kinds()]
    while waiting:
        one = waiting.pop()
        if type(one) is kind:
            return one
        if isinstance(one, msgspec.Struct):
            waiting += [getattr(one, name) for name in one.__struct_fields__]
        elif isinstance(one, tuple):
            waiting += one
    return None


OTHER_SAMPLES = {
    queries.AlertRow: queries.AlertRow(
        cursor=1,
        alert=queries.Alert(
            key="k", severity=queries.Severity.CRITICAL, title="t", text="x", at_ns=1
        ),
    ),
    queries.BreakerRow: queries.BreakerRow(
        cursor=1, breaker="A1", scope=queries.Scope.ACCOUNT, subject="a", tripped=True,
        latched=False, effect=queries.Effect.FLATTEN, evidence="e", since_ns=1, until_ns=None,
        trips=1, actor="kernel",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", EVERY_STRUCT, ids=lambda kind: kind.__name__)
def test_every_view_and_row_is_shown_as_its_schema_says(kind):
    sample = found_in_examples(kind) or OTHER_SAMPLES.get(kind)
    assert sample is not None, f"no sample of {kind.__name__}"
    shown = json.loads(json_of(sample))
    schema = {**ref(kind), "components": {"schemas": answer_schemas([kind])}}
    jsonschema.validate(shown, schema)
    assert not [name for name in shown if name.endswith("_ns")]


@pytest.mark.parametrize("kind", EVERY_STRUCT, ids=lambda kind: kind.__name__)
def test_every_field_is_shown(kind):
    sample = found_in_examples(kind) or OTHER_SAMPLES.get(kind)
    names = {f"{n[:-3]}_at" if n.endswith("_ns") else n for n in kind.__struct_fields__}
    assert set(json.loads(json_of(sample))) == names


def test_an_instant_is_rfc_3339_in_utc_with_microseconds():
    assert time_text(1_399_535_999_123_456_789) == "2014-05-08T07:59:59.123456Z"
    assert time_text(1_399_535_999_000_000_000) == "2014-05-08T07:59:59.000000Z"


@pytest.mark.parametrize("unset", [0, None])
def test_an_unset_instant_is_null(unset):
    assert time_text(unset) is None


@pytest.mark.parametrize("absurd", [10**30, -(10**30), 2**200])
def test_an_instant_that_no_calendar_knows_is_null(absurd):
    assert time_text(absurd) is None


def test_a_decimal_keeps_its_digits():
    assert number_text(Decimal("1.38410")) == "1.38410"
    assert number_text(Decimal("1E+3")) == "1000"
    assert number_text(Decimal("0E-7")) == "0.0000000"


def test_a_decimal_of_absurd_size_does_not_fill_the_memory():
    assert number_text(Decimal("1E+999999")) == "1E+999999"
    assert number_text(Decimal("NaN")) == "NaN"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_float_that_is_no_number_is_null(value):
    assert rendered(value) is None


def test_the_gate_closed_at_a_time_and_not_at_a_number():
    shown = json.loads(json_of(examples.of(StopReceipt)))
    assert shown["gate_closed_at"] == "2014-05-08T07:59:59.123456Z"
    assert shown["last_order_first_byte_at"] == "2014-05-08T07:59:57.123456Z"
    assert shown["accounts"][0]["verified_at"].endswith("Z")


def test_a_record_carries_the_very_text_that_its_hash_covers():
    record = examples.of(Record)
    assert record.data in json_of(record)
    assert json.loads(json_of(record))["hash"] == record.hash.hex()


@pytest.mark.parametrize("data", [b'{"cut', b"\xff\xfe", b"", b"[" * 5000])
def test_a_record_with_unreadable_data_is_shown_all_the_same(data):
    record = msgspec.structs.replace(examples.of(Record), data=data)
    shown = json.loads(json_of(record))
    assert isinstance(shown["data"], str)


def test_what_has_no_rule_is_an_error_and_not_a_guess():
    with pytest.raises(TypeError, match="no rule"):
        rendered(object())
