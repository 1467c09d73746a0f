"""Alerts as log lines, and the latest of them in memory."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import structlog

from orchestrator.model.safety import Severity

if TYPE_CHECKING:
    from orchestrator.model.safety import Alert

_LEVELS = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "critical"}


class LogAlerts:
    """Meets `ports.AlertSink`. Keeps the last `keep` alerts, also those that no log took."""

    name = "log"

    def __init__(self, keep: int = 1000) -> None:
        self._log = structlog.get_logger("alerts")
        self._recent: deque[Alert] = deque(maxlen=keep)
        self.sent: dict[Severity, int] = dict.fromkeys(Severity, 0)
        self.failed = 0

    def send(self, alert: Alert) -> str:
        self._recent.append(alert)
        self.sent[alert.severity] += 1
        try:
            getattr(self._log, _LEVELS[alert.severity])(
                "alert.raised",
                key=alert.key,
                title=alert.title,
                text=alert.text,
                subject=alert.subject,
                at_ns=alert.at_ns,
            )
        except (OSError, ValueError) as exc:  # the stream is full or closed; the alert is kept
            self.failed += 1
            return f"the log cannot be written: {exc}"
        return ""

    def recent(self) -> tuple[Alert, ...]:
        """The latest, newest first."""
        return tuple(reversed(self._recent))
