"""What an answer proves: a write's outcome (SAFETY O4), and a read's error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

import msgspec

from orchestrator.adapters.oanda.http import Answer, Lost, plain_body
from orchestrator.adapters.oanda.outbox import Unsent
from orchestrator.adapters.oanda.wire import (
    UNREADABLE,
    ErrorBody,
    read,
    transaction_of,
    whole_number,
)
from orchestrator.model.errors import (
    VenueError,
    VenueNonsense,
    VenueRefused,
    VenueSilent,
    VenueUnreachable,
)
from orchestrator.model.orders import (
    Answered,
    NotSent,
    Rejected,
    Unknown,
    WriteOutcome,
    WriteRequest,
)
from orchestrator.model.venue import Transaction

WRITE_BODY_MAX = 1_000_000
READ_BODY_MAX = 64_000_000
TOO_MANY = 429
_TEXT_MAX = 300
_UNAUTHORISED = frozenset({401, 403})
_REQUEST_TIMEOUT = 408  # said by proxies: what stands behind them may have got the request
_PAUSE_S = 1.0

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ids = msgspec.json.Decoder(str)


class _Body(msgspec.Struct, frozen=True, gc=False):
    transactions: tuple[Transaction, ...]
    last_transaction_id: int
    code: str
    message: str


def write_outcome(request: WriteRequest, end: Answer | Lost | Unsent) -> WriteOutcome:
    """The outcome that the end of a request proves; whatever proves nothing is Unknown."""
    if isinstance(end, Unsent):
        return NotSent(reason=end.reason, by_gate=end.by_gate)
    if isinstance(end, Lost):
        return Unknown(reason=end.reason)
    if end.status == TOO_MANY:
        return NotSent(reason=f"429 {_error_text(end)}".strip())
    return _by_status(request, end)


def _by_status(request: WriteRequest, end: Answer) -> WriteOutcome:
    try:
        body = _read_body(end)
    except ValueError as error:
        if end.status in _UNAUTHORISED:
            return Rejected(status=end.status, code="", message=_error_text(end))
        return Unknown(reason=f"HTTP {end.status}, {_short(str(error))}")
    stranger = _of_another(request, body)
    if stranger:
        return Unknown(reason=stranger)
    if 200 <= end.status < 300:  # noqa: PLR2004
        return _accepted(request, end.status, body)
    if 400 <= end.status < 500 and end.status != _REQUEST_TIMEOUT:  # noqa: PLR2004
        return _refused(end.status, body)
    return Unknown(reason=f"HTTP {end.status} {body.code} {body.message}".strip())


def _accepted(request: WriteRequest, status: int, body: _Body) -> WriteOutcome:
    if request.makes_order and not body.transactions:
        return Unknown(reason=f"HTTP {status} without a transaction")
    return Answered(
        status=status,
        transactions=body.transactions,
        last_transaction_id=body.last_transaction_id,
    )


def _refused(status: int, body: _Body) -> WriteOutcome:
    done = [t.type for t in body.transactions if not t.type.endswith("_REJECT")]
    if done:  # a refusal that did something contradicts itself
        return Unknown(reason=f"HTTP {status} with {', '.join(done)}")
    return Rejected(
        status=status,
        code=body.code,
        message=body.message,
        transactions=body.transactions,
        last_transaction_id=body.last_transaction_id,
    )


def _of_another(request: WriteRequest, body: _Body) -> str:
    """The last guard against an answer that belongs to another request on that connection."""
    for transaction in body.transactions:
        if transaction.account_id and transaction.account_id != request.account_id:
            return f"the answer is about account {transaction.account_id}"
        if not request.makes_order or not _creates(transaction):
            continue
        extensions = transaction.client_extensions
        theirs = extensions.id if extensions is not None else None
        ours = request.client_request_id
        # Dependent orders carry ids of their own, which the body names too.
        if theirs and ours and f'"{ours}"' in request.body and f'"{theirs}"' not in request.body:
            return f"the answer is about order {_short(theirs)}"
    return ""


def _creates(transaction: Transaction) -> bool:
    """An order, or the refusal to make one: both carry the id that was asked for."""
    return transaction.type.removesuffix("_REJECT").endswith("_ORDER")


def _read_body(answer: Answer) -> _Body:
    """ValueError when it is not a whole JSON object of readable transactions."""
    try:
        fields = _fields.decode(plain_body(answer, WRITE_BODY_MAX))
        found = {
            one.number: one
            for name, raw in fields.items()
            if name.endswith("Transaction") and bytes(raw) != b"null"
            for one in (transaction_of(raw),)
        }
        last = _last_id(fields, found)
    except UNREADABLE as error:
        raise ValueError(f"unreadable answer: {error}") from error
    if last == 0 and answer.status < 300:  # noqa: PLR2004
        raise ValueError("an answer without a transaction id")
    return _Body(
        tuple(found[number] for number in sorted(found)),
        last,
        _text(fields, "errorCode") or _text(fields, "rejectReason"),
        _text(fields, "errorMessage"),
    )


def _last_id(fields: dict[str, msgspec.Raw], found: dict[int, Transaction]) -> int:
    raw = fields.get("lastTransactionID")
    stated = whole_number(_ids.decode(raw)) if raw is not None else 0
    return max(stated, *found) if found else stated


def _text(fields: dict[str, msgspec.Raw], name: str) -> str:
    raw = fields.get(name)
    if raw is None or bytes(raw) == b"null":
        return ""
    return _short(_ids.decode(raw))


def _short(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX] + "…"


def _error_body(answer: Answer) -> ErrorBody:
    try:
        return read(plain_body(answer, WRITE_BODY_MAX), ErrorBody)
    except ValueError:
        return ErrorBody()  # a proxy's page in HTML; the status says enough


def _error_text(answer: Answer) -> str:
    body = _error_body(answer)
    return _short(f"{body.error_code or ''} {body.error_message or ''}".strip())


def retry_after_s(answer: Answer) -> float:
    """Seconds that a 429 (or 503) asks us to wait; a second when it does not say."""
    text = answer.headers.get(b"retry-after", b"").decode("latin-1")
    return float(text) if text.isascii() and text.isdigit() else _PAUSE_S


def read_error(end: Answer | Lost | Unsent) -> VenueError | None:
    """None for a 2xx answer."""
    if isinstance(end, Unsent):
        return VenueUnreachable(end.reason)
    if isinstance(end, Lost):
        return VenueSilent(end.reason)
    if 200 <= end.status < 300:  # noqa: PLR2004
        return None
    body = _error_body(end)
    code = _short(body.error_code or body.reject_reason or "")
    return VenueRefused(end.status, code, _short(body.error_message or ""))


# -- what is told on -------------------------------------------------------------------------------


def without(outcome: WriteOutcome, secrets: Iterable[str]) -> WriteOutcome:
    """As it may be written down: a proxy that echoes our own header tells nobody the token."""
    match outcome:
        case Answered():
            return outcome
        case Rejected(code=code, message=message):
            code, message = _hidden(code, secrets), _hidden(message, secrets)
            return msgspec.structs.replace(outcome, code=code, message=message)
        case Unknown(reason=reason) | NotSent(reason=reason):
            return msgspec.structs.replace(outcome, reason=_hidden(reason, secrets))
        case _:
            assert_never(outcome)


def error_without(error: VenueError, secrets: Iterable[str]) -> VenueError:
    """As `without`, for a read."""
    if isinstance(error, VenueRefused):
        code, message = _hidden(error.code, secrets), _hidden(error.message, secrets)
        return VenueRefused(error.status, code, message)
    return type(error)(_hidden(str(error), secrets))


def _hidden(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def worth_asking_again(error: VenueError) -> bool:
    """A read may be repeated when the trouble may pass by itself."""
    if isinstance(error, VenueRefused):
        return error.status in {_REQUEST_TIMEOUT, TOO_MANY} or error.status >= 500  # noqa: PLR2004
    return not isinstance(error, VenueNonsense)
