"""Limits and overrides as the desk shows them, over a real kernel."""

from decimal import Decimal

from orchestrator.kernel.safety.limits import LIMITS
from orchestrator.model.safety import Scope
from orchestrator.model.time import MINUTE_NS
from orchestrator.service.limits_desk import OverrideWish, command_of, limits_of, overrides_of
from tests.unit.kernel.engine_bench import A, B, Bench


def wish(**changes):
    fields = {
        "limit": "risk_per_trade", "subject": "system", "value": Decimal("0.005"),
        "minutes": None, "uses": 1, "reason": "elections",
    }  # fmt: skip
    return OverrideWish(**{**fields, **changes})


def test_limits_tell_the_settings_what_is_in_force_and_by_whom():
    bench = Bench()
    bench.feed(command_of(bench.kernel, wish(), "ann", "operator", bench.now))
    for account in (A, B):
        shown = limits_of(bench.kernel, account, bench.now)
        assert set(shown.limits) == set(shown.in_force) == set(LIMITS)
        assert (shown.limits["risk_per_trade"], shown.in_force["risk_per_trade"]) == (
            "0.02", "0.005",
        )  # fmt: skip
        (told,) = shown.tightened
        assert (told.by, told.value, told.why) == (
            "ann", Decimal("0.005"), "elections (was 0.02)",
        )  # fmt: skip
    (standing,) = overrides_of(bench.kernel)
    assert (standing.loosens, standing.uses_left, standing.scope) == (False, None, Scope.SYSTEM)


def test_the_scope_is_read_off_the_subject_and_minutes_become_an_end():
    bench = Bench()
    made = [
        command_of(bench.kernel, wish(subject=name, minutes=5), "ann", "admin", bench.now)
        for name in ("system", A, "EUR_USD", "nobody")
    ]
    assert [each.scope for each in made] == [
        Scope.SYSTEM, Scope.ACCOUNT, Scope.INSTRUMENT, Scope.ACCOUNT,
    ]  # fmt: skip
    assert {each.until_ns for each in made} == {bench.now + 5 * MINUTE_NS}
    assert len({each.override_id for each in made}) == 4


def test_a_loosened_limit_shows_its_uses_and_no_tightening():
    bench = Bench()
    loose = wish(subject="EUR_USD", value=Decimal("0.03"), minutes=5, uses=3)
    bench.feed(command_of(bench.kernel, loose, "ann", "admin", bench.now))
    (standing,) = overrides_of(bench.kernel)
    assert (standing.loosens, standing.uses_left) == (True, 3)
    assert limits_of(bench.kernel, A, bench.now).tightened == ()
