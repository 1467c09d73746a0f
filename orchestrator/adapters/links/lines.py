"""Lines over a socket of this machine: a pair shared with a child, or one in the state folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Generator
from pathlib import Path
from typing import cast

from orchestrator.model.agent_words import LINE_DOWN_MAX, LINE_MAX
from orchestrator.model.links import LinkEnd, OpenLink, Peer

_BEHIND_MAX = 64 * 1024 * 1024  # unsent bytes, beyond which the other end is given up
_WINDOW_S = 0.1
_WINDOW_BYTES = 128 * 1024  # read from one agent in a window; then it waits for the next
_STRANGERS_MAX = 64
_NAME_MAX = 104


class LineLink(asyncio.Protocol):
    """One end of a socket. Whoever floods is read no faster than the bound (SAFETY K8)."""

    def __init__(
        self, opened: OpenLink, *, peer: Peer | None, where: str, line_max: int, bounded: bool
    ) -> None:
        self._opened = opened
        self._peer = peer
        self._where = where
        self._line_max = line_max
        self._bounded = bounded
        self._transport: asyncio.Transport | None = None
        self._end: LinkEnd | None = None
        self._rest = bytearray()
        self._read = 0
        self._window: asyncio.TimerHandle | None = None

    @property
    def peer(self) -> Peer | None:
        return self._peer

    @property
    def where(self) -> str:
        return self._where

    # -- the other side -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._end = self._opened(self)

    def data_received(self, data: bytes) -> None:
        if self._bounded:
            self._count(len(data))
        self._rest += data
        lines = self._rest.split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if self._end is None:
                return
            if len(line) > self._line_max:
                self._cut(f"a line of more than {self._line_max} bytes")
                return
            if line:
                self._end.took(bytes(line))
        if len(self._rest) > self._line_max:
            self._cut(f"a line of more than {self._line_max} bytes")

    def _count(self, size: int) -> None:
        self._read += size
        if self._window is None:
            self._window = asyncio.get_running_loop().call_later(_WINDOW_S, self._next_window)
        if self._read > _WINDOW_BYTES and self._transport is not None:
            self._transport.pause_reading()

    def _next_window(self) -> None:
        self._window = None
        paused, self._read = self._read > _WINDOW_BYTES, 0
        if paused and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._window is not None:
            self._window.cancel()
        self._transport = None
        self._tell_gone("the connection ended" if exc is None else str(exc))

    # -- our side -------------------------------------------------------------------------------

    def send(self, line: bytes) -> bool:
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > _BEHIND_MAX:
            self._cut("it does not read what it is sent")
            return False
        transport.write(line + b"\n")
        return True

    def close(self) -> None:
        """What was sent still goes out, if it is read."""
        if self._transport is not None:
            self._transport.close()

    def _cut(self, why: str) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._tell_gone(why)

    def _tell_gone(self, why: str) -> None:
        end, self._end = self._end, None
        if end is not None:
            end.gone(why)


class SocketPairs:
    """Links to child processes: the socket is inherited, so nobody else can hold its end."""

    async def pair(self, peer: Peer, opened: OpenLink) -> int:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.create_connection(
            lambda: LineLink(
                opened, peer=peer, where="process", line_max=LINE_MAX, bounded=True
            ),
            sock=ours,
        )  # fmt: skip
        return theirs.detach()


class FolderSocket:
    """A socket in the state folder, for its owner only: agents that were started by hand."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def run(self, opened: OpenLink) -> None:
        """Runs until cancelled. OSError when the socket cannot be made."""
        listener = _listen(self._path)
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(
            lambda: LineLink(
                opened, peer=None, where="remote", line_max=LINE_MAX, bounded=True
            ),
            sock=listener,
        )  # fmt: skip
        try:
            await server.serve_forever()
        finally:
            server.close()  # its name is left: who comes too late is told that nobody listens


def _listen(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # of an earlier life: the state folder is locked, so nobody serves it
    listener = socket.socket(socket.AF_UNIX)
    try:
        with _short(path) as name:
            listener.bind(name)
        os.chmod(path, 0o600)
        listener.listen(_STRANGERS_MAX)
    except OSError as exc:
        listener.close()
        raise OSError(f"the socket for agents cannot be made at {path}: {exc}") from exc
    listener.setblocking(False)
    return listener


@contextlib.contextmanager
def _short(path: Path) -> Generator[str]:
    """A name of the path that fits into a socket's address, which takes 107 bytes."""
    if len(os.fsencode(path)) < _NAME_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def connect_path(path: Path, opened: OpenLink) -> None:
    """As an agent. OSError names the path."""
    loop = asyncio.get_running_loop()
    try:
        with _short(path) as name:
            await loop.create_unix_connection(lambda: _agents_end(opened), name)
    except OSError as exc:
        raise OSError(
            f"no service listens at {path} ({exc.strerror}); is it running, and does its "
            '[agents.ROLE] say where = "remote"?'
        ) from exc


async def connect_inherited(descriptor: int, opened: OpenLink) -> None:
    """As a child process, over the socket that was inherited."""
    inherited = socket.socket(fileno=descriptor)
    inherited.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: _agents_end(opened), sock=inherited)


def _agents_end(opened: OpenLink) -> LineLink:
    return LineLink(opened, peer=None, where="service", line_max=LINE_DOWN_MAX, bounded=False)
