"""A line between client and venue that plays tricks with what comes back, one reply at a time.

What the client sends always arrives whole: whether the venue acted is never in doubt here, only
what the client is told of it. Tricks are named; a seed picks among them.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec

HUGE = 10_000_000
CUT = None  # instead of bytes: the connection ends here
OTHER_ACCOUNT = b"101-001-9999999-009"


class Reply(msgspec.Struct):
    """One answer of the venue."""

    head: bytes  # without its length, ends with an empty line
    body: bytes

    def whole(self, body: bytes | None = None, head: bytes | None = None) -> bytes:
        body = self.body if body is None else body
        lines = b"Content-Length: %d\r\n" % len(body)
        head = self.head if head is None else head
        return head.replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n") + body

    def with_line(self, line: bytes) -> bytes:
        """The head with one more line."""
        return self.head.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n")

    def with_status(self, line: bytes) -> bytes:
        return self.whole(head=b"HTTP/1.1 " + line + self.head[self.head.index(b"\r\n") :])


Pieces = Sequence[bytes | float | None]  # bytes to send, a pause in seconds, or the end
Trick = Callable[[Reply, random.Random], Pieces]


def _chunked(reply: Reply, *chunks: bytes) -> bytes:
    head = reply.head.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    return head + b"".join(chunks)


def _as_gzip(reply: Reply, body: bytes) -> bytes:
    return reply.whole(body, reply.with_line(b"Content-Encoding: gzip"))


def _one_chunk(reply: Reply) -> bytes:
    return b"%x\r\n%b\r\n" % (len(reply.body), reply.body)


def _put(pattern: bytes, value: bytes) -> Trick:
    """All that fits, put otherwise."""
    return lambda reply, _: [reply.whole(re.sub(pattern, value, reply.body))]


def _with_nan(text: bytes) -> bytes:
    """A refusal repeats what was asked for, however absurd: there a NaN would be believed."""
    return text if b"_REJECT" in text else re.sub(rb'"units":"[^"]*"', b'"units":"NaN"', text)


def _said(whole: bytes) -> Trick:
    """This, whatever the venue answered."""
    return lambda _reply, _dice: [whole]


_ID, _HUGE_ID = rb'"id":"(\d+)"', b'"id":"' + b"9" * 40 + b'"'
_ACCOUNT, _STRANGER = rb'"accountID":"[^"]*"', b'"accountID":"' + OTHER_ACCOUNT + b'"'

# Each leaves an answer that proves nothing, or an honest one in an odd form.
TRICKS: dict[str, Trick] = {
    "cut in its head": lambda r, d: [r.whole()[: d.randrange(1, len(r.head))], CUT],
    "cut in its body": lambda r, d: [r.whole()[: -d.randrange(1, len(r.body) + 1)], CUT],
    "nothing at all": lambda _r, _d: [CUT],
    "a slow drip that never ends": lambda r, _d: [
        *(piece for at in range(30) for piece in (r.whole()[at : at + 1], 0.7)), CUT,
    ],
    "byte by byte": lambda r, _d: [r.whole()[at : at + 1] for at in range(len(r.whole()))],
    "twice": lambda r, _d: [r.whole() + r.whole()],
    "twice, apart": lambda r, _d: [r.whole(), 0.01, r.whole()],
    "too long a length": lambda r, _d: [
        r.whole().replace(b"Content-Length: ", b"Content-Length: 1", 1), 7.0, CUT,
    ],
    "too short a length": lambda r, _d: [r.with_line(b"Content-Length: 7") + r.body],
    "a length that is none": lambda r, _d: [r.with_line(b"Content-Length: -1") + r.body],
    "no length": lambda r, _d: [r.head + r.body, CUT],
    "garbage for gzip": lambda r, _d: [_as_gzip(r, b"\x1f\x8bnot gzip" + r.body)],
    "half a gzip": lambda r, _d: [_as_gzip(r, gzip.compress(r.body)[:-9])],
    "honest gzip": lambda r, _d: [_as_gzip(r, gzip.compress(r.body))],
    "chunks, honest": lambda r, _d: [_chunked(r, _one_chunk(r), b"0\r\n\r\n")],
    "a chunk without an end": lambda r, _d: [_chunked(r, _one_chunk(r)), CUT],
    "a chunk that is no chunk": lambda r, _d: [_chunked(r, b"zz\r\n", r.body)],
    "a hundred continues": lambda r, _d: [b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + r.whole()],
    "moved elsewhere": lambda r, _d: [r.with_status(b"302 Found\r\nLocation: http://127.0.0.1:1")],
    "not modified": _said(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "another protocol": _said(
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nxx"
    ),
    "bad gateway": _said(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nnope"),
    "no HTTP at all": _said(b"\x00\x01\x02SSH-2.0-x\r\n"),
    "an endless head": lambda r, _d: [r.head[:-2] + b"X: " + b"y" * 200_000, CUT],
    "ten megabytes": lambda r, _d: [r.whole(b'{"x":"' + b"y" * HUGE + b'",' + r.body[1:])],
    "not JSON": lambda r, _d: [r.whole(b"<html>" + r.body)],
    "a list": lambda r, _d: [r.whole(b"[" + r.body + b"]")],
    "another account's": _put(_ACCOUNT, _STRANGER),
    "NaN for units": lambda r, _d: [r.whole(_with_nan(r.body))],
    "infinite balance": _put(rb'"(accountBalance|balance)":"[^"]*"', rb'"\1":"Infinity"'),
    "ids as numbers": _put(_ID, rb'"id":\1'),
    "huge ids": _put(_ID, _HUGE_ID),
    "negative ids": _put(_ID, rb'"id":"-\1"'),
    "null ids": _put(_ID, b'"id":null'),
    "no times": _put(rb',?"time":"[^"]*"', b""),
    "a last id that is none": _put(rb'"lastTransactionID":"\d+"', b'"lastTransactionID":"x"'),
    "fields that nobody knows": lambda r, _d: [r.whole(b'{"surprise":[{"id":7}],' + r.body[1:])],
    "everything null": _put(rb":(\"[^\"]*\"|\{)", b":null"),
    "deep nonsense": lambda r, _d: [
        r.whole(b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"," + r.body[1:])
    ],
}  # fmt: skip


def _ahead(line: bytes) -> bytes:
    def more(match: re.Match[bytes]) -> bytes:
        return b'"lastTransactionID":"%d"' % (int(match[1]) + 1000)

    return re.sub(rb'"lastTransactionID":"(\d+)"', more, line)


# A line of a stream becomes these bytes, or the end of the connection.
LINE_TRICKS: dict[str, Callable[[bytes], Pieces]] = {
    "cut line": lambda line: [line[: len(line) // 2], CUT],
    "doubled line": lambda line: [line + line],
    "lost line": lambda _line: [],
    "blank lines": lambda line: [b"\n \n" + line + b"\r\n\n"],
    "half a line, then the rest": lambda line: [line[:9], 0.3, line[9:]],
    "ten megabytes in a line": lambda line: [b'{"type":"X","x":"' + b"y" * HUGE + b'"}\n' + line],
    "not JSON, in a line": lambda line: [b"<html>\n" + line],
    "a number for a line": lambda line: [b"7\n" + line],
    "another account's line": lambda line: [re.sub(_ACCOUNT, _STRANGER, line)],
    "NaN in a line": lambda line: [_with_nan(line)],
    "an id as number, in a line": lambda line: [re.sub(rb'"id":"(\d+)"', rb'"id":\1', line)],
    "a huge id, in a line": lambda line: [re.sub(_ID, _HUGE_ID, line)],
    "no time": lambda line: [re.sub(rb',?"time":"[^"]*"', b"", line)],
    "a time that is none": lambda line: [re.sub(rb'"time":"[^"]*"', b'"time":"soon"', line)],
    "a heartbeat ahead": lambda line: [_ahead(line)],
    "a type that nobody knows": lambda line: [b'{"type":"SURPRISE","id":"x"}\n' + line],
    "a chunk that is none": lambda _line: [b"__raw__zz\r\n"],
    "the end of chunks": lambda _line: [b"__raw__0\r\n\r\n"],
}  # fmt: skip


class RogueLine:
    """Stands between. `play` names the trick for the next answers, or a chance for each."""

    def __init__(self, seed: int = 1) -> None:
        self.dice = random.Random(seed)
        self.url = ""
        self.met: Counter[str] = Counter()
        self._next: list[tuple[re.Pattern[bytes], str]] = []
        self.chance = 0.0
        self.line_chance = 0.0
        self._server_port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def play(self, name: str, *, on: bytes = rb"") -> None:
        """Once, at the next answer (or line) to a request whose first line has `on`."""
        self._next.append((re.compile(on), name))

    def stop(self) -> None:
        self._next.clear()
        self.chance = self.line_chance = 0.0

    def _trick(self, request: bytes, known: Sequence[str], chance: float) -> str | None:
        for waiting in self._next:
            if waiting[1] in known and waiting[0].search(request):
                self._next.remove(waiting)
                self.met[waiting[1]] += 1
                return waiting[1]
        if chance and self.dice.random() < chance:
            name = self.dice.choice(sorted(known))
            self.met[name] += 1
            return name
        return None

    @asynccontextmanager
    async def between(self, port: int) -> AsyncIterator[RogueLine]:
        self._server_port = port
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**24)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for writer in tuple(self._writers):
                writer.transport.abort()
            if self._tasks:
                await asyncio.wait(tuple(self._tasks))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        up_reader, up_writer = await asyncio.open_connection(
            "127.0.0.1", self._server_port, limit=2**24
        )
        self._writers |= {writer, up_writer}
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._one(reader, writer, up_reader, up_writer):
                    pass
        finally:
            for one in (writer, up_writer):
                one.transport.abort()
                self._writers.discard(one)

    async def _one(self, reader, writer, up_reader, up_writer) -> bool:
        request = await _message(reader)
        up_writer.write(request)
        head = await up_reader.readuntil(b"\r\n\r\n")
        first = request.split(b"\r\n", 1)[0]
        if b"chunked" in head:
            writer.write(head)
            await self._stream(first, up_reader, writer)
            return False
        body = await up_reader.readexactly(_length(head))
        plain = re.sub(rb"(?i)Content-Length: \d+\r\n", b"", head)
        reply = Reply(plain, body)
        name = self._trick(first, tuple(TRICKS), self.chance)
        pieces = [reply.whole()] if name is None else TRICKS[name](reply, self.dice)
        return await _say(writer, pieces)

    async def _stream(self, first: bytes, up_reader, writer) -> None:
        while True:
            size = int((await up_reader.readuntil(b"\r\n"))[:-2], 16)
            chunk = (await up_reader.readexactly(size + 2))[:-2]
            for line in chunk.splitlines(keepends=True):
                name = self._trick(first, tuple(LINE_TRICKS), self.line_chance)
                pieces = [line] if name is None else LINE_TRICKS[name](line)
                wrapped = [
                    piece if not isinstance(piece, bytes) else _as_chunk(piece) for piece in pieces
                ]
                if not await _say(writer, wrapped):
                    return


def _as_chunk(piece: bytes) -> bytes:
    raw = piece.removeprefix(b"__raw__")
    return raw if raw is not piece else b"%x\r\n%b\r\n" % (len(piece), piece)


async def _say(writer: asyncio.StreamWriter, pieces: Pieces) -> bool:
    """False when the connection ended."""
    for piece in pieces:
        if piece is None or writer.is_closing():
            return False
        if isinstance(piece, float):
            await asyncio.sleep(piece)
        elif piece:
            writer.write(piece)
            await writer.drain()
    return True


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(_length(head))


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\nContent-Length: (\d+)", head)
    return int(found[1]) if found else 0
