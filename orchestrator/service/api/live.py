"""Live events over a WebSocket: one JSON document a message, heartbeats, an end for the slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from orchestrator.model.errors import BusError
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record
from orchestrator.service.api.door import Door, bearer_of, client_of, refuse_foreign_pages
from orchestrator.service.api.problems import Problem, answer_in, unauthorised
from orchestrator.service.api.render import json_of
from orchestrator.service.api.shapes import Heartbeat
from orchestrator.service.desk import Desk

PATH = "/ws"
HEARTBEAT_S = 15.0
_SEND_S = 10.0  # a listener that takes nothing for so long is gone, or too slow
_CLOSE_S = 2.0
_FIRST_MESSAGE_S = 10.0
_TYPES_MAX = 50
_TYPE_CHARS_MAX = 64

_POLICY_VIOLATION = 1008
_TRY_AGAIN_LATER = 1013

Listener: TypeAlias = AsyncIterator[tuple[Record, Fact]]
Say: TypeAlias = Callable[[bytes], Coroutine[Any, Any, None]]


class _Gone(Exception):
    """The listener has left."""


class _TooSlow(Exception):
    """The listener does not keep up."""


class Live:
    """Serves `/ws`; any other WebSocket path is refused."""

    def __init__(self, door: Door, wall_ns: Callable[[], int], beat_s: float = HEARTBEAT_S) -> None:
        self._door = door
        self._wall_ns = wall_ns
        self._beat_s = beat_s

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = client_of(scope)
        query_token = _take_query_token(scope)
        socket = WebSocket(scope, receive, send)
        await socket.receive()  # websocket.connect
        try:
            known, types = self._admit(socket, query_token)
            desk = self._door.desk()
        except Problem as problem:
            await _deny(socket, problem)
            return
        if not self._door.sockets.enter(client):
            await _deny(socket, Problem(429, "Too many WebSockets", "Close one of yours first."))
            return
        try:
            await self._talk(socket, desk, types, known=known)
        except (WebSocketDisconnect, _Gone):
            pass
        finally:
            self._door.sockets.leave(client)

    def _admit(self, socket: WebSocket, query_token: str | None) -> tuple[bool, frozenset[str]]:
        """Whether the token was shown already, and the types that are wanted."""
        if socket.url.path != PATH:
            raise Problem(404, "Not found", f"Live events are at {PATH}.")
        refuse_foreign_pages(socket.headers)
        token = _shown_token(socket.headers, query_token)
        known = self._door.may(token)
        if token is not None and not known:
            raise unauthorised(wrong=True)
        wait_s = self._door.reads.take(f"socket {client_of(socket.scope)}")
        if wait_s:
            raise Problem(429, "Too many requests", f"Wait {wait_s} s.")
        return known, _types_of(socket)

    async def _talk(
        self, socket: WebSocket, desk: Desk, types: frozenset[str], *, known: bool
    ) -> None:
        await socket.accept()
        if not known and not await self._shows_token(socket):
            await _close(socket, _POLICY_VIOLATION, "the token is missing or wrong")
            return
        try:
            listener = desk.listen()
        except BusError:
            await _close(socket, _TRY_AGAIN_LATER, "too many listeners")
            return
        try:
            await self._stream(socket, listener, types)
        finally:
            await _end(listener)

    async def _shows_token(self, socket: WebSocket) -> bool:
        """Whether the first message is the token, as plain text or as {"token": "..."}."""
        try:
            async with asyncio.timeout(_FIRST_MESSAGE_S):
                message = await socket.receive()
        except TimeoutError:
            return False
        if message["type"] != "websocket.receive":
            raise _Gone
        return self._door.may(_token_in(message.get("text") or ""))

    async def _stream(self, socket: WebSocket, listener: Listener, types: frozenset[str]) -> None:
        turn = asyncio.Lock()

        async def say(message: bytes) -> None:
            try:
                async with asyncio.timeout(_SEND_S), turn:
                    await socket.send_text(message.decode())
            except TimeoutError:
                raise _TooSlow from None
            except (OSError, RuntimeError):
                raise _Gone from None  # it left between two messages

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._beat(say), name="ws beat")
                tasks.create_task(_pump(listener, types, say), name="ws pump")
                tasks.create_task(_hear(socket), name="ws hear")
        except* (_TooSlow, BusError):
            await _close(socket, _TRY_AGAIN_LATER, "you are too slow: read GET /events, then again")
        except* (_Gone, WebSocketDisconnect):
            pass

    async def _beat(self, say: Say) -> None:
        while True:
            await say(json_of(Heartbeat(type="heartbeat", ts=self._wall_ns())))
            await asyncio.sleep(self._beat_s)


async def _pump(listener: Listener, types: frozenset[str], say: Say) -> None:
    async for record, _ in listener:
        if not types or record.type in types:
            await say(json_of(record))
    raise _Gone


async def _hear(socket: WebSocket) -> None:
    """What a listener says is not listened to; that it leaves is."""
    while True:
        if (await socket.receive())["type"] == "websocket.disconnect":
            raise _Gone


def _take_query_token(scope: Scope) -> str | None:
    """The query's token, which is taken out of the URL so that it stands in no log."""
    pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    tokens = [value for name, value in pairs if name == "token"]
    if tokens:
        scope["query_string"] = urlencode([p for p in pairs if p[0] != "token"]).encode("ascii")
    return tokens[0] if tokens else None


def _shown_token(headers: Headers, query_token: str | None) -> str | None:
    token = bearer_of(headers)
    return query_token if token is None else token


def _types_of(socket: WebSocket) -> frozenset[str]:
    asked = socket.query_params.get("types", "")
    types = frozenset(filter(None, asked.split(",")))
    if len(types) > _TYPES_MAX or any(len(one) > _TYPE_CHARS_MAX for one in types):
        raise Problem(422, "Unusable types", f"At most {_TYPES_MAX} types, comma-separated.")
    return types


def _token_in(text: str) -> str | None:
    if not text.startswith("{"):
        return text.strip()
    try:
        found = msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, RecursionError):
        return None
    return found.get("token")


async def _deny(socket: WebSocket, problem: Problem) -> None:
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(answer_in(socket.scope, problem))
    else:
        await socket.close(_POLICY_VIOLATION, problem.title)


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    try:
        async with asyncio.timeout(_CLOSE_S):
            await socket.close(code, reason)
    except (TimeoutError, OSError, RuntimeError):
        return  # it takes nothing any more: the server drops the connection


async def _end(listener: Listener) -> None:
    close = getattr(listener, "aclose", None)
    if close is not None:
        await close()
