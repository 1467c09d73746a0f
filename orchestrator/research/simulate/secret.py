"""INV-18: a secret of the house, told back by a bad line, and looked for where we write."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any, NoReturn

import msgspec
import structlog

from orchestrator.adapters.oanda.answers import error_without, without
from orchestrator.model.errors import VenueError, VenueRefused
from orchestrator.model.journal import Record
from orchestrator.model.orders import Answered, Rejected, WriteOutcome

# Of the form of OANDA's tokens.
TOKEN = "5ec2e7000000000000000000000000aa-5ec2e7000000000000000000000000bb"  # noqa: S105 -- nobody's
_ECHO = f" (Authorization: Bearer {TOKEN})"


def echoed(outcome: WriteOutcome) -> WriteOutcome:
    """A proxy has put our own header into its error; then what the client's adapter makes of it."""
    match outcome:
        case Answered():
            return outcome
        case Rejected():
            said = msgspec.structs.replace(outcome, message=outcome.message + _ECHO)
        case _:
            said = msgspec.structs.replace(outcome, reason=outcome.reason + _ECHO)
    return without(said, (TOKEN,))


def error_echoed(error: VenueError) -> VenueError:
    """As `echoed`, for a read."""
    if isinstance(error, VenueRefused):
        said: VenueError = VenueRefused(error.status, error.code, error.message + _ECHO)
    else:
        said = type(error)(f"{error}{_ECHO}")
    return error_without(said, (TOKEN,))


def told_in(records: Sequence[Record]) -> list[str]:
    """The records that tell the secret."""
    needle = TOKEN.encode()
    return [f"record {each.seq} ({each.type})" for each in records if needle in each.data]


class LogReader:
    """The last processor of the log: reads each line, and writes none."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(
        self, _logger: object, _name: str, event: MutableMapping[str, Any]
    ) -> NoReturn:  # fmt: skip
        if TOKEN in str(event):
            self.found.append(f"INV-18: the log line {event.get('event')} tells a secret")
        raise structlog.DropEvent
