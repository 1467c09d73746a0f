"""Rows to records and facts, and back, without loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, get_args

import msgspec

from orchestrator.model.errors import StoreConflict, StoreError
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

F = TypeVar("F")

DbRow: TypeAlias = tuple[Any, ...]  # what a column holds, its query says


# The word that stands for each type of facts in a record's `type`.
FACT_TAGS: dict[type[Any], str] = {kind: str(kind.__struct_config__.tag) for kind in get_args(Fact)}
_KNOWN = frozenset(FACT_TAGS.values())
_FACT: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(Fact)


def record_of(row: DbRow) -> Record:
    """From the columns seq ... hash, in the record's own order."""
    return Record(
        seq=row[0], ts=row[1], node=row[2], epoch=row[3], type=row[4], subject=row[5],
        corr=row[6], actor=row[7], data=row[8], prev=row[9], hash=row[10],
    )  # fmt: skip


def fact_of(record: Record) -> Fact:
    """StoreError naming the record when its type is not known here or it cannot be read."""
    if record.type not in _KNOWN:
        raise StoreError(
            f"record {record.seq} of the journal is a {record.type!r}, which this version does not"
            " know: it was written by a newer version; run that one"
        )
    try:
        return _FACT.decode(record.data)
    except (msgspec.MsgspecError, ValueError) as exc:
        raise StoreError(f"record {record.seq} ({record.type}) cannot be read: {exc}") from exc


def read(kind: type[F], seq: int, data: bytes) -> F:
    """A fact of a known type. StoreError naming the record when it is another, or unreadable."""
    try:
        fact = _FACT.decode(data)
    except (msgspec.MsgspecError, ValueError) as exc:
        raise StoreError(f"record {seq} of the journal cannot be read: {exc}") from exc
    if not isinstance(fact, kind):
        raise StoreError(f"record {seq} is no {kind.__name__}, as the projections say")
    return fact


def refuse_break(head: Record | None, records: Sequence[Record], facts: Sequence[Fact]) -> None:
    """StoreConflict for what does not continue the journal whose last record is `head`."""
    if len(records) != len(facts):
        raise StoreConflict(f"{len(records)} records for {len(facts)} facts")
    seq = head.seq if head is not None else 0
    if head is not None and records[0].prev != head.hash:
        raise StoreConflict(f"the records do not continue record {seq}: another chain")
    for record, fact in zip(records, facts, strict=True):
        seq += 1
        if record.seq != seq:
            raise StoreConflict(f"the next record is {seq}, not {record.seq}")
        if record.type != FACT_TAGS.get(type(fact)):
            raise StoreConflict(f"record {seq} says {record.type} of a {type(fact).__name__}")
