"""Statements in SQLite's spelling, as PostgreSQL reads them; texts and rows on their way there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from orchestrator.adapters.store.codec import record_of
from orchestrator.adapters.store.statements import statements
from orchestrator.model.journal import Record

_PLACES = re.compile(r"'[^']*'|::\w+|(?<!:):(\w+)|\?")
_BYTES = re.compile(r"CAST\(((?:\w+\.)?data) AS BLOB\)")

# PostgreSQL's texts hold any sign but NUL. It never occurs in practice, and must not be lost.
_ESC = "\x1b"
_CODED = {"\0": f"{_ESC}0", _ESC: f"{_ESC}1"}
_PLAIN = {code: sign for sign, code in _CODED.items()}
_RARE = re.compile("[\0\x1b]")
_CODE = re.compile("\x1b[01]")
_OWN = {"journal"}


@cache
def postgres_statements(name: str) -> Mapping[str, str]:
    """Those of `sql/NAME.sql`, in PostgreSQL's own words where it has a file of that name."""
    if name in _OWN:
        return {**statements(name), **statements(f"postgres/{name}")}
    return statements(name)


@cache
def spelled(sql: str) -> tuple[str, tuple[str, ...]]:
    """With `$1` in the place of each `?`, or of each `:name`; the names in their order, if any."""
    names: list[str] = []
    count = 0

    def place(found: re.Match[str]) -> str:
        nonlocal count
        if found[0] == "?":
            count += 1
            return f"${count}"
        if found[1] is None:
            return found[0]
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    text = _PLACES.sub(place, _BYTES.sub(r"convert_to(\1, 'UTF8')", sql))
    assert not (count and names), "a statement has places of one kind"
    return text, tuple(names)


def ask(sql: str, given: Sequence[Any] | Mapping[str, Any] = ()) -> tuple[str, tuple[Any, ...]]:
    """The statement and its arguments as the driver takes them."""
    text, names = spelled(sql)
    if isinstance(given, Mapping):
        return text, tuple(coded(given[name]) for name in names)
    return text, tuple(map(coded, given))


def coded(value: Any) -> Any:  # noqa: ANN401 -- whatever a column holds
    """A text as the database can hold it; all else as it is."""
    if type(value) is str and _RARE.search(value):
        return _RARE.sub(lambda found: _CODED[found[0]], value)
    return value


def row_of(values: Sequence[Any]) -> tuple[Any, ...]:
    """A row as it was before `coded`."""
    return tuple(
        _CODE.sub(lambda found: _PLAIN[found[0]], value)
        if type(value) is str and _ESC in value
        else value
        for value in values
    )


def record_from(values: Sequence[Any]) -> Record:
    """A row of the journal, seq ... hash; the quick way where nothing in it is coded."""
    seq, ts, node, epoch, kind, subject, corr, actor, data, prev, digest = values
    if _ESC in node or _ESC in subject or _ESC in corr or _ESC in actor or _ESC in kind:
        return record_of(row_of(values))
    return Record(
        seq=seq, ts=ts, node=node, epoch=epoch, type=kind, subject=subject, corr=corr,
        actor=actor, data=data, prev=prev, hash=digest,
    )  # fmt: skip
