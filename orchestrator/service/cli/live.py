"""The service's live events over its WebSocket, opened anew for as long as it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event as Flag
from types import TracebackType
from typing import Self

import msgspec
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from orchestrator.service.cli.client import TIMEOUT_S, Client
from orchestrator.service.cli.session import complain
from orchestrator.service.cli.trouble import NotAuthorised, Refusal, Trouble

# The service says something each 15 s: three times missed, and the connection is taken for dead.
_SILENCE_S = 45.0
_MESSAGE_BYTES_MAX = 8 * 1024 * 1024
_RETRY_S = 1.0


class _Kind(msgspec.Struct, frozen=True, kw_only=True):
    type: str = ""


class Live:
    """`open`, then `messages` until the connection is lost, then `open` again."""

    def __init__(self, client: Client, types: tuple[str, ...]) -> None:
        self._client = client
        self._url = client.websocket_url("/ws", {"types": types})
        self._socket: ClientConnection | None = None
        self._open = ExitStack()
        self._was_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """The first time, trouble is raised; later, it is waited out."""
        while self._socket is None:
            if self._was_open:
                Flag().wait(_RETRY_S)  # a service that hangs up at once is not stormed
            try:
                self._socket = self._connected()
            except Trouble as trouble:
                if not self._was_open or isinstance(trouble, NotAuthorised):
                    raise
        if self._was_open:
            complain("connected again")
        self._was_open = True

    def messages(self) -> Iterator[bytes]:
        """Events as their JSON, without the heartbeats; ends when the connection does."""
        socket = self._socket
        if socket is None:
            return
        try:
            while True:
                raw = socket.recv(timeout=_SILENCE_S, decode=False)
                if msgspec.json.decode(raw, type=_Kind).type != "heartbeat":
                    yield raw
        except (WebSocketException, OSError, msgspec.DecodeError) as problem:
            complain(f"the live events broke off ({problem or 'silence'}); connecting again")
        finally:
            self.close()

    def _connected(self) -> ClientConnection:
        try:
            return self._open.enter_context(connect(
                self._url, additional_headers=self._client.headers(), open_timeout=TIMEOUT_S,
                close_timeout=1.0, max_size=_MESSAGE_BYTES_MAX, proxy=None, ssl=self._client.tls(),
            ))  # fmt: skip
        except InvalidStatus as exc:
            status = exc.response.status_code
            if status in {401, 403}:
                raise NotAuthorised("the service does not accept this token for events") from exc
            raise Refusal(f"live events are refused: HTTP {status}", status) from exc
        except (OSError, InvalidHandshake) as exc:
            raise self._client.silence(exc, acting=False) from exc

    def close(self) -> None:
        self._open.close()
        self._socket = None
