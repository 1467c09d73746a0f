"""The audit trail at rest: verified, exported, pruned, vouched for; beside a service or without."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from orchestrator.adapters.store.archive import digest_of, read_lines, write_lines
from orchestrator.adapters.store.trail import Pruned, TrailSource
from orchestrator.adapters.trail.book import CheckpointFile, objection_to, read_file
from orchestrator.adapters.trail.key import PUBLIC, public_key_of
from orchestrator.kernel.audit import Broken, Links, first_prev
from orchestrator.main.audit_venue import Applied, compare_with_venue
from orchestrator.main.bars import Bar
from orchestrator.main.places import current_folder
from orchestrator.main.secrets import settings_in_force
from orchestrator.main.trails import archive_folder, open_alone, open_trail, store_place, write_down
from orchestrator.model.checkpoint import Checkpoint
from orchestrator.model.errors import OrchestratorError, StoreError
from orchestrator.model.journal import Record
from orchestrator.service.cli.trail import (
    BROKEN,
    GOOD,
    UNREADABLE,
    CheckpointReport,
    CompareReport,
    ExportReport,
    ExportWishes,
    KeyReport,
    PruneReport,
    PruneWishes,
    VerifyReport,
    VerifyWishes,
)
from orchestrator.service.seams import mono_ns, wall_ns
from orchestrator.settings import Settings

# Signatures of so many of the newest checkpoints are checked; all are compared with the trail.
_SIGNATURES_MAX = 1_000


class Trail:
    """Meets `service.cli.trail.TrailDesk`. Without `settings`, those of the environment."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._given = settings

    def _settings(self, state: Path | None) -> Settings:
        settings = self._given or settings_in_force()
        folder = state or current_folder(settings.state_dir)
        return settings.model_copy(update={"state_dir": folder})

    # -- verify -----------------------------------------------------------------------------------

    def verify(self, wishes: VerifyWishes) -> VerifyReport:
        """Never raises for a trail that is bad or cannot be read: the report says so."""
        began = mono_ns()
        source = str(wishes.jsonl or "")
        try:
            settings = self._settings(wishes.state)
            source = source or store_place(settings)
            report = _verified(settings, wishes, source)
        except (OrchestratorError, OSError, ValueError) as exc:
            report = VerifyReport(state=UNREADABLE, text=str(exc), source=source)
        took_s = (mono_ns() - began) / 1e9
        return msgspec.structs.replace(
            report, took_s=round(took_s, 3), records_per_s=round(report.records / max(took_s, 1e-9))
        )

    # -- export -----------------------------------------------------------------------------------

    def export(self, wishes: ExportWishes) -> ExportReport:
        """What is exported holds, or StoreError names the record that does not."""
        settings = self._settings(wishes.state)
        with closing(open_trail(settings)) as trail:
            last = trail.last()
            upto = min(wishes.to_seq or 2**62, 0 if last is None else last.seq)
            start = max(wishes.from_seq, _start_of(trail)[0] + 1)
            shown = Bar("exporting", upto - start + 1, quiet=wishes.quiet)
            written = _Counted(
                _holding(
                    _within(trail.records(start - 1, upto), wishes), start, _prev_of(trail, start)
                )
            )
            with shown:
                count = write_lines(wishes.target, shown.over(written))
        plain = str(wishes.target) == "-"
        return ExportReport(
            file=str(wishes.target), records=count, first=written.first, last=written.last,
            digest="" if plain else digest_of(wishes.target),
        )  # fmt: skip

    # -- prune ------------------------------------------------------------------------------------

    def prune(self, wishes: PruneWishes) -> PruneReport:
        """Whole segments only: up to a signed checkpoint, exported, read back; the service is off.

        Killed anywhere: the export is whole or not there, and the store has all or none of it gone.
        """
        settings = self._settings(wishes.state)
        report = self.verify(VerifyWishes(state=wishes.state, quiet=wishes.quiet))
        if report.state != GOOD:
            raise StoreError(f"nothing is pruned from a trail that does not verify: {report.text}")
        book = CheckpointFile(settings.state_dir)
        with closing(open_trail(settings)) as trail:
            bound = _bound(trail, book, wishes.before_ns)
            if isinstance(bound, str):
                return PruneReport(pruned=0, upto=0, file="", text=bound)
            start = _start_of(trail)[0] + 1
            pruned = _archived(trail, settings, bound, start, wishes)
        count = _delete(settings, pruned, compact=wishes.compact)
        return PruneReport(
            pruned=count, upto=pruned.upto, file=str(archive_folder(settings) / pruned.file),
            text=f"{count:,} records up to {pruned.upto:,} went into the archive",
        )  # fmt: skip

    # -- checkpoint and key -----------------------------------------------------------------------

    def checkpoint(self, state: Path | None) -> CheckpointReport:
        settings = self._settings(state)
        report = self.verify(VerifyWishes(state=state))
        if report.state != GOOD:
            raise StoreError(f"a trail that does not verify is not signed: {report.text}")
        if report.last == 0:
            raise StoreError("the trail has no record yet: there is nothing to sign")
        book = CheckpointFile(settings.state_dir)
        made = book.write(
            Checkpoint(
                origin=report.origin, seq=report.last, head=report.head, at_ns=wall_ns(),
                why="asked",
            )
        )  # fmt: skip
        return CheckpointReport(
            seq=made.seq, head=made.head, line=made.line().decode(),
            file=str(settings.state_dir / "checkpoints.jsonl"),
        )  # fmt: skip

    def key(self, state: Path | None) -> KeyReport:
        settings = self._settings(state)
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = CheckpointFile(settings.state_dir).key
        return KeyReport(public=key.public, file=str(settings.state_dir / PUBLIC))

    # -- compare ----------------------------------------------------------------------------------

    def compare(self, one: Path, other: Path) -> CompareReport:
        """StoreError where a folder has no journal."""
        from orchestrator.main.audit_compare import compare

        return compare(one, other)


# -- verifying -------------------------------------------------------------------------------------


def _verified(settings: Settings, wishes: VerifyWishes, source: str) -> VerifyReport:
    checkpoints, notes = _checkpoints(settings, wishes)
    bad = _bad_signature(settings, wishes, checkpoints)
    if bad:
        return VerifyReport(
            state=BROKEN, text=bad, source=source, checkpoints=len(checkpoints),
            notes=tuple(notes),
        )  # fmt: skip
    if wishes.jsonl is not None:
        found = _walk_export(wishes.jsonl, checkpoints, notes, quiet=wishes.quiet)
    else:
        found = _walk_store(settings, checkpoints, notes, wishes)
    latest = checkpoints[-1].seq if checkpoints else 0
    return msgspec.structs.replace(
        found, source=source, checkpoints=len(checkpoints), checkpoint_seq=latest,
        unvouched=max(0, found.last - latest), notes=(*found.notes, *notes),
    )  # fmt: skip


def _checkpoints(settings: Settings, wishes: VerifyWishes) -> tuple[list[Checkpoint], list[str]]:
    """Those that count, oldest first: from the last one on that a person has accepted as new."""
    notes: list[str] = []
    if wishes.checkpoint is not None:
        if not wishes.checkpoint.exists():
            raise StoreError(f"there is no file {wishes.checkpoint}")
        found = list(read_file(wishes.checkpoint))
        if not found:
            raise StoreError(f"{wishes.checkpoint} holds no checkpoint")
    elif wishes.jsonl is not None:
        found = []
    else:
        found = CheckpointFile(settings.state_dir).every()
    for at in range(len(found) - 1, -1, -1):
        if found[at].accepted:
            if at:
                notes.append(
                    f"{at} checkpoints before record {found[at].seq} count no more: "
                    f"{found[at].accepted}"
                )
            found = found[at:]
            break
    if not found:
        notes.append("no checkpoint: a trail cut at its end, or rewritten whole, would look good")
    return found, notes


def _bad_signature(
    settings: Settings, wishes: VerifyWishes, checkpoints: Sequence[Checkpoint]
) -> str:
    if not checkpoints:
        return ""
    key = wishes.key or public_key_of(settings.state_dir) or checkpoints[-1].key
    for each in checkpoints[-_SIGNATURES_MAX:]:
        wrong = objection_to(each, key)
        if wrong:
            return f"the checkpoint of record {each.seq} is not to be believed: {wrong}"
    return ""


def _walk_export(
    path: Path, checkpoints: Sequence[Checkpoint], notes: list[str], *, quiet: bool
) -> VerifyReport:
    size = path.stat().st_size
    shown = Bar("verifying", size, quiet=quiet)
    links: Links | None = None
    first, origin = 0, checkpoints[-1].origin if checkpoints else ""
    with shown:
        for record in read_lines(path, shown.at):
            if links is None:
                first = record.seq
                prev = first_prev(origin) if origin and first == 1 else record.prev
                links = Links(prev, first, _known(checkpoints, since=first))
            broken = links.take(record)
            if broken is not None:
                return _broken(broken, first, links, origin)
    if links is None:
        raise StoreError(f"{path} holds no record")
    if first > 1:
        notes.append(f"the export begins at record {first}: what came before is not in it")
    if checkpoints and checkpoints[-1].seq > links.seq - 1:
        notes.append(f"the export ends before the checkpoint of record {checkpoints[-1].seq}")
    return _good(first, links, origin)


def _walk_store(
    settings: Settings, checkpoints: Sequence[Checkpoint], notes: list[str], wishes: VerifyWishes
) -> VerifyReport:
    with closing(open_trail(settings)) as trail:
        origin = trail.installation_id()
        other = next((c for c in checkpoints if c.origin != origin), None)
        if other is not None:
            text = f"the checkpoint of record {other.seq} is of another installation"
            return VerifyReport(state=BROKEN, text=text, source="", origin=origin)
        pruned_to, prev = _start_of(trail)
        wrong = _bad_pruning(trail.prunings(), checkpoints)
        if wrong:
            return VerifyReport(
                state=BROKEN, text=wrong, source="", origin=origin, broken_seq=pruned_to
            )
        if pruned_to:
            notes.append(f"records up to {pruned_to} were pruned into the archive")
        last = trail.last()
        upto = max(0 if last is None else last.seq, checkpoints[-1].seq if checkpoints else 0)
        links = Links(
            prev or first_prev(origin), pruned_to + 1, _known(checkpoints, since=pruned_to + 1)
        )
        applied = Applied() if wishes.venue else None
        shown = Bar("verifying", upto - pruned_to, quiet=wishes.quiet)
        with shown:
            broken = _follow(links, shown.over(trail.records(pruned_to, upto)), applied)
    if broken is not None:
        return _broken(broken, pruned_to + 1, links, origin)
    report = _good(pruned_to + 1, links, origin)
    return report if applied is None else _with_venue(report, settings, applied)


def _follow(links: Links, records: Iterable[Record], applied: Applied | None) -> Broken | None:
    for record in records:
        broken = links.take(record)
        if broken is not None:
            return broken
        if applied is not None:
            applied.hear(record)
    return links.end()


def _known(checkpoints: Sequence[Checkpoint], *, since: int) -> Mapping[int, bytes]:
    return {c.seq: bytes.fromhex(c.head) for c in checkpoints if c.seq >= since}


def _bad_pruning(prunings: Sequence[Pruned], checkpoints: Sequence[Checkpoint]) -> str:
    """A pruning is believed only where a checkpoint vouches for its last record."""
    if not prunings or not checkpoints or prunings[-1].upto < checkpoints[0].seq:
        return ""
    last = prunings[-1]
    vouched = {(c.seq, c.head) for c in checkpoints}
    if (last.upto, last.hash.hex()) in vouched:
        return ""
    return f"records up to {last.upto} are gone, and no checkpoint vouches for the last of them"


def _broken(broken: Broken, first: int, links: Links, origin: str) -> VerifyReport:
    return VerifyReport(
        state=BROKEN, text=f"record {broken.seq}: {broken.what}", source="", origin=origin,
        first=first, last=links.seq - 1, records=links.seq - first, broken_seq=broken.seq,
    )  # fmt: skip


def _good(first: int, links: Links, origin: str) -> VerifyReport:
    count = links.seq - first
    text = f"{count:,} records hold" if count else "the trail has no record yet"
    return VerifyReport(
        state=GOOD, text=text, source="", origin=origin, first=first if count else 0,
        last=links.seq - 1, records=count, head=links.head.hex() if count else "",
    )  # fmt: skip


def _with_venue(report: VerifyReport, settings: Settings, applied: Applied) -> VerifyReport:
    found = asyncio.run(compare_with_venue(settings, applied))
    bad = next((each for each in found if not each.good), None)
    if bad is None:
        text = f"{report.text}, and {len(found)} accounts agree with the venue's log"
        return msgspec.structs.replace(report, venue=found, text=text)
    state = UNREADABLE if bad.problem else BROKEN
    text = f"account {bad.account_id} does not agree with the venue's log"
    return msgspec.structs.replace(
        report, venue=found, state=state, text=bad.problem or text
    )  # fmt: skip


# -- exporting and pruning -------------------------------------------------------------------------


def _start_of(trail: TrailSource) -> tuple[int, bytes]:
    found = trail.prunings()
    return (found[-1].upto, found[-1].hash) if found else (0, b"")


def _prev_of(trail: TrailSource, seq: int) -> bytes | None:
    """The hash that record `seq` must chain to; None where its predecessor is not there."""
    pruned_to, prev = _start_of(trail)
    if seq == pruned_to + 1:
        return prev or first_prev(trail.installation_id())
    before = next(trail.records(seq - 2, seq - 1), None)
    return None if before is None else before.hash


def _within(records: Iterable[Record], wishes: ExportWishes) -> Iterator[Record]:
    """Times in a journal may step back a little, so that a range is cut out by its first and last
    record within: an export has no holes.
    """
    begun = False
    for record in records:
        begun = begun or record.ts >= wishes.since_ns
        if not begun:
            continue
        if wishes.until_ns and record.ts >= wishes.until_ns:
            return
        yield record


def _holding(records: Iterable[Record], first: int, prev: bytes | None) -> Iterator[Record]:
    """Each as it is, after it was verified; `prev` is what record `first` must chain to."""
    links: Links | None = None
    for record in records:
        if links is None:
            # A range by time begins where it begins: only its own links can be followed.
            begins_there = prev is not None and record.seq == first
            links = Links(prev if begins_there and prev else record.prev, record.seq)
        broken = links.take(record)
        if broken is not None:
            raise StoreError(f"record {broken.seq} does not hold: {broken.what}")
        yield record


def _bound(trail: TrailSource, book: CheckpointFile, before_ns: int) -> Checkpoint | str:
    """The last checkpoint that may go, or why none may."""
    start = _start_of(trail)[0]
    needed = trail.needed_from()
    last = trail.last()
    limit = min(needed, 0 if last is None else last.seq)
    found = [c for c in book.every() if start < c.seq < limit and c.at_ns < before_ns]
    if found:
        return found[-1]
    return (
        f"no whole segment is older: nothing to prune after record {start} (records from "
        f"{limit} on are still needed by open trades, open orders or a snapshot)"
    )


def _archived(
    trail: TrailSource, settings: Settings, bound: Checkpoint, start: int, wishes: PruneWishes
) -> Pruned:
    """The export is written, flushed, and read back: only then is anything deleted."""
    folder = archive_folder(settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / f"journal-{start:012d}-{bound.seq:012d}.jsonl.gz"
    shown = Bar("archiving", bound.seq - start + 1, quiet=wishes.quiet)
    with shown:
        write_lines(
            file,
            shown.over(
                _holding(trail.records(start - 1, bound.seq), start, _prev_of(trail, start))
            ),
        )
    links: Links | None = None
    for record in read_lines(file):
        links = links or Links(record.prev, start)
        broken = links.take(record)
        if broken is not None:
            raise StoreError(f"{file} does not read back: record {broken.seq}: {broken.what}")
    if links is None or (links.seq - 1, links.head.hex()) != (bound.seq, bound.head):
        raise StoreError(f"{file} does not end where checkpoint {bound.seq} says")
    return Pruned(
        upto=bound.seq, hash=links.head, file=file.name, digest=digest_of(file), at_ns=wall_ns(),
        actor=wishes.actor,
    )  # fmt: skip


def _delete(settings: Settings, pruned: Pruned, *, compact: bool) -> int:
    """StoreLocked while a service works on the folder."""
    with closing(open_alone(settings)) as store:
        count = store.prune(pruned)
        text = f"{count} records up to {pruned.upto} went into {pruned.file}, sha256 "
        write_down(store, pruned.actor, "audit prune", text + pruned.digest)
        if compact:
            store.compact()
    return count


class _Counted:
    """Remembers the first and last number that went by."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = records
        self.first = 0
        self.last = 0

    def __iter__(self) -> Iterator[Record]:
        for record in self._records:
            self.first = self.first or record.seq
            self.last = record.seq
            yield record
