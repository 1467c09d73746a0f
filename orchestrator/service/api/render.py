"""Structs as JSON for people and programs: one rule for decimals, times, enums, everywhere."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from functools import cache
from math import isfinite
from typing import Any, NamedTuple, TypeAlias, cast

import msgspec

from orchestrator.model.journal import Record
from orchestrator.model.time import Instant, to_datetime

Json: TypeAlias = "bool | int | float | str | msgspec.Raw | list[Json] | dict[str, Json] | None"

_NO_DEFAULT = msgspec.NODEFAULT
_PLAIN_EXPONENT_MAX = 40  # beyond it, a decimal is written with its exponent

encode = msgspec.json.Encoder().encode


class Field(NamedTuple):
    """How a field of a struct is shown: its name, the name shown, whether it is an instant."""

    name: str
    shown: str
    is_time: bool
    default: object  # left out when equal to it; NODEFAULT: always shown


def shown_name(name: str) -> str:
    """`opened_ns` is shown as `opened_at`; every other name stays."""
    return f"{name.removesuffix('_ns')}_at" if name.endswith("_ns") else name


def is_time(name: str) -> bool:
    """Whether an integer under this name is an instant."""
    return name.endswith(("_ns", "_at")) or name == "ts"


@cache
def fields_of(kind: type[msgspec.Struct]) -> tuple[Field, ...]:
    """A struct's fields as they are shown, in their order."""
    sparse = kind.__struct_config__.omit_defaults
    return tuple(
        Field(f.name, shown_name(f.name), is_time(f.name), f.default if sparse else _NO_DEFAULT)
        for f in msgspec.structs.fields(kind)
    )


def time_text(at_ns: Instant | None) -> str | None:
    """RFC 3339, UTC, microseconds and Z; None for 0, None and what no calendar knows."""
    if not at_ns:
        return None
    try:
        moment = to_datetime(at_ns)
    except OverflowError:
        return None
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f").rjust(26, "0") + "Z"


def number_text(value: Decimal) -> str:
    """Without an exponent, where that is readable; NaN and Infinity under their names."""
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and abs(exponent) <= _PLAIN_EXPONENT_MAX:
        return format(value, "f")
    return str(value)


def rendered(value: object) -> Json:  # noqa: PLR0911 -- one line for each kind of value
    """Any value of a view, row or message as JSON knows it. TypeError for a kind without a rule."""
    if value is None or isinstance(value, msgspec.Raw):
        return value
    if isinstance(value, Enum):
        return rendered(value.value)
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Decimal):
        return number_text(value)
    if isinstance(value, msgspec.Struct):
        return _record(value) if isinstance(value, Record) else _struct(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(k): rendered(v) for k, v in cast("dict[object, object]", value).items()}
    if isinstance(value, tuple | list):
        return [rendered(one) for one in cast("list[object]", value)]
    raise TypeError(f"no rule for showing a {type(value).__name__}")


def _struct(value: msgspec.Struct) -> dict[str, Json]:
    shown: dict[str, Json] = {}
    for field in fields_of(type(value)):
        found: Any = getattr(value, field.name)
        if field.default is not _NO_DEFAULT and found == field.default:
            continue
        if field.is_time and isinstance(found, int):
            shown[field.shown] = time_text(found)
        else:
            shown[field.shown] = rendered(found)
    return shown


def _record(record: Record) -> dict[str, Json]:
    """A journal record; `data` is the very text that its hash covers."""
    return {**_struct(record), "data": _fact_text(record.data)}


def _fact_text(data: bytes) -> Json:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data.decode("utf-8", "replace")
    return msgspec.Raw(data)


def json_of(value: object) -> bytes:
    """The value as a JSON document."""
    return encode(rendered(value))
