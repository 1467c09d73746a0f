"""`orchestrator db`: the databases brought up to date, looked at, copied, put back, moved."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from orchestrator.main.market import look
from orchestrator.main.places import current_folder
from orchestrator.main.secrets import settings_in_force
from orchestrator.main.trails import store_place, url_of
from orchestrator.model.errors import OrchestratorError
from orchestrator.service.cli.backend import Check
from orchestrator.settings import Settings, SettingsError
from orchestrator.settings.urls import SecretUrl, is_postgres, path_of_store

if TYPE_CHECKING:
    from orchestrator.main.keeping import Kept

_BAD = 1


def run(arguments: list[str]) -> int:
    """The exit code: 0 done, 1 not, with why on standard error."""
    words = _parser().parse_args(arguments)
    try:
        return int(words.do(_settings(words), words))
    except (SettingsError, OrchestratorError, OSError, ValueError) as exc:
        print(f"orchestrator db: {exc}", file=sys.stderr)
        return _BAD


def _settings(words: argparse.Namespace) -> Settings:
    settings = settings_in_force()
    folder = words.state or current_folder(settings.state_dir)
    return settings.model_copy(update={"state_dir": folder})


# -- upgrade ---------------------------------------------------------------------------------------


class Upgraded(NamedTuple):
    name: str
    before: int
    after: int


def _upgrade(settings: Settings, words: argparse.Namespace) -> int:
    done = [*_upgrade_journal(settings, words.service_role), *_upgrade_market(settings)]
    if words.json:
        print(msgspec.json.encode([each._asdict() for each in done]).decode())
        return 0
    for name, before, after in done:
        if before == after:
            print(f"{name}: schema {after}, nothing to do")
        else:
            print(f"{name}: schema {before} -> {after}" if before else f"{name}: made, {after}")
    return 0


def _upgrade_journal(settings: Settings, role: str) -> list[Upgraded]:
    from orchestrator.adapters.store.postgres_schema import JOURNAL

    if is_postgres(settings.database_url):
        from orchestrator.main import keeping

        return [Upgraded("journal", *keeping.upgrade(lambda: url_of(settings), JOURNAL, role))]
    if role:
        raise ValueError("--service-role is for PostgreSQL; DATABASE_URL is a file")
    return [Upgraded("journal", *_upgrade_file(settings))]


def _upgrade_file(settings: Settings) -> tuple[int, int]:
    """A file is brought up to date by whoever opens it."""
    from orchestrator.adapters.store.sqlite import SqliteStore
    from orchestrator.adapters.store.sqlite_bulk import schema_of
    from orchestrator.adapters.store.statements import migrations

    path = settings.database_path
    before = schema_of(path) if path.exists() else 0
    SqliteStore(path, sync=settings.store_sync).close()
    return before, len(migrations("sqlite"))


def _upgrade_market(settings: Settings) -> list[Upgraded]:
    """A file of market data is brought up to date by the service."""
    if not is_postgres(settings.timescale_url):
        return []
    from orchestrator.main import keeping

    return [Upgraded("market data", *keeping.upgrade_market(settings))]


# -- check -----------------------------------------------------------------------------------------


def _check(settings: Settings, words: argparse.Namespace) -> int:
    found = list(_checks(settings))
    if words.json:
        print(msgspec.json.encode(found).decode())
    else:
        for each in found:
            mark = {True: "good", False: "BAD ", None: "note"}[each.ok]
            print(f"{mark}  {each.name}: {each.text}")
            if each.hint:
                print(f"      {each.hint}")
    return _BAD if any(each.ok is False for each in found) else 0


def _checks(settings: Settings) -> Sequence[Check]:
    """The journal's, and the market data's where it is on a server of its own."""
    found = _check_journal(settings)
    return [*found, look(settings)] if is_postgres(settings.timescale_url) else found


def _check_journal(settings: Settings) -> Sequence[Check]:
    from orchestrator.adapters.store.trail import NoStoreYet
    from orchestrator.main.audit import Trail
    from orchestrator.main.trails import open_trail
    from orchestrator.service.cli.trail import GOOD, VerifyWishes

    place = store_place(settings)
    try:
        open_trail(settings).close()
    except NoStoreYet as exc:
        return [Check(name="journal", ok=None, text=str(exc), hint="the first start makes it")]
    except OrchestratorError as exc:
        return [Check(name="journal", ok=False, text=str(exc), hint="")]
    report = Trail(settings).verify(VerifyWishes(quiet=True))
    found = [
        Check(name="journal", ok=True, text=place, hint=""),
        Check(name="chain", ok=report.state == GOOD, text=report.text, hint=""),
    ]
    return [*found, *_check_rights(settings)]


def _check_rights(settings: Settings) -> list[Check]:
    if not is_postgres(settings.database_url):
        return []
    from orchestrator.main import keeping

    guarded, owner = keeping.looked_at(settings)
    text = "are there and at work" if guarded else "are missing or switched off"
    found = [Check(name="triggers of the journal", ok=guarded, text=text, hint="")]
    if owner:
        found.append(
            Check(
                name="rights", ok=None, text="the service's role owns the journal's tables",
                hint="a role of its own could not drop the triggers: docs/store.md",
            )
        )  # fmt: skip
    return found


# -- copies ----------------------------------------------------------------------------------------


def _backup(settings: Settings, words: argparse.Namespace) -> int:
    from orchestrator.main import keeping

    return _told(keeping.back_up(settings, words.file, quiet=words.json), words)


def _restore(settings: Settings, words: argparse.Namespace) -> int:
    from orchestrator.main import keeping

    kept = keeping.restore(settings, words.file, _actor(), quiet=words.json)
    return _told(kept, words)


def _move(settings: Settings, words: argparse.Namespace) -> int:
    from orchestrator.main import keeping

    source, target = SecretUrl(words.source), SecretUrl(words.target)
    if is_postgres(source) or not is_postgres(target):
        raise ValueError("a store moves --from sqlite:///FILE --to postgresql://...")
    same = settings.address_of("database_url")
    variable = "DATABASE_URL" if words.target == same else "--to"
    kept = keeping.move(path_of_store(source), words.target, variable, _actor(), quiet=words.json)
    code = _told(kept, words)
    if not words.json:
        print("The file stays as it is. Set DATABASE_URL, keep the state folder, then start.")
    return code


def _actor() -> str:
    return f"local:{os.getuid()}"


def _told(kept: Kept, words: argparse.Namespace) -> int:
    if words.json:
        print(msgspec.json.encode(kept).decode())
        return 0
    print(f"{kept.what}: {kept.records:,} records hold, {kept.first:,} to {kept.last:,}")
    print(f"  {kept.place}")
    if kept.head:
        print(f"  head    {kept.head}")
    if kept.digest:
        print(f"  sha256  {kept.digest}")
    return 0


# -- words -----------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="orchestrator db",
        description="The journal's database, a file or PostgreSQL (docs/store.md).",
    )
    every = argparse.ArgumentParser(add_help=False)
    every.add_argument("--state", type=Path, metavar="DIR", help="the state folder")
    every.add_argument("--json", action="store_true", help="for programs; no progress is shown")
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")

    def command(name: str, text: str, do: object) -> argparse.ArgumentParser:
        made = commands.add_parser(name, parents=[every], help=text, description=text)
        made.set_defaults(do=do)
        return made

    upgrade = command("upgrade", "brings the databases to this version's schema", _upgrade)
    upgrade.add_argument(
        "--service-role", default="", metavar="ROLE",
        help="the role that the service connects as: it gets the rights it needs, and no others",
    )  # fmt: skip
    command("check", "looks at schema, rights, triggers, and verifies the audit chain", _check)
    backup = command("backup", "one verified file of one moment, beside a service", _backup)
    backup.add_argument("file", type=Path, metavar="FILE")
    restore = command("restore", "puts a backup where there is no store; verified", _restore)
    restore.add_argument("file", type=Path, metavar="FILE")
    moved = command("move", "a SQLite store into an empty PostgreSQL database; verified", _move)
    moved.add_argument("--from", dest="source", required=True, metavar="sqlite:///FILE")
    moved.add_argument("--to", dest="target", required=True, metavar="postgresql://...")
    return parser
