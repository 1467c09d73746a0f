"""Any tampering with any chain is found, and found where it is."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.kernel.audit import AuditChain, verify
from orchestrator.model.facts import OperatorActed
from orchestrator.model.journal import from_line, to_line

HOUSE = "installation-1"
facts = st.builds(
    OperatorActed, actor=st.text(max_size=5), action=st.text(max_size=5), text=st.text(max_size=20)
)
groups = st.lists(
    st.tuples(st.lists(facts, max_size=3), st.integers(0, 2**62)), min_size=1, max_size=5
)


def chain_of(batches):
    chain, records = AuditChain(HOUSE), []
    for entries, ts in batches:
        linked = chain.link(entries, ts=ts, node="n1", epoch=1)
        chain.advance(linked)
        records += linked
    return records


chains = groups.map(chain_of).filter(lambda records: len(records) >= 2)


@given(chains)
def test_a_chain_verifies_and_its_lines_read_back(records):
    assert verify(records, HOUSE, known=(len(records), records[-1].hash)) is None
    assert [from_line(to_line(record)) for record in records] == records


@given(chains, st.data())
def test_one_changed_byte_of_a_record_is_found_there(records, data):
    at = data.draw(st.integers(0, len(records) - 1))
    field = data.draw(st.sampled_from(["data", "prev", "hash"]))
    value = bytearray(getattr(records[at], field))
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    records[at] = msgspec.structs.replace(records[at], **{field: bytes(value)})
    assert verify(records, HOUSE).seq == at + 1


@given(chains, st.data())
def test_one_changed_field_of_a_record_is_found_there(records, data):
    at = data.draw(st.integers(0, len(records) - 1))
    field = data.draw(st.sampled_from(["node", "type", "subject", "corr", "actor", "ts", "epoch"]))
    old = getattr(records[at], field)
    other = st.integers(0, 2**62) if isinstance(old, int) else st.text(max_size=5)
    new = data.draw(other.filter(lambda value: value != old))
    records[at] = msgspec.structs.replace(records[at], **{field: new})
    assert verify(records, HOUSE).seq == at + 1


@given(chains, st.data())
def test_any_rearrangement_is_found_against_the_head(records, data):
    places = st.lists(st.integers(0, len(records) - 1), max_size=len(records) + 2)
    order = data.draw(places.filter(lambda found: found != list(range(len(records)))))
    spoilt = [records[at] for at in order]
    broken = verify(spoilt, HOUSE, known=(len(records), records[-1].hash))
    same = [at == n for n, at in enumerate(order)] + [False]
    assert broken.seq == min(same.index(False), len(records)) + 1


@given(chains, st.data())
def test_a_rewritten_end_is_found_against_the_head(records, data):
    keep = data.draw(st.integers(0, len(records) - 1))
    chain = AuditChain(HOUSE, records[keep - 1] if keep else None)
    forged = records[:keep]
    for record in records[keep:]:
        fact = msgspec.json.decode(record.data, type=OperatorActed)
        lie = msgspec.structs.replace(fact, text=fact.text + "!")
        linked = chain.link([lie], ts=record.ts, node=record.node, epoch=record.epoch)
        chain.advance(linked)
        forged += linked
    assert verify(forged, HOUSE) is None
    assert verify(forged, HOUSE, known=(len(records), records[-1].hash)).seq == len(records)
