"""One door for everything that a person should know: at once, once, and never lost in silence.

The first alert of a key goes out in the same turn as its cause. Repeats within a short while are
counted and told together; a flood of different ones is cut, and says how many it was. All of them
stand in the journal in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import structlog

from orchestrator.model.facts import AlertSent, Fact
from orchestrator.model.ports import AlertSink, Clock
from orchestrator.model.safety import Alert, Severity
from orchestrator.model.time import NS_PER_S

log = structlog.get_logger()

# Repeats of a key are held back so long; while it goes on repeating, twice as long each time.
HOLD_S = 10.0
HOLD_MAX_S = 300.0
# So many go out in a minute, by weight; what is more is counted and told in one.
A_MINUTE = {Severity.INFO: 20, Severity.WARNING: 60, Severity.CRITICAL: 200}
KEYS_MAX = 1_000
_LOOK_S = 1.0
_RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


class _Held:
    """A key that went out lately; `last` is the newest that was held back, `count` of how many."""

    __slots__ = ("count", "hold_s", "last", "sent", "until_ns")

    def __init__(self, sent: Alert, until_ns: int) -> None:
        self.sent = sent
        self.hold_s = HOLD_S
        self.until_ns = until_ns
        self.count = 0
        self.last = sent


class Alerts:
    """`note` writes down what became of each; `send` never blocks and never raises."""

    def __init__(
        self, sinks: Sequence[AlertSink], clock: Clock, note: Callable[[Fact], None]
    ) -> None:
        self._sinks = tuple(sinks)
        self._clock = clock
        self._note = note
        self._held: dict[str, _Held] = {}
        self._minute_ns = clock.mono_ns()
        self._this_minute = dict.fromkeys(Severity, 0)
        self._cut = dict.fromkeys(Severity, 0)
        self.sent = 0
        self.failed = 0
        self.held_back = 0  # told later in a count
        self.cut = 0  # told as a number only

    # -- the way out ----------------------------------------------------------------------------

    def send(self, alert: Alert) -> None:
        """Now, or counted for later."""
        held = self._held.get(alert.key)
        now = self._clock.mono_ns()
        if held is not None and now < held.until_ns and not _graver(alert, held.sent):
            held.count += 1
            held.last = alert
            self.held_back += 1
            return
        if held is not None and held.count:
            alert = _with_repeats(alert, held.count)
        self._remember(alert, now, held)
        self._out(alert, 1 if held is None else held.count + 1)

    def _remember(self, alert: Alert, now: int, before: _Held | None) -> None:
        if len(self._held) >= KEYS_MAX and alert.key not in self._held:
            self._forget_oldest()
        held = self._held[alert.key] = _Held(alert, now + int(HOLD_S * NS_PER_S))
        if before is not None and before.count:
            held.hold_s = min(2 * before.hold_s, HOLD_MAX_S)
            held.until_ns = now + int(held.hold_s * NS_PER_S)

    def _forget_oldest(self) -> None:
        """The one that is held back no longer, or the first; what it held is told now."""
        key = next(iter(self._held))
        held = self._held.pop(key)
        if held.count:
            self._out(_with_repeats(held.last, held.count), held.count)

    def _out(self, alert: Alert, times: int) -> None:
        if self._this_minute[alert.severity] >= A_MINUTE[alert.severity]:
            self._cut[alert.severity] += times
            self.cut += times
            return
        self._this_minute[alert.severity] += 1
        self.pass_on(alert, times)

    def pass_on(self, alert: Alert, times: int = 1, *, recorded: bool = True) -> None:
        """To every sink, whatever went out before. Not `recorded` after a life's last record."""
        for sink in self._sinks:
            failure = _handed_over(sink, alert)
            if failure:
                self.failed += 1
            else:
                self.sent += 1
            if recorded:
                self._note(
                    AlertSent(key=alert.key, channel=sink.name, times=times, failure=failure)
                )

    # -- time goes by ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Runs until cancelled: tells what was held back, and what was cut."""
        try:
            while True:
                await self._clock.sleep(_LOOK_S)
                self.look()
        finally:
            self.flush()

    def look(self) -> None:
        """What has waited long enough goes out."""
        now = self._clock.mono_ns()
        if now - self._minute_ns >= 60 * NS_PER_S:
            self._minute_ns = now
            self._this_minute = dict.fromkeys(Severity, 0)
            self._tell_cut()
        for key, held in list(self._held.items()):
            if now < held.until_ns:
                continue
            if not held.count:
                del self._held[key]
                continue
            alert, count = _with_repeats(held.last, held.count), held.count
            held.count, held.hold_s = 0, min(2 * held.hold_s, HOLD_MAX_S)
            held.until_ns = now + int(held.hold_s * NS_PER_S)
            self._out(alert, count)

    def _tell_cut(self) -> None:
        for severity, count in self._cut.items():
            if count:
                self._cut[severity] = 0
                self._this_minute[severity] += 1
                self.pass_on(
                    Alert(
                        key=f"alerts.cut:{severity}", severity=severity, at_ns=self._clock.now(),
                        title=f"{count} more alerts ({severity})",
                        text="they came too quickly to be sent one by one; the journal has all",
                    ),
                    count,
                )  # fmt: skip

    def flush(self) -> None:
        """At the end of a life: what is held back goes out now."""
        for held in list(self._held.values()):
            if held.count:
                self.pass_on(_with_repeats(held.last, held.count), held.count, recorded=False)
        self._held.clear()


def _handed_over(sink: AlertSink, alert: Alert) -> str:
    """Why a sink did not take it, or "". A sink's bug must not stop what raised the alert."""
    try:
        return sink.send(alert)
    except Exception as exc:  # noqa: BLE001 -- other sinks, and the caller, go on
        log.error("alert.failed", channel=sink.name, reason=f"{type(exc).__name__}: {exc}")  # noqa: TRY400
        return f"{type(exc).__name__}: {exc}"[:200]


def _graver(alert: Alert, than: Alert) -> bool:
    return _RANK[alert.severity] > _RANK[than.severity]


def _with_repeats(alert: Alert, count: int) -> Alert:
    return msgspec.structs.replace(alert, text=f"{alert.text} ({count} times since the last)")
