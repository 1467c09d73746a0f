"""The settings in force: without contradictions, able to describe themselves."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, Self, cast
from urllib.parse import quote

from pydantic import BaseModel, PrivateAttr, SecretStr, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from orchestrator.model.limits import BreakerLimits, CheckLimits
from orchestrator.settings.contradictions import contradictions
from orchestrator.settings.fields import TABLES, Fields
from orchestrator.settings.kinds import ClassFile, PaperAccount
from orchestrator.settings.urls import SecretUrl, is_loopback

# Where a service runs and what it keeps where: not a part of what it decides.
PLACES = frozenset(
    ("STATE_DIR", "NODE_NAME", "NODE_ADDRESS", "API_HOST", "API_TLS_CERT", "API_TLS_KEY",
     "API_BEHIND_PROXY", "API_TOKEN", "OANDA_CACERT", "AGENT_DISCOVERY_PORT", "LOG_LEVEL",
     "PAPER_PORT", "ORCHESTRATOR_CONFIG",
     "DATABASE_URL", "DATABASE_PASSWORD", "TIMESCALE_URL",
     "TIMESCALE_PASSWORD", "MESSAGE_BROKER_URL", "MESSAGE_BROKER_PASSWORD",
     "MESSAGE_BROKER_NAMESPACE", "VAULT_ADDR",
     "VAULT_ROLE_ID", "VAULT_SECRET_ID", "VAULT_SECRET_ID_WRAPPED", "VAULT_PATH", "VAULT_CACERT")
)  # fmt: skip


class Row(NamedTuple):
    """One setting as people see it; a secret's value is "***"."""

    name: str
    value: str
    source: str


class Settings(Fields):
    """Frozen and valid; made by `load_settings`, or by keyword in a test."""

    _sources: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _newest: Callable[[str], str | None] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _without_contradictions(self, info: ValidationInfo) -> Self:
        context: dict[str, Any] = info.context or {}
        problems = contradictions(self, waiting=context.get("waiting", False))
        if problems:
            raise PydanticCustomError(
                "contradiction",
                "{text}",
                {"text": "; ".join(str(each) for each in problems), "problems": problems},
            )
        return self

    def check_limits(self) -> CheckLimits:
        return CheckLimits(order_notional_max=self.max_order_notional, **dict(self.limits))

    def breaker_limits(self) -> BreakerLimits:
        return BreakerLimits(**dict(self.breakers))

    def warnings(self) -> tuple[str, ...]:
        """What is allowed, and worth a loud word at start."""
        found: list[str] = []
        if self.oanda_environment == "live":
            found.append("LIVE: orders of this service move real money.")
        if not is_loopback(self.api_host):
            plain = ", unencrypted but for the proxy before it" if self.api_behind_proxy else ""
            found.append(f"API_HOST={self.api_host} offers the API beyond this machine{plain}.")
        if self.store_sync == "normal":
            found.append("STORE_SYNC=normal: a power cut may lose the last entries of the journal.")
        if self.vault_addr and not self.asks_vault:
            found.append("VAULT_ADDR is set, but no VAULT_ROLE_ID: Vault is not asked.")
        return tuple(found)

    def address_of(self, field: str) -> str | None:
        """As `Fields` says; the newest, where somebody reads secrets anew (`follow`)."""
        return super().address_of(field) if self._newest is None else self._newest(field)

    def follow(self, newest: Callable[[str], str | None]) -> None:
        """From now on `newest` knows the addresses: their passwords may change."""
        self._newest = newest

    def secrets(self) -> tuple[str, ...]:
        """All that no log may show."""
        fields = (getattr(self, field) for field in type(self).model_fields)
        urls = (each for each in fields if isinstance(each, SecretUrl))
        found = [text for url in urls for text in (url.password, quote(url.password, safe=""))]
        plain = (getattr(self, field) for field in type(self).model_fields)
        found += [
            each.get_secret_value()
            for each in (*plain, *self.account_tokens.values())
            if isinstance(each, SecretStr) and not isinstance(each, SecretUrl)
        ]
        return tuple(dict.fromkeys(each for each in found if each))

    def with_sources(self, sources: Mapping[str, str]) -> Self:
        """The same settings, knowing where each value came from (for `describe`)."""
        self._sources = dict(sources)
        return self

    def describe(self) -> list[Row]:
        """Every setting with its value ("***" for a secret, "" for unset) and its source."""
        rows: list[Row] = []
        for field in type(self).model_fields:
            value = getattr(self, field)
            if field in TABLES:
                source = self._sources.get(field, "default")
                rows.extend(Row(name, text, source) for name, text in _leaves(field, value))
            elif field == "account_tokens":
                rows.extend(
                    Row(f'accounts."{key}".token', "***", "environment") for key in sorted(value)
                )
            else:
                rows.append(Row(field.upper(), _shown(value), self._sources.get(field, "default")))
        return rows

    def decisive(self) -> tuple[str, ...]:
        """What the fingerprint is of, as NAME=value, for the record; secrets show as ***."""
        rows = (row for row in self.describe() if row.name not in PLACES)
        return tuple(f"{row.name}={row.value}" for row in rows)

    def fingerprint(self) -> str:
        """SHA-256 of what decides: the configuration's digest in the audit trail.

        Secrets are left out, and the places (folder, files, ports): where a service runs does not
        change what it does.
        """
        rows = (row for row in self.describe() if row.value != "***" and row.name not in PLACES)
        plain = {row.name: row.value for row in rows}
        canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


def _shown(value: object) -> str:
    """As one would write it into `.env`."""
    match value:
        case None:
            text = ""
        case SecretUrl():
            text = value.shown
        case SecretStr():
            text = "***"
        case bool():
            text = str(value).lower()
        case Decimal():
            text = f"{value.normalize():f}"
        case float():
            text = f"{value:g}"
        case PaperAccount():
            text = f"{value.account_id}:{value.currency}:{_shown(value.balance)}"
        case tuple():
            text = ",".join(map(_shown, cast("tuple[object, ...]", value)))
        case _:
            text = str(value)
    return text


def _leaves(path: str, value: object) -> Iterator[tuple[str, str]]:
    """The leaves of a table under their TOML paths."""
    match value:
        case BaseModel() if not isinstance(value, ClassFile):
            for name in type(value).model_fields:
                yield from _leaves(f"{path}.{name}", getattr(value, name))
        case dict():
            for key, inner in sorted(cast("dict[str, object]", value).items()):
                yield from _leaves(f"{path}.{toml_key(key)}", inner)
        case _:
            yield path, _shown(value)


def toml_key(key: str) -> str:
    """A key as TOML writes it: quoted where it must be."""
    return key if key.replace("_", "").isalnum() else f'"{key}"'
