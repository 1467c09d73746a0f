"""Where the journal of these settings stands, for the commands that read or mend it at rest."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from orchestrator.adapters.store.archive import FOLDER
from orchestrator.adapters.store.trail import Pruned, TrailReader, TrailSource
from orchestrator.kernel.audit import AuditChain
from orchestrator.model.facts import Fact, OperatorActed, ServiceStopped
from orchestrator.model.ports import Store
from orchestrator.service.seams import wall_ns
from orchestrator.settings import Settings
from orchestrator.settings.urls import is_postgres


class MendedStore(Store, Protocol):
    """A store as `audit prune` needs it."""

    def prune(self, pruned: Pruned) -> int: ...

    def compact(self) -> None: ...


def store_place(settings: Settings) -> str:
    """For a person; no password."""
    if is_postgres(settings.database_url):
        from orchestrator.adapters.store.postgres_connection import parse

        return parse(url_of(settings)).place
    return str(settings.database_path)


def open_trail(settings: Settings) -> TrailSource:
    """Beside a service at work or without one. StoreError in plain words."""
    if is_postgres(settings.database_url):
        from orchestrator.adapters.store.postgres_trail import PostgresTrail

        return PostgresTrail(lambda: url_of(settings))
    return TrailReader(settings.database_path)


def open_alone(settings: Settings) -> MendedStore:
    """To be written by nobody else meanwhile. StoreLocked while a service works on it."""
    if is_postgres(settings.database_url):
        from orchestrator.adapters.store.postgres import PostgresStore

        return PostgresStore(lambda: url_of(settings), archive=archive_folder(settings))
    from orchestrator.adapters.store.sqlite import SqliteStore

    return SqliteStore(settings.database_path, sync="full")


def write_down(store: Store, actor: str, action: str, text: str) -> None:
    """In the trail itself: what a person did to it while no service was at work."""
    last = store.last_record()
    facts: list[Fact] = [OperatorActed(actor=actor, action=action, text=text)]
    if last is not None and last.type == "service.stopped":
        # The life before had ended in order, and its record must stay the last word.
        facts.append(ServiceStopped(reason=action))
    epoch = 0 if last is None else last.epoch
    chain = AuditChain(store.installation_id(), last)
    store.append(chain.link(facts, wall_ns(), "local", epoch), facts)


def archive_folder(settings: Settings) -> Path:
    """Where pruned records are kept: beside the file, or in the state folder."""
    if is_postgres(settings.database_url):
        return settings.state_dir / FOLDER
    return settings.database_path.parent / FOLDER


def url_of(settings: Settings) -> str:
    """Asked for each connection: the password may have changed."""
    return settings.address_of("database_url") or ""
