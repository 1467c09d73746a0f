"""An intent's name: the same from the same (signal, account, leg), in every life (SAFETY O1)."""

from __future__ import annotations

import hashlib
import re

from orchestrator.model.money import AccountId
from orchestrator.model.venue import ClientExtensions

_FORM = re.compile(r"tso-[0-9a-f]{32}")
_EPOCH = re.compile(r"e([0-9]{1,15})")


def intent_id(signal_id: str, account_id: AccountId, leg: str) -> str:
    """The order's and the trade's client id, and the request's id."""
    # A zero byte stands in no id, so that two different triples never give one text.
    key = "\0".join((signal_id, account_id, leg)).encode()
    return "tso-" + hashlib.sha256(key).hexdigest()[:32]


def is_ours(client_id: str) -> bool:
    """Whether a client id has our form; whether we know its intent is another question (R6)."""
    return _FORM.fullmatch(client_id) is not None


def epoch_of(names: ClientExtensions | None) -> int:
    """The epoch in the tag of an order or trade of ours; 0 where there is none."""
    if names is None or not is_ours(names.id or ""):
        return 0
    found = _EPOCH.fullmatch(names.tag or "")
    return int(found[1]) if found is not None else 0


def reduction_id(command_id: str, account_id: AccountId) -> str:
    """Of a person's close, cancel or tighter stop; never of the form of an intent's name."""
    key = "\0".join((command_id, account_id)).encode()
    return "tsc-" + hashlib.sha256(key).hexdigest()[:32]
