"""An append as one message: statements that the session has prepared, their values as literals.

The server makes one transaction of the statements of one simple query: all of them stand and are
committed, or none is. So an append takes one round trip however much it changes, and a node that is
frozen in the middle of it holds no lock at the server.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.adapters.store.postgres_sql import coded, postgres_statements, spelled
from orchestrator.adapters.store.projections import changes
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record

# A backslash in a literal is a backslash, whatever the server's default.
SESSION = {"standard_conforming_strings": "on"}
# The server's code for a division by zero; nothing but the fence divides.
FENCED = "22012"
_PREFIX = "tso_"
_FENCE = "refuse_other_epoch"
_JOURNAL = postgres_statements("journal")
# Nearly every text: with no sign in it that has to be doubled or coded.
_PLAIN = re.compile("[^'\0\x1b]*").fullmatch


def preparing() -> str:
    """What a session is told once, before its first append."""
    named = {_FENCE: _JOURNAL[_FENCE], **postgres_statements("projections")}
    return ";\n".join(
        f"PREPARE {_PREFIX}{name} AS {spelled(sql)[0]}" for name, sql in named.items()
    )


def appending(epoch: str, records: Sequence[Record], facts: Sequence[Fact]) -> str:
    """The message. UnicodeError for a text that no message can hold."""
    text = ";\n".join(
        (
            _execute(_FENCE, (epoch,)),
            _JOURNAL["append"].format(rows=",\n".join(map(_row, records))),
            *(_execute(name, given) for name, given in changes(records, facts)),
        )
    )
    text.encode()
    if "\0" in text:
        raise UnicodeError("a NUL would end the message in its middle")
    return text


def literal(value: object) -> str:
    """As it stands in a statement. TypeError for a type that no column of ours has."""
    match value:
        case str():
            # Added, not formatted: what a text is counts, not what it says that it is.
            return "'" + value + "'" if _PLAIN(value) else _quoted(coded(value))
        case int():
            return str(int(value))
        case bytes():
            return f"'\\x{value.hex()}'"
        case None:
            return "NULL"
        case _:
            raise TypeError(f"no column holds a {type(value).__name__}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _execute(name: str, given: Sequence[object]) -> str:
    return f"EXECUTE {_PREFIX}{name}({', '.join(map(literal, given))})"


def _row(each: Record) -> str:
    # Its JSON has no sign that would have to be coded, and is read as bytes.
    return (
        f"({each.seq}, {each.ts}, {literal(each.node)}, {each.epoch}, {literal(each.type)},"
        f" {literal(each.subject)}, {literal(each.corr)}, {literal(each.actor)},"
        f" {_quoted(each.data.decode())}, '\\x{each.prev.hex()}', '\\x{each.hash.hex()}')"
    )
