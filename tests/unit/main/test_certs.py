"""The development authority: what it makes is trusted by who knows it, and by nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.main.authority import DAYS, issue, make_authority
from orchestrator.main.certs import run
from orchestrator.model.tls import tls_trouble
from tests.servers.tls import Certificate, certificate

NOW = 1_795_000_000 * 10**9
DAY = 86_400 * 10**9


async def _meet(
    server: ssl.SSLContext | None, client: ssl.SSLContext, host: str = "127.0.0.1"
) -> str:
    """What a client reads from a server that says hello; an OSError where they do not agree."""

    async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"hello")
            await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async with (
        asyncio.timeout(20),
        await asyncio.start_server(hello, "127.0.0.1", 0, ssl=server) as listening,
    ):
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client, server_hostname=host
        )
        said = await reader.read()
        writer.close()
        return said.decode()


async def _refusal(server: ssl.SSLContext | None, client: ssl.SSLContext, host: str) -> str:
    with pytest.raises((OSError, ConnectionError)) as caught:
        await _meet(server, client, host)
    words = tls_trouble(caught.value)
    assert words is not None, caught.value
    return words


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("ours"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_server_of_the_authority_is_trusted(ours: Certificate, host: str):
    assert await _meet(ours.server(), ours.client(), host) == "hello"


async def test_a_server_of_another_authority_is_refused_in_plain_words(
    ours: Certificate, tmp_path: Path
):
    theirs = certificate(tmp_path)
    assert "not trusted here" in await _refusal(theirs.server(), ours.client(), "localhost")
    everyone = ssl.create_default_context()
    assert "not trusted here" in await _refusal(ours.server(), everyone, "localhost")


async def test_an_expired_certificate_is_refused_in_plain_words(tmp_path: Path):
    old = certificate(tmp_path, expired=True)
    assert "has expired" in await _refusal(old.server(), old.client(), "localhost")


@pytest.mark.parametrize(
    ("host", "words"), [("localhost", "another host name"), ("127.0.0.1", "another address")]
)
async def test_a_certificate_of_another_host_is_refused_in_plain_words(
    tmp_path: Path, host: str, words: str
):
    other = certificate(tmp_path, "redis.example.com")
    assert words in await _refusal(other.server(), other.client(), host)


async def test_a_server_without_tls_is_told_in_plain_words(ours: Certificate):
    assert "does not speak TLS" in await _refusal(None, ours.client(), "localhost")


async def test_a_server_may_ask_for_the_authoritys_clients_only(tmp_path: Path):
    server = certificate(tmp_path)
    node = certificate(tmp_path, name="node-1", client=True)
    context = server.server()
    context.load_verify_locations(server.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    with_ours = server.client()
    with_ours.load_cert_chain(node.cert, node.key)
    assert await _meet(context, with_ours, "localhost") == "hello"
    # A server's certificate proves no client.
    as_server = server.client()
    as_server.load_cert_chain(server.cert, server.key)
    for client in (server.client(), as_server):
        # The refusal of TLS 1.3 comes after the client's own handshake: an error, or silence.
        said = ""
        with contextlib.suppress(OSError):
            said = await _meet(context, client, "localhost")
        assert said == ""


def test_an_error_that_is_no_trouble_of_tls_has_no_such_words():
    assert tls_trouble(ConnectionRefusedError(111, "refused")) is None
    wrapped = OSError("all attempts failed")
    wrapped.__cause__ = RuntimeError(ConnectionResetError())
    assert tls_trouble(wrapped) is None


def test_the_words_are_found_under_what_libraries_wrap_around():
    inner = ssl.SSLCertVerificationError("x")
    inner.verify_code, inner.verify_message = 10, "certificate has expired"
    reason = OSError("Max retries exceeded")
    reason.reason = RuntimeError(inner)
    assert "expired" in (tls_trouble(RuntimeError(reason)) or "")
    inner.verify_code, inner.verify_message = 999, "something new"
    assert "something new" in (tls_trouble(inner) or "")
    loop = RuntimeError()
    loop.__cause__ = loop
    assert tls_trouble(loop) is None


# --- What is made, and when --------------------------------------------------------------------


def test_keys_are_their_owners_only_and_certificates_everyones(tmp_path: Path):
    before = os.umask(0)
    try:
        make_authority(tmp_path, NOW)
        issue(tmp_path, "redis", ["redis"], NOW)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"ca.pem": 0o644, "ca.key": 0o600, "redis.pem": 0o644, "redis.key": 0o600}


def test_what_is_still_good_is_kept_and_what_gets_old_is_made_again(tmp_path: Path):
    assert make_authority(tmp_path, NOW).made
    first = issue(tmp_path, "redis", ["redis"], NOW)
    assert first.made
    assert first.until - timedelta(days=DAYS) == first.until.fromtimestamp(
        NOW // 10**9, first.until.tzinfo
    )
    later = issue(tmp_path, "redis", ["redis"], NOW + 19 * DAY)
    assert not later.made
    assert issue(tmp_path, "redis", ["redis"], NOW + 21 * DAY).made
    assert not make_authority(tmp_path, NOW + 21 * DAY).made
    assert make_authority(tmp_path, NOW + 300 * DAY).made
    # A new authority's servers need new certificates.
    assert issue(tmp_path, "redis", ["redis"], NOW + 300 * DAY).made


def test_another_host_needs_another_certificate(tmp_path: Path):
    make_authority(tmp_path, NOW)
    issue(tmp_path, "redis", ["redis", "10.0.0.1"], NOW)
    assert not issue(tmp_path, "redis", ["redis"], NOW).made
    more = issue(tmp_path, "redis", ["redis", "::1"], NOW)
    assert more.made
    assert more.hosts == ("redis", "::1")


@pytest.mark.parametrize("spoil", ["ca.key", "ca.pem"])
def test_half_an_authority_is_made_anew_and_is_none_until_then(tmp_path: Path, spoil: str):
    make_authority(tmp_path, NOW)
    (tmp_path / spoil).unlink()
    with pytest.raises(ValueError, match="holds no authority"):
        issue(tmp_path, "redis", ["redis"], NOW)
    assert make_authority(tmp_path, NOW).made


def test_a_key_of_another_certificate_is_not_used(tmp_path: Path):
    make_authority(tmp_path, NOW)
    issue(tmp_path, "a", ["a"], NOW)
    issue(tmp_path, "b", ["b"], NOW)
    (tmp_path / "a.key").replace(tmp_path / "b.key")
    assert issue(tmp_path, "b", ["b"], NOW).made


# --- The command -------------------------------------------------------------------------------


def test_the_command_says_what_it_made_kept_and_where(tmp_path: Path, capsys):
    folder = tmp_path / "certs"
    words = [str(folder), "--host", "redis", "--name", "redis", "--client", "node-1"]
    assert run(words) == 0
    said = capsys.readouterr().out
    assert f"made  {folder}/redis.pem for localhost, 127.0.0.1, ::1, redis, until" in said
    assert f"made  {folder}/node-1.pem, until" in said
    assert "development and tests only" in said
    assert run(words) == 0
    assert "made" not in capsys.readouterr().out
    assert "PRIVATE" not in said


@pytest.mark.parametrize(
    "words",
    [["--name", "ca"], ["--name", "../x"], ["--host", "a b"], ["--days", "0"], ["--days", "9999"],
     ["--client", "A/B"]],
)  # fmt: skip
def test_the_command_refuses_what_makes_no_sense(tmp_path: Path, words: list[str]):
    with pytest.raises(SystemExit) as ended:
        run([str(tmp_path), *words])
    assert ended.value.code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, capsys):
    (tmp_path / "file").touch()
    assert run([str(tmp_path / "file" / "certs")]) == 1
    assert "file" in capsys.readouterr().err
