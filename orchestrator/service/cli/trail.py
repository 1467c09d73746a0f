"""What the `audit` commands ask of this machine, and what they are told."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

GOOD = "good"
BROKEN = "broken"
UNREADABLE = "unreadable"


class VerifyWishes(msgspec.Struct, frozen=True, kw_only=True):
    """`state` None: the settings' folder. `jsonl`: an export instead of the store.

    `checkpoint`: a file of checkpoints kept elsewhere; `key`: the public key (hex) that signed.
    """

    state: Path | None = None
    checkpoint: Path | None = None
    jsonl: Path | None = None
    key: str = ""
    venue: bool = False
    quiet: bool = False


class VenueReport(msgspec.Struct, frozen=True, kw_only=True):
    """One account's transaction ids in the trail against the venue's log."""

    account_id: str
    watermark: int
    last: int
    compared: int
    missing: tuple[int, ...] = ()  # at the venue, and not in the trail
    unknown: tuple[int, ...] = ()  # in the trail, and not at the venue
    disorder: str = ""
    problem: str = ""  # why it could not be compared

    @property
    def good(self) -> bool:
        return not (self.missing or self.unknown or self.disorder or self.problem)


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """`state` good | broken | unreadable; `broken_seq` is the first record that does not hold.

    `unvouched`: records after the last checkpoint, whose cutting nobody would notice.
    """

    state: str
    text: str
    source: str
    origin: str = ""
    first: int = 0
    last: int = 0
    records: int = 0
    head: str = ""
    checkpoints: int = 0
    checkpoint_seq: int = 0
    unvouched: int = 0
    broken_seq: int | None = None
    notes: tuple[str, ...] = ()
    venue: tuple[VenueReport, ...] = ()
    took_s: float = 0.0
    records_per_s: int = 0

    @property
    def exit_code(self) -> int:
        return {GOOD: 0, BROKEN: 1}.get(self.state, 2)


class ExportWishes(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers are inclusive; instants are UTC nanoseconds, `until_ns` exclusive; 0: no bound."""

    target: Path
    state: Path | None = None
    from_seq: int = 1
    to_seq: int = 0
    since_ns: int = 0
    until_ns: int = 0
    quiet: bool = False


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    file: str
    records: int
    first: int
    last: int
    digest: str  # SHA-256 of the file, "" for standard output


class PruneWishes(msgspec.Struct, frozen=True, kw_only=True):
    """Records before `before_ns` may go, as far as whole segments allow."""

    before_ns: int
    state: Path | None = None
    actor: str = "local"
    compact: bool = False
    quiet: bool = False


class PruneReport(msgspec.Struct, frozen=True, kw_only=True):
    """`pruned` 0: nothing could go, `text` says why."""

    pruned: int
    upto: int
    file: str
    text: str


class KeyReport(msgspec.Struct, frozen=True, kw_only=True):
    public: str
    file: str


class CheckpointReport(msgspec.Struct, frozen=True, kw_only=True):
    seq: int
    head: str
    line: str  # to be kept elsewhere, as it is
    file: str


class CompareReport(msgspec.Struct, frozen=True, kw_only=True):
    """`text`: where two replays first differ. `rows`: how many of each kind were equal by then."""

    equal: bool
    text: str
    rows: dict[str, int] = {}


class TrailDesk(Protocol):
    """Met by the wiring. Errors that are for a person come as exceptions with plain texts."""

    def verify(self, wishes: VerifyWishes) -> VerifyReport: ...

    def export(self, wishes: ExportWishes) -> ExportReport: ...

    def prune(self, wishes: PruneWishes) -> PruneReport: ...

    def checkpoint(self, state: Path | None) -> CheckpointReport:
        """Make one now, of a trail that verifies."""
        ...

    def key(self, state: Path | None) -> KeyReport: ...

    def compare(self, one: Path, other: Path) -> CompareReport:
        """The orders of two replays, by their state folders."""
        ...
