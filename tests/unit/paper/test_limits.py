"""OANDA's limits by the second, a clock that is set, and streams whose lines are disturbed."""

from orchestrator.model.time import NS_PER_S
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.faults import Disturbance, Fault, Faults, spoilt
from orchestrator.paper.limits import Limits
from tests.unit.paper.desk import NOON


def test_in_any_second_there_are_120_requests_of_an_address_and_no_more():
    limits = Limits()
    admitted = [at / 100 for at in range(1000) if limits.admits_request("a", at / 100)]
    assert len(admitted) == 1000  # a hundred a second are never too many
    limits = Limits()
    admitted = [at / 300 for at in range(900) if limits.admits_request("a", at / 300)]
    for first in admitted:
        assert sum(first <= at < first + 1 for at in admitted) <= 120
    assert limits.admits_request("b", 3.0)  # each address for itself


def test_connections_and_streams_are_limited_and_ended_streams_make_room():
    limits = Limits()
    assert [limits.admits_connection("a", 0.1 * n) for n in range(4)] == [True, True, False, False]
    assert limits.admits_connection("a", 1.2)
    assert [limits.opens_stream("a") for _ in range(21)] == [True] * 20 + [False]
    limits.stream_ended("a")
    assert limits.opens_stream("a")
    assert not limits.opens_stream("a")


def test_a_clock_keeps_its_time_over_a_new_speed_and_a_jump():
    mono = [0]
    clock = VenueTime(NOON, 1.0, lambda: mono[0])
    mono[0] = 10 * NS_PER_S
    clock.set_speed(60.0)
    assert clock.now() == NOON + 10 * NS_PER_S
    mono[0] += NS_PER_S
    assert clock.now() == NOON + 70 * NS_PER_S
    clock.jump(3600 * NS_PER_S)
    assert clock.now() == NOON + 3670 * NS_PER_S
    assert clock.start_ns == NOON  # where the market began is told unchanged
    clock.set_speed(0.5)
    mono[0] += 4 * NS_PER_S
    assert clock.now() == NOON + 3672 * NS_PER_S


def test_heartbeats_are_neither_counted_nor_met_and_silence_takes_them_too():
    faults = Faults()
    stream = Disturbance(faults, "pricing.stream", "v3/accounts/1/pricing/stream")
    beat, lines = b'{"type":"HEARTBEAT"}\n', [b'{"n":%d}\n' % n for n in range(6)]
    faults.add(Fault(stream="drop", nth=2))
    assert stream.lines(beat + lines[0] + beat + lines[1] + beat, 0.0) == beat + lines[0] + beat * 2
    assert stream.idle
    faults.add(Fault(stream="silence", silence_ms=100))
    assert stream.lines(lines[2] + beat, 1.0) == b""
    assert stream.lines(beat, 1.05) == b""
    assert stream.lines(lines[3] + beat, 1.1) == lines[3] + beat
    assert stream.idle
    faults.add(Fault(operation="transactions.stream", stream="disconnect"))
    assert stream.lines(lines[4], 2.0) == lines[4]  # another stream's fault
    faults.add(Fault(stream="disconnect"))
    assert stream.lines(lines[5], 2.0) is None


def test_a_spoilt_answer_keeps_a_true_head_unless_it_is_cut():
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nRequestID: 1\r\n\r\n" + b'{"a":12}'
    for how in ("garbage", "empty", "html"):
        head, _, body = spoilt(whole, how).partition(b"\r\n\r\n")
        assert head.endswith(b"Content-Length: %d" % len(body))
        assert b"RequestID: 1" in head
    assert spoilt(whole, "cut") == whole[:-4]
