"""The tree of our own exceptions; ordinary refusals are values, not exceptions.

OrchestratorError
├── VenueError                  the venue could not be asked, or answered nonsense
│   ├── VenueUnreachable        no byte was written: refused, DNS, TLS, connect time-out
│   ├── VenueSilent             asked, and no (whole) answer came in time
│   ├── VenueRefused            an HTTP status that is not success; status, code, message
│   └── VenueNonsense           an answer that cannot be read
├── StoreError                  a durable write or read failed
│   ├── StoreLocked             another service holds this state folder
│   ├── StoreFenced             another node leads: what this one writes is refused (H3)
│   └── StoreConflict           a key that is unique for ever is there already; never retried
├── LeaseError                  who leads could not be read or written: nobody knows now
├── BusError                    broadcast, and messages to and from agents elsewhere
│   ├── ListenerTooSlow         a listener did not keep up and lost its place
│   ├── BrokerAway              nothing was sent: not connected, or too much waits already
│   ├── BrokerSilent            sent, and no answer: its fate is unknown
│   └── BrokerRefused           the broker answered with an error
├── SecretError                 secrets could not be read from where they are kept
│   ├── SecretsAway             nobody answers, or nonsense: they may be read later
│   └── SecretsRefused          the login or the permission is wrong: a person must look
└── FeedError                   a replay file cannot be read: names the file and the line
"""

from __future__ import annotations


class OrchestratorError(Exception):
    """Base of all errors of ours."""


class VenueError(OrchestratorError):
    """The venue could not be asked, or answered nonsense."""


class VenueUnreachable(VenueError):
    """No byte of the request was written."""


class VenueSilent(VenueError):
    """The request was written (perhaps in part); no whole answer came in time."""


class VenueRefused(VenueError):
    """The venue answered with an error status."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(f"HTTP {status} {code} {message}".strip())
        self.status = status
        self.code = code
        self.message = message


class VenueNonsense(VenueError):
    """An answer that cannot be read."""


class StoreError(OrchestratorError):
    """A durable write or read failed."""


class StoreLocked(StoreError):
    """Another service holds this state folder."""


class StoreFenced(StoreError):
    """The store's epoch is no longer this node's: another one leads. Nothing was written."""


class StoreConflict(StoreError):
    """A key that is unique for ever exists already, or the journal's order is broken.

    Nothing was written. The same write will fail again: it is a bug's trace, not a disk's trouble.
    """


class LeaseError(OrchestratorError):
    """The lease, or the board of stops, could not be read or written."""


class BusError(OrchestratorError):
    """Broadcast of facts, and messages to and from agents elsewhere."""


class ListenerTooSlow(BusError):
    """The listener's queue was full: it lost its place. `last_seq`: the last record given."""

    def __init__(self, limit: int, last_seq: int) -> None:
        super().__init__(f"the listener fell {limit} events behind and was cut after {last_seq}")
        self.limit = limit
        self.last_seq = last_seq


class BrokerAway(BusError):
    """Nothing was sent: there is no connection to the broker, or too much waits for it already."""


class BrokerSilent(BusError):
    """It was sent, perhaps, and no answer came: whether the broker did it is unknown."""


class BrokerRefused(BusError):
    """The broker answered with an error; its first word is the kind (NOGROUP, NOPERM, ...)."""


class FeedError(OrchestratorError):
    """A replay file cannot be read; the text names the file, the line and why."""


class SecretError(OrchestratorError):
    """Secrets could not be read from where they are kept. The text never holds one."""


class SecretsAway(SecretError):
    """Nobody answers, or what answers is nonsense; what is known already stays good."""


class SecretsRefused(SecretError):
    """The login or the permission is wrong: trying again changes nothing."""
