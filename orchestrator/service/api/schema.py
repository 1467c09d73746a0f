"""JSON schemas of structs: of answers, by the renderer's own rules, and of bodies, by msgspec's."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, TypeAlias, cast

import msgspec
from msgspec import inspect as kinds

from orchestrator.model.journal import Record
from orchestrator.service.api.bodies import Body
from orchestrator.service.api.render import fields_of

Schema: TypeAlias = dict[str, Any]

REF = "#/components/schemas/{name}"
_TIME: Schema = {
    "type": ["string", "null"],
    "format": "date-time",
    "description": "RFC 3339, UTC, microseconds.",
}
_DECIMAL: Schema = {
    "type": "string",
    "format": "decimal",
    "description": "An exact decimal number as text.",
}
_PLAIN: dict[type, Schema] = {
    kinds.StrType: {"type": "string"},
    kinds.BoolType: {"type": "boolean"},
    kinds.IntType: {"type": "integer"},
    kinds.FloatType: {"type": ["number", "null"]},
    kinds.DecimalType: _DECIMAL,
    kinds.BytesType: {"type": "string", "pattern": "^[0-9a-f]*$", "description": "Hex digits."},
    kinds.NoneType: {"type": "null"},
}


def ref(kind: type[msgspec.Struct]) -> Schema:
    return {"$ref": REF.format(name=kind.__name__)}


def page_of(item: Schema) -> Schema:
    """The schema of a list's page."""
    return {
        "type": "object",
        "required": ["items", "next"],
        "properties": {
            "items": {"type": "array", "items": item},
            "next": {
                "type": ["string", "null"],
                "description": "Give it as `cursor` for the next page; null at the end.",
            },
        },
    }


def answer_schemas(roots: Iterable[type[msgspec.Struct]]) -> dict[str, Schema]:
    """Of these structs and all that they hold, by name."""
    found: dict[str, Schema] = {}
    for root in roots:
        _schema(kinds.type_info(root), found)
    return found


def body_schemas(roots: Iterable[type[Body]]) -> dict[str, Schema]:
    _, components = msgspec.json.schema_components(tuple(roots), ref_template=REF)
    return cast("dict[str, Schema]", components)


def _schema(kind: kinds.Type, found: dict[str, Schema]) -> Schema:  # noqa: PLR0911 -- a line a kind
    plain = _PLAIN.get(type(kind))
    if plain is not None:
        return dict(plain)
    match kind:
        case kinds.Metadata():
            return _schema(kind.type, found)
        case kinds.StructType():
            return _struct(kind, found)
        case kinds.EnumType():
            return {"type": "string", "enum": [one.value for one in kind.cls]}
        case kinds.LiteralType():
            return {"enum": list(kind.values)}
        case kinds.VarTupleType() | kinds.ListType():
            return {"type": "array", "items": _schema(kind.item_type, found)}
        case kinds.DictType():
            values = _schema(kind.value_type, found)
            return {"type": "object", "additionalProperties": values}
        case kinds.UnionType():
            return _union([_schema(one, found) for one in kind.types])
        case _:
            raise TypeError(f"no rule for the schema of {kind}")


def _union(schemas: list[Schema]) -> Schema:
    """`X | None` of plain types becomes a list of types; all else is `anyOf`."""
    filled = [one for one in schemas if one != {"type": "null"}]
    if len(filled) == 1 and len(filled) < len(schemas) and isinstance(filled[0].get("type"), str):
        return {**filled[0], "type": [filled[0]["type"], "null"]} | _enum_or_null(filled[0])
    return {"anyOf": schemas}


def _enum_or_null(schema: Schema) -> Schema:
    return {"enum": [*schema["enum"], None]} if "enum" in schema else {}


def _struct(kind: kinds.StructType, found: dict[str, Schema]) -> Schema:
    cls = kind.cls
    if cls.__name__ not in found:
        found[cls.__name__] = {}  # a struct may hold itself
        types = {field.name: field.type for field in kind.fields}
        properties: dict[str, Schema] = {}
        required: list[str] = []
        for field in fields_of(cls):
            inner = _schema(types[field.name], found)
            properties[field.shown] = dict(_TIME) if field.is_time and _is_int(inner) else inner
            if field.default is msgspec.NODEFAULT:
                required.append(field.shown)
        if cls is Record:
            properties["data"] = {"description": "The fact, word for word as its hash covers it."}
        found[cls.__name__] = {
            "type": "object",
            "title": cls.__name__,
            "description": inspect.cleandoc(cls.__doc__ or ""),
            "properties": properties,
            "required": required,
        }
    return ref(cls)


def _is_int(schema: Schema) -> bool:
    return "integer" in (schema.get("type") or "")


PROBLEM: Schema = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457: what went wrong, in words.",
    "required": ["type", "title", "status", "detail", "instance", "errors"],
    "properties": {
        "type": {"type": "string", "description": "A stable name for the kind of problem."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened and what to do."},
        "instance": {"type": "string", "description": "The path that was asked for."},
        "errors": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Each reason or fault on its own.",
        },
    },
}
