"""From a stop to flat: 20 positions on 4 accounts, at a healthy and at a failing venue."""

from __future__ import annotations

import tempfile
import time
from datetime import datetime
from pathlib import Path

from benchmarks.figures import Row, Section, spread
from orchestrator.research.crash_sweep.process import Service
from orchestrator.research.waiting import eventually

ACCOUNTS = tuple(f"101-001-1000001-{number:03d}" for number in range(1, 5))
INSTRUMENTS = ("EUR_USD", "USD_JPY", "GBP_USD", "NZD_USD", "EUR_GBP")
_WITHIN_S = 60.0
_NS = 1_000_000_000


def measure(rounds: int) -> Section:
    """So many liquidations of each kind."""
    money = ",".join(f"{account}:USD:1000000" for account in ACCOUNTS)
    with tempfile.TemporaryDirectory(prefix="tso-bench-") as name:
        service = Service(Path(name), PAPER_ACCOUNTS=money, LOG_LEVEL="error")
        try:
            service.start()
            if not service.up():
                raise RuntimeError(f"the service ended with {service.code}")
            _stop(service)
            healthy = [_round(service) for _ in range(rounds)]
            _fail(service)
            failing = [_round(service) for _ in range(rounds)]
        finally:
            service.clear_away()
    rows = (
        *_rows("healthy venue", healthy, must_s=5, goal_s=1),
        *_rows("30 % failing answers", failing, must_s=0, goal_s=10),
    )
    notes = (
        "closed: by the venue's own stamp of the last close, counted from the wish",
        "known: our receipt says stopped_flat, after two reads at least a second apart",
    )
    return Section(title="Liquidation of 20 positions on 4 accounts", rows=rows, notes=notes)


def _stop(service: Service) -> None:
    service.ask("POST", "/emergency-stop", {"reason": "drill"})
    eventually("flat", lambda: _flat(service), _WITHIN_S)


def _flat(service: Service) -> bool:
    return service.ask("GET", "/emergency-stop")[1]["state"] == "stopped_flat"


def _fail(service: Service) -> None:
    """Closes and reads alike: half of the failures before the effect, half after it."""
    for operation in ("positions.close", "accounts.account"):
        for trouble in ({"status": 503}, {"drop": "after"}):
            fault = {"operation": operation, "probability": 0.163, "times": 1_000_000, **trouble}
            service.venue("/control/faults", "POST", fault)  # 1 - (1 - 0.163)^2 = 30 %


def _round(service: Service) -> tuple[int, int]:
    """Nanoseconds from the wish to the last close, and to our knowing that it is flat."""
    opened = 0
    for account in ACCOUNTS:
        for instrument in INSTRUMENTS:
            order = {"type": "MARKET", "instrument": instrument, "units": "1000"}
            path = f"/v3/accounts/{account}/orders"
            answer = service.venue(path, "POST", {"order": order})
            opened += "orderFillTransaction" in answer
    if opened != len(ACCOUNTS) * len(INSTRUMENTS):
        raise RuntimeError(f"only {opened} positions could be opened")
    wall, began = time.time_ns(), time.monotonic_ns()
    service.ask("POST", "/emergency-stop", {"reason": "drill"})
    eventually("flat", lambda: _empty(service) and _flat(service), _WITHIN_S)
    known = time.monotonic_ns() - began
    return _last_close_ns(service) - wall, known


def _empty(service: Service) -> bool:
    """A stop that stands says flat until it has heard of the new positions."""
    return not any(
        service.venue(f"/v3/accounts/{account}/openTrades")["trades"] for account in ACCOUNTS
    )


def _last_close_ns(service: Service) -> int:
    """The paper venue's synthetic market runs on this machine's own time."""
    newest = 0
    for account in ACCOUNTS:
        last = int(service.venue(f"/v3/accounts/{account}/summary")["lastTransactionID"])
        path = f"/v3/accounts/{account}/transactions/sinceid?id={max(0, last - 12)}"
        fills = [t for t in service.venue(path)["transactions"] if t["type"] == "ORDER_FILL"]
        newest = max(newest, *(_ns_of(fill["time"]) for fill in fills))
    return newest


def _ns_of(text: str) -> int:
    whole, _, part = text.rstrip("Z").partition(".")
    return int(datetime.fromisoformat(whole + "+00:00").timestamp()) * _NS + int(part.ljust(9, "0"))


def _rows(what: str, found: list[tuple[int, int]], *, must_s: float, goal_s: float) -> list[Row]:
    closed = spread(took for took, _ in found)
    worst = closed.max / 1e6 if closed else float("inf")
    must = f"< {must_s:g} s" if must_s else ""
    return [
        Row(name=f"stop -> all closed: {what}", spread=closed, must=must,
            must_met=worst < must_s if must_s else None,
            goal=f"< {goal_s:g} s", goal_met=worst < goal_s),
        Row(name="  and known to be flat", spread=spread(took for _, took in found)),
    ]  # fmt: skip
