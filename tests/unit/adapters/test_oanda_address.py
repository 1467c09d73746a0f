"""What becomes of bytes that the machine holds when a connection to the venue is given up."""

from __future__ import annotations

import asyncio
import socket

import pytest

from orchestrator.adapters.oanda.address import connect, endpoint

_MORE_THAN_FITS = b"x" * 8_000_000  # into both kernels' buffers together


class Line(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport


async def test_what_was_not_delivered_when_a_connection_is_given_up_never_is():
    """A venue that reads nothing stands for one that cannot be reached: the kernel keeps our bytes.

    An orderly end, after them, would show that it goes on delivering when we are gone.
    """
    with socket.create_server(("127.0.0.1", 0)) as venue:
        line = Line()
        place = endpoint(f"http://127.0.0.1:{venue.getsockname()[1]}")
        await connect(place, line, 20)
        there, _ = venue.accept()
        with there:
            line.transport.write(_MORE_THAN_FITS)
            await asyncio.sleep(0)
            line.transport.abort()
            await asyncio.sleep(0)
            there.settimeout(20)
            with pytest.raises(ConnectionResetError):
                await asyncio.to_thread(_to_the_end, there)


def _to_the_end(there: socket.socket) -> None:
    while there.recv(65_536):
        pass
