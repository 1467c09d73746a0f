"""The shape of an agent: what is heard, what is said, and which mistakes are caught at once."""

from decimal import Decimal

import pytest

from orchestrator.agents.base import NOTHING, Agent, Role, Says, hears
from orchestrator.model.market import Beat, StreamUp, Tick
from orchestrator.model.money import AccountId, InstrumentName, Price


def a_tick():
    return Tick(
        instrument=InstrumentName("EUR_USD"),
        bid=Price(Decimal("1.1")),
        ask=Price(Decimal("1.2")),
        venue_ns=1,
        seen_ns=2,
    )


class Echo(Agent):
    role = Role.PATTERN_DETECTION
    name = "echo"
    says = (Beat,)

    def __init__(self, *, offset_ns: int = 0) -> None:
        self.offset_ns = offset_ns

    @hears(Tick)
    def on_tick(self, tick: Tick) -> Says:
        return (Beat(now_ns=tick.seen_ns + self.offset_ns),)

    @hears(Beat)
    def on_beat(self, beat: Beat) -> Says:
        del beat
        return NOTHING


def test_a_message_reaches_the_method_marked_for_its_type():
    assert Echo(offset_ns=5).hear(a_tick()) == (Beat(now_ns=7),)


def test_what_is_not_heard_is_answered_with_nothing():
    up = StreamUp(stream="prices", account_id=AccountId("a"), seen_ns=1)
    assert Echo().hear(up) is NOTHING
    assert Echo.heard() == (Tick, Beat)


def test_only_declared_types_may_be_said():
    assert Echo.may_say(Beat)
    assert not Echo.may_say(Tick)


def test_two_instances_share_no_state():
    assert Echo(offset_ns=1).hear(a_tick()) != Echo(offset_ns=2).hear(a_tick())


def test_an_overriding_method_is_heard_in_place_of_its_base():
    class Louder(Echo):
        name = "louder"

        def on_tick(self, tick: Tick) -> Says:
            return super().on_tick(tick) * 2

    assert Louder().hear(a_tick()) == (Beat(now_ns=2), Beat(now_ns=2))
    assert Echo().hear(a_tick()) == (Beat(now_ns=2),)


def test_two_methods_for_one_type_are_refused():
    with pytest.raises(TypeError, match=r"Torn hears Tick twice: one and two"):

        class Torn(Agent):
            role = Role.DATA_COLLECTION
            name = "torn"

            @hears(Tick)
            def one(self, tick: Tick) -> Says:
                return (tick,)

            @hears(Tick)
            def two(self, tick: Tick) -> Says:
                return (tick,)


@pytest.mark.parametrize("body", [
    {"name": "x"},
    {"role": "trader", "name": "x"},
    {"role": Role.DATA_COLLECTION},
    {"role": Role.DATA_COLLECTION, "name": "Not a name"},
    {"role": Role.DATA_COLLECTION, "name": "x", "says": Beat},
    {"role": Role.DATA_COLLECTION, "name": "x", "says": ("beat",)},
])  # fmt: skip
def test_a_class_that_does_not_say_who_it_is_is_refused(body):
    with pytest.raises(TypeError):
        type("Wrong", (Agent,), {**body, "on_tick": hears(Tick)(lambda _self, _tick: NOTHING)})


def test_hearing_what_is_no_message_is_refused():
    with pytest.raises(TypeError, match="not a type of message"):
        hears(int)
