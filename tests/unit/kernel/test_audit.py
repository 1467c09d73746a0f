"""The hash chain: every edit, deletion, insertion, swap and cut is found."""

import hashlib
import json
import typing
from decimal import Decimal

import msgspec
import pytest

from orchestrator.kernel.audit import (
    AuditChain,
    Broken,
    hash_of,
    tag_of,
    verify,
)
from orchestrator.model.facts import (
    DayStarted,
    Fact,
    IntentWritten,
    OperatorActed,
    PeakRaised,
    SignalEnded,
)
from orchestrator.model.journal import canonical, from_line, to_line
from orchestrator.model.signals import Outcome
from tests.unit.kernel.ledger_makers import ACCOUNT, NAME, intent

HOUSE = "installation-1"
ENDED = SignalEnded(
    signal_id="s1", account_id=ACCOUNT, outcome=Outcome.REJECTED, stage="checks", reason="C05 « »"
)
FACTS = (
    DayStarted(account_id=ACCOUNT, day="2026-01-05", equity=Decimal("1000.50")),
    PeakRaised(account_id=ACCOUNT, peak=Decimal("1E+3")),
    IntentWritten(intent=intent()),
    ENDED,
)


def chain_of(count=4):
    chain = AuditChain(HOUSE)
    records = ()
    for n in range(count):
        linked = chain.link([FACTS[n % len(FACTS)]], ts=1_000 + n, node="n1", epoch=2)
        chain.advance(linked)
        records += linked
    return list(records)


def test_a_record_is_hashed_exactly_as_safety_d1_says():
    record = chain_of(1)[0]
    prev = hashlib.sha256(b"installation-1").digest()
    text = (
        '{"actor":"kernel","corr":"","data":{"account_id":"101-001-1000001-001",'
        '"day":"2026-01-05","equity":"1000.50","type":"day.started"},"epoch":2,"node":"n1",'
        f'"prev":"{prev.hex()}","seq":1,"subject":"101-001-1000001-001","ts":1000,'
        '"type":"day.started","v":1}'
    ).encode()
    assert canonical(record) == text
    assert record.prev == prev
    assert record.hash == hashlib.sha256(b"tso-audit-1\n" + prev + text).digest()


def test_the_canonical_text_is_what_any_other_program_would_write():
    for record in chain_of():
        parsed = json.loads(canonical(record))
        again = json.dumps(parsed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert again.encode() == canonical(record)


def test_records_tell_whom_they_concern():
    records = chain_of()
    assert [record.type for record in records] == [
        "day.started", "peak.raised", "intent.written", "signal.ended",
    ]  # fmt: skip
    assert records[2].subject == NAME
    assert [record.corr for record in records] == ["", "", "s1", "s1"]
    assert msgspec.json.decode(records[3].data, type=SignalEnded) == ENDED


def test_several_facts_are_linked_at_once_as_one_by_one():
    at_once = AuditChain(HOUSE).link(FACTS, ts=5, node="n1", epoch=2)
    assert [record.seq for record in at_once] == [1, 2, 3, 4]
    assert verify(at_once, HOUSE) is None


def test_the_head_moves_only_when_the_records_are_durable():
    chain = AuditChain(HOUSE)
    lost = chain.link(FACTS[:1], ts=1, node="n1", epoch=2)
    again = chain.link(FACTS[1:2], ts=2, node="n1", epoch=2)
    assert (lost[0].seq, again[0].seq, chain.seq) == (1, 1, 0)
    chain.advance(again)
    assert (chain.seq, chain.head) == (1, again[0].hash)
    chain.advance(())
    assert chain.seq == 1


def test_records_of_another_head_are_a_bug():
    chain = AuditChain(HOUSE)
    lost = chain.link(FACTS[:1], ts=1, node="n1", epoch=2)
    chain.advance(chain.link(FACTS[1:2], ts=2, node="n1", epoch=2))
    with pytest.raises(AssertionError):
        chain.advance(lost)
    forged = msgspec.structs.replace(lost[0], seq=2)
    with pytest.raises(AssertionError):
        chain.advance([forged])


def test_a_chain_goes_on_after_a_restart():
    records = chain_of(3)
    chain = AuditChain(HOUSE, records[-1])
    records += chain.link(FACTS, ts=9, node="n2", epoch=3)
    assert verify(records, HOUSE) is None


def test_a_whole_chain_verifies_against_its_head():
    records = chain_of()
    assert verify(records, HOUSE) is None
    assert verify(iter(records), HOUSE, known=(4, records[3].hash)) is None
    assert verify(records, HOUSE, known=(2, records[1].hash)) is None
    assert verify([], HOUSE) is None


def test_a_segment_verifies_from_the_hash_before_it():
    records = chain_of()
    assert verify(records[2:], HOUSE, from_seq=3, prev=records[1].hash) is None
    wrong = verify(records[2:], HOUSE, from_seq=3, prev=records[0].hash)
    assert wrong == Broken(seq=3, what="does not chain to the record before it")


def test_another_houses_chain_is_not_ours():
    assert verify(chain_of(), "installation-2").seq == 1


EDITS = {
    "seq": 99, "ts": 1, "node": "x", "epoch": 9, "type": "x", "subject": "x", "corr": "x",
    "actor": "x", "data": b'{"type":"peak.raised"}', "prev": b"\0" * 32, "hash": b"\0" * 32,
}  # fmt: skip


@pytest.mark.parametrize("field", EDITS)
def test_an_edit_of_any_field_is_found_where_it_was_made(field):
    records = chain_of()
    records[1] = msgspec.structs.replace(records[1], **{field: EDITS[field]})
    assert verify(records, HOUSE).seq == 2


def test_an_edit_with_its_hash_made_anew_is_found_at_the_next_record():
    records = chain_of()
    edited = msgspec.structs.replace(records[1], actor="x")
    records[1] = msgspec.structs.replace(edited, hash=hash_of(edited))
    assert verify(records, HOUSE) == Broken(seq=3, what="does not chain to the record before it")


def test_deletion_insertion_and_swap_are_found():
    records = chain_of()
    assert verify([records[0], *records[2:]], HOUSE).seq == 2
    assert verify([*records[:2], records[1], *records[2:]], HOUSE).seq == 3
    assert verify([records[0], records[2], records[1], records[3]], HOUSE).seq == 2


def test_a_cut_is_found_against_a_known_head():
    records = chain_of()
    assert verify(records[:2], HOUSE) is None
    assert verify(records[:2], HOUSE, known=(4, records[3].hash)) == Broken(
        seq=3, what="records 3 to 4 are missing at the end"
    )
    assert verify([], HOUSE, known=(1, records[0].hash)).seq == 1


def test_a_rewritten_end_is_found_against_a_known_head():
    records = chain_of()
    chain = AuditChain(HOUSE, records[1])
    rewritten = [*records[:2], *chain.link((FACTS[0], FACTS[1]), ts=7, node="n1", epoch=2)]
    assert verify(rewritten, HOUSE) is None
    assert verify(rewritten, HOUSE, known=(4, records[3].hash)) == Broken(
        seq=4, what="differs from the checkpoint"
    )


def test_a_line_reads_back_to_the_same_record():
    for record in chain_of():
        line = to_line(record)
        assert b"\n" not in line
        assert from_line(line) == record
        assert from_line(line + b"\n") == record
        parsed = json.loads(line)
        again = json.dumps(parsed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert again.encode() == line


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: line[:-1],
        lambda line: line[:40],
        lambda line: line[:0],
        lambda line: b"[" + line + b"]",
        lambda line: b" " + line,
        lambda line: line.replace(b'"v":1', b'"v":2'),
        lambda line: line.replace(b'"v":1', b'"v":1,"w":1'),
        lambda line: line.replace(b'"seq":1,', b'"seq":1.0,'),
        lambda line: line.replace(b'"hash":"', b'"hash":"zz'),
        lambda line: line.replace(b'"actor":"kernel",', b""),
        lambda line: line.replace(b'"epoch":2', b'"epoch":"2"'),
        lambda line: b"\xff" + line,
    ],
)
def test_a_line_that_we_would_not_have_written_is_refused(spoil):
    with pytest.raises(ValueError, match=r"not a record|non-hexadecimal"):
        from_line(spoil(to_line(chain_of(1)[0])))


def _leaves(kind, seen):
    """All types that can stand inside a message."""
    arms = typing.get_args(kind)
    if arms:
        for arm in arms:
            yield from _leaves(arm, seen)
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if kind not in seen:
            seen.add(kind)
            for field in msgspec.structs.fields(kind):
                yield from _leaves(field.type, seen)
    elif isinstance(kind, typing.NewType):
        yield from _leaves(kind.__supertype__, seen)
    else:
        yield kind


def test_no_fact_can_carry_a_float():
    assert float not in set(_leaves(Fact, set()))
    assert Decimal in set(_leaves(Fact, set()))


def test_every_fact_has_a_name_of_its_own():
    kinds = typing.get_args(Fact)
    tags = [kind.__struct_config__.tag for kind in kinds]
    assert len(set(tags)) == len(kinds)
    assert all(isinstance(tag, str) and tag for tag in tags)
    assert tag_of(ENDED) == "signal.ended"


def test_each_fact_may_have_its_own_instant_and_none_may_lack_one():
    at_once = AuditChain(HOUSE).link(FACTS, ts=(5, 6, 7, 8), node="n1", epoch=2)
    assert [record.ts for record in at_once] == [5, 6, 7, 8]
    assert verify(at_once, HOUSE) is None
    with pytest.raises(ValueError, match="shorter"):
        AuditChain(HOUSE).link(FACTS, ts=(5, 6, 7), node="n1", epoch=2)


def test_a_persons_act_stands_under_the_persons_name():
    acted = OperatorActed(actor="anna", action="start", text="")
    assert AuditChain(HOUSE).link([acted], ts=1, node="n1", epoch=2)[0].actor == "anna"


def test_an_edited_record_is_named_with_what_is_wrong():
    records = chain_of()
    records[1] = msgspec.structs.replace(records[1], ts=9)
    assert verify(records, HOUSE) == Broken(seq=2, what="its content does not match its hash")
