"""Logs: one line per fact worth a look; readable on a terminal, JSON elsewhere."""

from __future__ import annotations

import logging
import sys

import msgspec
import structlog

from orchestrator.service.redaction import RedactingFormatter, Redactor

REDACT = Redactor()  # one for all lines of the process

_LEVELS = {
    "debug": logging.DEBUG, "info": logging.INFO,
    "warning": logging.WARNING, "error": logging.ERROR,
}  # fmt: skip


def set_up_logs(level: str) -> None:
    """Call once, before the first line. Lines go to standard error."""
    terminal = sys.stderr.isatty()
    renderer = (
        structlog.dev.ConsoleRenderer(colors=True, pad_event_to=24)
        if terminal
        else structlog.processors.JSONRenderer(serializer=_dumps)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            REDACT,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(RedactingFormatter(REDACT))
    logging.basicConfig(level=max(_LEVELS[level], logging.WARNING), handlers=[lines])


def _dumps(value: object, **_: object) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()
