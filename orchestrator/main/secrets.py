"""The settings in force with their secrets, which may change while a service runs (SAFETY X7).

At start Vault is asked, where it is set. Every five minutes, and when the venue refuses a token,
secrets are read anew: from Vault, from the files that NAME_FILE names, and from `.env`. Only
secrets are taken over; any other setting needs a restart.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from orchestrator.main.logs import REDACT
from orchestrator.model.errors import SecretError, SecretsAway, SecretsRefused
from orchestrator.service.seams import mono_ns
from orchestrator.settings import Settings, SettingsError, load_settings, vault_settings
from orchestrator.settings.fields import URLS, Fields
from orchestrator.settings.load import FROM_VAULT
from orchestrator.settings.urls import SecretUrl

log = structlog.get_logger()

REREAD_S = 300.0
_AT_START_S = 4.0  # what cannot work is told within five seconds
_LATER_S = 15.0
_AGAIN_S = 5.0
_NEWS_AFTER = 2  # one reading that fails is none yet

UseToken = Callable[[str, str], None]
Tell = Callable[[str, bool], None]


class Source(Protocol):
    """Where secrets come from, beside the environment; blocking. SecretError."""

    def read(self) -> dict[str, str]: ...

    def keep(self) -> None: ...

    def due_s(self) -> float: ...

    def known(self) -> tuple[str, ...]: ...

    @property
    def secret_id(self) -> str: ...


class Secrets:
    """`settings` are those of the start, `current` those with the newest secrets."""

    def __init__(
        self, settings: Settings, env: Mapping[str, str] | None = None,
        source: Source | None = None, found: Mapping[str, str] | None = None, trouble: str = "",
    ) -> None:  # fmt: skip
        """`trouble`: why the secrets are not those that were meant; said loudly at start."""
        self.trouble = trouble
        self.settings = settings
        self.current = settings
        self._env = env
        self._source = source
        self._found = dict(found or {})
        self._asked = asyncio.Event()
        self._failures = _NEWS_AFTER if trouble else 0
        settings.follow(self.address_of)
        self._learn()

    # -- what others take from here ---------------------------------------------------------------

    def address_of(self, field: str) -> str | None:
        """The whole URL of one of `URLS`, for the next connection; None where it is unset.

        The server stays the one of the start: another needs a restart. `settings.address_of`
        gives the same from now on.
        """
        newest: SecretUrl | None = getattr(self.current, field)
        first: SecretUrl | None = getattr(self.settings, field)
        same = newest is not None and first is not None and newest.place == first.place
        return Fields.address_of(self.current if same else self.settings, field)

    def token_of(self, account_id: str) -> str:
        """The account's newest token; "" for none."""
        secret = self.current.token_of(account_id)
        return "" if secret is None else secret.get_secret_value()

    def newest(self, settings: Settings) -> Settings:
        """These settings (a replay has a folder of its own) with the newest tokens."""
        fields = ("oanda_api_key", "account_tokens")
        return settings.model_copy(update={each: getattr(self.current, each) for each in fields})

    def ask_again(self) -> None:
        """The venue refuses a token: read anew now, not in five minutes (A10)."""
        self._asked.set()

    def for_rescue(self) -> dict[str, str]:
        """Vault's secrets as variables of a child that must work without Vault; kept in memory.

        A wrapped secret id is used up by then: the child gets the one that was in it.
        """
        if self._source is None:
            return {}
        own = os.environ if self._env is None else self._env
        names = {*FROM_VAULT, *(each.token_env or "" for each in self.settings.accounts.values())}
        told = {name: text for name, text in self._found.items() if name in names}
        told |= {"VAULT_SECRET_ID": self._source.secret_id, "VAULT_SECRET_ID_WRAPPED": ""}
        return {name: text for name, text in told.items() if not own.get(f"{name}_FILE")}

    # -- reading anew -----------------------------------------------------------------------------

    async def live(self, use_token: UseToken, tell: Tell) -> None:
        """Runs until cancelled. `tell` says what went wrong (True), and that all is well again."""
        from orchestrator.adapters.secrets.bounded import Bounded

        bounded = Bounded[Settings | None]()
        reread_at = mono_ns() + int(REREAD_S * 1e9)
        while True:
            asked = await self._wait((reread_at - mono_ns()) / 1e9)
            full = asked or mono_ns() >= reread_at or self._failures > 0
            try:
                newest = await bounded.soon(self._read if full else self._keep, _LATER_S)
            except (SecretError, SettingsError, OSError, ValueError) as exc:
                self._failed(exc, tell)
                continue
            self._good(tell)
            if newest is not None:
                self._take(newest, use_token)
                reread_at = mono_ns() + int(REREAD_S * 1e9)

    async def _wait(self, left_s: float) -> bool:
        """Until the next reading, renewal or question; whether it was a question."""
        due_s = float("inf") if self._source is None else self._source.due_s()
        wait_s = _AGAIN_S if self._failures else max(0.0, min(left_s, due_s))
        try:
            async with asyncio.timeout(wait_s):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    def _keep(self) -> None:
        if self._source is not None:
            self._source.keep()
            REDACT.learn(*self._source.known())

    def _read(self) -> Settings:
        """In a thread of its own."""
        self._keep()
        if self._source is not None:
            self._found = self._source.read()
        return load_settings(self._env, secrets=None if self._source is None else self._found)

    def _take(self, newest: Settings, use_token: UseToken) -> None:
        before = {account_id: self.token_of(account_id) for account_id in self.settings.account_ids}
        old = {field: self.address_of(field) for field in URLS}
        self.current = newest
        self._learn()
        for account_id, token in before.items():
            new = self.token_of(account_id)
            if new and new != token:
                use_token(account_id, new)
                log.info("secret.changed", of=account_id)
        for field, url in old.items():
            if self.address_of(field) != url:
                log.info("secret.changed", of=field.upper())

    def _failed(self, exc: Exception, tell: Tell) -> None:
        self._failures += 1
        log.warning("secrets.unread", reason=str(exc), times=self._failures)
        if self._failures >= _NEWS_AFTER:
            tell(f"Secrets cannot be read anew, the known ones stay in use: {exc}", True)

    def _good(self, tell: Tell) -> None:
        if self._failures >= _NEWS_AFTER:
            tell("Secrets can be read again.", False)
        self._failures = 0

    def _learn(self) -> None:
        REDACT.learn(*self.current.secrets(), *self._found.values())
        if self._source is not None:
            REDACT.learn(*self._source.known())


def open_secrets(env: Mapping[str, str] | None = None, *, rescue: bool = False) -> Secrets:
    """The settings with all their secrets; SettingsError, which names what is wrong.

    Where Vault does not answer, the environment's secrets are used with a warning: not for live
    trading, unless only to carry out a stop (`rescue`). Where it refuses us, nothing starts.
    """
    access = vault_settings(env)
    if not access.asks_vault:
        return Secrets(load_settings(env), env)
    from orchestrator.adapters.secrets.bounded import Bounded
    from orchestrator.adapters.secrets.vault import Vault, VaultAccess

    vault = Vault(
        VaultAccess(
            address=access.vault_addr or "",
            role_id=_text(access.vault_role_id),
            secret_id=_text(access.vault_secret_id),
            secret_id_wrapped=_text(access.vault_secret_id_wrapped),
            path=access.vault_path,
            ca_file=None if access.vault_cacert is None else str(access.vault_cacert),
        ),
        mono_ns,
    )
    REDACT.learn(*vault.known())
    try:
        found = Bounded[dict[str, str]]().wait(vault.read, _AT_START_S)
    except SecretsAway as exc:
        return _without(vault, env, exc, rescue=rescue)
    except SecretsRefused as exc:
        raise SettingsError(f"VAULT_ADDR: {exc}") from None
    return Secrets(load_settings(env, secrets=found), env, vault, found)


def _without(
    vault: Source, env: Mapping[str, str] | None, trouble: SecretsAway, *, rescue: bool
) -> Secrets:
    """With what the environment holds, as long as no real money is moved."""
    try:
        settings = load_settings(env, secrets={})
    except SettingsError as exc:
        raise SettingsError(f"VAULT_ADDR: {trouble}; and without Vault {exc}") from None
    if settings.oanda_environment == "live" and not rescue:
        raise SettingsError(f"VAULT_ADDR: {trouble}; OANDA_ENVIRONMENT=live needs it to start")
    words = f"{trouble}; the environment's secrets are used until it answers"
    return Secrets(settings, env, vault, trouble=words)


def settings_in_force(env: Mapping[str, str] | None = None) -> Settings:
    """For a command that may need a secret: Vault's where it answers. SettingsError."""
    try:
        return open_secrets(env, rescue=True).settings
    except SettingsError:
        return load_settings(env)  # says what is wrong beside Vault, or that nothing is


def _text(secret: object) -> str:
    reveal = getattr(secret, "get_secret_value", None)
    return str(reveal()) if reveal is not None else ""
