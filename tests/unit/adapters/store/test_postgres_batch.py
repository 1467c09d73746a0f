"""An append as one message: nothing that is written can be taken for a statement."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.adapters.store.postgres_batch import appending, literal
from orchestrator.adapters.store.postgres_sql import row_of
from orchestrator.adapters.store.statements import statements
from orchestrator.model.errors import StoreConflict
from orchestrator.model.facts import SignalAccepted
from tests.servers.postgres import execute
from tests.unit.adapters.store import samples
from tests.unit.adapters.store.postgres_stores import Make, instead_of_an_append, notes, numbers

_SIGNS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
_NASTY = st.lists(st.sampled_from(["'", "\\", '"', "$1", ";", "--", "\0", "\x1b", "E'", "{}"]))
_VALUES = st.one_of(
    st.none(),
    st.integers(min_value=-(2**63), max_value=2**63 - 1),
    st.binary(max_size=40),
    _SIGNS,
    _NASTY.map("".join),
)
_TYPES = {int: "BIGINT", bytes: "BYTEA", str: "TEXT", type(None): "TEXT"}


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(values=st.lists(_VALUES, min_size=1, max_size=30))
def test_any_value_comes_back_as_it_went(database: str, values: list[Any]) -> None:
    shown = ", ".join(f"CAST({literal(value)} AS {_TYPES[type(value)]})" for value in values)
    (row,) = execute(database, f"SELECT {shown}")
    assert row_of(row) == tuple(values)


def test_a_value_that_no_column_has_is_refused() -> None:
    with pytest.raises(TypeError, match="float"):
        literal(0.5)


def test_a_word_of_a_list_is_written_as_the_text_that_it_is() -> None:
    class Mood(str, Enum):  # noqa: UP042 -- says "Mood.GOOD" of itself, unlike a StrEnum
        GOOD = "good"

    assert literal(Mood.GOOD) == "'good'"


@pytest.mark.parametrize("by_default", ["on", "off"])
def test_a_text_that_looks_like_a_statement_is_a_text(
    make: Make, fresh_database: str, by_default: str
) -> None:
    name = fresh_database.rpartition("/")[2]
    setting = "standard_conforming_strings"
    execute(fresh_database, f'ALTER DATABASE "{name}" SET {setting} = {by_default}')
    try:
        store = make()
        evil = "a\\'); DELETE FROM signals; --'"
        samples.append(store, SignalAccepted(signal=samples.signal(evil), accounts=()))
        samples.append(store, SignalAccepted(signal=samples.signal(f"{evil}\\"), accounts=()))
    finally:
        execute(fresh_database, f'ALTER DATABASE "{name}" RESET {setting}')
    rows = execute(fresh_database, "SELECT signal_id FROM signals ORDER BY seq")
    assert [each[0] for each in rows] == [evil, f"{evil}\\"]


def test_an_append_of_many_kinds_is_one_message(make: Make, fresh_database: str) -> None:
    sent: list[str] = []

    async def heard(session: Any, message: str) -> Any:
        sent.append(message)
        return await session.execute(message)

    store = make()
    instead_of_an_append(store, heard)
    asked = store._writer._session
    facts = [*samples.path(), *samples.closing(8, "-2.10"), samples.tripped(), samples.alert()]
    store.append(samples.chained(facts), facts)
    assert len(sent) == 1
    assert asked is store._writer._session
    assert numbers(fresh_database) == list(range(1, len(facts) + 1))


def test_only_the_fence_divides() -> None:
    """By a division by zero it says that another node leads."""
    assert not any("/" in sql for sql in statements("projections").values())


@pytest.mark.parametrize("text", ["\0", "\ud800"])
def test_a_sign_that_no_message_can_hold_is_refused_and_the_store_goes_on(
    make: Make, fresh_database: str, text: str
) -> None:
    store = make()
    facts = notes("a")
    (record,) = samples.chained(facts)
    bad = msgspec.structs.replace(record, data=b'"%s"' % text.encode("utf-8", "surrogatepass"))
    with pytest.raises(StoreConflict, match="refused, nothing was written"):
        store.append([bad], facts)
    store.append([record], facts)
    assert numbers(fresh_database) == [1]


def test_a_message_cut_in_its_middle_does_nothing(make: Make, fresh_database: str) -> None:
    """As if each statement had been alone: none stands before all do."""
    store = make()
    facts = samples.path()
    message = appending("0", samples.chained(facts), facts)
    parts = message.split(";\n")
    broken = ";\n".join([*parts[:-1], parts[-1].replace("tso_", "nobody_")])

    async def run(session: Any, _: str) -> Any:
        return await session.execute(broken)

    instead_of_an_append(store, run)
    with pytest.raises(Exception, match="nobody_"):
        store.append(samples.chained(facts), facts)
    assert numbers(fresh_database) == []
    assert execute(fresh_database, "SELECT count(*) FROM signals")[0] == (0,)
