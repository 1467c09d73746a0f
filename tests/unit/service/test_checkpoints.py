"""When checkpoints are made, and what a book that disagrees or fails comes to."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.kernel.audit import AuditChain
from orchestrator.model.checkpoint import Checkpoint
from orchestrator.model.facts import OperatorActed
from orchestrator.model.journal import Record, RecordFilter
from orchestrator.service.checkpoints import Checkpoints, Hooks
from orchestrator.service.virtual import run_virtual

NOTE = OperatorActed(actor="anna", action="note", text="")


class Clock:
    """Virtual: sleeping is what time passes by."""

    speed = 1.0

    def __init__(self) -> None:
        self.at_ns = 10**18

    def now(self) -> int:
        return self.at_ns

    def mono_ns(self) -> int:
        return self.at_ns

    async def sleep(self, seconds: float) -> None:
        self.at_ns += int(seconds * 1e9)


class Book:
    """In memory; `broken` is raised instead of writing."""

    def __init__(self) -> None:
        self.lines: list[Checkpoint] = []
        self.broken: Exception | None = None
        self.wrong = ""

    def latest(self) -> Checkpoint | None:
        return self.lines[-1] if self.lines else None

    def write(self, checkpoint: Checkpoint) -> Checkpoint:
        if self.broken is not None:
            raise self.broken
        self.lines.append(checkpoint)
        return checkpoint

    def objection(self, _: Checkpoint) -> str:
        return self.wrong


class TrailStore:
    """Only what the comparison asks of a store."""

    def __init__(self, records: list[Record], pruned: tuple[int, bytes] = (0, b"")) -> None:
        self._records = records
        self._pruned = pruned

    def records(self, wanted: RecordFilter) -> list[Record]:
        return [r for r in self._records if wanted.after_seq < r.seq < wanted.before_seq]

    def last_record(self) -> Record | None:
        return self._records[-1] if self._records else None

    def trail_start(self) -> tuple[int, bytes]:
        return self._pruned


class House:
    def __init__(self) -> None:
        self.chain = AuditChain("house")
        self.records: list[Record] = []
        self.book = Book()
        self.clock = Clock()
        self.troubles: list[str] = []
        self.told: list[Checkpoint] = []
        self.blocked = False
        self.storing = True
        self.stop_id: str | None = None
        self.checkpoints = self.service()

    def service(self) -> Checkpoints:
        hooks = Hooks(
            trouble=self.troubles.append, told=self.told.append, blocked=lambda: self.blocked,
            storing=lambda: self.storing, stop_id=lambda: self.stop_id,
        )  # fmt: skip
        return Checkpoints(self.book, self.chain, self.clock, hooks, origin="house", threads=False)

    def write(self, count: int) -> None:
        linked = self.chain.link([NOTE] * count, ts=1, node="n", epoch=1)
        self.chain.advance(linked)
        self.records += linked

    def run(self, seconds: int) -> None:
        """As many looks as there are seconds."""
        until = self.clock.at_ns + seconds * 10**9

        class Over(Exception):
            pass

        async def sleep(wait_s: float) -> None:
            if self.clock.at_ns >= until:
                raise Over
            self.clock.at_ns += int(wait_s * 1e9)

        self.clock.sleep = sleep  # type: ignore[method-assign]

        async def live() -> None:
            with pytest.raises(Over):
                await self.checkpoints.run()

        run_virtual(live())

    def compare(self, records: list[Record] | None = None) -> str:
        self.checkpoints = self.service()
        self.checkpoints.compare(TrailStore(self.records if records is None else records))
        return self.checkpoints.disagreement


@pytest.fixture
def house() -> House:
    return House()


def test_a_thousand_records_are_vouched_for_at_once(house: House) -> None:
    house.write(1_000)
    house.run(3)
    assert [(c.seq, c.why) for c in house.book.lines] == [(1_000, "records")]
    assert house.book.lines[0].head == house.chain.head.hex()


def test_a_single_record_waits_a_minute_and_silence_makes_none(house: House) -> None:
    house.write(1)
    house.run(50)
    assert house.book.lines == []
    house.run(15)
    assert [(c.seq, c.why) for c in house.book.lines] == [(1, "time")]
    house.run(300)
    assert len(house.book.lines) == 1


def test_a_stop_and_the_end_of_a_life_are_vouched_for_and_told(house: House) -> None:
    house.write(3)
    house.stop_id = "stop-1"
    house.run(3)
    house.write(1)
    house.checkpoints.at_end()
    house.checkpoints.at_end()
    assert [(c.seq, c.why) for c in house.book.lines] == [(3, "stop"), (4, "shutdown")]
    assert house.told == house.book.lines


def test_one_is_told_each_day_and_not_each_minute(house: House) -> None:
    for _ in range(5):
        house.write(1_000)
        house.run(3)
    assert (len(house.book.lines), len(house.told)) == (5, 1)
    house.clock.at_ns += 25 * 3600 * 10**9
    house.write(1_000)
    house.run(3)
    assert len(house.told) == 2


def test_a_store_that_agrees_is_no_trouble(house: House) -> None:
    assert house.compare() == ""
    house.write(5)
    house.checkpoints.at_end()
    assert house.compare() == ""
    house.write(5)
    assert house.compare() == ""
    assert house.troubles == []


def test_a_trail_cut_at_its_end_is_found_at_the_start(house: House) -> None:
    house.write(5)
    house.checkpoints.at_end()
    found = house.compare(house.records[:3])
    assert "ends at record 3, and a checkpoint knows of 5" in found
    assert house.troubles == [found]


def test_an_empty_store_beside_checkpoints_is_found(house: House) -> None:
    house.write(5)
    house.checkpoints.at_end()
    assert "ends at record 0" in house.compare([])


def test_a_rewritten_trail_is_found_at_the_start(house: House) -> None:
    house.write(5)
    house.checkpoints.at_end()
    other = House()
    other.chain = AuditChain("house")
    linked = other.chain.link([NOTE] * 5, ts=2, node="n", epoch=1)
    assert "record 5 is not what its checkpoint says" in house.compare(list(linked))


def test_a_checkpoint_of_another_installation_is_found(house: House) -> None:
    house.write(1)
    house.checkpoints.at_end()
    house.book.lines[-1] = msgspec.structs.replace(house.book.lines[-1], origin="elsewhere")
    assert "of another installation" in house.compare()


def test_a_pruned_trail_agrees_by_the_hash_of_its_pruning(house: House) -> None:
    house.write(5)
    house.checkpoints.at_end()
    last = house.records[-1]
    store = TrailStore([], pruned=(5, last.hash))
    house.checkpoints = house.service()
    house.checkpoints.compare(store)
    assert house.checkpoints.disagreement == ""
    house.checkpoints.compare(TrailStore([], pruned=(5, b"\0" * 32)))
    assert house.checkpoints.disagreement


def test_a_book_that_cannot_be_read_is_trouble(house: House) -> None:
    def broken() -> None:
        raise ValueError("no checkpoint")

    house.book.latest = broken  # type: ignore[assignment]
    assert "cannot be read: no checkpoint" in house.compare()


def test_a_wrong_signature_is_found_soon_after_the_start(house: House) -> None:
    house.write(1)
    house.checkpoints.at_end()
    house.book.wrong = "its signature is wrong"
    assert house.compare() == ""
    house.blocked = True
    house.run(3)
    assert house.troubles == ["checkpoint 1: its signature is wrong"]


def test_nothing_is_signed_over_a_disagreement_until_a_person_accepts_it(house: House) -> None:
    house.write(5)
    house.checkpoints.at_end()
    house.chain = AuditChain("house", house.records[2])
    house.compare(house.records[:3])
    house.blocked = True
    house.write(2_000)
    house.run(100)
    house.checkpoints.at_end()
    assert len(house.book.lines) == 1
    house.blocked = False
    house.run(3)
    assert [c.seq for c in house.book.lines] == [5, 2_003]
    assert "S12 was reset" in house.book.lines[-1].accepted
    house.write(1_000)
    house.run(3)
    assert house.book.lines[-1].accepted == ""


def test_a_book_that_fails_for_a_minute_beside_a_good_store_is_trouble(house: House) -> None:
    house.book.broken = OSError(5, "Input/output error")
    house.write(1_000)
    house.run(30)
    assert house.troubles == []
    house.run(60)
    assert len(house.troubles) == 1
    assert "no checkpoint could be written for 60 s" in house.troubles[0]
    house.book.broken = None
    house.run(5)
    assert house.troubles[-1] == ""  # good again: a person may reset
    assert house.book.lines[-1].seq == 1_000


def test_a_full_disk_is_the_stores_trouble_first(house: House) -> None:
    house.book.broken = OSError(28, "No space left on device")
    house.storing = False
    house.write(1_000)
    house.run(600)
    assert house.troubles == []
    house.book.broken, house.storing = None, True
    house.run(5)
    assert house.book.lines[-1].seq == 1_000
