"""Two gates are never open at once, whatever nodes, network and clocks do (SAFETY H1, H2, INV-13).

Nodes run the service's own `Term` and `Watch` against one row, in virtual time. Hypothesis chooses
when a node is killed, frozen or cut off, how long messages travel, and how the database's clock
steps. After each event the judge counts the nodes whose gate would let an order out, frozen ones
included: they may wake at any moment.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model.leading import LeaseView
from orchestrator.service.leader import RENEW_S, Term, Watch
from tests.leases import Row

_END_MS = 60_000
_ASK_MS = 1_500
_LOOK_MS = 500


@dataclass(frozen=True)
class Trouble:
    """What befalls a node, or the database's clock (`step`), from when on, for how long."""

    kind: str
    node: int
    at_ms: int
    for_ms: int


@dataclass
class World:
    seed: int
    troubles: tuple[Trouble, ...]
    quick: bool = True
    now_ms: int = 0
    _order: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self.row = Row(self._database_ms)
        self.nodes = [Node(self, number) for number in range(3)]
        self.changes: list[tuple[int, int]] = []  # when, who: each new leadership

    def _database_ms(self) -> int:
        steps = [t for t in self.troubles if t.kind == "step" and t.at_ms <= self.now_ms]
        return self.now_ms + sum(t.for_ms * (1 if t.node else -1) for t in steps)

    def later(self, delay_ms: int, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_ms + delay_ms, next(self._order), do))

    def struck(self, kind: str, node: int) -> Trouble | None:
        return next(
            (t for t in self.troubles if t.kind == kind and t.node == node
             and t.at_ms <= self.now_ms < t.at_ms + t.for_ms), None,
        )  # fmt: skip

    def look(self) -> LeaseView:
        """Whether the leader's session lives may be told wrongly: no safety hangs on it."""
        view = self.row.view()
        if self.quick:
            return view
        return msgspec.structs.replace(view, lives=self.dice.random() < 0.5)

    def travel_ms(self) -> int:
        """Mostly quick, sometimes longer than anybody waits."""
        if self.quick:
            return self.dice.randrange(1, 20)
        return int(self.dice.choice((1, 5, 40, 400, 2_500)) * self.dice.random()) + 1

    def run(self) -> None:
        for node in self.nodes:
            self.later(self.dice.randrange(500), node.stand_by)
        for trouble in self.troubles:
            if trouble.kind == "kill":
                self.later(trouble.at_ms, self.nodes[trouble.node].die)
        while self._events and self.now_ms < _END_MS:
            self.now_ms, _, do = heapq.heappop(self._events)
            do()
            self.judge()

    def judge(self) -> None:
        now_ns = self.now_ms * 1_000_000
        may = [n.number for n in self.nodes if n.term is not None and not n.term.objection(now_ns)]
        assert len(may) <= 1, f"at {self.now_ms} ms nodes {may} may all send"

    def leader_at(self, at_ms: int) -> int | None:
        before = [who for at, who in self.changes if at <= at_ms]
        return before[-1] if before else None


class Node:
    """One node: stands by, leads, is killed and begins anew with the same folder."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.name = f"node-{number}"
        self.life = 0
        self.term: Term | None = None
        self._watch = Watch(self.name)

    @property
    def holder(self) -> str:
        return f"{self.name}/{self.life}"

    def die(self) -> None:
        self.life += 1
        self.term, self._watch = None, Watch(self.name)
        self.world.later(1_000, self.stand_by)

    def _awake(self, do: Callable[[], None]) -> None:
        """Now, or when this life thaws; never in a later one."""
        life = self.life

        def when_awake() -> None:
            if life != self.life:
                return
            frozen = self.world.struck("freeze", self.number)
            if frozen is not None:
                rest = frozen.at_ms + frozen.for_ms - self.world.now_ms
                self.world.later(rest, when_awake)
            else:
                do()

        when_awake()

    def _ask(self, ask: Callable[[], object], answered: Callable[[object], None]) -> None:
        """Over the network and back; None when no answer came in time. It may land all the same."""
        open_still = [True]

        def heard(answer: object) -> None:
            if open_still:
                open_still.clear()
                self._awake(lambda: answered(answer))

        def landed() -> None:
            if self.world.struck("cut", self.number) is None:
                answer = ask()
                self.world.later(self.world.travel_ms(), lambda: heard(answer))

        self.world.later(self.world.travel_ms(), landed)
        self.world.later(_ASK_MS, lambda: heard(None))

    def stand_by(self) -> None:
        began_ns, life = self.world.now_ms * 1_000_000, self.life

        def looked(view: object) -> None:
            ended_ns = self.world.now_ms * 1_000_000
            again = self.world.later
            if isinstance(view, LeaseView) and self._watch.saw(view, began_ns, ended_ns):
                self.take(view)
            else:
                again(self._look_ms(), lambda: self._awake_in(life, self.stand_by))

        self._awake(lambda: self._ask(self.world.look, looked))

    def _look_ms(self) -> int:
        return int(self._watch.next_s(self.world.now_ms * 1_000_000) * 1_000) + 1

    def _awake_in(self, life: int, do: Callable[[], None]) -> None:
        if life == self.life:
            self._awake(do)

    def take(self, seen: LeaseView) -> None:
        began_ns, holder, life = self.world.now_ms * 1_000_000, self.holder, self.life

        def taken(epoch: object) -> None:
            if epoch is None:
                self.world.later(_LOOK_MS, lambda: self._awake_in(life, self.stand_by))
                return
            self.term = Term(began_ns)
            self.world.changes.append((self.world.now_ms, self.number))
            self.world.later(int(RENEW_S * 1_000), lambda: self._awake_in(life, self.renew))

        # A dead process's message lands, too: the row has moved then, or its next life moves it.
        self._ask(lambda: self.world.row.take(seen, self.name, holder), taken)

    def renew(self) -> None:
        began_ns, holder, life = self.world.now_ms * 1_000_000, self.holder, self.life

        def renewed(kept: object) -> None:
            term = self.term
            if term is None:
                return
            if kept is None:
                term.unanswered(began_ns)
            elif kept:
                term.renewed(began_ns)
            else:
                term.lose("another leads")
                self.term, self._watch = None, Watch(self.name)
                self.world.later(_LOOK_MS, lambda: self._awake_in(life, self.stand_by))
                return
            self.world.later(int(RENEW_S * 1_000), lambda: self._awake_in(life, self.renew))

        self._ask(lambda: self.world.row.renew(holder), renewed)


_TROUBLES = st.lists(
    st.builds(
        Trouble, kind=st.sampled_from(("kill", "freeze", "cut", "step")), node=st.integers(0, 2),
        at_ms=st.integers(0, _END_MS), for_ms=st.integers(1, 20_000),
    ),
    max_size=12,
).map(tuple)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), troubles=_TROUBLES)
def test_two_nodes_may_never_send_at_once(seed, troubles):
    World(seed, troubles, quick=False).run()


def test_a_database_whose_clock_leaps_forward_makes_no_second_leader():
    for seed in range(20):
        leader = _leader_of(seed)
        cut = Trouble("cut", leader, 20_000, 10_000)
        World(seed, (cut, Trouble("step", 1, 20_100, 60_000))).run()


def test_a_database_whose_clock_was_put_back_gets_a_new_leader_all_the_same():
    leader = _leader_of(3)
    world = World(3, (Trouble("cut", leader, 20_000, _END_MS), Trouble("step", 0, 19_000, 60_000)))
    world.run()
    assert 20_000 < world.changes[-1][0] < 40_000


def _leader_of(seed: int) -> int:
    world = World(seed, ())
    world.run()
    found = world.leader_at(20_000)
    assert found is not None
    return found


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32), kind=st.sampled_from(("freeze", "cut")), number=st.integers(0, 2)
)
def test_another_leads_within_five_seconds_of_the_leaders_end(seed, kind, number):
    """On a quick network: his session is ended for its silence, and who stands by sees it."""
    world = World(seed, tuple(Trouble(kind, n, 20_000, _END_MS) for n in range(3) if n == number))
    world.run()
    led_at = [at for at, who in world.changes if at > 20_000]
    if world.leader_at(20_000) == number:
        assert 20_000 < min(led_at, default=_END_MS) <= 24_500, world.changes
    else:
        assert led_at == []


def test_a_node_that_comes_back_on_its_folder_leads_again_at_once():
    world = World(7, (Trouble("kill", 0, 20_000, 1),))
    world.nodes = world.nodes[:1]
    world.run()
    assert world.changes[-1] == (world.changes[-1][0], 0)
    assert world.changes[-1][0] <= 22_000
