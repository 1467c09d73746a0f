"""Credentials of an agent elsewhere, on a real server: its own stream, and nothing else (X8)."""

from __future__ import annotations

import contextlib
from typing import Any

import hiredis
import pytest

from orchestrator.adapters.bus.redis.acl import line_of_agent, line_of_node, user_of_agent
from orchestrator.adapters.bus.redis.address import Address, parse
from orchestrator.adapters.bus.redis.broadcast import Subscriber
from orchestrator.adapters.bus.redis.dialer import dial
from orchestrator.adapters.bus.redis.entries import Entry
from orchestrator.adapters.bus.redis.link import Link
from orchestrator.adapters.bus.redis.names import Names
from orchestrator.adapters.bus.redis.sources import FromItsSource
from orchestrator.adapters.bus.redis.tail import TailReader
from orchestrator.main.bus import run
from tests.servers.redis import RedisServer
from tests.servers.waiting import at_work, until

ROLE, NAMES = "learning_safety", Names("tso")
USERS = (
    "user default off",
    line_of_node("tso", "node-password"),
    line_of_agent("tso", ROLE, "1", "agent-password"),
    line_of_agent("tso", ROLE, "2", "other-password"),
)
MINE, OTHERS = NAMES.sent(ROLE, "1"), NAMES.sent(ROLE, "2")


@pytest.fixture
def server(tmp_path):
    with RedisServer(tmp_path / "redis", users=USERS) as server:
        yield server


def as_agent(server: RedisServer) -> Address:
    user = user_of_agent("tso", ROLE, "1")
    return parse(f"redis://{user}:agent-password@127.0.0.1:{server.port}")


def as_node(server: RedisServer) -> Address:
    return parse(f"redis://tso-node:node-password@127.0.0.1:{server.port}")


FORBIDDEN: tuple[tuple[str, ...], ...] = (
    # Others' streams, and those of the house.
    ("XADD", OTHERS, "*", "id", "1"), ("XADD", NAMES.sent("disagreement", "1"), "*", "id", "1"),
    ("XADD", NAMES.history, "*", "r", "x"), ("XADD", NAMES.to(ROLE, "1"), "*", "id", "1"),
    ("XADD", NAMES.to(ROLE, "2"), "*", "id", "1"), ("XADD", NAMES.ask(ROLE), "*", "id", "1"),
    ("XADD", "tso:dead:x", "*", "id", "1"), ("XADD", "anything", "*", "id", "1"),
    ("XDEL", MINE, "1-1"), ("XTRIM", MINE, "MAXLEN", "0"), ("DEL", MINE), ("SET", MINE, "x"),
    ("XSETID", MINE, "9-9"), ("RENAME", MINE, NAMES.to(ROLE, "1")),
    # What is not meant for it.
    ("XREAD", "STREAMS", NAMES.to(ROLE, "2"), "0"), ("XREAD", "STREAMS", OTHERS, "0"),
    ("XREAD", "STREAMS", NAMES.history, "0"), ("XREVRANGE", NAMES.history, "+", "-"),
    ("XREADGROUP", "GROUP", "disagreement", "1", "STREAMS", NAMES.ask("disagreement"), ">"),
    ("XREADGROUP", "GROUP", ROLE, "1", "STREAMS", NAMES.ask(ROLE), ">"),
    ("XACK", NAMES.ask(ROLE), ROLE, "1-1"), ("XREAD", "STREAMS", NAMES.ask(ROLE), "0"),
    ("XGROUP", "DESTROY", NAMES.ask(ROLE), ROLE), ("XGROUP", "CREATE", NAMES.ask(ROLE), "x", "0"),
    # Control: a stop, a live view, another's hello.
    ("PUBLISH", NAMES.stop, "x"), ("PUBLISH", NAMES.live, "x"),
    ("PUBLISH", NAMES.hello(ROLE, "2"), "x"), ("PUBLISH", "tso:start", "x"),
    ("SUBSCRIBE", NAMES.stop), ("PSUBSCRIBE", "*"),
    # The server itself.
    ("GET", "tso:mark"), ("SET", "tso:mark", "x"), ("KEYS", "*"), ("SCAN", "0"), ("FLUSHALL",),
    ("FLUSHDB",), ("CONFIG", "GET", "*"), ("ACL", "WHOAMI"), ("ACL", "SETUSER", "me"),
    ("EVAL", "return 1", "0"), ("SHUTDOWN",), ("MONITOR",),
    ("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal"), ("CLIENT", "PAUSE", "9999"),
    ("REPLICAOF", "NO", "ONE"), ("INFO",), ("MULTI",), ("SAVE",), ("SWAPDB", "0", "1"),
)  # fmt: skip


async def test_an_agent_can_write_its_own_stream_and_nothing_else(server):
    pipe = await dial(lambda: as_agent(server), "agent")
    with contextlib.closing(pipe):
        replies = await pipe.batch(list(FORBIDDEN))
        allowed = [
            words
            for words, reply in zip(FORBIDDEN, replies, strict=True)
            if not (isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOPERM"))
        ]
        assert allowed == []
        assert await pipe.call("XADD", MINE, "*", "id", "1", "src", f"{ROLE}:1", "d", "x")
        assert await pipe.call("PUBLISH", NAMES.hello(ROLE, "1"), "hello") == 0


async def test_an_agent_hears_what_is_meant_for_it_and_answers(server):
    node = Link(lambda: as_node(server), "node")
    agent = Link(lambda: as_agent(server), "agent")
    heard: list[str] = []
    tail = TailReader(lambda: as_agent(server), lambda e: heard.append(e.event_id))
    tail.follow(NAMES.to(ROLE, "1"), "0-0")
    async with at_work(node.run, agent.run, tail.run):
        await until(lambda: node.connected and agent.connected)
        await node.add(NAMES.to(ROLE, "1"), "told", "node", b"x")
        await until(lambda: heard)
        await agent.add(MINE, "said", f"{ROLE}:1", b"x")
        assert await node.call("XLEN", MINE) == 1
    assert heard == ["told"]


async def test_what_speaks_in_another_s_name_is_dropped_with_an_alert(server):
    """The broker cannot look into a message: an agent may well write another's name into its own
    stream."""
    node, told = Link(lambda: as_node(server), "node"), []
    got: list[Entry] = []
    checked = FromItsSource(NAMES, got.append, lambda *words: told.append(words))
    tail = TailReader(lambda: as_node(server), checked)
    tail.follow(MINE, "0-0")
    async with at_work(node.run, tail.run):
        await until(lambda: node.connected)
        for source in (f"{ROLE}:2", "node", "", f"{ROLE}:1"):
            await node.add(MINE, source or "none", source, b"x")
        await until(lambda: got)
    assert [entry.source for entry in got] == [f"{ROLE}:1"]
    assert checked.forged == 3
    assert f"A message on {MINE} speaks in another's name" in told[0][0]


async def test_the_node_s_user_has_its_installation_and_not_the_server(server):
    pipe = await dial(lambda: as_node(server), "node")
    with contextlib.closing(pipe):
        refused: list[tuple[str, ...]] = [
            ("SET", "other:key", "x"), ("PUBLISH", "other:stop", "x"), ("FLUSHALL",),
            ("CONFIG", "GET", "*"), ("SHUTDOWN",), ("ACL", "LIST"), ("EVAL", "return 1", "0"),
        ]  # fmt: skip
        replies: list[Any] = await pipe.batch(refused)
        assert all(str(reply).startswith("NOPERM") for reply in replies)


async def test_the_node_s_user_hears_every_agent_s_hello(server):
    heard: list[str] = []
    calls = Subscriber(
        lambda: as_node(server), lambda channel, _: heard.append(channel),
        channels=(NAMES.stop, NAMES.live), patterns=(NAMES.every_hello,),
    )  # fmt: skip
    agent = Link(lambda: as_agent(server), "agent")
    async with at_work(calls.run, agent.run):
        await until(lambda: agent.connected and calls.ready.is_set())
        await agent.publish(NAMES.hello(ROLE, "1"), b"here")
        await until(lambda: heard)
    assert heard == [NAMES.hello(ROLE, "1")]


def test_the_command_prints_a_line_that_the_server_takes(tmp_path, capsys):
    assert run(["acl", "--role", ROLE, "--instance", "3"]) == 0
    told = capsys.readouterr()
    assert f"MESSAGE_BROKER_URL=rediss://tso-{ROLE}-3:" in told.err
    password = told.err.rpartition(f"{ROLE}-3:")[2].partition("@")[0]
    assert password not in told.out
    with RedisServer(tmp_path / "redis", users=(told.out.strip(),)) as server:
        assert server.ask("ACL", "DRYRUN", f"tso-{ROLE}-3", "PING") == b"OK"


@pytest.mark.parametrize(
    "words",
    [
        ["acl"], ["acl", "--role", "execution_engine"], ["acl", "--role", "../x"],
        ["acl", "--role", ROLE, "--instance", "1 +@all"], ["acl", "--node", "--namespace", "a b"],
        ["acl", "--node", "--role", ROLE],
    ],
)  # fmt: skip
def test_nonsense_is_refused(words, capsys):
    with pytest.raises(SystemExit) as ended:
        run(words)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_password_of_one_s_own_must_be_long_and_of_one_word(tmp_path, capsys):
    file = tmp_path / "password"
    for bad in ("short", "x" * 20 + " y"):
        file.write_text(bad)
        assert run(["acl", "--node", "--password-file", str(file)]) == 1
        assert "16 characters" in capsys.readouterr().err
    file.write_text("x" * 20 + "\n")
    assert run(["acl", "--node", "--password-file", str(file)]) == 0
    assert "x" * 20 not in "".join(capsys.readouterr())
