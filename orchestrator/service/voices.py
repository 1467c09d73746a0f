"""Who of several instances has the word: all hear the same, and would say it each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from orchestrator.model.base import Message
from orchestrator.model.outcomes import RiskAdvice
from orchestrator.model.ports import Clock
from orchestrator.model.signals import Role, Signal
from orchestrator.model.time import NS_PER_S
from orchestrator.service.remote import SAYS_PER_S, Remote
from orchestrator.service.seats import Seat

_KEPT_S = 5  # what a follower said is kept so long, for the case that it takes over


class Voices:
    """`said` is told what counts. `remotes`: all that are known just now."""

    def __init__(self, clock: Clock, remotes: Callable[[], Iterable[Remote]]) -> None:
        self._clock = clock
        self._remotes = remotes
        self._voices: dict[Role, Remote] = {}
        self.said: Callable[[Seat, Message], None] = _unwired

    def took(self, remote: Remote, message: Message) -> str:
        """What an instance says: heard if it has the word. Else why it may not say this, or ""."""
        objection = forged(remote.seat, message)
        if objection:
            return objection
        if self._voice(remote.seat.about.role) is remote:
            self.said(remote.seat, message)
        elif remote.seat.works:
            remote.kept.append((self._clock.mono_ns(), message))
        return ""

    def floods(self, remote: Remote) -> bool:
        """Counts one message; whether it is one too many for this second."""
        now = self._clock.mono_ns()
        gained = (now - remote.said_ns) * SAYS_PER_S / NS_PER_S
        remote.said_left, remote.said_ns = min(SAYS_PER_S, remote.said_left + gained), now
        if remote.said_left < 1:
            return True
        remote.said_left -= 1
        return False

    def _voice(self, role: Role) -> Remote | None:
        """The one instance whose unasked words count: all hear the same, and would say it twice."""
        standing = self._voices.get(role)
        if standing is not None and standing.link is not None and standing.seat.works:
            return standing
        found = sorted(
            (r for r in self._remotes() if r.seat.about.role is role and r.seat.works),
            key=lambda r: r.seat.instance,
        )
        if found:
            self._voices[role] = found[0]
        else:
            self._voices.pop(role, None)
        return found[0] if found else None

    def hand_on(self, role: Role) -> None:
        """What a follower said in the last seconds, and the lost voice perhaps did not, is heard.

        Signals carry ids that their content gives, so one that was heard already is refused (C04).
        """
        before = self._voices.get(role)
        voice = self._voice(role)
        if voice is None or voice is before:
            return
        now, kept = self._clock.mono_ns(), tuple(voice.kept)
        voice.kept.clear()
        for at_ns, message in kept:
            if now - at_ns <= _KEPT_S * NS_PER_S and isinstance(message, Signal):
                self.said(voice.seat, message)


def forged(seat: Seat, message: Message) -> str:
    """Why it may not say this, or ""."""
    if type(message) not in seat.about.says:
        return "said what it does not declare in `says`"
    if isinstance(message, Signal) and message.source.startswith("person:"):
        return f"said a signal in the name of {message.source[:60]!r}"
    if isinstance(message, RiskAdvice) and message.source != seat.about.role.value:
        return f"advised in the name of {message.source[:60]!r}"
    return ""


def _unwired(*_: object) -> None:
    raise AssertionError("the host of agents elsewhere is not wired")
