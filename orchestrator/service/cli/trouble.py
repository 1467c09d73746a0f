"""How commands end: exit codes that scripts can rely on, and the troubles that lead to them."""

from __future__ import annotations

GOOD = 0
REFUSED = 1
USAGE = 2
NOT_REACHABLE = 3
UNAUTHORISED = 4
INTERRUPTED = 130

EXIT_CODES = (
    "Exit codes: 0 good, 1 refused or failed, 2 wrong usage, 3 service not reachable, "
    "4 not authorised, 130 ended by Ctrl-C."
)


class Trouble(Exception):
    """A command cannot go on; the text is for a person. `document` is what --json prints."""

    exit_code = REFUSED

    def __init__(self, text: str, document: bytes | None = None) -> None:
        super().__init__(text)
        self.document = document


class WrongUsage(Trouble):
    """The words of the command line cannot be used."""

    exit_code = USAGE


class NotReachable(Trouble):
    """Nothing (whole) came back from the service in time."""

    exit_code = NOT_REACHABLE


class NotAuthorised(Trouble):
    """The service does not accept the token."""

    exit_code = UNAUTHORISED


class Refusal(Trouble):
    """The service answered, and said no; `status` is the HTTP status."""

    def __init__(self, text: str, status: int, document: bytes | None = None) -> None:
        super().__init__(text, document)
        self.status = status
