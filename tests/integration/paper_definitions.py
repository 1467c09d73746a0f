"""OANDA's own definitions of every answer, closed: what is not defined, or recorded, is wrong."""

import gzip
import json
import re
from pathlib import Path

import jsonschema

SPEC = json.loads(
    gzip.decompress((Path(__file__).parent.parent / "data" / "oanda-v20.json.gz").read_bytes())
)

# Fields that OANDA's servers have sent since the definitions were published in 2018; each was
# seen in recorded answers (docs/paper-choices.md), none is of our own making.
NEWER = {
    "Instrument": {"tags", "financing", "guaranteedStopLossOrderMode"},
    "AccountSummary": {"dividendAdjustment", "guaranteedStopLossOrderMode"},
    "Account": {"dividendAdjustment", "guaranteedStopLossOrderMode"},
    "AccountChangesState": {
        "balance",
        "pl",
        "resettablePL",
        "financing",
        "commission",
        "dividendAdjustment",
        "guaranteedExecutionFees",
    },
    "TradeReduce": {"clientTradeID"},
    "OrderFillTransaction": {
        "requestedUnits",
        "quotePL",
        "homeConversionFactors",
        "baseFinancing",
        "quoteFinancing",
        "quoteGuaranteedExecutionFee",
        "plHomeConversionCost",
        "baseFinancingHomeConversionCost",
        "guaranteedExecutionFeeHomeConversionCost",
        "homeConversionCost",
    },
    "Trade": {"dividendAdjustment"},
    "TradeSummary": {"dividendAdjustment"},
    "Position": {"dividendAdjustment"},
    "PositionSide": {"dividendAdjustment"},
    "OrderCancelTransaction": {"closedTradeID", "tradeCloseTransactionID"},
}
SHAPES = {  # type of a transaction or order -> its definition
    "Transaction": lambda kind: "".join(w.capitalize() for w in kind.split("_")) + "Transaction",
    "Order": lambda kind: "".join(w.capitalize() for w in kind.split("_")) + "Order",
}


def definitions():
    """Closed objects; bare base types are narrowed by `type`."""
    made = {}
    for name, schema in SPEC["definitions"].items():
        closed = dict(schema)
        if closed.get("properties"):
            extra = {key: {} for key in NEWER.get(name, ())}
            closed["properties"] = closed["properties"] | extra
            closed["additionalProperties"] = False
        made[name] = closed
    # A liquidity inside a fill is a string (recorded), in prices a number (defined).
    made["PriceBucket"]["properties"]["liquidity"] = {"type": ["integer", "string"]}
    # The fill's fullPrice has a timestamp and neither type nor instrument (recorded).
    full = dict(made["ClientPrice"]["properties"]) | {"timestamp": {"type": "string"}}
    made["ClientPrice"]["properties"] = full
    for base, spelled in SHAPES.items():
        kinds = SPEC["definitions"][f"{base}Type"]["enum"]
        known = [k for k in kinds if spelled(k) in made]
        made[base] = {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"enum": known}},
            "allOf": [
                {
                    "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
                    "then": {"$ref": f"#/definitions/{spelled(kind)}"},
                }
                for kind in known
            ],
        }
    return made


DEFINITIONS = definitions()
ERRORS = {
    "errorCode": {"type": "string"},
    "errorMessage": {"type": "string"},
    "lastTransactionID": {"type": "string"},
    "relatedTransactionIDs": {"type": "array", "items": {"type": "string"}},
}


def fits(template: str, method: str, status: int, body: object) -> None:
    """The body fits the path's schema for that status, or is a plain error."""
    responses = SPEC["paths"][template][method.lower()]["responses"]
    schema = dict(responses.get(str(status), {}).get("schema", {}))
    if status >= 400:
        schema["properties"] = schema.get("properties", {}) | ERRORS
    schema["additionalProperties"] = False
    checked = schema | {"definitions": DEFINITIONS, "type": "object"}
    errors = list(jsonschema.Draft7Validator(checked).iter_errors(body))
    assert not errors, (method, template, jsonschema.exceptions.best_match(errors), body)


def template_of(method: str, path: str) -> str | None:
    """The definitions' path for a real one ("/v3/accounts/..."), the most literal that fits."""
    found = [
        template
        for template, methods in SPEC["paths"].items()
        if method.lower() in methods
        and re.fullmatch(re.sub(r"{\w+}", r"[^/]+", template), path.removeprefix("/v3"))
    ]
    return min(found, key=lambda template: template.count("{"), default=None)
