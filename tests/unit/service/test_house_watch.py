"""What the house is looked at for, and what the kernel hears of it."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.adapters.bus.in_process import InProcessBus
from orchestrator.model.errors import VenueRefused, VenueSilent
from orchestrator.model.events import (
    BusSeen,
    ClockSeen,
    CredentialsSeen,
    MemorySeen,
    ReadFailed,
    StorageSeen,
)
from orchestrator.service.house_watch import HouseWatch
from orchestrator.service.reads import Reads
from orchestrator.service.seams import Machine
from tests.unit.service.parts import A, HandClock

S = 1_000_000_000


class FakeMachine:
    def __init__(self):
        self.wall, self.free = 10 * S, 900

    def wall_ns(self):
        return self.wall

    def rss_mb(self):
        return 120

    def files(self):
        return 30, 1_024

    def free_mb(self):
        return self.free


class FakeKernel:
    def __init__(self):
        self.refused = ()

    def refused_accounts(self):
        return self.refused


class FakeEngine:
    def __init__(self):
        self.kernel, self.heard = FakeKernel(), []
        self.store_looks = 0

    def handle(self, *events):
        self.heard.extend(events)

    def flush_ms(self):
        return 7

    def look_at_store(self):
        self.store_looks += 1


class FakeReader:
    def __init__(self, error=None, offset_ns=None):
        self.error, self.clock_offset_ns, self.reads = error, offset_ns, 0

    async def account(self, account_id):
        self.reads += 1
        if self.error is not None:
            raise self.error
        return account_id


class AwayBus:
    def condition(self):
        return BusSeen(silent_ms=3_000)


def watch(reader=None, bus=None, renew=None):
    engine, machine, clock = FakeEngine(), FakeMachine(), HandClock()
    fields = {} if renew is None else {"renew": renew}
    house = HouseWatch(
        engine, bus or InProcessBus(), reader or FakeReader(), clock, machine, **fields
    )
    machine.wall = clock.mono_ns()  # from here on they go on together
    return house, engine, machine, clock


def heard(engine, kind):
    return [event for event in engine.heard if isinstance(event, kind)]


def test_a_look_tells_clocks_memory_and_storage():
    house, engine, _, _ = watch(FakeReader(offset_ns=-2_500_000_000))
    house.look()
    assert heard(engine, ClockSeen) == [ClockSeen(stepped_ms=0, venue_off_ms=-2_500)]
    assert heard(engine, MemorySeen) == [MemorySeen(rss_mb=120, files=30, files_max=1_024)]
    assert heard(engine, StorageSeen) == [StorageSeen(flush_ms=7, free_mb=900)]
    assert heard(engine, BusSeen) == []
    assert engine.store_looks == 1


def test_a_step_of_the_wall_clock_is_told_once():
    house, engine, machine, _ = watch()
    machine.wall -= S
    house.look()
    house.look()
    assert [event.stepped_ms for event in heard(engine, ClockSeen)] == [-1_000, 0]


def test_a_broker_that_can_be_away_is_asked():
    house, engine, _, _ = watch(bus=AwayBus())
    house.look()
    assert heard(engine, BusSeen) == [BusSeen(silent_ms=3_000)]


def test_a_secret_is_read_anew_and_its_working_is_told():
    renewed = []
    house, engine, _, _ = watch(renew=renewed.append)
    asyncio.run(house.try_credentials(A))
    assert renewed == [A]
    assert heard(engine, CredentialsSeen) == [CredentialsSeen(account_id=A, ok=True)]


@pytest.mark.parametrize("error", [VenueRefused(401), VenueSilent("no answer")])
def test_a_secret_that_is_refused_or_cannot_be_tried_is_not_told_as_working(error):
    house, engine, _, _ = watch(FakeReader(error))
    asyncio.run(house.try_credentials(A))
    assert engine.heard == []


def test_a_secret_that_cannot_be_read_leaves_the_old_one_to_be_tried():
    def unreadable(_):
        raise OSError("no such file")

    house, engine, _, _ = watch(renew=unreadable)
    asyncio.run(house.try_credentials(A))
    assert heard(engine, CredentialsSeen)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_read_that_the_venue_refuses_is_told_as_refused_credentials(status):
    found = []

    async def read():
        async with asyncio.TaskGroup() as group:
            from orchestrator.service.nest import Nest

            reads = Reads(FakeReader(VenueRefused(status)), HandClock(), found.append)
            reads.attach(Nest(group))
            reads.account(A)

    asyncio.run(read())
    refused = [event for event in found if isinstance(event, CredentialsSeen)]
    assert bool(refused) is (status != 500)
    assert isinstance(found[-1], ReadFailed)


def test_the_machine_tells_what_it_holds(tmp_path):
    machine = Machine(tmp_path)
    used, allowed = machine.files()
    assert 0 < used <= allowed
    assert machine.rss_mb() > 5
    assert machine.free_mb() > 0
    assert Machine(tmp_path / "gone").free_mb() is None
