"""The venue falls silent and comes back: no order in between, an alert, and no restart."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path
from typing import Any

from orchestrator.model.facts import AlertRaised, BreakerTripped, IntentWritten
from tests.integration.flow import BUSY, BUSY_TOML, Trader
from tests.integration.processes import (
    Service,
    eventually,
)

SOONER = """[breakers]
stale_stream_s = 4
stale_clear_s = 1
"""
# Of three instruments tripped at once M7 would make a matter of the whole market, for 60 s more.
TWO = {**BUSY, "INSTRUMENTS": "EUR_USD,NZD_USD"}


def test_a_silent_venue_blocks_new_orders_and_trading_goes_on_when_it_speaks_again(
    tmp_path: Path,
):
    """Goal: M1 and A7 on a venue that neither answers nor closes its connections. Method: SIGSTOP,
    signals all the while, SIGCONT."""
    rng = random.Random(8)
    with Service(tmp_path, toml=BUSY_TOML.replace("[breakers]\n", SOONER), **TWO) as service:
        service.start().wait_up()
        life, venue = service.pid, service.venue_pid
        with Trader(service, rng):
            eventually("orders leave", lambda: len(service.orders_heard()) > 4, 60)
        os.kill(venue, signal.SIGSTOP)
        try:
            tripped = eventually("M1 trips", lambda: _tripped(service) & {"M1"}, 60, 0.25)
            eventually("A7 trips", lambda: "A7" in _tripped(service), 60, 0.25)
            # What was on its way when the venue fell silent is read when it speaks again.
            sent = _intents(service)
            with Trader(service, rng) as trader:
                eventually(
                    "signals are heard", lambda: len(trader.promised) + len(trader.refused) > 20, 30
                )
            status = service.command("status", "--json")
            assert status.returncode == 0, status.stderr
            assert json.loads(status.stdout)["health"]["status"] == "degraded"
            assert service.mode() == "running"
            _alerts_name(service, tripped | {"A7"})
        finally:
            later = _intents(service) - sent
            os.kill(venue, signal.SIGCONT)
        assert not later, "an order was decided for a venue that does not answer"
        eventually("breakers clear", lambda: not _tripped(service) & {"M1", "A7"}, 60, 0.25)
        heard = len(service.orders_heard())
        with Trader(service, rng):
            eventually("orders leave again", lambda: len(service.orders_heard()) > heard, 60)
        assert (service.pid, service.venue_pid) == (life, venue), "nothing was restarted"
        eventually("all is well", lambda: service.get("/health")["status"] == "ok", 60, 0.25)
        eventually("books equal", lambda: not service.book_differences(), 30)


def _tripped(service: Service) -> set[str]:
    found: list[dict[str, Any]] = service.get("/breakers?tripped=true&limit=1000")["items"]
    return {each["breaker"] for each in found}


def _intents(service: Service) -> set[str]:
    with service.store() as store:
        return {f.intent.intent_id for _, f in store.facts() if isinstance(f, IntentWritten)}


def _alerts_name(service: Service, breakers: set[str]) -> None:
    with service.store() as store:
        facts = [fact for _, fact in store.facts()]
    assert breakers <= {f.breaker for f in facts if isinstance(f, BreakerTripped)}
    told = " ".join(f.alert.title for f in facts if isinstance(f, AlertRaised))
    assert all(breaker in told for breaker in breakers), told
