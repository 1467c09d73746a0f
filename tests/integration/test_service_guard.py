"""The guard beside a real service: a loop that is blocked, a process that is frozen."""

from __future__ import annotations

import random
import signal
from pathlib import Path

from tests.integration.flow import BUSY, BUSY_TOML, Trader
from tests.integration.processes import Service, eventually, guards_on

_WORD, _HELD = 0, 1


def _byte(service: Service, which: int) -> bool:
    return (service.state / "gate").read_bytes()[which] != 0


def test_a_blocked_loop_closes_the_gate_which_opens_again_by_itself(tmp_path: Path):
    """Goal: G4 and G5 without a stop. Method: a flush that takes four seconds; the venue's log of
    requests is the witness that nothing left meanwhile, and that orders leave again."""
    fuse = tmp_path / "fuse"
    slow = {"ORCHESTRATOR_FAILPOINT": f"journal.append.before=delay:4@{fuse}"}
    with Service(tmp_path / "s", toml=BUSY_TOML, **BUSY, **slow) as service:
        service.start().wait_up()
        # Slowly: ten orders in ten seconds, even held ones, are a repetition (A4).
        with Trader(service, random.Random(1), every_s=1.3):
            eventually("an order", service.orders_heard, 30)
            fuse.touch()
            eventually("held", lambda: _byte(service, _HELD), 20)
            heard = len(service.orders_heard())
            assert not _byte(service, _WORD), "it is no stop"
            eventually("the loop turns again", lambda: service.mode() == "running", 20)
            assert len(service.orders_heard()) == heard, "nothing leaves while it is held"
            eventually("open again", lambda: not _byte(service, _HELD), 40)
            eventually("orders leave again", lambda: len(service.orders_heard()) > heard, 40)
        alerts = service.get("/events?type=alert.raised&limit=100")["items"]
        titles = [each["data"]["alert"]["title"] for each in alerts]
        assert "The guard has closed the gate" in titles
        assert "The guard has opened the gate" in titles


def test_a_service_that_is_frozen_within_a_stop_is_replaced_until_all_is_flat(tmp_path: Path):
    """Goal: G4 with a stop. Method: SIGSTOP for good; the guard kills, another life liquidates and
    ends, the stop stands, and the next start is the user's."""
    with Service(tmp_path / "s", toml=BUSY_TOML, **BUSY) as service:
        service.start().wait_up()
        with Trader(service, random.Random(2)):
            eventually("trades are open", lambda: len(service.open_trades()) >= 2, 30)
        service.send(signal.SIGSTOP)
        done = service.command("emergency-stop", "--local", "--reason", "frozen")
        assert done.returncode == 0, done.stderr
        assert service.wait(30) == -signal.SIGKILL
        eventually("the rescue has ended", lambda: not guards_on(service.folder), 60, 0.2)
        service.start().wait_up()
        assert service.mode() == "stopped"
        eventually("flat", lambda: service.get("/emergency-stop")["state"] == "stopped_flat", 20)
        assert service.open_trades() == []
        assert not service.book_differences()
        with service.store() as store:
            assert store.broken() is None
