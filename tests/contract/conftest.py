"""What the contract suites are run against: venues, of which one paper process serves a whole file,
and stores.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.store.postgres import PostgresStore
from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.model.money import AccountId
from tests.contract.stores import MakeStore
from tests.contract.venues import (
    ACCOUNTS,
    GUARANTEED,
    Bench,
    Paper,
    at_practice,
    in_process,
    over_http,
)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paper]:
    venue = Paper(tmp_path_factory.mktemp("paper"))
    yield venue
    venue.process.terminate()
    assert venue.process.wait(10) is not None


@pytest.fixture(scope="module")
def free_accounts() -> Iterator[AccountId]:
    return iter(ACCOUNTS)


@pytest.fixture(params=["http", "in_process", pytest.param("practice", marks=pytest.mark.practice)])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Every venue that meets the port."""
    async for made in _benches(request):
        yield made


@pytest.fixture(params=["http", "in_process"])
async def paper_bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """The venues whose prices and accounts are ours to set."""
    async for made in _benches(request):
        yield made


@pytest.fixture(params=["http", pytest.param("practice", marks=pytest.mark.practice)])
async def client_bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """The OANDA client alone, for what it offers beyond the port."""
    async for made in _benches(request):
        yield made


@pytest.fixture
async def guaranteed_bench(paper: Paper) -> AsyncIterator[Bench]:
    """An account with guaranteed stops, over HTTP."""
    async with over_http(paper, GUARANTEED) as bench:
        await bench.begin()
        yield bench


async def _benches(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if request.param == "practice":
        made = at_practice()
    else:
        account = next(request.getfixturevalue("free_accounts"))
        in_one = request.param == "in_process"
        made = in_process(account) if in_one else over_http(
            request.getfixturevalue("paper"), account
        )  # fmt: skip
    async with made as bench:
        await bench.begin()
        yield bench


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeStore]:
    """Opens the same store each time it is called; the earlier one must be closed before."""
    opened: list[Any] = []

    def make_sqlite(folder: str = "state", **options: Any) -> SqliteStore:
        options = {"checkpoint_s": 0, "sync": "normal"} | options
        opened.append(SqliteStore(tmp_path / folder / "journal.db", **options))
        return opened[-1]

    def make_postgres(folder: str = "state", **options: Any) -> PostgresStore:
        if folder not in urls:
            urls[folder] = request.getfixturevalue("databases").take()
        opened.append(PostgresStore(urls[folder], **options))
        return opened[-1]

    urls: dict[str, str] = {}
    yield {"sqlite": make_sqlite, "postgres": make_postgres}[request.param]
    for store in opened:
        store.close()
    for url in urls.values():
        request.getfixturevalue("databases").give_back(url)


@pytest.fixture
def store(make: MakeStore) -> Any:
    return make()
