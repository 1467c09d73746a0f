"""What is done around the kill: each scene prepares, lights the fuse, and goes on until it dies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

import msgspec

from orchestrator.research.crash_sweep.process import ACCOUNTS, Died, Service
from orchestrator.research.waiting import Late, eventually
from orchestrator.service.seams import block_s

_TRADES = 4
_FLAT_S = 90.0
_SIGNALS_MAX = 12
_DIES_S = 12.0
_WARM_S = 90.0
_PAUSE_S = 0.1
_PERHAPS = "Not written down yet"  # heard, and nobody knows by now whether it will stand


class Story(msgspec.Struct):
    """What was promised or known in a run, to be judged afterwards."""

    promised: list[str] = []
    asked: int = 0
    stopped: bool = False  # somebody has asked for a stop
    resumed: bool | None = False  # None: it was asked, and no answer came


class Scene(msgspec.Struct, frozen=True):
    """`act` begins with the fuse lit. `places` -> at which passes the process is killed."""

    prepare: Callable[[Service, Story], None]
    act: Callable[[Service, Story], None]
    places: Mapping[str, tuple[int, ...]]


# -- steps ----------------------------------------------------------------------------------------


def signal(service: Service, story: Story) -> bool:
    """One more signal; whether it was promised to be kept. Died when nobody hears it."""
    story.asked += 1
    name = f"sweep-{story.asked:04d}"
    # One way for each instrument: accounts net, and an order the other way would only close.
    instrument, side = (("EUR_USD", "buy"), ("USD_JPY", "sell"))[story.asked % 2]
    wish = {
        "signal_id": name, "instrument": instrument, "side": side,
        "stop_distance": "0.00300" if instrument == "EUR_USD" else "0.400",
        "target_distance": "0.00600" if instrument == "EUR_USD" else "0.800",
        "confidence": "0.6", "strategy": f"hand-{story.asked % 7}", "ttl_ms": 20_000,
    }  # fmt: skip
    status, _ = service.ask("POST", "/signals", wish)
    if status == HTTPStatus.ACCEPTED:
        story.promised.append(name)
    return status == HTTPStatus.ACCEPTED


def take_one(service: Service, story: Story) -> bool:
    """As `signal`, with a pause where it was refused: no price yet, or a breaker of the start."""
    taken = signal(service, story)
    if not taken:
        block_s(_PAUSE_S)
    return taken


def open_trades(service: Service) -> int:
    return sum(len(service.venue(f"/v3/accounts/{a}/openTrades")["trades"]) for a in ACCOUNTS)


def begin(service: Service, story: Story) -> None:
    """Up, and some trades are open."""
    service.start()
    if not service.up():
        raise Late("the service does not come up")
    eventually("running", lambda: service.mode() == "running", _WARM_S)
    eventually("trades are opened", lambda: _more_trades(service, story), _WARM_S)


def _more_trades(service: Service, story: Story) -> bool:
    """Breakers of a start refuse the first signals; open trades are seen at the venue."""
    if open_trades(service) >= _TRADES:
        return True
    take_one(service, story)
    return False


def go_on(service: Service, story: Story) -> None:
    for _ in range(_SIGNALS_MAX):
        take_one(service, story)
    _dies(service)


def work_on(service: Service, story: Story) -> None:
    """A little of what the service is for: signals, or a stop that is carried out."""
    if story.stopped:
        _dies_or(service, lambda: _state(service) in {"stopped_flat", ""})  # "": resumed
        return
    for _ in range(_TRADES):
        take_one(service, story)


def _dies(service: Service) -> None:
    """What is written later than the answer may still be struck."""
    try:
        eventually("dies", lambda: service.struck, _DIES_S)
    except Late:
        return  # the place is not passed here; the caller sees that it lives


def stop(service: Service, story: Story) -> None:
    """A foreign entry order stands, so that there is something to cancel as well."""
    order = {"type": "LIMIT", "instrument": "EUR_USD", "units": "100", "price": "0.50000",
             "timeInForce": "GTC"}  # fmt: skip
    service.venue(f"/v3/accounts/{ACCOUNTS[0]}/orders", "POST", {"order": order})
    _ask_for_stop(service, story)
    _dies_or(service, lambda: _state(service) == "stopped_flat")


def _ask_for_stop(service: Service, story: Story) -> None:
    """Without an answer it counts where it closed the word: then it must stand."""
    try:
        service.ask("POST", "/emergency-stop", {"reason": "sweep"})
    except Died:
        story.stopped = (service.state / "gate").read_bytes()[0] != 0
        raise
    story.stopped = True


def _dies_or(service: Service, done: Callable[[], bool]) -> None:
    def over() -> bool:
        try:
            return service.struck or done()
        except Died:
            return service.struck

    eventually("dies, or has done its work", over, _FLAT_S)


def _state(service: Service) -> str:
    status, answer = service.ask("GET", "/emergency-stop")
    return str(answer.get("state")) if status == HTTPStatus.OK else ""


def begin_flat(service: Service, story: Story) -> None:
    begin(service, story)
    _ask_for_stop(service, story)
    eventually("flat", lambda: _state(service) == "stopped_flat", _FLAT_S)


def resume(service: Service, story: Story) -> None:
    stop_id = service.ask("GET", "/emergency-stop")[1]["stop_id"]
    body: dict[str, object] = {"stop_id": stop_id, "reason": "sweep", "open_trades": []}
    story.resumed = None
    status, answer = service.ask("POST", "/resume", body)
    if answer.get("title") != _PERHAPS:
        story.resumed = status == HTTPStatus.OK
    if story.resumed:
        service.ask("POST", "/start", {"reason": "sweep"})
    _dies(service)


def begin_and_crash(service: Service, story: Story) -> None:
    """Killed plainly with signals on their way; what is struck is the recovery."""
    begin(service, story)
    signal(service, story)
    signal(service, story)
    service.kill()


def begin_stop_and_crash(service: Service, story: Story) -> None:
    """No close gets through before the kill, so that the next life has all of it to do."""
    begin(service, story)
    fault = {"operation": "positions.close", "status": 503, "times": 1_000_000}
    service.venue("/control/faults", "POST", fault)
    _ask_for_stop(service, story)
    service.kill(guard_too=True)
    service.venue("/control/faults", "DELETE")


def come_up(service: Service, story: Story) -> None:
    service.start()
    if service.up() and not story.stopped:
        signal(service, story)
    _dies(service)


def nothing(service: Service, story: Story) -> None:
    """A folder that nobody has used yet."""


def shut_down(service: Service, story: Story) -> None:
    signal(service, story)
    service.terminate()


# -- the list -------------------------------------------------------------------------------------

SCENES: Mapping[str, Scene] = {
    "birth": Scene(nothing, come_up, {
        "token.write": (1,), "journal.migrate": (1, 2), "journal.snapshot": (1,),
        "journal.append": (1, 2), "paper.record": (1,), "file.replace": (1,),
        "audit.checkpoint": (1,), "market.write": (1,), "send.read": (1, 3),
    }),
    "order": Scene(begin, go_on, {
        "journal.append": (1, 2, 3, 5), "market.write": (1,), "send.order": (1, 2),
        "send.read": (1,),
    }),
    "stop": Scene(begin, stop, {
        "latch.write": (1,), "latch.rename": (1,), "journal.append": (1, 2, 4),
        "send.cancel": (1,), "send.close_position": (1, 2, 3), "send.read": (1, 3),
    }),
    "recovery": Scene(begin_and_crash, come_up, {
        "journal.snapshot": (1,), "journal.append": (1, 2, 4), "send.read": (1, 2, 5),
        "market.write": (1,), "audit.checkpoint": (1,),
    }),
    "liquidation": Scene(begin_stop_and_crash, come_up, {
        "journal.snapshot": (1,), "journal.append": (1, 3, 5), "send.read": (2, 5),
        "send.close_position": (1, 2),
    }),
    "resume": Scene(begin_flat, resume, {
        "journal.snapshot": (1,), "journal.append": (1, 2), "latch.remove": (1,),
    }),
    "shutdown": Scene(begin, shut_down, {
        "journal.append": (1, 2), "journal.snapshot": (1,), "audit.checkpoint": (1,),
        "market.write": (1,),
    }),
}  # fmt: skip

# What an answer of a database, a lease and a board of stops add to them.
_MORE: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "birth": {"journal.epoch": (1,), "journal.answer": (1, 2), "lease.take": (1,),
              "lease.renew": (1,)},
    "order": {"journal.answer": (1, 2, 4), "lease.renew": (1,)},
    "stop": {"journal.answer": (1, 2), "board.put": (1,), "lease.renew": (1, 2)},
    "recovery": {"journal.epoch": (1,), "journal.answer": (1, 3), "lease.take": (1,),
                 "lease.renew": (1,)},
    "liquidation": {"journal.epoch": (1,), "journal.answer": (1, 2), "lease.take": (1,)},
    "resume": {"journal.epoch": (1,), "journal.answer": (1,), "board.end": (1,)},
    "shutdown": {"journal.answer": (1,), "lease.release": (1,)},
}  # fmt: skip
POSTGRES_SCENES: Mapping[str, Scene] = {
    name: msgspec.structs.replace(scene, places={**scene.places, **_MORE[name]})
    for name, scene in SCENES.items()
}
# What a server that dies has to do with.
OF_SERVER = ("journal.", "lease.", "board.")
