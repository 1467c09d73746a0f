"""What all connections of the paper venue share: the market, who may ask, who answers what."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from typing import Protocol
from urllib.parse import unquote

from orchestrator.model.money import AccountId
from orchestrator.paper.call import Refused, bad
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.faults import Faults
from orchestrator.paper.limits import Limits
from orchestrator.paper.market import Market
from orchestrator.paper.routes import accounts, administration, control
from orchestrator.paper.routes.table import INSTRUMENT, Route, find
from orchestrator.paper.streams import LineCache
from orchestrator.paper.write_log import WriteLog

_ACCOUNT_ID = re.compile(r"^\d+-\d+-\d+-\d+$")
_INSTRUMENT_PARTS = 4

Found = tuple[Route, Books | None, tuple[str, ...]]


class Cut(Protocol):
    """A connection, as far as its server needs it."""

    def abort(self) -> None: ...


class Server:
    """The venue's one door: market, token, faults, limits, log."""

    def __init__(
        self,
        market: Market,
        token: str,
        *,
        with_control: bool = False,
        with_limits: bool = False,
        seed: int = 1,
        log: WriteLog | None = None,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.market = market
        self.with_control = with_control
        self.limits = Limits() if with_limits else None
        self.log = log
        self.lines = LineCache(market)
        self.connections: set[Cut] = set()
        self.faults = Faults(seed)
        self._expected = f"Bearer {token}".encode()
        faults = control.faults(self.faults)
        self._control: dict[tuple[str, ...], dict[str, Route]] = {
            ("clock",): {"GET": control.clock, "POST": control.set_clock},
            ("prices",): {"POST": control.prices},
            ("instruments",): {"POST": control.instruments},
            ("accounts",): {"POST": administration.locks},
            ("transactions",): {"POST": administration.transactions},
            ("funds",): {"POST": control.funds},
            ("faults",): dict.fromkeys(("GET", "POST", "DELETE"), faults),
            ("shutdown",): {"POST": control.shutdown(stop)},
        }
        self._requests = 0

    def next_request_id(self) -> str:
        self._requests += 1
        return f"{self._requests:018d}"

    def authorised(self, header: bytes) -> bool:
        return hmac.compare_digest(header, self._expected)

    def route(self, method: str, path: str) -> Found:
        """Who answers; Refused with 403, 404 or 405."""
        parts = tuple(unquote(part) for part in path.strip("/").split("/"))
        if parts[0] == "control" and self.with_control:
            found = self._control.get(parts[1:])
            return _method(found, method), None, ()
        if parts[:2] == ("v3", "accounts"):
            if parts[2:] == ():
                return _method({"GET": accounts.list_accounts}, method), None, ()
            books = self.books(parts[2])
            below = find(parts[3:])
            return _method(below[0] if below else None, method), books, below[1] if below else ()
        if parts[:2] == ("v3", "instruments") and len(parts) == _INSTRUMENT_PARTS:
            return _method(INSTRUMENT.get(parts[3]), method), None, parts[2:3]
        raise Refused(404, "The path requested does not exist")

    def operation(self, method: str, url: str) -> str:
        """The name by which faults know a request ("orders.create"); empty for no such path."""
        path = url.partition("?")[0].strip("/")
        parts = path.split("/")
        if parts[:2] == ["v3", "accounts"] and parts[-1] == "stream":
            return ".".join(parts[-2:])
        try:
            route, _, _ = self.route(method, path)
        except Refused:
            return ""
        return f"{route.__module__.rpartition('.')[2]}.{route.__name__}"

    def books(self, account_id: str) -> Books:
        """Refused when there is no such account, or it is none."""
        if not _ACCOUNT_ID.match(account_id):
            raise bad("accountID")
        books = self.market.exchange.accounts.get(AccountId(account_id))
        if books is None:
            raise Refused(403, "The provided request was forbidden.")
        return books

    def close(self) -> None:
        """Cut every connection."""
        for connection in tuple(self.connections):
            connection.abort()


def _method(found: dict[str, Route] | None, method: str) -> Route:
    if found is None:
        raise Refused(404, "The path requested does not exist")
    if method not in found:
        allowed = f"Allow: {', '.join(sorted(found))}\r\n"
        raise Refused(405, "The method is not supported on this path", headers=allowed)
    return found[method]
