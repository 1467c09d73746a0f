"""Market data on a real PostgreSQL that is killed, frozen, full, forbidden or from the future."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.store import market_postgres, market_schema
from orchestrator.adapters.store.market_postgres import PostgresMarketStore
from orchestrator.model import failpoints
from orchestrator.model.errors import StoreError
from orchestrator.model.market import MarketCondition, Tick
from orchestrator.model.time import DAY_NS, parse_time
from tests.servers.postgres import PostgresServer, execute

START = parse_time("2014-05-08T10:00:00Z")
FAR = START + 400 * DAY_NS

Open = Callable[..., PostgresMarketStore]


@pytest.fixture
def url(own_postgres: PostgresServer) -> str:
    return own_postgres.create()


@pytest.fixture
def open_store(url: str, tmp_path: Path) -> Iterator[Open]:
    opened: list[PostgresMarketStore] = []

    def make(**options: Any) -> PostgresMarketStore:
        told = {"writer": f"life-{len(opened)}", "flush_s": 0.05, "rows_a_commit": 1_000} | options
        at = told.pop("url", url)
        opened.append(PostgresMarketStore(lambda: at, tmp_path / "spool", **told))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def ticks(since: int, until: int) -> list[Tick]:
    return [
        Tick(
            instrument="EUR_USD", bid=Decimal("1.1"), ask=Decimal("1.2"), venue_ns=START + n,
            seen_ns=START + n,
        )
        for n in range(since, until)
    ]  # fmt: skip


def until(store: PostgresMarketStore, true: Callable[[MarketCondition], Any]) -> None:
    """Until it is so, or a minute is over."""
    end = time.monotonic() + 60  # noqa: TID251 -- a real server, in real time
    while not true(store.condition()):
        assert time.monotonic() < end, store.condition()  # noqa: TID251 -- as above
        time.sleep(0.02)  # noqa: TID251 -- as above


def stored(url: str) -> list[int]:
    rows = execute(url, "SELECT venue_ns FROM ticks ORDER BY venue_ns")
    return [row[0] - START for row in rows]


def volume(url: str) -> int:
    return execute(url, "SELECT coalesce(sum(volume), 0)::bigint FROM candles_m1")[0][0]


# -- lost answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_batch_whose_answer_is_lost_is_stored_once(url: str, open_store: Open, when: str) -> None:
    """The connection breaks right before, or right after, the server has committed."""
    blows = iter([True, True, False])

    def strike(place: str) -> None:
        if place == f"market.write.{when}" and next(blows, False):
            raise ConnectionResetError(104, "Connection reset by peer")

    store = open_store()
    failpoints.listen(strike)
    try:
        store.write_ticks(ticks(0, 10))
        until(store, lambda told: told.problem)
        until(store, lambda told: told.written == 10)
    finally:
        failpoints.listen(None)
    assert stored(url) == list(range(10))
    assert volume(url) == 10
    assert store.condition().problem == ""


# -- a server that goes away -------------------------------------------------------------------


def test_what_comes_while_the_server_is_dead_waits_on_the_disk_over_lives_of_the_service(
    own_postgres: PostgresServer, url: str, open_store: Open, tmp_path: Path
) -> None:
    store = open_store()
    store.write_ticks(ticks(0, 5))
    until(store, lambda told: told.written == 5)
    own_postgres.kill()
    try:
        store.write_ticks(ticks(5, 3_000))
        until(store, lambda told: told.spooled >= 2_000)
        assert "TIMESCALE_URL" in store.condition().problem
        store.close()
        later = open_store()  # a new life of the service: it does not wait for the server
        later.write_ticks(ticks(3_000, 3_100))
        until(later, lambda told: told.problem)
    finally:
        own_postgres.start()
    until(later, lambda told: told.spooled == 0 and not told.waiting)
    until(later, lambda _: stored(url) == list(range(3_100)))
    assert volume(url) == 3_100
    assert list((tmp_path / "spool").glob("*.batch")) == []
    assert [store.condition().dropped, later.condition().dropped] == [0, 0]


def test_a_frozen_server_holds_up_nobody_and_nothing_is_lost_or_doubled(
    own_postgres: PostgresServer, url: str, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_postgres, "_WRITE_S", 1.5)
    store = open_store()
    store.write_ticks(ticks(0, 5))
    until(store, lambda told: told.written == 5)
    own_postgres.freeze()
    try:
        for n in range(5, 4_000, 5):
            store.write_ticks(ticks(n, n + 5))
        until(store, lambda told: told.spooled > 0)
        assert "answer" in store.condition().problem
    finally:
        own_postgres.thaw()
    until(store, lambda told: told.written == 4_000)
    assert stored(url) == list(range(4_000))
    assert volume(url) == 4_000


def test_a_close_while_the_server_is_frozen_leaves_all_on_the_disk_for_the_next_life(
    own_postgres: PostgresServer, url: str, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_postgres, "_WRITE_S", 1.5)
    store = open_store()
    store.write_ticks(ticks(0, 5))
    until(store, lambda told: told.written == 5)
    own_postgres.freeze()
    try:
        store.write_ticks(ticks(5, 1_500))
        store.close()
        assert not store._thread.is_alive()
        assert store.condition().spooled == 1_495
    finally:
        own_postgres.thaw()
    later = open_store()
    until(later, lambda told: told.written == 1_495)
    assert stored(url) == list(range(1_500))


def test_the_disk_takes_no_more_than_it_may_and_the_oldest_go(
    own_postgres: PostgresServer, url: str, open_store: Open
) -> None:
    store = open_store(spool_bytes_max=3 * 20_000)
    own_postgres.kill()
    try:
        for n in range(0, 20_000, 1_000):
            store.write_ticks(ticks(n, n + 1_000))
        until(store, lambda told: told.dropped and not told.waiting)
    finally:
        own_postgres.start()
    until(store, lambda told: told.written + told.dropped == 20_000)
    assert stored(url) == list(range(store.condition().dropped, 20_000))


def test_without_a_disk_the_newest_stay_in_memory(
    own_postgres: PostgresServer, url: str, open_store: Open, tmp_path: Path
) -> None:
    store = open_store(rows_max=2_000)
    (tmp_path / "spool" / "known").unlink()
    (tmp_path / "spool").rmdir()
    (tmp_path / "spool").write_text("a file where the folder should be")
    own_postgres.kill()
    try:
        for n in range(0, 8_000, 500):
            store.write_ticks(ticks(n, n + 500))
        until(store, lambda told: "spool" in told.problem)
    finally:
        own_postgres.start()
    until(store, lambda told: told.written + told.dropped == 8_000)
    assert store.condition().dropped > 0
    assert stored(url)[-1_000:] == list(range(7_000, 8_000))


def test_a_batch_on_the_disk_that_is_damaged_costs_only_itself(
    own_postgres: PostgresServer, url: str, open_store: Open, tmp_path: Path
) -> None:
    store = open_store()
    own_postgres.kill()
    try:
        store.write_ticks(ticks(0, 2_000))
        until(store, lambda told: told.spooled == 2_000)
        store.close()
        first, _ = sorted((tmp_path / "spool").glob("*.batch"))
        first.write_bytes(first.read_bytes()[:-10])
        (tmp_path / "spool" / "000000000009-1-x-1.new").write_bytes(b"cut")
    finally:
        own_postgres.start()
    again = open_store()
    until(again, lambda told: told.spooled == 0 and told.written)
    assert again.condition().failed == 1_000
    assert stored(url) == list(range(1_000, 2_000))
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["known"]


def test_a_server_that_is_full_is_told_and_what_waits_is_stored_when_it_is_not(
    url: str, open_store: Open
) -> None:
    store = open_store()
    execute(
        url,
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'No space left on device' USING ERRCODE = '53100'; END $$",
        "CREATE TRIGGER full_disk BEFORE INSERT ON candles_m1 EXECUTE FUNCTION full_disk()",
    )
    store.write_ticks(ticks(0, 10))
    until(store, lambda told: "disk of" in told.problem)
    execute(url, "DROP TRIGGER full_disk ON candles_m1")
    until(store, lambda told: told.written == 10)
    assert stored(url) == list(range(10))


# -- days --------------------------------------------------------------------------------------


def test_each_day_has_its_partition_and_the_next_one_has_too(url: str, open_store: Open) -> None:
    store = open_store()
    late = ticks(0, 1) + ticks(DAY_NS, DAY_NS + 1)
    odd = [
        Tick(instrument="EUR_USD", bid=Decimal(1), ask=Decimal(1), venue_ns=2**61, seen_ns=START)
    ]
    store.write_ticks(late + odd)
    store.close()
    parts = execute(url, "SELECT tableoid::regclass::text FROM ticks ORDER BY venue_ns")
    assert [row[0] for row in parts] == ["ticks_20140508", "ticks_20140509", "ticks_other_days"]
    made = execute(url, "SELECT to_regclass('ticks_20140510')::text")
    assert made[0][0] == "ticks_20140510"


def test_ticks_that_came_before_their_day_was_made_move_into_it(url: str, open_store: Open) -> None:
    open_store().close()
    execute(
        url,
        f"INSERT INTO ticks VALUES ('EUR_USD', {START}, {START}, 1, 2, true)",  # noqa: S608 -- ours
        f"SELECT market_make_day({START // DAY_NS})",
    )
    assert execute(url, "SELECT tableoid::regclass::text FROM ticks")[0][0] == "ticks_20140508"


def test_old_days_are_dropped_whole(url: str, open_store: Open) -> None:
    first = open_store(retention_days=3)
    first.write_ticks(ticks(0, 3))
    first.close()
    later = open_store(retention_days=3)
    later.write_ticks(ticks(5 * DAY_NS, 5 * DAY_NS + 1))
    later.close()
    assert stored(url) == [5 * DAY_NS]
    assert execute(url, "SELECT to_regclass('ticks_20140508')")[0][0] is None


def test_a_clock_of_another_century_drops_no_good_tick(url: str, open_store: Open) -> None:
    """What was seen "in the future" counts as seen by the server's clock at the latest."""
    now = execute(url, "SELECT (extract(epoch FROM now()) * 1e9)::bigint")[0][0]
    store = open_store(retention_days=30)
    good = Tick(instrument="A_B", bid=Decimal(1), ask=Decimal(1), venue_ns=now, seen_ns=now)
    store.write_ticks([good])
    store.write_ticks(
        [Tick(instrument="A_B", bid=Decimal(1), ask=Decimal(1), venue_ns=2**62, seen_ns=2**62)]
    )
    store.close()
    assert len(open_store().ticks("A_B", 0, 2**62)) == 1


# -- rights, schemas, addresses ----------------------------------------------------------------


def test_a_writer_needs_no_right_over_tables(
    own_postgres: PostgresServer, url: str, open_store: Open
) -> None:
    """The statements of docs/market-data.md for a role of its own are enough."""
    open_store().close()
    role = f"writer_{url.rpartition('/')[2]}"
    execute(url, f"CREATE ROLE {role} LOGIN", *_grants(role))
    store = open_store(url=own_postgres.url(url.rpartition("/")[2], user=role))
    store.write_ticks(ticks(0, 10))
    until(store, lambda told: told.written == 10)
    assert store.condition().problem == ""
    assert execute(url, "SELECT tableoid::regclass::text FROM ticks")[0][0] == "ticks_20140508"
    with pytest.raises(AssertionError):  # the same rights do not reach further
        assert execute(
            own_postgres.url(url.rpartition("/")[2], user=role),
            "SELECT has_table_privilege(current_user, 'ticks', 'DELETE')",
        )[0][0]


def _grants(role: str) -> list[str]:
    page = Path(__file__).resolve().parents[2] / "docs" / "market-data.md"
    block = page.read_text("utf-8").partition("```sql\n")[2].partition("```")[0]
    return [line.replace("feed_writer", role) for line in block.split(";\n") if line.strip()]


def test_without_rights_to_make_the_schema_the_owner_is_asked_for(
    own_postgres: PostgresServer, url: str, open_store: Open
) -> None:
    role = f"guest_{url.rpartition('/')[2]}"
    execute(url, f"CREATE ROLE {role} LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with pytest.raises(StoreError, match="TIMESCALE_URL: its user may not make tables"):
        open_store(url=own_postgres.url(url.rpartition("/")[2], user=role))
    assert execute(url, "SELECT to_regclass('ticks')")[0][0] is None


def test_a_read_only_database_is_told(
    own_postgres: PostgresServer, url: str, open_store: Open
) -> None:
    own_postgres.read_only(url.rpartition("/")[2])
    with pytest.raises(StoreError, match=r"TIMESCALE_URL: .* is read-only"):
        open_store()


def test_a_newer_schema_is_refused(url: str, open_store: Open, tmp_path: Path) -> None:
    open_store().close()
    (tmp_path / "spool" / "known").unlink()
    execute(url, "UPDATE alembic_version_market SET version_num = '0099'")
    with pytest.raises(StoreError, match=r"TIMESCALE_URL: .*newer version"):
        open_store()


def test_a_server_that_was_never_met_must_answer_at_the_start(
    own_postgres: PostgresServer, open_store: Open
) -> None:
    with pytest.raises(StoreError, match=r"TIMESCALE_URL: there is no database .*createdb"):
        open_store(url=own_postgres.url("not_there"))
    with pytest.raises(StoreError, match="TIMESCALE_URL: nobody answers"):
        open_store(url="postgresql://u:p4ss@127.0.0.1:1/m")


def test_two_services_make_the_schema_once(url: str, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def open_one(n: int) -> None:
        PostgresMarketStore(lambda: url, tmp_path / str(n), writer=f"w{n}").close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(open_one, range(4)))
    assert execute(url, "SELECT count(*) FROM market_layout")[0][0] == 1


def test_what_the_server_lacks_is_said(open_store: Open) -> None:
    assert open_store().condition().layout == market_schema.NOTES[market_schema.PARTITIONS]
    assert "no TimescaleDB" in market_schema.NOTES[market_schema.PARTITIONS]
