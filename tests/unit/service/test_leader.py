"""A leader's term by its own clock, a standby's patience, and the renewals that keep a term."""

from __future__ import annotations

import asyncio

import msgspec

from orchestrator.model.leading import LeaseView
from orchestrator.service.gate import Gate
from orchestrator.service.leader import Leadership, Term, Watch
from orchestrator.service.virtual import VirtualLoop
from tests.leases import FakeLease, Row

S = 1_000_000_000


def test_a_term_is_good_for_three_seconds_from_the_beginning_of_its_last_renewal():
    term = Term(10 * S)
    assert term.objection(13 * S) == ""
    assert "renewed 3.1 s ago, limit 3 s" in term.objection(13 * S + S // 10)
    term.renewed(12 * S)
    term.renewed(11 * S)  # an answer that comes late makes nothing older
    assert term.objection(15 * S) == ""
    assert term.objection(15 * S + 1)


def test_a_term_that_was_lost_is_never_good_again():
    term = Term(10 * S)
    term.lose("another node has taken the lease")
    term.renewed(11 * S)
    assert "another node" in term.objection(11 * S)
    term.unanswered(11 * S)
    assert "another node" in term.reducing_objection(11 * S)


def test_a_node_that_finds_the_database_away_goes_on_closing_but_opens_nothing():
    term = Term(10 * S)
    term.unanswered(14 * S)
    assert term.objection(15 * S)
    assert term.reducing_objection(15 * S) == ""


def test_a_node_that_slept_closes_nothing_until_it_knows_why():
    term = Term(10 * S)
    assert term.reducing_objection(13 * S) == ""
    assert term.reducing_objection(100 * S)
    term.unanswered(12 * S)  # begun before it slept
    assert term.reducing_objection(100 * S)
    term.unanswered(99 * S)
    assert term.reducing_objection(100 * S) == ""


def view(holder: str = "b/1", renewal: str = "7", left_ms: int = 5_000) -> LeaseView:
    node = holder.partition("/")[0]
    return LeaseView(node=node, holder=holder, address="", renewal=renewal, left_ms=left_ms)


def test_a_vacant_lease_and_our_own_are_taken_at_once():
    assert Watch("a").saw(view(holder=""), 0, 0)
    assert Watch("b").saw(view(), 0, 0)


def test_a_lease_of_another_is_taken_when_both_clocks_say_that_it_has_run_out():
    watch = Watch("a")
    assert not watch.saw(view(left_ms=-1), 0, S)
    assert not watch.saw(view(left_ms=-1), 4 * S, 4 * S)
    assert watch.saw(view(left_ms=-1), 5 * S, 5 * S)
    assert not watch.saw(view(left_ms=1), 5 * S, 5 * S)


def test_a_leader_whose_session_has_ended_is_given_its_deadline_and_no_more():
    watch, gone = Watch("a"), msgspec.structs.replace(view(left_ms=1_500), lives=False)
    assert not watch.saw(view(), 0, 0)
    assert not watch.saw(gone, S, S)
    assert not watch.saw(gone, 3_400_000_000, 3_400_000_000)
    assert watch.saw(gone, 3_500_000_000, 3_500_000_000)


def test_a_leader_whose_session_was_ended_for_its_silence_is_given_the_whole_patience():
    """It may be frozen, and wake: a second lies between its last byte and another's first."""
    watch, silent = Watch("a"), msgspec.structs.replace(view(left_ms=1_500), lives=False)
    assert not watch.saw(view(), 0, 0)
    assert not watch.saw(silent, 3 * S, 3 * S)
    assert not watch.saw(silent, 4 * S - 1, 4 * S)
    assert watch.saw(silent, 4 * S, 4 * S)


def test_a_session_that_is_there_again_counts_as_never_ended():
    watch, gone = Watch("a"), msgspec.structs.replace(view(left_ms=1_500), lives=False)
    assert not watch.saw(view(), 0, 0)
    assert not watch.saw(gone, S, S)
    assert not watch.saw(view(left_ms=3_000), 2 * S, 2 * S)
    assert not watch.saw(gone, 3 * S, 3 * S)
    assert not watch.saw(gone, 3_900_000_000, 3_900_000_000)
    assert watch.saw(gone, 4 * S, 4 * S)


def test_looks_are_frequent_and_one_falls_on_the_moment_at_which_the_lease_is_due():
    watch = Watch("a")
    assert not watch.saw(view(), 0, 0)
    assert watch.next_s(0) == 0.2
    assert not watch.saw(view(left_ms=100), 3_900_000_000, 3_900_000_000)
    assert watch.next_s(3_900_000_000) == 0.1
    assert not watch.saw(view(left_ms=-1), 3_999_000_000, 3_999_000_000)
    assert watch.next_s(3_999_000_000) == 0.05


def test_each_renewal_that_is_seen_begins_the_patience_anew():
    watch = Watch("a")
    assert not watch.saw(view(left_ms=-1), 0, 0)
    assert not watch.saw(view(renewal="8", left_ms=-1), 10 * S, 10 * S)
    assert not watch.saw(view(renewal="8", left_ms=-1), 13 * S, 13 * S)
    assert watch.saw(view(renewal="8", left_ms=-1), 14 * S, 14 * S)


def test_a_lease_that_never_runs_out_and_never_moves_is_taken_in_the_end():
    watch = Watch("a")
    assert not watch.saw(view(left_ms=10**9), 0, 0)
    assert not watch.saw(view(left_ms=10**9), 14 * S, 14 * S)
    assert watch.saw(view(left_ms=10**9), 15 * S, 15 * S)


class Story:
    """One leader on a fake lease, in virtual time."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.ms = lambda: round(loop.time() * 1_000)
        self.row = Row(self.ms)
        self.lease = FakeLease(self.row, "a")
        self.row.take(self.row.view(), "a", "a/1")
        self.term = Term(self.ns())
        self.lost: list[str] = []
        self.leadership = Leadership(self.lease, self.term, self.ns, self.lost.append)

    def ns(self) -> int:
        return self.ms() * 1_000_000

    def objection(self) -> str:
        return self.term.objection(self.ns())


def run(story) -> None:
    async def main() -> None:
        one = Story()
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(one.leadership.keep())
            await story(one)
            keeping.cancel()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_renewals_keep_the_term_good():
    async def story(one: Story) -> None:
        for _ in range(600):
            await asyncio.sleep(0.1)
            assert one.objection() == ""
        assert 50 <= int(one.row.view().renewal) <= 62

    run(story)


def test_a_database_that_hangs_ends_the_right_to_send_and_its_return_gives_it_back():
    async def story(one: Story) -> None:
        await asyncio.sleep(10)
        one.lease.hangs = True
        await asyncio.sleep(4.1)
        assert one.objection()
        assert one.term.reducing_objection(one.ns()) == ""
        one.lease.hangs = False
        await asyncio.sleep(3)
        assert one.objection() == ""
        assert one.lost == []

    run(story)


def test_a_database_that_is_away_is_asked_again_each_second():
    async def story(one: Story) -> None:
        one.lease.away = True
        await asyncio.sleep(60)
        assert one.objection()
        one.lease.away = False
        await asyncio.sleep(1.2)
        assert one.objection() == ""

    run(story)


def test_a_renewal_that_fails_once_is_tried_again_at_once():
    """A leader that was held up for 3 s has lost its session, and little time to tell it lives."""

    async def story(one: Story) -> None:
        await asyncio.sleep(0.5)
        one.lease.away = True
        await asyncio.sleep(0.52)  # one renewal has failed
        one.lease.away = False
        renewals = one.row.view().renewal
        await asyncio.sleep(0.1)
        assert one.row.view().renewal != renewals

    run(story)


def test_a_lease_that_another_has_taken_is_told_once_and_never_asked_for_again():
    async def story(one: Story) -> None:
        await asyncio.sleep(2)
        one.row.take(one.row.view(), "b", "b/1")
        await asyncio.sleep(5)
        assert one.lost == ["another node has taken the lease"]
        assert one.row.holder == "b/1"
        assert "leads no more" in one.objection()

    run(story)


def test_what_the_store_refuses_ends_the_term_before_the_next_renewal():
    async def story(one: Story) -> None:
        one.leadership.end("the store knows a newer epoch")
        assert "newer epoch" in one.objection()
        await asyncio.sleep(0.01)
        assert one.lost == ["the store knows a newer epoch"]

    run(story)


def test_the_gate_asks_the_term_at_each_look(tmp_path):
    gate, now = Gate(tmp_path), [10 * S]
    term = Term(10 * S)
    gate.lead_by(lambda: term.objection(now[0]), lambda: term.reducing_objection(now[0]))
    assert not gate.closed
    assert gate.bars_reducing() is None
    now[0] = 20 * S
    assert gate.closed
    assert not gate.stopped
    assert "lease was renewed 10.0 s ago" in gate.why
    assert "lease" in (gate.bars_reducing() or "")
    term.renewed(20 * S)
    assert not gate.closed
    gate.close()
    term.lose("gone")
    assert gate.why == "the emergency stop has closed the gate"
    gate.lead_by(None, None)
    assert gate.bars_reducing() is None
    assert gate.stopped
