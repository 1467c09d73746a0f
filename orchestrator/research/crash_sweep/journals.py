"""The journal of a service that may be at work: a copy of its file, or read at its server."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record

FILE = "orchestrator.db"


@contextmanager
def copied_store(state: Path, folder: Path) -> Generator[SqliteStore]:
    """A consistent copy of a state folder's journal, in `folder`, by the product's own reader."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with (
        closing(sqlite3.connect(f"file:{state / FILE}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(folder / FILE)) as target,
    ):
        source.backup(target)
    with closing(SqliteStore(folder / FILE, sync="normal", checkpoint_s=0)) as store:
        yield store


def journal_in_file(state: Path, folder: Path) -> tuple[list[tuple[Record, Fact]], str]:
    """All records as they stand, and the installation's id."""
    with copied_store(state, folder) as store:
        return list(store.facts_after(0)), store.installation_id()


def journal_on_server(url: str) -> tuple[list[tuple[Record, Fact]], str]:
    """As `journal_in_file`, beside the nodes that use it."""
    from orchestrator.adapters.store.postgres import PostgresStore  # noqa: PLC0415 -- asyncpg

    with closing(PostgresStore(url, lease=True)) as store:
        return list(store.facts_after(0)), store.installation_id()
