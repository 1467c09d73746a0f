"""Events as sentences: what a journal record says, for a person."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.service.cli.answers import Event

_TRADE = "trade {trade_id}: {units} {instrument} at {price}"
_WISH = "{signal_id}: {strategy} wishes to {side} {instrument} at {reference_price}"
_ORDER = "{units} {instrument}, stop {stop_price}, target {target_price}"
_TRANSACTION = "transaction {id} {type} {reason} {instrument} {units} {price}"
_TEMPLATES = {
    "service.started": "version {version} on {node}, epoch {epoch}",
    "service.stopped": "{reason}",
    "mode.changed": "{mode}, by {actor}: {reason}",
    "account.reconciled": "equal to the venue at transaction {last_transaction_id}",
    "account.switched": "enabled {enabled}, by {actor}: {reason}",
    "transaction.hole": "transaction {transaction_id} does not exist",
    "day.started": "{day}, with {equity}",
    "peak.raised": "{peak}",
    "checks.decided": "passed {passed}",
    "signal.ended": "{outcome} {stage}: {reason}",
    "intent.moved": "{state} {reason}",
    "trade.opened": _TRADE + ", stop {stop_price}, {strategy}",
    "trade.closed": _TRADE + ", P/L {realized_pl}, {reason}",
    "trade.outcome": "trade {trade_id}: {instrument} {strategy}, {r_multiple} R",
    "breaker.tripped": "{breaker} {effect} for {subject}: {evidence}",
    "breaker.reset": "{breaker} for {subject}, by {actor}: {reason}",
    "tick.dropped": "{instrument}: {reason}",
    "stop.raised": "{stop_id}, by {actor}: {reason}",
    "stop.step": "{state}: {text}",
    "stop.resumed": "{stop_id}, by {actor}: {reason}",
    "reduction.written": "{kind} {target} {units} {price}, by {actor}: {reason}",
    "reduction.moved": "{state}: {reason}",
    "operator.acted": "{actor} {action}: {text} {refused}",
    "agent.changed": "{agent_id} is {state} {reason}",
    "anomaly.seen": "{instrument} {kind}: {text}",
    "pattern.seen": "{kind} ({severity}): {text}",
    "change.proposed": "{proposal} {strategy} in {regime}: {evidence}",
}
_WARN = {"tick.dropped", "anomaly.seen", "pattern.seen", "agent.changed", "mode.changed"}
_BAD = {"breaker.tripped", "stop.raised", "alert.raised"}
_GOOD = {"trade.opened", "stop.resumed", "breaker.reset"}


def style_of(event: Event) -> str:
    if event.type in _BAD:
        return "bad"
    if event.type in _WARN:
        return "warn"
    return "good" if event.type in _GOOD else ""


def sentence(event: Event) -> str:
    """One line; whom it concerns comes first where the text does not say it."""
    data = event.data
    if isinstance(data, str):
        return data
    text = " ".join(_text(event.type, data).split()).replace(" :", ":").rstrip(": ,")
    whom = event.subject
    if whom and whom != "system" and whom not in text:
        text = f"{whom}: {text}" if text else whom
    return text


def _text(kind: str, data: Mapping[str, object]) -> str:  # noqa: PLR0911 -- a line for each kind
    match kind:
        case "signal.accepted":
            return _fill(_WISH, _part(data, "signal"))
        case "stage.decided":
            verdict = "passed" if data.get("passed") else "rejected"
            return _fill("{stage} " + verdict + ", {latency_us} us: {reason}", data)
        case "checks.decided" if not data.get("passed"):
            return f"refused: {_joined(data.get('objections'))}"
        case "intent.written":
            return _fill(_ORDER, _part(_part(data, "intent"), "proposal"))
        case "transaction.applied":
            return _fill(_TRANSACTION, _part(data, "transaction"))
        case "account.adopted":
            return _fill("{id} with {balance} {currency}", _part(data, "account"))
        case "alert.raised":
            return _fill("{severity}: {title}: {text}", _part(data, "alert"))
        case "specs.learned":
            return "the venue's rules for its instruments"
        case _ if kind in _TEMPLATES:
            return _fill(_TEMPLATES[kind], _inner(kind, data))
        case _:
            plain = {k: v for k, v in data.items() if isinstance(v, str | int | float)}
            return ", ".join(f"{name} {value}" for name, value in plain.items() if name != "type")


def _inner(kind: str, data: Mapping[str, object]) -> Mapping[str, object]:
    """What a fact wraps, where it is only the wrapping of one thing."""
    return _part(data, "reduction") if kind == "reduction.written" else data


class _Filled(dict[str, str]):
    """A field that is not there says nothing."""

    def __missing__(self, key: str) -> str:
        return ""


def _fill(template: str, data: Mapping[str, object]) -> str:
    return template.format_map(_Filled({k: _word(v) for k, v in data.items()}))


def _word(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _part(data: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = data.get(name)
    return found if isinstance(found, Mapping) else {}  # pyright: ignore[reportUnknownVariableType] -- JSON's keys are texts


def _joined(values: object) -> str:
    return "; ".join(map(str, values)) if isinstance(values, list) else ""  # pyright: ignore[reportUnknownArgumentType] -- shown as texts
