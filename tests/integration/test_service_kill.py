"""`kill -9` at any moment: nothing lost, nothing doubled, and the venue's books are the judge."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.model.facts import IntentWritten, SignalAccepted, SignalEnded
from tests.integration.flow import BUSY, BUSY_TOML, Trader, busy_replay
from tests.integration.processes import (
    ACCOUNTS,
    Service,
    alive,
    eventually,
    pause,
    venues_on,
)

TERMINAL = {"filled", "cancelled", "rejected", "absent", "blocked", "expired"}


@pytest.mark.parametrize("seed", [11, 12])
def test_a_killed_service_loses_and_doubles_nothing(tmp_path: Path, seed: int):
    """Goal: INV-02, -03, -06, -11, -14, -15 over crashes. Method: signals without a pause, kills
    at moments drawn from the seed, the same command line again; then quiet, and a comparison of
    the store with all that the venue recorded."""
    rng = random.Random(seed)
    promised: list[str] = []
    with busy_replay(tmp_path, seed) as service:
        service.start().wait_up()
        venue = service.venue_pid
        for _ in range(2):
            with Trader(service, rng) as trader:
                pause(rng.uniform(0.05, 1.5))
                service.kill()
            promised += trader.promised
            assert alive(venue), "the venue lives on, so that trades stay real"
            pause(rng.uniform(0, 0.3))
            service.start()
            if rng.random() < 0.5:  # a crash during recovery
                pause(rng.uniform(0.2, 1.2))
                service.kill()
                service.start()
            service.wait_up()
            assert service.venue_pid == venue, "the running venue is found again"
        with Trader(service, rng) as trader:
            eventually("it trades again", lambda: len(trader.promised) > 5, 15)
        promised += trader.promised
        _settled(service)
        _compare(service, promised, seed)


def _settled(service: Service) -> None:
    eventually("every signal has ended", lambda: not _unended(service), 20, 0.3)
    eventually("books equal", lambda: not service.book_differences(), 10)


def _unended(service: Service) -> set[tuple[str, str]]:
    with service.store() as store:
        facts = [fact for _, fact in store.facts()]
    wanted = {(f.signal.signal_id, a) for f in facts if isinstance(f, SignalAccepted)
              for a in f.accounts}  # fmt: skip
    return wanted - {(f.signal_id, f.account_id) for f in facts if isinstance(f, SignalEnded)}


def _compare(service: Service, promised: list[str], seed: int) -> None:
    with service.store() as store:
        assert store.broken() is None, f"seed {seed}"
        facts = [fact for _, fact in store.facts()]
        states = dict(store.rows("SELECT intent_id, state FROM intents"))
    accepted = {f.signal.signal_id for f in facts if isinstance(f, SignalAccepted)}
    ended = Counter((f.signal_id, f.account_id) for f in facts if isinstance(f, SignalEnded))
    intents = Counter(f.intent.intent_id for f in facts if isinstance(f, IntentWritten))
    known = accepted | {signal_id for signal_id, _ in ended}
    assert not set(promised) - known, f"seed {seed}: answered 202 and not kept"
    assert max(ended.values()) == 1, f"seed {seed}: {ended.most_common(3)} ended twice"
    assert max(intents.values()) == 1, f"seed {seed}: an intent was written twice"
    ordered: Counter[str] = Counter()
    for account_id in ACCOUNTS:
        for each in service.venue_transactions(account_id):
            if each["type"] == "MARKET_ORDER" and "clientExtensions" in each:
                ordered[each["clientExtensions"]["id"]] += 1
    assert len(ordered) > 2, f"seed {seed}: the test must see orders, not {len(ordered)}"
    assert max(ordered.values()) == 1, f"seed {seed}: sent twice: {ordered.most_common(3)}"
    assert not set(ordered) - set(intents), f"seed {seed}: orders without an intent"
    filled = {name for name, state in states.items() if state == "filled"}
    assert not filled - set(ordered), f"seed {seed}: filled in our books only"
    undecided = {name: state for name, state in states.items() if state not in TERMINAL}
    assert not undecided, f"seed {seed}"


def test_a_service_killed_while_its_venue_comes_up_starts_again(tmp_path: Path):
    """Goal: R5, killing is safe at any instant: also before the venue's process is written down."""
    with Service(tmp_path) as service:
        service.start()
        eventually("a venue's process", lambda: venues_on(service.state), 20, 0.002)
        service.kill()
        eventually("the venue is up, or has gone", lambda: _venue_decided(service), 20)
        service.start().wait_up()
        assert venues_on(service.state) == [service.venue_pid], "one venue, and it is known"


def _venue_decided(service: Service) -> bool:
    return (service.state / "paper.port").exists() or not venues_on(service.state)


def test_service_and_venue_killed_at_once_come_back_with_equal_books(tmp_path: Path):
    """Goal: the machine's own end, as far as a process can show it. The replay begins anew, in a
    market time that was there before; the books may not mind."""
    rng = random.Random(21)
    with busy_replay(tmp_path, seed=21) as service:
        service.start().wait_up()
        with Trader(service, rng) as trader:
            eventually("orders", lambda: len(service.orders_heard()) > 20, 20)
            for pid in rng.sample((service.venue_pid, service.pid), 2):
                os.kill(pid, signal.SIGKILL)
            service.wait()
        service.start().wait_up()
        heard = len(service.orders_heard())
        with Trader(service, rng):
            eventually("orders again", lambda: len(service.orders_heard()) > heard + 5, 30)
        _settled(service)
        _compare(service, trader.promised, 21)


def test_a_killed_venue_comes_back_with_its_books_and_trading_goes_on(tmp_path: Path):
    """Goal: the venue dies, the service does not. On the synthetic market, whose time is ours."""
    rng = random.Random(3)
    with Service(tmp_path, toml=BUSY_TOML, **BUSY) as service:
        service.start().wait_up()
        with Trader(service, rng):
            eventually("an order is filled", service.open_trades, 20)
        life, venue = service.pid, service.venue_pid
        before = {a: len(service.venue_transactions(a)) for a in ACCOUNTS}
        os.kill(venue, signal.SIGKILL)
        eventually("another venue", lambda: service.venue_pid != venue, 20)
        eventually("it listens", lambda: _count(service), 20)
        with Trader(service, rng):
            eventually("orders again", lambda: _count(service) > sum(before.values()) + 3, 30)
        assert service.pid == life
        assert alive(life)
        eventually("books equal", lambda: not service.book_differences(), 10)
        with service.store() as store:
            assert store.broken() is None


def _count(service: Service) -> int:
    """How many transactions the venue knows; 0 while it does not answer."""
    try:
        return sum(len(service.venue_transactions(a)) for a in ACCOUNTS)
    except OSError:
        return 0
