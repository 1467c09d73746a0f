"""Leading by a lease: whether this node may write to the venue, and when another may (SAFETY 9).

`Term` and `Watch` are pure: they own no clock, and are proven over adversarial schedules. Their
instants are of one machine's clock that also counts the time in which it was suspended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from orchestrator.model.errors import LeaseError
from orchestrator.model.leading import LeaseView
from orchestrator.model.ports import Lease
from orchestrator.model.time import NS_PER_S, Instant

log = structlog.get_logger()

RENEW_S = 1.0
_RENEW_BOUND_S = 1.5
DEADLINE_NS = 3 * NS_PER_S
# Seen without a renewal for so long, a leader is past its deadline, whatever the database's clock.
PATIENCE_NS = 4 * NS_PER_S
# One whose session ended by itself is not waited for longer: nothing of it can renew but anew.
_GONE_NS = 3_500_000_000
# A session that ended later after its last renewal was ended by the database, for its silence: the
# leader may be frozen or cut off, and wake. Such a one is given the whole patience.
_SILENT_NS = 2_500_000_000
# Its renewals do not move, and it has not run out: the database's clock was put back.
_STUCK_NS = 15 * NS_PER_S
# A renewal that began so lately and failed: we are cut off, and have not slept.
_CUT_OFF_NS = 3 * NS_PER_S
_LOOK_NS, _LOOK_NS_MIN = NS_PER_S // 5, NS_PER_S // 20


class Term:
    """One node's leadership: good for 3 s from the beginning of the last renewal that succeeded.

    Between renewals it asks nobody: a process that was frozen, cut off or paused finds its
    deadline passed by itself, at the gate, before the next byte (H2).
    """

    def __init__(self, began_ns: Instant) -> None:
        """`began_ns`: when the taking of the lease was begun."""
        self._good_ns = began_ns
        self._cut_ns: Instant | None = None
        self._lost = ""

    @property
    def lost(self) -> str:
        """Why it is over for good; "" while it is not."""
        return self._lost

    def renewed(self, began_ns: Instant) -> None:
        self._good_ns = max(self._good_ns, began_ns)

    def unanswered(self, began_ns: Instant) -> None:
        """A renewal, begun then, could not be made: the database does not answer."""
        self._cut_ns = began_ns

    def lose(self, reason: str) -> None:
        """Another leads. There is no way back."""
        self._lost = self._lost or reason

    def objection(self, now_ns: Instant) -> str:
        """Why an order may not leave now; ""."""
        if self._lost:
            return f"this node leads no more: {self._lost}"
        if now_ns - self._good_ns > DEADLINE_NS:
            age_s = (now_ns - self._good_ns) / NS_PER_S
            return f"this node's lease was renewed {age_s:.1f} s ago, limit 3 s"
        return ""

    def reducing_objection(self, now_ns: Instant) -> str:
        """Why a cancel or a close may not leave now; "".

        Stricter than a limit, milder than for orders: a database that is away must not keep
        positions open (INV-10), so a node that has just found itself cut off goes on closing. One
        that slept, or was told that another leads, does not: the other one closes.
        """
        cut_ns = self._cut_ns
        if not self._lost and cut_ns is not None and now_ns - cut_ns <= _CUT_OFF_NS:
            return ""
        return self.objection(now_ns)


class Watch:
    """A standby's view of the lease. It may be taken when two clocks agree that it is over: the
    database's, by which it has run out, or its holder was silent for 3 s and had his session
    ended; and this node's own, by which it has not moved for 4 s, a second longer than its holder
    may send. A leader whose session ended sooner, so that he is dead or will come anew, is given
    his deadline and half a second.

    So neither a step of the database's clock nor one of ours makes two leaders: the taking itself
    is refused when a renewal has come after what was seen.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._last: tuple[str, str] | None = None
        self._since_ns: Instant = 0
        self._ended_after_ns: int | None = None  # how long after the renewal its session was gone
        self._due_ns: Instant = 0

    def saw(self, view: LeaseView, began_ns: Instant, ended_ns: Instant) -> bool:
        """Whether to try and take it now, after a look that took from then to then."""
        if view.vacant or view.node == self._node:
            return True  # ours: the lock of our folder proves that our former process is dead
        moved = (view.holder, view.renewal) != self._last
        if moved:
            self._last, self._since_ns = (view.holder, view.renewal), ended_ns
        if moved or view.lives:
            self._ended_after_ns = None
        if not view.lives and self._ended_after_ns is None:
            self._ended_after_ns = ended_ns - self._since_ns
        patience_ns = self._patience_ns(view)
        self._due_ns = self._since_ns + patience_ns
        if patience_ns == _STUCK_NS:
            self._due_ns = min(self._due_ns, ended_ns + view.left_ms * 1_000_000)
        return not moved and began_ns - self._since_ns >= patience_ns

    def _patience_ns(self, view: LeaseView) -> int:
        """From the last renewal that was seen."""
        if self._ended_after_ns is not None and self._ended_after_ns < _SILENT_NS:
            return _GONE_NS
        return PATIENCE_NS if view.left_ms <= 0 or not view.lives else _STUCK_NS

    def next_s(self, now_ns: Instant) -> float:
        """Until the next look: five times a second, and right when the lease may be taken."""
        rest_ns = self._due_ns - now_ns
        return max(_LOOK_NS_MIN, min(_LOOK_NS, rest_ns)) / NS_PER_S


class Leadership:
    """Keeps a term alive by renewals; `lost` hears once when it is over for good.

    `clock_ns` counts suspended time too; `sleep` is the machine's.
    """

    def __init__(
        self, lease: Lease, term: Term, clock_ns: Callable[[], Instant],
        lost: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._lease = lease
        self._term = term
        self._clock_ns = clock_ns
        self._tell_lost = lost
        self._away = False
        self._over = asyncio.Event()

    async def keep(self) -> None:
        """Returns when the lease is another's; else runs until cancelled."""
        while not self._term.lost:
            began_ns, was_away = self._clock_ns(), self._away
            await self._renew(began_ns)
            took_s = (self._clock_ns() - began_ns) / NS_PER_S
            # One that was held up has lost its session, and finds that out by using it: try anew.
            soon = self._away and not was_away
            await self._pause(max(0.05, (0.0 if soon else RENEW_S) - took_s))
        self._tell_lost(self._term.lost)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(0 if self._term.lost else seconds):
                await self._over.wait()
        except TimeoutError:
            return

    async def _renew(self, began_ns: Instant) -> None:
        try:
            async with asyncio.timeout(_RENEW_BOUND_S):
                kept = await self._lease.renew()
        except (LeaseError, TimeoutError) as exc:
            self._term.unanswered(began_ns)
            if not self._away:
                log.warning("lease.unanswered", reason=str(exc) or "no answer in time")
            self._away = True
            return
        if not kept:
            self._term.lose("another node has taken the lease")
            return
        self._term.renewed(began_ns)
        if self._away:
            log.info("lease.renewed")
        self._away = False

    def end(self, reason: str) -> None:
        """As told from elsewhere: the store has refused a write under our epoch."""
        self._term.lose(reason)
        self._over.set()
