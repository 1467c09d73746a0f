"""Vault over TLS: login, unwrapping, renewal, rotation, and every way in which it can fail."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from orchestrator.adapters.secrets.bounded import Bounded
from orchestrator.adapters.secrets.vault import Vault, VaultAccess
from orchestrator.model.errors import SecretError, SecretsAway, SecretsRefused
from tests.servers.tls import Certificate, certificate
from tests.servers.vault import MISCHIEF, ROLE_ID, VaultServer

SECRET = "0e1d-do-not-show"


class Hands:
    """A monotonic clock that stands until it is set."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> int:
        return int(self.s * 10**9)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("vault"))


@pytest.fixture
def server(tmp_path: Path, tls: Certificate):
    with VaultServer(tmp_path, tls=tls, values={"OANDA_API_KEY": SECRET}) as running:
        yield running


def access(server: VaultServer, **other: str | None) -> VaultAccess:
    fields = {"address": server.url, "role_id": ROLE_ID, "secret_id": server.secret_id,
              "ca_file": str(server.tls.ca)}  # fmt: skip
    return VaultAccess(**(fields | other))


def vault(server: VaultServer, clock: Hands | None = None, **other: str | None) -> Vault:
    return Vault(access(server, **other), clock or Hands())


def test_secrets_are_read_after_one_login(server: VaultServer):
    it = vault(server)
    assert it.read() == {"OANDA_API_KEY": SECRET}
    assert it.read() == {"OANDA_API_KEY": SECRET}
    assert server.logins() == 1


def test_a_new_value_is_seen_at_the_next_reading(server: VaultServer):
    it = vault(server)
    it.read()
    server.values["OANDA_API_KEY"] = "rotated"
    assert it.read() == {"OANDA_API_KEY": "rotated"}


def test_a_wrapped_secret_id_is_unwrapped_once_and_serves_every_later_login(server: VaultServer):
    it = vault(server, secret_id="", secret_id_wrapped=server.wrap())
    assert it.read() == {"OANDA_API_KEY": SECRET}
    assert it.secret_id == server.secret_id
    server.revoke()
    assert it.read() == {"OANDA_API_KEY": SECRET}
    assert server.logins() == 2
    assert server.asked.count(("POST", "/v1/sys/wrapping/unwrap")) == 1


def test_a_wrapping_token_that_was_used_says_that_somebody_has_used_it(server: VaultServer):
    token = server.wrap()
    vault(server, secret_id="", secret_id_wrapped=token).read()
    with pytest.raises(SecretsRefused, match=r"VAULT_SECRET_ID_WRAPPED.*somebody else") as caught:
        vault(server, secret_id="", secret_id_wrapped=token).read()
    assert token not in str(caught.value)


def test_the_path_names_the_mount_and_what_lies_within(server: VaultServer):
    server.path = "kv/data/desk/trading"
    assert vault(server, path="kv/desk/trading").read() == {"OANDA_API_KEY": SECRET}
    with pytest.raises(SecretsRefused, match="VAULT_PATH=kv/other: there is nothing"):
        vault(server, path="kv/other").read()


def test_a_revoked_token_is_answered_by_a_new_login(server: VaultServer):
    it = vault(server)
    it.read()
    server.revoke()
    assert it.read() == {"OANDA_API_KEY": SECRET}
    assert server.logins() == 2


def test_a_path_that_is_not_there_costs_no_second_login(server: VaultServer):
    """Secret ids may be good for few logins."""
    it = vault(server, path="secret/other")
    for _ in range(3):
        with pytest.raises(SecretsRefused):
            it.read()
    assert server.logins() == 1


# --- Renewal -----------------------------------------------------------------------------------


def test_the_token_is_renewed_when_two_thirds_of_its_life_are_over(server: VaultServer):
    clock = Hands()
    it = vault(server, clock)
    server.lease_s = 90
    it.read()
    assert it.due_s() == 60
    it.keep()
    clock.s = 59
    it.keep()
    assert not any(path.endswith("renew-self") for _, path in server.asked)
    clock.s = 60
    it.keep()
    assert server.asked.count(("POST", "/v1/auth/token/renew-self")) == 1
    assert it.due_s() == 60
    assert server.logins() == 1


def test_a_token_that_cannot_be_renewed_is_followed_by_a_new_login(server: VaultServer):
    clock = Hands()
    server.renewable = False
    server.lease_s = 90
    it = vault(server, clock)
    it.read()
    clock.s = 60
    it.keep()
    assert server.logins() == 2
    assert not any(path.endswith("renew-self") for _, path in server.asked)


def test_a_token_at_the_end_of_its_longest_life_is_followed_by_a_new_login(server: VaultServer):
    clock = Hands()
    it = vault(server, clock)
    server.lease_s = 90
    it.read()
    clock.s = 60
    server.lease_s = 1
    it.keep()
    assert server.logins() == 2


def test_a_token_that_was_revoked_before_its_renewal_is_followed_by_a_new_login(
    server: VaultServer,
):
    clock = Hands()
    server.lease_s = 90
    it = vault(server, clock)
    it.read()
    server.revoke()
    clock.s = 60
    it.keep()
    assert server.logins() == 2


def test_a_token_without_an_end_is_never_renewed(server: VaultServer):
    server.lease_s = 0
    it = vault(server)
    it.read()
    assert it.due_s() == float("inf")


def test_a_token_that_is_still_good_survives_a_renewal_that_failed(server: VaultServer):
    clock = Hands()
    server.lease_s, server.renewable = 90, False
    it = vault(server, clock)
    it.read()
    clock.s = 60
    server.sealed = True
    with pytest.raises(SecretsAway, match="sealed"):
        it.keep()
    server.sealed = False
    server.secret_id_uses = 0  # no login is left
    assert it.read() == {"OANDA_API_KEY": SECRET}


# --- Trouble -----------------------------------------------------------------------------------


def test_a_wrong_secret_id_is_refused_without_showing_it(server: VaultServer):
    with pytest.raises(
        SecretsRefused, match="the login with VAULT_ROLE_ID: not accepted"
    ) as caught:
        vault(server, secret_id=SECRET).read()
    assert SECRET not in str(caught.value)


def test_a_sealed_vault_is_away(server: VaultServer):
    server.sealed = True
    with pytest.raises(SecretsAway, match="is sealed"):
        vault(server).read()


@pytest.mark.parametrize("mischief", [each for each in MISCHIEF if each])
def test_nonsense_is_told_without_repeating_it(server: VaultServer, mischief: str):
    it = vault(server)
    it.read()
    server.revoke()  # so that a login and a reading meet it
    server.mischief = mischief
    with pytest.raises(SecretsAway) as caught:
        it.read()
    told = str(caught.value)
    assert "Vault" in told
    assert all(secret not in told for secret in (*it.known(), SECRET))
    assert len(told) < 200
    server.mischief = ""
    assert it.read() == {"OANDA_API_KEY": SECRET}


def test_a_vault_that_is_not_there_is_told_with_its_address(server: VaultServer):
    server.__exit__()
    with pytest.raises(SecretsAway, match=f"{server.url} cannot be reached: no connection"):
        vault(server).read()


def test_an_authority_that_is_not_ours_is_told(server: VaultServer, tmp_path: Path):
    other = certificate(tmp_path / "other")
    with pytest.raises(SecretsAway, match="not trusted here"):
        vault(server, ca_file=str(other.ca)).read()
    with pytest.raises(SecretsAway, match="not trusted here"):
        vault(server, ca_file=None).read()


def test_an_expired_certificate_is_told(tmp_path: Path):
    tls = certificate(tmp_path, expired=True)
    with VaultServer(tmp_path, tls=tls) as server, pytest.raises(SecretsAway, match="expired"):
        vault(server).read()


def test_a_certificate_of_another_host_is_told(tmp_path: Path):
    tls = certificate(tmp_path, "vault.example.com")
    with VaultServer(tmp_path, tls=tls) as server, pytest.raises(SecretsAway, match="host name"):
        vault(server).read()


def test_the_environment_decides_nothing(server: VaultServer, monkeypatch: pytest.MonkeyPatch):
    """Goal: no proxy, authority, token, address or namespace of other programs (FLOORS, trap 8)."""
    for name, value in {
        "HTTPS_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1",
        "REQUESTS_CA_BUNDLE": "/no/such/file", "CURL_CA_BUNDLE": "/no/such/file",
        "VAULT_TOKEN": SECRET, "VAULT_ADDR": "https://example.com", "VAULT_CACERT": "/no",
        "VAULT_NAMESPACE": "other",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert vault(server).read() == {"OANDA_API_KEY": SECRET}


def test_what_it_knows_is_named_for_the_logs_and_shown_by_none_of_its_texts(server: VaultServer):
    it = vault(server)
    it.read()
    (token,) = server.tokens
    assert {token, server.secret_id, ROLE_ID} <= set(it.known())
    for shown in (repr(access(server)), str(access(server)), repr(it)):
        assert server.secret_id not in shown
        assert ROLE_ID not in shown


# --- A call with an end ------------------------------------------------------------------------


def test_a_slow_vault_is_not_waited_for_and_costs_one_thread(server: VaultServer):
    it, bounded = vault(server), Bounded[dict[str, str]]()
    server.slow_s = 60
    with pytest.raises(SecretsAway, match="no answer in"):
        bounded.wait(it.read, 0.2)
    before = threading.active_count()
    for _ in range(5):
        with pytest.raises(SecretsAway, match="still without an answer"):
            bounded.wait(it.read, 0.2)
    assert threading.active_count() <= before


async def test_a_bounded_call_gives_its_value_or_its_error_on_the_loop(server: VaultServer):
    it, bounded = vault(server), Bounded[dict[str, str]]()
    assert await bounded.soon(it.read, 30) == {"OANDA_API_KEY": SECRET}
    server.sealed = True
    with pytest.raises(SecretError, match="sealed"):
        await bounded.soon(it.read, 30)
    held = threading.Event()
    slow = Bounded[bool]()
    with pytest.raises(SecretsAway, match="no answer in"):
        await slow.soon(held.wait, 0.05)
    held.set()
