"""Every cause of an alert, one after the other, through the one door and within its second."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from orchestrator.adapters.trail.book import CheckpointFile
from orchestrator.kernel.safety.breakers import TABLE
from orchestrator.model.facts import AlertRaised, AlertSent
from orchestrator.model.orders import WriteKind, WriteRequest
from orchestrator.model.safety import Scope, Severity
from orchestrator.model.time import NS_PER_S
from orchestrator.service.views import Done, StopReceipt
from tests.house import EUR_ACCOUNT, EUR_USD, USD_ACCOUNT, House, in_virtual_time, new_market

SUBJECTS = {Scope.SYSTEM: "system", Scope.ACCOUNT: USD_ACCOUNT, Scope.INSTRUMENT: EUR_USD}
# A probation begins with a person's resume only; nobody trips it by hand.
BY_HAND = [name for name in TABLE if name != "E3"]


def alerts(house: House, after: int = 0) -> list[tuple[int, AlertRaised]]:
    return [
        (record.ts, fact)
        for record, fact in house.store.facts_after(after)
        if isinstance(fact, AlertRaised)
    ]


def sent(house: House, key: str) -> list[AlertSent]:
    return [
        fact
        for _, fact in house.store.facts_after(0)
        if isinstance(fact, AlertSent) and fact.key == key
    ]


def test_every_breaker_alerts_and_each_alert_is_handed_over(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path, new_market()) as house:
            await house.calm(5)
            for name in BY_HAND:
                subject = SUBJECTS[TABLE[name].scope]
                now, before = house.market.time.now(), house.store.last_record().seq
                answer = await house.desk.trip_breaker(name, subject, "anna", "a walk")
                assert isinstance(answer, Done), answer
                found = [
                    (at, fact.alert) for at, fact in alerts(house, before)
                    if fact.alert.key.startswith(f"breaker:{name}")
                ]  # fmt: skip
                assert len(found) == 1, name
                at, alert = found[0]
                assert at - now < NS_PER_S
                assert name in alert.title
                assert "a walk" in alert.text
                await house.calm(1)
                assert [one.failure for one in sent(house, alert.key)] == [""], name

    in_virtual_time(story)


async def stop(house: House) -> str:
    assert isinstance(await house.desk.emergency_stop("anna", "a walk"), StopReceipt)
    return "stop:"


async def agent(house: House) -> str:
    agents = house.system.agents
    for _ in range(30):
        agents.refused("strategy_analysis-1", "nonsense")
    return "agent:strategy_analysis-1:unhealthy"


async def foreign(house: House) -> str:
    """Somebody else trades on the account."""
    body = msgspec.json.encode({"order": {
        "type": "MARKET", "instrument": EUR_USD, "units": "1000", "timeInForce": "FOK",
        "positionFill": "DEFAULT",
    }}).decode()  # fmt: skip
    request = WriteRequest(kind=WriteKind.ORDER, account_id=EUR_ACCOUNT, body=body)
    house.venue.submit(request, lambda: None, lambda *_: None)
    return "foreign:"


async def latch(house: House) -> str:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    house.gate.latch = full  # type: ignore[method-assign]
    await house.desk.emergency_stop("anna", "a walk")
    return "latch"


async def broken_trail(house: House) -> str:
    house.desk._audit._verify = lambda: "record 5: its content does not match its hash"
    await house.desk.verify_audit()
    return "breaker:S12"


CAUSES: dict[str, tuple[Callable[[House], Awaitable[str]], Severity]] = {
    "an emergency stop": (stop, Severity.CRITICAL),
    "an agent that is unwell": (agent, Severity.CRITICAL),
    "a latch that cannot be written": (latch, Severity.CRITICAL),
    "a foreign trade": (foreign, Severity.WARNING),
    "a trail that does not verify": (broken_trail, Severity.CRITICAL),
}


@pytest.mark.parametrize("what", CAUSES)
def test_a_cause_is_told_within_its_second(what: str, tmp_path: Path) -> None:
    cause, least = CAUSES[what]

    async def story() -> None:
        async with House(tmp_path, new_market()) as house:
            await house.calm(40)
            before, now = house.store.last_record().seq, house.market.time.now()
            key = await cause(house)
            await house.price("1.39100", "1.39110") if what == "a foreign trade" else None
            found = [
                (at, f.alert) for at, f in alerts(house, before) if f.alert.key.startswith(key)
            ]  # fmt: skip
            assert found, [f.alert.key for _, f in alerts(house, before)]
            at, alert = found[0]
            assert at - now <= NS_PER_S
            assert alert.severity in (least, Severity.CRITICAL)
            await house.calm(2)
            assert sent(house, alert.key)

    in_virtual_time(story)


def test_checkpoints_at_a_stop_and_at_the_end_reach_the_channel(tmp_path: Path) -> None:
    heard: list[str] = []

    async def story() -> None:
        async with House(tmp_path, new_market()) as house:
            await house.calm(5)
            house.system.checkpoints._hooks.told = lambda each: heard.append(each.why)
            await house.desk.emergency_stop("anna", "a walk")
            await house.calm(5)

    in_virtual_time(story)
    assert heard == ["stop", "shutdown"]
    assert CheckpointFile(tmp_path).latest().why == "shutdown"
