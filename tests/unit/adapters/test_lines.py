"""Lines over sockets of this machine: whole, bounded, and told when the other end is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat

import pytest

from orchestrator.adapters.links import lines
from orchestrator.adapters.links.lines import (
    FolderSocket,
    SocketPairs,
    connect_inherited,
    connect_path,
)
from orchestrator.model.agent_words import LINE_MAX
from orchestrator.model.signals import Role
from tests.servers.waiting import until

PEER = (Role.LEARNING_SAFETY, 1)


class End:
    """Keeps what it is told."""

    def __init__(self, link) -> None:
        self.link = link
        self.lines: list[bytes] = []
        self.why: list[str] = []

    def took(self, line: bytes) -> None:
        self.lines.append(line)

    def gone(self, why: str) -> None:
        self.why.append(why)


class Ends(list):
    def __call__(self, link) -> End:
        self.append(End(link))
        return self[-1]


async def test_a_pair_carries_lines_both_ways_and_the_link_knows_its_peer():
    ours, theirs = Ends(), Ends()
    await connect_inherited(await SocketPairs().pair(PEER, ours), theirs)
    assert (ours[0].link.peer, ours[0].link.where) == (PEER, "process")
    assert ours[0].link.send(b"down")
    for word in (b"one", b"", b"two"):
        assert theirs[0].link.send(word)
    await until(lambda: len(ours[0].lines) == 2 and theirs[0].lines)
    assert (ours[0].lines, theirs[0].lines) == ([b"one", b"two"], [b"down"])
    theirs[0].link.close()
    await until(lambda: ours[0].why)
    assert not ours[0].link.send(b"late")
    assert len(ours[0].why) == 1


async def test_a_line_that_has_no_end_is_cut_off():
    ours = Ends()
    theirs = socket.socket(fileno=await SocketPairs().pair(PEER, ours))
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    with theirs, contextlib.suppress(OSError):  # it is closed while it writes
        for _ in range(100):
            await loop.sock_sendall(theirs, b"x" * 65_536)
    assert ours[0].why == [f"a line of more than {LINE_MAX} bytes"]
    assert ours[0].lines == []


async def test_who_floods_is_read_no_faster_than_the_bound(monkeypatch):
    monkeypatch.setattr(lines, "_WINDOW_S", 3600.0)
    ours = Ends()
    theirs = socket.socket(fileno=await SocketPairs().pair(PEER, ours))
    theirs.setblocking(False)
    with theirs:
        sent = 0
        for _ in range(2_000):
            try:
                sent += theirs.send(b"y" * 999 + b"\n")
            except BlockingIOError:
                await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        read = sum(len(line) + 1 for line in ours[0].lines)
        assert lines._WINDOW_BYTES <= read < lines._WINDOW_BYTES + 600_000
        assert read < sent
        ours[0].link.close()
        await until(lambda: ours[0].why)


async def test_who_reads_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(lines, "_BEHIND_MAX", 1_000_000)
    ours = Ends()
    theirs = socket.socket(fileno=await SocketPairs().pair(PEER, ours))
    with theirs:
        while ours[0].link.send(b"z" * 100_000):
            pass
        assert ours[0].why == ["it does not read what it is sent"]


async def test_the_folders_socket_is_its_owners_only_however_long_its_name_is(tmp_path):
    folder = tmp_path / ("deep" * 20) / ("deeper" * 20)
    folder.mkdir(parents=True)
    path = folder / "agents.sock"
    ours, theirs = Ends(), Ends()
    serving = asyncio.get_running_loop().create_task(FolderSocket(path).run(ours))
    try:
        await until(path.exists)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        await connect_path(path, theirs)
        await until(lambda: ours)
        assert (ours[0].link.peer, ours[0].link.where) == (None, "remote")
        theirs[0].link.close()
        await until(lambda: ours[0].why)
    finally:
        serving.cancel()
        await asyncio.wait((serving,))
    with pytest.raises(OSError, match="no service listens"):
        await connect_path(path, theirs)
