"""What flows through a service under test: made-up quotes in, signals without a pause."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from pathlib import Path

from orchestrator.research.crash_sweep import busy
from tests.integration.processes import Answer, Service

BUSY, BUSY_TOML = busy.LIMITS, busy.TOML


def write_ticks(
    folder: Path, instrument: str, *, mid: float, hours: float, seed: int, every_ms: int = 800,
    start_hour: int = 12,
) -> Path:  # fmt: skip
    """A recorded file of a made-up market: a walk from `start_hour` UTC of 2014-05-07."""
    rng = random.Random(f"{instrument} {seed}")
    at_ms, price, half = start_hour * 3_600_000, mid, 0.00006
    end_ms = at_ms + int(hours * 3_600_000)
    path = folder / f"{instrument}_20140507.csv"
    with path.open("w") as file:
        while at_ms < end_ms:
            file.write(f"{at_ms},{price - half:.5f},{price + half:.5f}\n")
            price = mid + (price - mid) * 0.9999 + rng.gauss(0, 0.00004)
            at_ms += rng.randint(1, 2 * every_ms)
    return path


def replay_words(files: Sequence[Path], speed: str) -> tuple[str, ...]:
    named = (word for file in files for word in ("--replay", str(file)))
    return (*named, "--speed", speed)


class Trader:
    """Gives signals without a pause, in a thread of its own, for as long as the `with` lasts."""

    def __init__(self, service: Service, rng: random.Random, every_s: float = 0.03) -> None:
        self.promised: list[str] = []  # answered 202: a promise that must survive any crash
        self.refused: list[Answer] = []
        self._service = service
        self._rng = rng
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="trader", daemon=True)
        self._life = rng.getrandbits(32)

    def _work(self) -> None:
        count = 0
        while not self._over.wait(self._every_s):
            count += 1
            name = f"s{self._life:08x}-{count:04d}"
            answer = self._service.signal(
                name, self._rng.choice(("EUR_USD", "NZD_USD")), self._rng.choice(("buy", "sell"))
            )
            if answer is not None and answer.status == 202:
                self.promised.append(name)
            elif answer is not None:
                self.refused.append(answer)

    def __enter__(self) -> Trader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=10)


def busy_replay(folder: Path, seed: int, hours: float = 3.0, **environment: str) -> Service:
    """A service that replays a made-up market at 60 x and lets every signal become an order."""
    files = [
        write_ticks(folder, "EUR_USD", mid=1.39, hours=hours, seed=seed),
        write_ticks(folder, "NZD_USD", mid=0.87, hours=hours, seed=seed),
    ]
    words = (*replay_words(files, "60"), "--state", str(folder / "s" / "state"))
    return Service(folder / "s", *words, toml=BUSY_TOML, **{**BUSY, **environment})
