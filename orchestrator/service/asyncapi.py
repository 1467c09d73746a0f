"""The protocol of agents as an AsyncAPI 3 document, made from the very types that are spoken."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import msgspec

from orchestrator.model.agent_words import PROTOCOL, Frame, FromAgent, ToAgent

_REF = "#/components/schemas/{name}"
_ABOUT = """\
One line of JSON for each message, UTF-8, ended by a newline; over a socket of the machine, or as
the field `data` of entries of Redis streams. Envelope as CloudEvents 1.0. Fields that are not known
are ignored; messages of a type that is not known are passed over."""


def document() -> str:
    """As JSON, always the same for the same code."""
    return msgspec.json.format(msgspec.json.encode(_document()), indent=2).decode()


def _document() -> dict[str, Any]:
    upwards, downwards = get_args(FromAgent), get_args(ToAgent)
    _, schemas = msgspec.json.schema_components((*upwards, *downwards), ref_template=_REF)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Agents of the Trading System Orchestrator", "version": f"{PROTOCOL}.0.0",
            "description": _ABOUT,
        },
        "channels": {
            "toService": _channel("What an agent says", "NS:from:ROLE:INSTANCE", upwards),
            "toAgent": _channel("What an agent hears", "NS:to:ROLE:INSTANCE", downwards),
        },
        "operations": {
            "agentSays": _operation("send", "toService", upwards),
            "agentHears": _operation("receive", "toAgent", downwards),
        },
        "components": {
            "messages": {_name(kind): _message(kind) for kind in (*upwards, *downwards)},
            "schemas": schemas,
        },
    }  # fmt: skip


def _name(kind: type[Frame]) -> str:
    return str(kind.__struct_config__.tag)


def _channel(title: str, address: str, kinds: tuple[type[Frame], ...]) -> dict[str, Any]:
    return {
        "title": title, "address": address,
        "messages": {
            _name(kind): {"$ref": f"#/components/messages/{_name(kind)}"} for kind in kinds
        },
    }  # fmt: skip


def _operation(action: str, channel: str, kinds: tuple[type[Frame], ...]) -> dict[str, Any]:
    return {
        "action": action, "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{_name(kind)}"} for kind in kinds],
    }  # fmt: skip


def _message(kind: type[Frame]) -> dict[str, Any]:
    told = get_type_hints(kind)["data"].__doc__ or ""
    return {
        "name": _name(kind), "contentType": "application/json",
        "summary": " ".join(told.split()) or _name(kind),
        "payload": {"$ref": _REF.format(name=kind.__name__)},
    }  # fmt: skip
