"""Secrets at start, and while a service runs: rotation, trouble, and what a rescue gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.main import secrets as module
from orchestrator.main.logs import REDACT
from orchestrator.main.secrets import Secrets, open_secrets, settings_in_force
from orchestrator.settings import SettingsError, load_settings
from tests.servers.tls import Certificate, certificate
from tests.servers.vault import VaultServer

ACCOUNT = "101-001-1000001-001"
SECRET = "5c1e-do-not-show"
PRACTICE = {"OANDA_ENVIRONMENT": "practice", "OANDA_ACCOUNT_IDS": ACCOUNT}
LIVE = {"OANDA_ENVIRONMENT": "live", "OANDA_ACCOUNT_IDS": ACCOUNT, "ALLOW_LIVE_TRADING": "true"}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("vault"))


@pytest.fixture
def vault(tmp_path: Path, tls: Certificate):
    with VaultServer(tmp_path, tls=tls, values={"OANDA_API_KEY": SECRET}) as running:
        yield running


# --- At start ----------------------------------------------------------------------------------


def test_a_service_starts_with_vaults_secrets(vault: VaultServer):
    secrets = open_secrets({**LIVE, **vault.environment})
    assert secrets.token_of(ACCOUNT) == SECRET
    assert secrets.trouble == ""
    assert REDACT.clean(f"a {SECRET} b") == "a *** b"
    (token,) = vault.tokens
    assert REDACT.clean(token) == REDACT.clean(vault.secret_id) == "***"


def test_without_vault_the_environment_is_all_there_is():
    secrets = open_secrets({**PRACTICE, "OANDA_API_KEY": SECRET})
    assert secrets.token_of(ACCOUNT) == SECRET
    assert secrets.for_rescue() == {}


def test_live_does_not_start_without_vault(vault: VaultServer):
    vault.sealed = True
    with pytest.raises(SettingsError, match=r"VAULT_ADDR: .*sealed.*live needs it") as caught:
        open_secrets({**LIVE, **vault.environment, "OANDA_API_KEY": SECRET})
    assert SECRET not in str(caught.value)
    assert vault.secret_id not in str(caught.value)


def test_practice_starts_with_the_environments_secrets_and_says_so(vault: VaultServer):
    vault.sealed = True
    secrets = open_secrets({**PRACTICE, **vault.environment, "OANDA_API_KEY": "old"})
    assert secrets.token_of(ACCOUNT) == "old"
    assert "sealed" in secrets.trouble


def test_what_neither_vault_nor_the_environment_has_is_told_with_both_reasons(vault: VaultServer):
    vault.sealed = True
    with pytest.raises(SettingsError, match="sealed") as caught:
        open_secrets({**PRACTICE, **vault.environment})
    assert "OANDA_API_KEY: needed" in str(caught.value)


def test_a_rescue_uses_what_it_has_even_in_live_trading(vault: VaultServer):
    vault.sealed = True
    env = {**LIVE, **vault.environment, "OANDA_API_KEY": "old"}
    assert open_secrets(env, rescue=True).token_of(ACCOUNT) == "old"


@pytest.mark.parametrize("environment", [PRACTICE, LIVE])
def test_a_wrong_login_starts_nothing_anywhere(vault: VaultServer, environment: dict[str, str]):
    env = {**environment, **vault.environment, "OANDA_API_KEY": "x", "VAULT_SECRET_ID": "wrong-id"}
    with pytest.raises(SettingsError, match=r"VAULT_ADDR: .*not accepted"):
        open_secrets(env)


def test_a_vault_that_never_answers_is_told_within_five_seconds(
    vault: VaultServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_AT_START_S", 0.2)
    vault.slow_s = 60
    with pytest.raises(SettingsError, match="no answer in"):
        open_secrets({**LIVE, **vault.environment})


def test_a_wrapped_id_is_used_up_and_a_rescue_gets_what_was_in_it(vault: VaultServer):
    env = {**LIVE, **vault.environment, "VAULT_SECRET_ID": ""}
    env["VAULT_SECRET_ID_WRAPPED"] = vault.wrap()
    secrets = open_secrets(env)
    rescue = env | secrets.for_rescue()
    assert rescue["VAULT_SECRET_ID"] == vault.secret_id
    assert open_secrets(rescue, rescue=True).token_of(ACCOUNT) == SECRET
    vault.sealed = True
    assert open_secrets(rescue, rescue=True).token_of(ACCOUNT) == SECRET
    with pytest.raises(SettingsError):
        open_secrets(env)


def test_a_rescue_is_given_no_second_copy_of_a_secret_in_a_file(vault: VaultServer, tmp_path: Path):
    (tmp_path / "id").write_text(vault.secret_id)
    env = {**LIVE, **vault.environment, "VAULT_SECRET_ID": "", "VAULT_SECRET_ID_FILE": "id"}
    rescue = env | open_secrets(env).for_rescue()
    assert open_secrets(rescue, rescue=True).token_of(ACCOUNT) == SECRET


def test_commands_have_vaults_secrets_or_do_without(vault: VaultServer):
    env = {**PRACTICE, **vault.environment}
    token = settings_in_force(env).token_of(ACCOUNT)
    assert token is not None
    vault.sealed = True
    assert settings_in_force(env).token_of(ACCOUNT) is None
    with pytest.raises(SettingsError, match="SEED"):
        settings_in_force({**env, "SEED": "x"})


# --- While it runs -----------------------------------------------------------------------------


class Told:
    def __init__(self) -> None:
        self.tokens: list[tuple[str, str]] = []
        self.words: list[tuple[str, bool]] = []


@asynccontextmanager
async def living(secrets: Secrets) -> AsyncGenerator[Told]:
    told = Told()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(
            secrets.live(
                lambda account, token: told.tokens.append((account, token)),
                lambda text, bad: told.words.append((text, bad)),
            )
        )
        try:
            yield told
        finally:
            task.cancel()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 -- nothing tells us
            await asyncio.sleep(0.02)


async def test_a_refused_token_makes_the_new_one_be_read_at_once(vault: VaultServer):
    secrets = open_secrets({**LIVE, **vault.environment})
    async with living(secrets) as told:
        vault.values["OANDA_API_KEY"] = "rotated-token"
        await asyncio.sleep(0.1)
        assert told.tokens == []
        secrets.ask_again()
        await until(lambda: told.tokens)
    assert told.tokens == [(ACCOUNT, "rotated-token")]
    assert secrets.token_of(ACCOUNT) == "rotated-token"
    assert REDACT.clean("rotated-token") == "***"


async def test_secrets_are_read_anew_by_and_by(vault: VaultServer, monkeypatch):
    monkeypatch.setattr(module, "REREAD_S", 0.1)
    vault.values["DATABASE_PASSWORD"] = "old-password"
    env = {**LIVE, **vault.environment, "DATABASE_URL": "postgresql://u@localhost/db"}
    secrets = open_secrets(env)
    assert secrets.address_of("database_url") == "postgresql://u:old-password@localhost/db"
    async with living(secrets):
        vault.values["DATABASE_PASSWORD"] = "new-password"
        await until(lambda: "new-password" in secrets.address_of("database_url"))
    # Whoever asks the settings for each connection has the new one, too.
    assert secrets.settings.address_of("database_url") == secrets.address_of("database_url")
    copy = secrets.settings.model_copy(update={"seed": 7})
    assert copy.address_of("database_url") == secrets.address_of("database_url")


async def test_the_token_is_renewed_between_the_readings(vault: VaultServer):
    vault.lease_s = 1
    secrets = open_secrets({**LIVE, **vault.environment})
    renewed = ("POST", "/v1/auth/token/renew-self")
    vault.lease_s = 3
    async with living(secrets):
        await until(lambda: vault.asked.count(renewed) >= 2)
    assert vault.logins() == 1


async def test_trouble_is_told_when_it_lasts_and_so_is_its_end(vault: VaultServer, monkeypatch):
    monkeypatch.setattr(module, "_AGAIN_S", 0.05)
    secrets = open_secrets({**LIVE, **vault.environment})
    async with living(secrets) as told:
        vault.sealed = True
        secrets.ask_again()
        await until(lambda: told.words)
        text, bad = told.words[0]
        assert bad
        assert "sealed" in text
        assert "stay in use" in text
        assert secrets.token_of(ACCOUNT) == SECRET
        vault.values["OANDA_API_KEY"] = "rotated-token"
        vault.sealed = False
        await until(lambda: told.tokens)
        assert not told.words[-1][1]


async def test_a_service_that_began_without_vault_takes_its_secrets_when_it_comes(
    vault: VaultServer, monkeypatch
):
    monkeypatch.setattr(module, "_AGAIN_S", 0.05)
    vault.sealed = True
    secrets = open_secrets({**PRACTICE, **vault.environment, "OANDA_API_KEY": "old-token"})
    async with living(secrets) as told:
        await until(lambda: told.words)
        vault.sealed = False
        await until(lambda: told.tokens)
    assert told.tokens == [(ACCOUNT, SECRET)]


async def test_a_hanging_vault_holds_up_nothing(vault: VaultServer, monkeypatch):
    monkeypatch.setattr(module, "_LATER_S", 0.1)
    monkeypatch.setattr(module, "_AGAIN_S", 0.05)
    secrets = open_secrets({**LIVE, **vault.environment})
    async with living(secrets) as told:
        vault.slow_s = 60
        secrets.ask_again()
        await until(lambda: len(told.words) >= 3)
        assert secrets.token_of(ACCOUNT) == SECRET


async def test_a_secret_in_a_file_is_rotated_by_writing_the_file(tmp_path: Path):
    (tmp_path / "token").write_text("old-token")
    secrets = open_secrets({**PRACTICE, "OANDA_API_KEY_FILE": "token"})
    async with living(secrets) as told:
        (tmp_path / "token").write_text("new-token")
        secrets.ask_again()
        await until(lambda: told.tokens)
    assert told.tokens == [(ACCOUNT, "new-token")]


async def test_a_node_that_takes_over_connects_with_the_newest_token_and_its_own_folder(
    vault: VaultServer, tmp_path: Path
):
    secrets = open_secrets({**LIVE, **vault.environment})
    own = secrets.settings.model_copy(update={"state_dir": tmp_path / "replay"})
    async with living(secrets) as told:
        vault.values["OANDA_API_KEY"] = "rotated-token"
        secrets.ask_again()
        await until(lambda: told.tokens)
    token = secrets.newest(own).token_of(ACCOUNT)
    assert token is not None
    assert token.get_secret_value() == "rotated-token"
    assert secrets.newest(own).state_dir == tmp_path / "replay"


async def test_settings_that_became_wrong_meanwhile_change_nothing(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(module, "_AGAIN_S", 0.05)
    (tmp_path / ".env").write_text("OANDA_API_KEY=old-token\n")
    secrets = open_secrets(PRACTICE)
    async with living(secrets) as told:
        (tmp_path / ".env").write_text("OANDA_API_KEY=new-token\nMAX_DAILY_LOSS=6\n")
        secrets.ask_again()
        await until(lambda: told.words)
        assert "MAX_DAILY_LOSS" in told.words[0][0]
        assert told.tokens == []
        assert secrets.token_of(ACCOUNT) == "old-token"


async def test_only_secrets_are_taken_over_and_never_another_server(tmp_path: Path):
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://u:old-pw@localhost/db\nSEED=1\n")
    secrets = open_secrets({})
    async with living(secrets):
        (tmp_path / ".env").write_text("DATABASE_URL=postgresql://u:new-pw@127.0.0.1/db\nSEED=2\n")
        secrets.ask_again()
        await until(lambda: secrets.current.seed == 2)
        assert secrets.settings.seed == 1
        assert secrets.address_of("database_url") == "postgresql://u:old-pw@localhost/db"
        (tmp_path / ".env").write_text("DATABASE_URL=postgresql://u:new-pw@localhost/db\n")
        secrets.ask_again()
        await until(lambda: "new-pw" in secrets.address_of("database_url"))
        (tmp_path / ".env").write_text("")
        secrets.ask_again()
        await until(lambda: secrets.current.database_url is None)
        assert secrets.address_of("database_url") == "postgresql://u:old-pw@localhost/db"


def test_an_address_that_is_unset_is_empty():
    assert Secrets(load_settings({})).address_of("database_url") is None
