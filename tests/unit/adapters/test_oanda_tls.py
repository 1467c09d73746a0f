"""TLS: always verified; plain HTTP for this machine only; the gate's promise holds on it."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from pathlib import Path

import pytest
import uvloop

from orchestrator.adapters.oanda.address import LIVE, PRACTICE, endpoint
from orchestrator.model.errors import VenueUnreachable
from orchestrator.model.orders import Answered, NotSent
from tests.unit.adapters.oanda_server import (
    ACCOUNT,
    Outcomes,
    Script,
    order,
    send,
    serving,
    venue_at,
    warm,
)

KEYS = Path(__file__).parent / "oanda_tls"
CA = str(KEYS / "ca.pem")


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(KEYS / "server.pem", KEYS / "server.key")
    return context


async def test_an_order_goes_through_tls_with_our_own_authority():
    script = Script()
    async with serving(script, server_context()), venue_at(script.url, ca_file=CA) as venue:
        assert isinstance(await send(venue), Answered)


async def test_a_server_that_the_system_does_not_know_gets_no_byte(monkeypatch):
    """Not even when a variable of the environment names its authority."""
    monkeypatch.setenv("SSL_CERT_FILE", CA)
    script = Script()
    async with serving(script, server_context()), venue_at(script.url) as venue:
        outcome = await send(venue)
        with pytest.raises(VenueUnreachable, match="certificate"):
            await venue.account(ACCOUNT)
    assert isinstance(outcome, NotSent)
    assert "certificate" in outcome.reason
    assert script.requests == []


async def test_a_certificate_of_another_host_gets_no_byte():
    script = Script()
    async with serving(script, server_context()):
        url = script.url.replace("127.0.0.1", "localhost")
        async with venue_at(url, ca_file=CA) as venue:
            assert isinstance(await send(venue), NotSent)
    assert script.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://api-fxtrade.oanda.com",
        "http://192.168.1.4:8080",
        "http://localhost.evil.example",
        "ftp://127.0.0.1",
        "127.0.0.1:8000",
        "https://user:secret@host",
        "https://host/v3",
        "https://host?x=1",
        "",
    ],
)
def test_unsafe_addresses_are_refused_without_their_secrets(url):
    with pytest.raises(ValueError, match=r".") as refused:
        endpoint(url)
    assert "secret" not in str(refused.value)


def test_the_default_addresses_are_verified_tls():
    for url in (*PRACTICE, *LIVE):
        found = endpoint(url)
        assert found.tls is not None
        assert found.tls.verify_mode is ssl.CERT_REQUIRED
        assert found.tls.check_hostname
        assert found.authority == url.removeprefix("https://")


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_over_tls_too_the_bytes_leave_before_submit_returns(new_loop):
    def unread(script: Script) -> int:
        total = 0
        for peer in script.peers:
            fileno = os.dup(peer.writer.get_extra_info("socket").fileno())
            with socket.socket(fileno=fileno) as sock:
                try:
                    total += len(sock.recv(65536, socket.MSG_DONTWAIT | socket.MSG_PEEK))
                except BlockingIOError:
                    continue
        return total

    async def scene() -> None:
        script = Script()
        at_gate: list[int] = []

        def gate() -> None:
            at_gate.append(unread(script))

        async with serving(script, server_context()), venue_at(script.url, ca_file=CA) as venue:
            await warm(venue)
            await asyncio.sleep(0.02)  # session tickets have come
            outcomes = Outcomes()
            venue.submit(order(), gate, outcomes.done())
            assert at_gate == [0]
            assert unread(script) > len(order().body)
            assert isinstance((await outcomes.wait())[0], Answered)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scene())
