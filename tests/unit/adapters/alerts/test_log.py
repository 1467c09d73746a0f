"""Alerts in the log and in memory."""

from __future__ import annotations

import structlog
from structlog.testing import capture_logs

from orchestrator.adapters.alerts.log import LogAlerts
from orchestrator.model.safety import Severity
from tests.unit.adapters.store import samples


def test_an_alert_is_a_line_of_its_severity() -> None:
    with capture_logs() as lines:
        alerts = LogAlerts()
        for severity in Severity:
            alerts.send(samples.alert(severity, severity.value).alert)
    assert [(line["log_level"], line["key"]) for line in lines] == [
        ("info", "info"),
        ("warning", "warning"),
        ("critical", "critical"),
    ]
    assert {line["event"] for line in lines} == {"alert.raised"}
    assert alerts.sent == dict.fromkeys(Severity, 1)


def test_the_latest_are_kept_newest_first_and_bounded() -> None:
    with capture_logs():
        alerts = LogAlerts(keep=2)
        for key in "abc":
            alerts.send(samples.alert(key=key).alert)
    assert [alert.key for alert in alerts.recent()] == ["c", "b"]


def test_a_broken_log_stops_no_alert() -> None:
    def broken(*_: object) -> None:
        raise OSError("no space left on device")

    structlog.configure(processors=[broken])
    try:
        alerts = LogAlerts()
        alerts.send(samples.alert().alert)
    finally:
        structlog.reset_defaults()
    assert (alerts.failed, len(alerts.recent())) == (1, 1)
