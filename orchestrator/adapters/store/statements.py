"""SQL from .sql files: each statement has a name and a sentence of explanation."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Migration: TypeAlias = tuple[int, str, str]  # version, file, text

_HERE = __name__.rpartition(".")[0]
_PARTS = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_MIGRATION = re.compile(r"(\d{4})_\w+\.sql")


@cache
def statements(name: str) -> Mapping[str, str]:
    """The statements of `sql/NAME.sql` by name. ValueError for one that is not explained."""
    _, *parts = _PARTS.split(_text("sql", f"{name}.sql"))
    found: dict[str, str] = {}
    for key, body in zip(parts[::2], parts[1::2], strict=True):
        lines = body.strip().splitlines()
        if not lines[0].startswith("-- ") or key in found:
            raise ValueError(f"sql/{name}.sql: {key} needs one explanation and a name of its own")
        found[key] = "\n".join(line for line in lines if not line.startswith("--"))
    return found


def migrations(folder: str) -> list[Migration]:
    """Those of `migrations/FOLDER`, in order, without holes."""
    names = sorted(entry.name for entry in files(_HERE).joinpath("migrations", folder).iterdir())
    found = [
        (int(match[1]), name, _text("migrations", folder, name))
        for name in names
        if (match := _MIGRATION.fullmatch(name))
    ]
    assert [version for version, _, _ in found] == list(range(1, len(found) + 1)), names
    return found


def directed(sql: str, *, ascending: bool) -> str:
    """The statement with its `{direction}` filled in."""
    return sql.replace("{direction}", "ASC" if ascending else "DESC")


def _text(*path: str) -> str:
    return files(_HERE).joinpath(*path).read_text("utf-8")
