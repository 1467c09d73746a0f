"""An intent's name comes from its signal, account and leg alone."""

import pytest

from orchestrator.kernel.orders.identity import intent_id, is_ours


def test_the_name_is_the_same_in_every_life():
    assert intent_id("s1", "101-001-1000001-001", "1") == "tso-f96a41795b5a194e331fdbb73ead6a75"


def test_any_other_signal_account_or_leg_has_another_name():
    names = {
        intent_id(*triple)
        for triple in [
            ("s1", "a", "1"), ("s2", "a", "1"), ("s1", "b", "1"), ("s1", "a", "2"),
            ("s1a", "", "1"), ("s", "1a", "1"), ("s1", "a1", ""), ("s1", "", "a1"),
        ]
    }  # fmt: skip
    assert len(names) == 8


def test_the_name_fits_the_venue():
    name = intent_id("s" * 64, "101-001-1000001-001", "1")
    assert len(name) == 36
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert is_ours(name)


@pytest.mark.parametrize(
    "other",
    ["", "tso-", "tso-" + "g" * 32, "TSO-" + "a" * 32, "tso-" + "a" * 33, "xtso-" + "a" * 32,
     "tso-" + "a" * 32 + "\n"],
)  # fmt: skip
def test_other_forms_are_not_ours(other):
    assert not is_ours(other)
